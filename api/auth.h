/*
 * Who asks, and what they may do.
 *
 * On a unix socket the kernel says who it is: root, the daemon's own user and the members of the configured group may
 * do everything, others nothing. On TCP a bearer token (RFC 6750) says it, of which only the SHA-256 is known here;
 * without one, the cookie of a session that was begun with one (api/sessions.h); without that, the name in a client
 * certificate that was believed in the TLS handshake.
 *
 * The token file holds a line per caller: NAME ROLE SHA256, where ROLE is viewer, admin, or operator=GATEWAY,...; the
 * word "certificate" instead of a SHA-256 stands for client certificates whose subject's common name is NAME. '#'
 * begins a comment. It must belong to the daemon's user or root, and nobody else may read or write it. A token is
 * "igwd_" and 43 characters of base64url: 256 random bits. Beside the file's there are those that were made over the
 * API: documents whose name is the first TOKEN_ID_DIGITS of the digest. These may expire: who comes with one then is
 * told so.
 */
#ifndef API_AUTH_H
#define API_AUTH_H

#include "api/http.h"

enum role { ROLE_NONE, ROLE_VIEWER, ROLE_OPERATOR, ROLE_ADMIN };
enum {
    TOKENS_MAX = 1024,
    TOKEN_GATEWAYS_MAX = 32,
    TOKEN_FILE_MAX = 1 << 20,
    TOKEN_ID_DIGITS = 16,
    TOKEN_DIGEST_DIGITS = 64,
    CREDENTIAL_DIGEST = TOKEN_DIGEST_DIGITS / 2
};

/* What somebody is known by, over TCP. */
struct credential {
    enum { CREDENTIAL_NONE, CREDENTIAL_TOKEN, CREDENTIAL_CERTIFICATE } kind;
    uint8_t digest[CREDENTIAL_DIGEST]; /* SHA-256 of the token, of the name in the certificate */
};

struct principal {
    const char *name;   /* "root", "uid 1000", or the token's */
    const char *method; /* "unix", "token", "certificate", "session"; NULL: nobody known */
    enum role role;
    const char *const *gateways; /* of an operator */
    size_t n_gateways;
    struct credential credential; /* of a session: what it was begun with */
    const char *session;          /* its id; NULL: it is none */
    double expires_at;            /* of the token, the certificate, the session: seconds since 1970; 0: never */
};

struct tokens;
struct sessions;

/* The file's path and line stand in an error. */
int tokens_read(const char *path, struct tokens **ret, struct err *e);
/* As tokens_read() of a text, without looking at owners and modes. */
int tokens_parse(const char *path, const char *text, struct tokens **ret, struct err *e);
void tokens_unref(struct tokens *t); /* NULL is allowed */
struct tokens *tokens_ref(struct tokens *t);

/* Where callers are known from. All but the group may be NULL. */
struct door {
    const struct tokens *tokens;
    const struct view *view; /* where the tokens are that were made over the API */
    struct sessions *sessions;
    gid_t group; /* (gid_t)-1: none */
};

/* Why somebody is not let in. */
struct refusal {
    unsigned status; /* 401: nobody known; 403: a peer who may nothing */
    const char *detail;
    bool is_guess; /* a token, or a certificate's name, that is not known */
};

/* Who sent it; texts live in the arena or as long as the tokens. False: nobody who may. */
bool authenticate(const struct http_request *r, const struct door *door, struct arena *arena, struct principal *ret,
                  struct refusal *ret_refusal);
/*
 * Whether somebody who was let in would be so again, with the same rights, for what outlives a request. A session is
 * used by that.
 */
bool authenticate_again(const struct principal *who, const struct door *door);
/* With all its texts in the arena. */
struct principal principal_copy(const struct principal *who, struct arena *arena);
/* Whether it is one of an operator's gateways; gateway may be NULL. */
bool principal_is_of(const struct principal *who, const char *gateway);
bool credential_equal(const struct credential *a, const struct credential *b);
const char *role_name(enum role r);
/* A new token in the arena, and the digits of its SHA-256. NULL: no random bits can be had. */
const char *token_new(struct arena *arena, char ret_sha256[TOKEN_DIGEST_DIGITS + 1]);

/* For secrets: n random bytes as base64url, in the arena (NULL: none can be had); a text's SHA-256; its first digits
 * (an even number of them) with a NUL behind them. */
const char *random_text(size_t n, struct arena *arena);
void digest_of(const char *text, uint8_t ret[CREDENTIAL_DIGEST]);
void digest_digits(const uint8_t *digest, size_t n, char *ret);

#endif
