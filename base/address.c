/* IP addresses, written by hand where they are many. */
#include "base/address.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

int address_parse(const char *text, struct address *ret_address)
{
    struct address a = {.family = strchr(text, ':') ? AF_INET6 : AF_INET};

    if (inet_pton(a.family, text, a.bytes) != 1)
        return -EINVAL;
    *ret_address = a;
    return 0;
}

static char *put_octet(char *at, uint8_t octet)
{
    if (octet >= 100)
        *at++ = (char)('0' + octet / 100);
    if (octet >= 10)
        *at++ = (char)('0' + octet / 10 % 10);
    *at++ = (char)('0' + octet % 10);
    return at;
}

/* By hand where it is simple: inet_ntop() goes through printf(), a good part of what making an endpoint costs. */
const char *address_text(const struct address *a, char buf[ADDRESS_TEXT_MAX])
{
    char *at = buf;

    if (a->family != AF_INET) {
        const char *text = inet_ntop(a->family, a->bytes, buf, ADDRESS_TEXT_MAX);

        assert(text);
        return text;
    }
    for (unsigned i = 0; i < 4; i++) {
        at = put_octet(at, a->bytes[i]);
        *at++ = i < 3 ? '.' : '\0';
    }
    return buf;
}

int address_compare(const struct address *a, const struct address *b)
{
    if (a->family != b->family)
        return a->family < b->family ? -1 : 1;
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

struct address address_unmapped(const struct address *a)
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};
    struct address v4 = {.family = AF_INET};

    if (a->family != AF_INET6 || memcmp(a->bytes, prefix, sizeof(prefix)) != 0)
        return *a;
    memcpy(v4.bytes, a->bytes + sizeof(prefix), 4);
    return v4;
}

bool address_is_loopback(const struct address *a)
{
    static const uint8_t six[16] = {[15] = 1};

    return a->family == AF_INET ? a->bytes[0] == IN_LOOPBACKNET : memcmp(a->bytes, six, sizeof(six)) == 0;
}
