/*
 * Authentication. Invariant: no token is kept, compared or logged as it is: what is compared are digests, in constant
 * time, and what a presented one looks like says nothing of those that exist.
 */
#include "api/auth.h"

#include "api/base64url.h"
#include "base/json.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOKEN_PREFIX "igwd_"
enum { TOKEN_RANDOM_BYTES = 32, TOKEN_RANDOM = 43 /* digits */ };
_Static_assert((int)TOKEN_DIGEST_DIGITS == 2 * SHA256_DIGEST_LENGTH, "two digits a byte");

struct token {
    struct principal who;
    uint8_t digest[SHA256_DIGEST_LENGTH];
};

struct tokens {
    int refs; /* atomic */
    struct token *items;
    size_t n;
    struct arena *arena;
};

const char *role_name(enum role r)
{
    static const char *const names[] = {"none", "viewer", "operator", "admin"};

    return names[r];
}

struct tokens *tokens_ref(struct tokens *t)
{
    if (t)
        __atomic_add_fetch(&t->refs, 1, __ATOMIC_RELAXED);
    return t;
}

void tokens_unref(struct tokens *t)
{
    if (t && __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        arena_free(t->arena);
        mem_free(t);
    }
}

/* ---- the file ---- */

static bool parse_digest(const char *text, uint8_t ret[SHA256_DIGEST_LENGTH])
{
    if (strlen(text) != TOKEN_DIGEST_DIGITS || strspn(text, "0123456789abcdefABCDEF") != TOKEN_DIGEST_DIGITS)
        return false;
    for (size_t i = 0; i < TOKEN_DIGEST_DIGITS; i++) {
        unsigned digit = text[i] <= '9' ? (unsigned)(text[i] - '0') : (unsigned)((text[i] | 0x20) - 'a' + 10);
        ret[i / 2] = (uint8_t)(ret[i / 2] << 4 | digit);
    }
    return true;
}

static bool parse_role(char *text, struct arena *arena, struct principal *who)
{
    char *save = NULL;

    if (strcmp(text, "viewer") == 0 || strcmp(text, "admin") == 0) {
        who->role = text[0] == 'v' ? ROLE_VIEWER : ROLE_ADMIN;
        return true;
    }
    if (strncmp(text, "operator=", 9) != 0)
        return false;
    const char **gateways = arena_array(arena, const char *, TOKEN_GATEWAYS_MAX);
    for (char *name = strtok_r(text + 9, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
        if (who->n_gateways == TOKEN_GATEWAYS_MAX)
            return false;
        gateways[who->n_gateways++] = name;
    }
    who->role = ROLE_OPERATOR;
    who->gateways = gateways;
    return who->n_gateways > 0;
}

static const char of_certificate[] = "certificate"; /* the word of the file, and of principals */

static int parse_line(struct tokens *t, char *line, const char *place, struct err *e)
{
    static const char blanks[] = " \t\r";
    char *save = NULL, *name = strtok_r(line, blanks, &save);
    char *role = name ? strtok_r(NULL, blanks, &save) : NULL, *digest = role ? strtok_r(NULL, blanks, &save) : NULL;
    struct token *one = &t->items[t->n];

    if (!name || name[0] == '#')
        return 0;
    if (!digest || strtok_r(NULL, blanks, &save))
        return err_set(e, -EINVAL, place, NULL, "NAME ROLE SHA256 or NAME ROLE certificate is expected");
    if (t->n == TOKENS_MAX)
        return err_set(e, -E2BIG, place, NULL, "more than %d tokens", TOKENS_MAX);
    *one = (struct token){.who = {.name = name, .method = "token"}};
    if (!parse_role(role, t->arena, &one->who))
        return err_set(e, -EINVAL, place, NULL, "the role is viewer, admin or operator=GATEWAY,...");
    if (strcmp(digest, of_certificate) == 0)
        one->who.method = of_certificate;
    else if (!parse_digest(digest, one->digest))
        return err_set(e, -EINVAL, place, NULL,
                       "a SHA-256 of 64 hexadecimal digits is expected, or the word certificate");
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->items[i].who.name, name) == 0)
            return err_set(e, -EINVAL, place, NULL, "the name \"%s\" is there twice", name);
    t->n++;
    return 0;
}

