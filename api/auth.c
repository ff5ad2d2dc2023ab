/*
 * Authentication. Invariant: no token is kept, compared or logged as it is: what is compared are digests, in constant
 * time, and what a presented one looks like says nothing of those that exist.
 */
#include "api/auth.h"

#include "api/base64url.h"
#include "api/browser.h"
#include "api/sessions.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "store/expiry.h"

#include <assert.h>
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
enum { TOKEN_RANDOM_BYTES = 32, TOKEN_RANDOM = 43 /* digits */, RANDOM_MAX = 64 };
_Static_assert((int)CREDENTIAL_DIGEST == SHA256_DIGEST_LENGTH, "digests are SHA-256");

struct tokens {
    int refs; /* atomic */
    struct principal *items;
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

/* ---- secrets ---- */

void digest_of(const char *text, uint8_t ret[CREDENTIAL_DIGEST])
{
    SHA256((const uint8_t *)text, strlen(text), ret);
}

void digest_digits(const uint8_t *digest, size_t n, char *ret)
{
    for (size_t i = 0; i < n / 2; i++)
        (void)snprintf(ret + 2 * i, 3, "%02x", digest[i]);
}

const char *random_text(size_t n, struct arena *arena)
{
    uint8_t random[RANDOM_MAX];

    assert(n <= sizeof(random));
    if (getrandom(random, n, 0) != (ssize_t)n)
        return NULL;
    char *digits = base64url_write(random, n);
    const char *text = arena_strdup(arena, digits);
    mem_wipe(random, n);
    mem_free_secret(digits, strlen(digits));
    return text;
}

bool credential_equal(const struct credential *a, const struct credential *b)
{
    return a->kind == b->kind && CRYPTO_memcmp(a->digest, b->digest, sizeof(a->digest)) == 0;
}

static struct credential credential_of(int kind, const char *text)
{
    struct credential c = {.kind = kind};

    digest_of(text, c.digest);
    return c;
}

/* ---- the file ---- */

static bool parse_digest(const char *text, uint8_t ret[CREDENTIAL_DIGEST])
{
    if (strlen(text) != TOKEN_DIGEST_DIGITS)
        return false;
    for (size_t i = 0; i < TOKEN_DIGEST_DIGITS; i++) {
        int digit = text_hex_value(text[i]);

        if (digit < 0)
            return false;
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
    struct principal *one = &t->items[t->n];

    if (!name || name[0] == '#')
        return 0;
    if (!digest || strtok_r(NULL, blanks, &save))
        return err_set(e, -EINVAL, place, NULL, "NAME ROLE SHA256 or NAME ROLE certificate is expected");
    if (t->n == TOKENS_MAX)
        return err_set(e, -E2BIG, place, NULL, "more than %d tokens", TOKENS_MAX);
    *one = (struct principal){.name = name, .method = "token", .credential = {.kind = CREDENTIAL_TOKEN}};
    if (!parse_role(role, t->arena, one))
        return err_set(e, -EINVAL, place, NULL, "the role is viewer, admin or operator=GATEWAY,...");
    if (strcmp(digest, of_certificate) == 0) {
        one->method = of_certificate;
        one->credential = credential_of(CREDENTIAL_CERTIFICATE, name);
    } else if (!parse_digest(digest, one->credential.digest)) {
        return err_set(e, -EINVAL, place, NULL,
                       "a SHA-256 of 64 hexadecimal digits is expected, or the word certificate");
    }
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->items[i].name, name) == 0)
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
    t->items = arena_array(t->arena, struct principal, TOKENS_MAX);
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
        r = err_set(e, -errno, path, NULL, "can't be read: %s", strerrordesc_np(errno));
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

const char *token_new(struct arena *arena, char ret_sha256[TOKEN_DIGEST_DIGITS + 1])
{
    uint8_t digest[CREDENTIAL_DIGEST];
    const char *random = random_text(TOKEN_RANDOM_BYTES, arena);

    if (!random)
        return NULL;
    const char *token = arena_printf(arena, TOKEN_PREFIX "%s", random);
    digest_of(token, digest);
    digest_digits(digest, TOKEN_DIGEST_DIGITS, ret_sha256);
    return token;
}

static bool token_is_well_formed(const char *text)
{
    size_t n = sizeof(TOKEN_PREFIX) - 1;

    return strncmp(text, TOKEN_PREFIX, n) == 0 && strlen(text) == n + TOKEN_RANDOM &&
           strspn(text + n, base64url_digits) == TOKEN_RANDOM;
}

/* ---- requests ---- */

/* One that was made over the API. */
static bool read_document(const struct document *d, const uint8_t digest[CREDENTIAL_DIGEST], struct arena *arena,
                          struct principal *ret)
{
    struct expiry e;
    uint8_t known[CREDENTIAL_DIGEST] = {0};
    json_t *body = NULL, *gateway;
    size_t i;

