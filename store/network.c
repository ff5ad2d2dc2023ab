/* IP networks, and which addresses endpoints may have; and the namespace in an object's path. */
#include "store/service.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct network {
    struct address address;
    unsigned bits; /* of the prefix */
};

enum { NETWORKS_MAX = 256 };

struct network_list {
    struct network *items;
    size_t count;
};

void object_namespace(const char *path, char *buf, size_t n)
{
    const char *first = strchr(path, '/');

    assert(n > 0);
    if (first && strchr(first + 1, '/'))
        snprintf(buf, n, "%.*s", (int)(first - path), path);
    else
        snprintf(buf, n, "root");
}

static unsigned family_bits(uint8_t family)
{
    return family == AF_INET6 ? 128 : 32;
}

static bool network_has(const struct network *n, const struct address *a)
{
    unsigned whole = n->bits / 8, rest = n->bits % 8;

    if (a->family != n->address.family || memcmp(a->bytes, n->address.bytes, whole) != 0)
        return false;
    return rest == 0 || ((a->bytes[whole] ^ n->address.bytes[whole]) >> (8 - rest)) == 0;
}

/* Whether nothing is set beyond the prefix. */
static bool is_clean(const struct network *n)
{
    unsigned bits = family_bits(n->address.family);

    for (unsigned i = n->bits; i < bits; i++)
        if (n->address.bytes[i / 8] & (0x80u >> i % 8))
            return false;
    return true;
}

/* text: "ADDRESS/BITS" or "ADDRESS"; it is written to. */
static int network_parse(char *text, struct network *ret_network)
{
    struct network n;
    char *slash = strchr(text, '/');

    if (slash)
        *slash++ = '\0';
    if (address_parse(text, &n.address) < 0)
        return -EINVAL;
    n.bits = family_bits(n.address.family);
    if (slash) {
        char *end;
        unsigned long bits = strtoul(slash, &end, 10);

        if (*slash < '0' || *slash > '9' || *end || bits > n.bits)
            return -EINVAL;
        n.bits = (unsigned)bits;
    }
    *ret_network = n;
    return is_clean(&n) ? 0 : -EINVAL;
}

int network_list_parse(const char *text, struct network_list **ret_list, struct err *e)
{
    static const char separators[] = ", \t\n";
    struct network_list *l = mem_new(struct network_list);

    for (const char *p = text + strspn(text, separators); *p; p += strspn(p, separators)) {
        size_t n = strcspn(p, separators);
        char word[64];
        int r = -EINVAL;

        if (l->count == NETWORKS_MAX) {
            network_list_free(l);
            return err_set(e, -EINVAL, NULL, NULL, "more than %d networks", NETWORKS_MAX);
        }
        l->items = mem_realloc(l->items, l->count + 1, sizeof(*l->items));
        if (n < sizeof(word)) {
            memcpy(word, p, n);
            word[n] = '\0';
            r = network_parse(word, &l->items[l->count]);
        }
        if (r < 0) {
            network_list_free(l);
            return err_set(
                e, r, NULL, NULL,
                "\"%.*s\" is no network, such as 127.0.0.0/8 or ::1/128, with no bit set behind the prefix",
                (int)(n < 64 ? n : 64), p);
        }
        l->count++;
        p += n;
    }
    *ret_list = l;
    return 0;
}

void network_list_free(struct network_list *l)
{
    if (!l)
        return;
    mem_free(l->items);
    mem_free(l);
}

/* RFC 6890's registry: "this network", loopback, link-local, multicast, limited broadcast. */
static const struct network refused_networks[] = {
    {{{0}, AF_INET}, 8},
    {{{127}, AF_INET}, 8},
    {{{169, 254}, AF_INET}, 16},
    {{{224}, AF_INET}, 4},
    {{{255, 255, 255, 255}, AF_INET}, 32},
    {{{0}, AF_INET6}, 128},
    {{{[15] = 1}, AF_INET6}, 128},
    {{{0xfe, 0x80}, AF_INET6}, 10},
    {{{0xff}, AF_INET6}, 8},
};

bool endpoint_address_allowed(const struct address *a, const struct network_list *allowed)
{
    struct address bare = address_unmapped(a);
    bool refused = false;

    for (size_t i = 0; i < ARRAY_LEN(refused_networks) && !refused; i++)
        refused = network_has(&refused_networks[i], &bare);
    for (size_t i = 0; refused && allowed && i < allowed->count; i++)
        refused = !network_has(&allowed->items[i], &bare);
    return !refused;
}
