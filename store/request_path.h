/*
 * What a gateway does to a request's path before it looks for a route: Envoy's HttpConnectionManager options
 * normalize_path, merge_slashes and path_with_escaped_slashes_action. Pure.
 */
#ifndef STORE_REQUEST_PATH_H
#define STORE_REQUEST_PATH_H

#include "base/mem.h"

#include <stdbool.h>

/* HttpConnectionManager.PathWithEscapedSlashesAction, by its numbers. */
enum escaped_slashes {
    ESCAPED_SLASHES_DEFAULT, /* of Envoy's own: kept */
    ESCAPED_SLASHES_KEEP,
    ESCAPED_SLASHES_REJECT,
    ESCAPED_SLASHES_REDIRECT,
    ESCAPED_SLASHES_FORWARD,
};

/* How the HTTP chain of an exposure treats requests. */
struct http_policy {
    bool normalize_path, merge_slashes;
    enum escaped_slashes escaped_slashes;
    bool reject_underscores; /* header fields with '_' in their names: 400 */
    bool websockets;         /* where the route does not say otherwise */
    bool more_filters;       /* others than the router, which may answer first */
};

/* What gateways do unless their http_connection_manager_data or filter_config_data says otherwise. */
extern const struct http_policy http_policy_default;

/* What JSON of a HttpConnectionManager that was checked (NULL: none) says, over what *policy has. */
void http_policy_read(const char *json, struct http_policy *policy);

enum path_result { PATH_KEPT, PATH_BAD, PATH_REDIRECT };

/*
 * The path, with its query, as routes see it, in the arena. PATH_BAD: the request is answered with 400, *ret_path is
 * why. PATH_REDIRECT: with 307 to *ret_path.
 */
enum path_result request_path(const char *path, const struct http_policy *policy, struct arena *arena,
                              const char **ret_path);

#endif