    if (json_parse(d->body, d->body_len, &body, NULL))
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
                                  .n_gateways = json_array_size(gateways),
                                  .expires_at = expiry_of_token_body(d, body, &e) ? e.ends_at : 0};
    }
    json_decref(body);
    return good;
}

static bool find_document(const struct credential *c, const struct view *view, struct arena *arena,
                          struct principal *ret)
{
    char id[TOKEN_ID_DIGITS + 1];

    digest_digits(c->digest, TOKEN_ID_DIGITS, id);
    const struct document *d = view ? view_document(view, DOCUMENT_TOKEN, id) : NULL;
    return d && read_document(d, c->digest, arena, ret);
}

/* Who that is at this moment. All of the file are looked at, so that the time says nothing. */
static bool find(const struct credential *c, const struct door *door, struct arena *arena, struct principal *ret)
{
    const struct tokens *tokens = door->tokens;
    const struct principal *found = NULL;

    for (size_t i = 0; tokens && i < tokens->n; i++)
        if (credential_equal(&tokens->items[i].credential, c))
            found = &tokens->items[i];
    if (found)
        *ret = *found;
    else if (c->kind != CREDENTIAL_TOKEN || !find_document(c, door->view, arena, ret))
        return false;
    ret->credential = *c;
    return true;
}

static bool refuse(struct refusal *ret, unsigned status, const char *detail, bool is_guess)
{
    *ret = (struct refusal){status, detail, is_guess};
    return false;
}

static bool by_token(const char *field, const struct door *door, struct arena *arena, struct principal *ret,
                     struct refusal *ret_refusal)
{
    static const char scheme[] = "Bearer ";

    if (!field || strncasecmp(field, scheme, sizeof(scheme) - 1) != 0)
        return refuse(ret_refusal, 401, "a token is needed: Authorization: Bearer igwd_...", false);
    field += sizeof(scheme) - 1;
    field += strspn(field, " ");
    if (token_is_well_formed(field)) {
        const struct credential c = credential_of(CREDENTIAL_TOKEN, field);
        bool known = find(&c, door, arena, ret);
        char ends[32];
        if (known && ret->expires_at > 0 && ret->expires_at <= clock_wall())
            return refuse(ret_refusal, 401,
                          arena_printf(arena, "the token expired at %s", clock_wall_text(ret->expires_at, ends)),
                          false);
        if (known)
            return true;
    }
    return refuse(ret_refusal, 401, "the token is not known", true);
}

static bool by_certificate(const struct http_peer *p, const struct door *door, struct arena *arena,
                           struct principal *ret, struct refusal *ret_refusal)
{
    const struct credential c = credential_of(CREDENTIAL_CERTIFICATE, p->certificate);

    if (p->certificate_ends > 0 && p->certificate_ends < clock_wall()) /* a connection can last longer */
        return refuse(ret_refusal, 401, "the client certificate has expired", false);
    if (!find(&c, door, arena, ret))
        return refuse(ret_refusal, 401, "the name in the client certificate has no role", true);
    ret->expires_at = p->certificate_ends;
    return true;
}