int tokens_parse(const char *path, const char *text, struct tokens **ret, struct err *e)
{
    struct tokens *t = mem_new(struct tokens);
    int r = 0;
    unsigned number = 0;

    t->refs = 1;
    t->arena = arena_new();
    t->items = arena_array(t->arena, struct token, TOKENS_MAX);
    for (const char *at = text; *at && !r;) {
        size_t n = strcspn(at, "\n");
        const char *place = arena_printf(t->arena, "%s:%u", path, ++number);
        r = parse_line(t, arena_strndup(t->arena, at, n), place, e);
        at += n + (at[n] ? 1 : 0);
    }
    if (r) {
        tokens_unref(t);
        return r;
    }
    *ret = t;
    return 0;
}

int tokens_read(const char *path, struct tokens **ret, struct err *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    int r = 0;

    if (fd < 0 || fstat(fd, &st)) {
        r = err_set(e, -errno, path, NULL, "can't be read");
    } else if (!S_ISREG(st.st_mode) || st.st_size > TOKEN_FILE_MAX) {
        r = err_set(e, -EINVAL, path, NULL, "is no file of at most 1 MiB");
    } else if ((st.st_uid != geteuid() && st.st_uid != 0) || st.st_mode & 077) {
        r = err_set(e, -EPERM, path, NULL, "must belong to the daemon's user or root, with mode 0600");
    } else {
        _cleanup_(mem_free_p) char *text = mem_alloc((size_t)st.st_size + 1);
        ssize_t n = read(fd, text, (size_t)st.st_size);
        r = n < 0 ? err_set(e, -errno, path, NULL, "can't be read") : tokens_parse(path, text, ret, e);
    }
    if (fd >= 0)
        close(fd);
    return r;
}

/* ---- tokens ---- */

/* Of the first bytes: n digits, an even number of them. */
static void write_digits(const uint8_t *digest, size_t n, char *ret)
{
    for (size_t i = 0; i < n / 2; i++)
        (void)snprintf(ret + 2 * i, 3, "%02x", digest[i]);
}

const char *token_new(struct arena *arena, char ret_sha256[TOKEN_DIGEST_DIGITS + 1])
{
    uint8_t random[TOKEN_RANDOM_BYTES], digest[SHA256_DIGEST_LENGTH];

    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return NULL;
    char *digits = base64url_write(random, sizeof(random));
    const char *token = arena_printf(arena, TOKEN_PREFIX "%s", digits);
    mem_wipe(random, sizeof(random));
    mem_free_secret(digits, strlen(digits));
    SHA256((const uint8_t *)token, strlen(token), digest);
    write_digits(digest, TOKEN_DIGEST_DIGITS, ret_sha256);
    return token;
}

static bool token_is_well_formed(const char *text)
{
    size_t n = sizeof(TOKEN_PREFIX) - 1;

    return strncmp(text, TOKEN_PREFIX, n) == 0 && strlen(text) == n + TOKEN_RANDOM &&
           strspn(text + n, base64url_digits) == TOKEN_RANDOM;
}

/* ---- requests ---- */

/* By the name in a certificate that was believed. */
static unsigned by_certificate(const char *name, const struct tokens *tokens, struct principal *ret,
                               const char **ret_detail)
{
    for (size_t i = 0; tokens && i < tokens->n; i++)
        if (tokens->items[i].who.method == of_certificate && strcmp(tokens->items[i].who.name, name) == 0) {
            *ret = tokens->items[i].who;
            return 0;
        }
    *ret_detail = "the name in the client certificate has no role";
    return 401;
}

