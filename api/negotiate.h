/*
 * Content negotiation and conditions (RFC 9110, 8.8.3, 12.5, 13.1): what the client can take, and what it has
 * already. Pure.
 */
#ifndef API_NEGOTIATE_H
#define API_NEGOTIATE_H

#include "base/buf.h"

/* Whether an Accept field (NULL: absent) takes this type ("application/json"); parameters other than q are
 * ignored. */
bool accept_takes(const char *accept, const char *type);
/* Whether an Accept-Encoding field takes gzip, by its name or by "*". */
bool accept_takes_gzip(const char *accept_encoding);
/* Whether a Content-Type field is this type, whatever its parameters. */
bool content_type_is(const char *content_type, const char *type);

/* N of "wait=N" in a Prefer field (RFC 7240, 4.3), max at most; 0 when it does not say so. The first one counts. */
unsigned prefer_wait(const char *prefer, unsigned max);

enum { ETAG_MAX = 64 };

/* Whether an If-Match or If-None-Match field is "*" or a list of tags (RFC 9110, 8.8.3). */
bool etags_are_good(const char *field);
/* Whether an If-None-Match field names this tag (with quotes). Weak comparison; "*" matches any. The tag of the
 * compressed form of the same content matches too. etag NULL: there is something, without a tag: "*" alone matches.
 */
bool etag_is_listed(const char *if_none_match, const char *etag);
/* Whether an If-Match field names this tag: strong comparison (RFC 9110, 13.1.1). Of "SPEC.STATUS" SPEC alone
 * counts. */
bool etag_spec_matches(const char *if_match, const char *etag);
/* '"HASH"' of content. */
void etag_of(const void *p, size_t n, char ret[ETAG_MAX]);
/* '"HASH.HASH"': SPEC and STATUS, so that an edit can depend on the first alone. */
void etag_of_two(const void *spec, size_t n_spec, const void *status, size_t n_status, char ret[ETAG_MAX]);
/* '"HASH"' to '"HASH-gzip"': another form of the same content has another strong tag. */
void etag_for_gzip(char etag[ETAG_MAX]);

/* Compresses (RFC 1952) what is in b, where it gets smaller. Returns whether it did. */
bool gzip_compress(struct buf *b);

#endif