static bool has_rights(const struct principal *who, enum role role, const char *const *gateways, size_t n_gateways)
{
    if (who->role != role || who->n_gateways != n_gateways)
        return false;
    for (size_t i = 0; i < n_gateways; i++)
        if (!text_equal(who->gateways[i], gateways[i]))
            return false;
    return true;
}

/* A session that is over is no guess: browsers keep the cookie for longer. */
static bool by_session(const char *cookie, const struct door *door, struct arena *arena, struct principal *ret,
                       struct refusal *ret_refusal)
{
    struct principal now;
    struct session s;

    if (!door->sessions || !sessions_use(door->sessions, cookie, arena, &s))
        return refuse(ret_refusal, 401, "the session is over: log in again", false);
    if (!find(&s.of, door, arena, &now) || !has_rights(&now, s.role, s.gateways, s.n_gateways)) {
        (void)sessions_end(door->sessions, s.id); /* another request may have done so */
        return refuse(ret_refusal, 401, "the session is over: what it was begun with is gone, or has other rights",
                      false);
    }
    *ret = now;
    ret->method = "session";
    ret->session = s.id;
    ret->expires_at = s.expires_at;
    return true;
}

static bool by_tcp(const struct http_request *r, const struct door *door, struct arena *arena, struct principal *ret,
                   struct refusal *ret_refusal)
{
    const char *field = http_request_header(r, "Authorization");
    const char *cookie = field ? NULL : browser_cookie(r, arena);

    if (cookie && by_session(cookie, door, arena, ret, ret_refusal))
        return true;
    if (r->peer->certificate && !field)
        return by_certificate(r->peer, door, arena, ret, ret_refusal);
    return !cookie && by_token(field, door, arena, ret, ret_refusal);
}

bool authenticate(const struct http_request *r, const struct door *door, struct arena *arena, struct principal *ret,
                  struct refusal *ret_refusal)
{
    const struct http_peer *p = r->peer;
    bool may = p->is_unix && (p->uid == 0 || p->uid == geteuid());

    if (!p->is_unix)
        return by_tcp(r, door, arena, ret, ret_refusal);
    for (size_t i = 0; door->group != (gid_t)-1 && i < p->n_groups; i++)
        if (p->groups[i] == door->group)
            may = true;
    if (!may)
        return refuse(ret_refusal, 403, "only root, the daemon's user and the configured group may use this socket",
                      false);
    *ret = (struct principal){.name = p->uid == 0 ? "root" : arena_printf(arena, "uid %u", (unsigned)p->uid),
                              .method = "unix",
                              .role = ROLE_ADMIN};
    return true;
}

bool authenticate_again(const struct principal *who, const struct door *door)
{
    _cleanup_(arena_free_p) struct arena *arena = arena_new();
    struct principal now;

    if (who->expires_at > 0 && who->expires_at <= clock_wall())
        return false;
    if (who->session && !sessions_use_id(door->sessions, who->session))
        return false;
    if (who->credential.kind == CREDENTIAL_NONE)
        return true; /* the peer of a unix socket is who it was */
    return find(&who->credential, door, arena, &now) && has_rights(&now, who->role, who->gateways, who->n_gateways);
}

bool principal_is_of(const struct principal *who, const char *gateway)
{
    for (size_t i = 0; gateway && i < who->n_gateways; i++)
        if (strcmp(who->gateways[i], gateway) == 0)
            return true;
    return false;
}

struct principal principal_copy(const struct principal *who, struct arena *arena)
{
    struct principal copy = *who;
    const char **gateways = arena_array(arena, const char *, who->n_gateways + 1);

    for (size_t i = 0; i < who->n_gateways; i++)
        gateways[i] = arena_strdup(arena, who->gateways[i]);
    copy.gateways = gateways;
    copy.name = who->name ? arena_strdup(arena, who->name) : NULL;
    copy.session = who->session ? arena_strdup(arena, who->session) : NULL;
    return copy;
}