/* One that was made over the API. */
static bool read_document(const char *text, const uint8_t digest[SHA256_DIGEST_LENGTH], struct arena *arena,
                          struct principal *ret)
{
    uint8_t known[SHA256_DIGEST_LENGTH] = {0};
    json_t *body = NULL, *gateway;
    size_t i;

    if (json_parse(text, strlen(text), &body, NULL))
        return false;
    const char *sha256 = json_string_value(json_object_get(body, "sha256"));
    const char *name = json_string_value(json_object_get(body, "name"));
    const char *role = json_string_value(json_object_get(body, "role"));
    const json_t *gateways = json_object_get(body, "gateways");
    bool good =
        sha256 && name && role && parse_digest(sha256, known) && CRYPTO_memcmp(known, digest, sizeof(known)) == 0;
    if (good) {
        const char **names = arena_array(arena, const char *, json_array_size(gateways) + 1);
        json_array_foreach(gateways, i, gateway) names[i] = arena_strdup(arena, json_string_value(gateway));
        *ret = (struct principal){.name = arena_strdup(arena, name),
                                  .method = "token",
                                  .role = strcmp(role, "admin") == 0      ? ROLE_ADMIN
                                          : strcmp(role, "operator") == 0 ? ROLE_OPERATOR
                                                                          : ROLE_VIEWER,
                                  .gateways = names,
                                  .n_gateways = json_array_size(gateways)};
    }
    json_decref(body);
    return good;
}

static bool by_document(const uint8_t digest[SHA256_DIGEST_LENGTH], const struct view *view, struct arena *arena,
                        struct principal *ret)
{
    char id[TOKEN_ID_DIGITS + 1];

    write_digits(digest, TOKEN_ID_DIGITS, id);
    const struct document *d = view ? view_document(view, DOCUMENT_TOKEN, id) : NULL;
    return d && read_document(d->body, digest, arena, ret);
}

static unsigned by_token(const struct http_request *r, const struct tokens *tokens, const struct view *view,
                         struct arena *arena, struct principal *ret, const char **ret_detail)
{
    static const char scheme[] = "Bearer ";
    const char *field = http_request_header(r, "Authorization");
    uint8_t digest[SHA256_DIGEST_LENGTH];

    *ret_detail = "a token is needed: Authorization: Bearer igwd_...";
    if (!field || strncasecmp(field, scheme, sizeof(scheme) - 1) != 0)
        return 401;
    field += sizeof(scheme) - 1;
    field += strspn(field, " ");
    *ret_detail = "the token is not known";
    if (!token_is_well_formed(field))
        return 401;
    SHA256((const uint8_t *)field, strlen(field), digest);
    const struct token *found = NULL;
    for (size_t i = 0; tokens && i < tokens->n; i++)
        if (tokens->items[i].who.method != of_certificate &&
            CRYPTO_memcmp(tokens->items[i].digest, digest, sizeof(digest)) == 0)
            found = &tokens->items[i];
    if (found)
        *ret = found->who;
    return found || by_document(digest, view, arena, ret) ? 0 : 401;
}

unsigned authenticate(const struct http_request *r, const struct tokens *tokens, const struct view *view, gid_t group,
                      struct arena *arena, struct principal *ret, const char **ret_detail)
{
    const struct http_peer *p = r->peer;
    bool may = p->is_unix && (p->uid == 0 || p->uid == geteuid());

    if (!p->is_unix && p->certificate && !http_request_header(r, "Authorization"))
        return by_certificate(p->certificate, tokens, ret, ret_detail);
    if (!p->is_unix)
        return by_token(r, tokens, view, arena, ret, ret_detail);
    for (size_t i = 0; group != (gid_t)-1 && i < p->n_groups; i++)
        if (p->groups[i] == group)
            may = true;
    if (!may) {
        *ret_detail = "only root, the daemon's user and the configured group may use this socket";
        return 403;
    }
    *ret = (struct principal){.name = p->uid == 0 ? "root" : arena_printf(arena, "uid %u", (unsigned)p->uid),
                              .method = "unix",
                              .role = ROLE_ADMIN};
    return 0;
}
