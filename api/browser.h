/*
 * What browsers send along by themselves: the cookie of a session (RFC 6265), and where a request comes from (Fetch
 * Metadata, and the Origin field of RFC 6454). Pure.
 *
 * Over TLS the cookie's name has the prefix "__Host-": browsers take and send it over TLS alone, for all paths, and
 * no other host can set it. Over plaintext, which is served on loopback alone, not all browsers would take that, so
 * the cookie is a plain one there. As cookies know no ports, its name has the port that the browser sees: several
 * of these interfaces, reached through tunnels, do not log each other out.
 */
#ifndef API_BROWSER_H
#define API_BROWSER_H

#include "api/http.h"

/* The value of the cookie that this request would have, in the arena; NULL: there is none. */
const char *browser_cookie(const struct http_request *r, struct arena *arena);
/* A Set-Cookie field for the answer to this request, in the arena; value NULL: the cookie is to be forgotten. */
const char *browser_set_cookie(const struct http_request *r, const char *value, struct arena *arena);

/* Whether a page of this interface's own sent the request. Programs that are no browsers say nothing. */
enum browser_origin { BROWSER_SILENT, BROWSER_SAME_ORIGIN, BROWSER_OTHER_ORIGIN };
enum browser_origin browser_origin(const struct http_request *r, struct arena *arena);

#endif
