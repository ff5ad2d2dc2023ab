/* The table of routes, and the handlers that are one line: pages and objects of collections. */
#include "api/handlers.h"
#include "api/objects.h"
#include "api/write.h"

#define JSON "application/json"

#define ITEM_HANDLER(name)                                                                                           \
    static void handle_##name(struct call *c)                                                                        \
    {                                                                                                                \
        item_answer(c, &name##_collection);                                                                          \
    }
ITEM_HANDLER(gateway)
ITEM_HANDLER(listener)
ITEM_HANDLER(exposure)
ITEM_HANDLER(service)
ITEM_HANDLER(certificate)
ITEM_HANDLER(proxy)
ITEM_HANDLER(grant)
ITEM_HANDLER(token)
ITEM_HANDLER(revision)
ITEM_HANDLER(session)

static const struct parameter bootstrap_parameters[] = {
    {"node_id", PARAMETER_TEXT, 1, 256, false},
    {"node_cluster", PARAMETER_TEXT, 1, 256, false},
    {"admin", PARAMETER_TEXT, 1, 256, false},
    {"state_of_the_world", PARAMETER_BOOL, 0, 0, false},
    {NULL},
};

static const char *const json_content[] = {"application/json", NULL};

/* What a text of a place may have is for the handler to say. */
static const struct parameter event_parameters[] = {
    {"after", PARAMETER_TEXT, 1, 64, false},
    {"kind", PARAMETER_TEXT, 1, 64, true, event_kinds},
    {"seconds", PARAMETER_INT, 0, 86400, false},
    {NULL},
};
static const struct parameter write_parameters[] = {{"dry_run", PARAMETER_BOOL, 0, 0, false}, {NULL}};
static const struct parameter diff_parameters[] = {{"against", PARAMETER_INT, 0, INT64_C(1) << 53, false}, {NULL}};

static const char *const takes_patches[] = {"application/merge-patch+json", "application/json-patch+json", NULL};

#define V1 "/api/v1"
#define GET(path_, operation_, ...)                                                                                  \
    {                                                                                                                \
        .method = "GET", .path = (path_), .operation = (operation_), .access = ROLE_VIEWER, .produces = JSON,        \
        __VA_ARGS__                                                                                                  \
    }
#define LIST(path_, operation_, name, ...)                                                                           \
    GET(path_, operation_, .collection = &name##_collection, .handle = list_answer, ##__VA_ARGS__)

#define WRITE(method_, path_, operation_, role_, takes_, handle_)                                                    \
    {                                                                                                                \
        .method = (method_), .path = (path_), .operation = (operation_), .access = (role_), .produces = JSON,        \
        .takes = (takes_), .parameters = write_parameters, .handle = (handle_)                                       \
    }
#define PUT(path, operation, role, handle) WRITE("PUT", path, operation, role, json_content, handle)
#define PATCH(path, operation, role, handle) WRITE("PATCH", path, operation, role, takes_patches, handle)
#define DELETE(path, operation, role, handle) WRITE("DELETE", path, operation, role, NULL, handle)
#define POST(path, operation, role, handle) WRITE("POST", path, operation, role, json_content, handle)

/* clang-format off */
const struct api_route api_routes[] = {
    {"GET", "/livez", "getLiveness", ROLE_NONE, JSON, .probe = true, .handle = handle_livez},
    {"GET", "/readyz", "getReadiness", ROLE_NONE, JSON, .probe = true, .handle = handle_readyz},
    {"GET", "/metrics", "getMetrics", ROLE_VIEWER, "text/plain; version=0.0.4; charset=utf-8",
     .handle = handle_metrics},
    {"GET", V1 "/openapi.yaml", "getContract", ROLE_NONE, "application/yaml", .handle = handle_contract},
    GET(V1 "/version", "getVersion", .handle = handle_version),
    GET(V1 "/auth/whoami", "getPrincipal", .handle = handle_whoami),
    LIST(V1 "/sessions", "listSessions", session),
    {"POST", V1 "/sessions", "postSession", ROLE_VIEWER, JSON, .handle = handle_post_session},
    {"DELETE", V1 "/sessions", "deleteCurrentSession", ROLE_VIEWER, JSON, .handle = handle_delete_sessions},
    GET(V1 "/sessions/{id}", "getSession", .handle = handle_session),
    {"DELETE", V1 "/sessions/{id}", "deleteSession", ROLE_VIEWER, JSON, .handle = handle_delete_session},
    GET(V1 "/summary", "getSummary", .handle = handle_summary),
    LIST(V1 "/gateways", "listGateways", gateway),
    GET(V1 "/gateways/{name}", "getGateway", .handle = handle_gateway),
    PUT(V1 "/gateways/{name}", "putGateway", ROLE_ADMIN, handle_put_gateway),
    PATCH(V1 "/gateways/{name}", "patchGateway", ROLE_ADMIN, handle_patch_gateway),
    DELETE(V1 "/gateways/{name}", "deleteGateway", ROLE_ADMIN, handle_delete_gateway),
    GET(V1 "/gateways/{name}/bootstrap", "getBootstrap", .parameters = bootstrap_parameters,
        .handle = handle_bootstrap),
    LIST(V1 "/listeners", "listListeners", listener),
    GET(V1 "/listeners/{name}", "getListener", .handle = handle_listener),
    LIST(V1 "/exposures", "listExposures", exposure, .kept = true),
    GET(V1 "/exposures/{name}", "getExposure", .kept = true, .handle = handle_exposure),
    PUT(V1 "/exposures/{name}", "putExposure", ROLE_OPERATOR, handle_put_exposure),
    PATCH(V1 "/exposures/{name}", "patchExposure", ROLE_OPERATOR, handle_patch_exposure),
    DELETE(V1 "/exposures/{name}", "deleteExposure", ROLE_OPERATOR, handle_delete_exposure),
    LIST(V1 "/exposures/{name}/endpoints", "listEndpoints", endpoint, .kept = true),
    PUT(V1 "/exposures/{name}/endpoints/{endpoint}/drain", "putDrain", ROLE_OPERATOR, handle_put_drain),
    DELETE(V1 "/exposures/{name}/endpoints/{endpoint}/drain", "deleteDrain", ROLE_OPERATOR, handle_delete_drain),
    LIST(V1 "/exposures/{name}/overrides", "listExposureOverrides", override),
    DELETE(V1 "/exposures/{name}/overrides", "deleteExposureOverrides", ROLE_OPERATOR, handle_delete_overrides),
    DELETE(V1 "/exposures/{name}/overrides/{field}", "deleteExposureOverride", ROLE_OPERATOR,
           handle_delete_override),
    LIST(V1 "/overrides", "listOverrides", override),
    LIST(V1 "/services", "listServices", service, .kept = true),
    GET(V1 "/services/{name}", "getService", .kept = true, .handle = handle_service),
    LIST(V1 "/certificates", "listCertificates", certificate, .kept = true),
    GET(V1 "/certificates/{name}", "getCertificate", .kept = true, .handle = handle_certificate),
    PUT(V1 "/certificates/{name}", "putCertificate", ROLE_ADMIN, handle_put_certificate),
    DELETE(V1 "/certificates/{name}", "deleteCertificate", ROLE_ADMIN, handle_delete_certificate),
    LIST(V1 "/grants", "listGrants", grant),
    GET(V1 "/grants/{id}", "getGrant", .handle = handle_grant),
    PUT(V1 "/grants/{id}", "putGrant", ROLE_ADMIN, handle_put_grant),
    DELETE(V1 "/grants/{id}", "deleteGrant", ROLE_ADMIN, handle_delete_grant),
    LIST(V1 "/proxies", "listProxies", proxy),
    GET(V1 "/proxies/{id}", "getProxy", .handle = handle_proxy),
    DELETE(V1 "/proxies/{id}", "deleteProxy", ROLE_OPERATOR, handle_delete_proxy),
    LIST(V1 "/proxies/{id}/resources", "listProxyResources", resource),
    GET(V1 "/revisions/{revision}/rollout", "getRollout", .handle = handle_rollout),
    LIST(V1 "/topology", "listTopology", topology, .kept = true),
    LIST(V1 "/topology/exposures", "listTopologyExposures", topology_exposure, .kept = true),
    {"POST", V1 "/explain", "explain", ROLE_VIEWER, JSON, .takes = json_content, .handle = handle_explain},
    LIST(V1 "/alarms", "listAlarms", alarm),
    {"GET", V1 "/events", "watchEvents", ROLE_VIEWER, "text/event-stream", .parameters = event_parameters,
     .handle = handle_events},
    LIST(V1 "/revisions", "listRevisions", revision),
    POST(V1 "/revisions", "restoreRevision", ROLE_ADMIN, handle_post_revision),
    GET(V1 "/revisions/{revision}", "getRevision", .handle = handle_revision),
    GET(V1 "/revisions/{revision}/diff", "getRevisionDiff", .parameters = diff_parameters,
        .handle = handle_get_revision_diff),
    LIST(V1 "/audit", "listAudit", audit),
    GET(V1 "/config", "getConfig", .handle = handle_get_config),
    PUT(V1 "/config", "putConfig", ROLE_ADMIN, handle_put_config),
    POST(V1 "/changesets", "postChangeset", ROLE_OPERATOR, handle_post_changeset),
    {.method = "GET", .path = V1 "/tokens", .operation = "listTokens", .access = ROLE_ADMIN, .produces = JSON,
     .collection = &token_collection, .handle = list_answer},
    POST(V1 "/tokens", "postToken", ROLE_ADMIN, handle_post_token),
    {.method = "GET", .path = V1 "/tokens/{id}", .operation = "getToken", .access = ROLE_ADMIN, .produces = JSON,
     .handle = handle_token},
    DELETE(V1 "/tokens/{id}", "deleteToken", ROLE_ADMIN, handle_delete_token),
};
/* clang-format on */
const size_t api_n_routes = ARRAY_LEN(api_routes);
