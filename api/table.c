/* The table of routes, and the handlers that are one line: pages and objects of collections. */
#include "api/handlers.h"
#include "api/objects.h"

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

#define V1 "/api/v1"
#define GET(path_, operation_, ...)                                                                                  \
    {                                                                                                                \
        .method = "GET", .path = (path_), .operation = (operation_), .access = ROLE_VIEWER, .produces = JSON,        \
        __VA_ARGS__                                                                                                  \
    }
#define LIST(path_, operation_, name, ...)                                                                           \
    GET(path_, operation_, .collection = &name##_collection, .handle = list_answer, ##__VA_ARGS__)

/* clang-format off */
const struct api_route api_routes[] = {
    {"GET", "/livez", "getLiveness", ROLE_NONE, JSON, .handle = handle_livez},
    {"GET", "/readyz", "getReadiness", ROLE_NONE, JSON, .handle = handle_readyz},
    {"GET", "/metrics", "getMetrics", ROLE_VIEWER, "text/plain; version=0.0.4; charset=utf-8",
     .handle = handle_metrics},
    {"GET", V1 "/openapi.yaml", "getContract", ROLE_NONE, "application/yaml", .handle = handle_contract},
    GET(V1 "/version", "getVersion", .handle = handle_version),
    GET(V1 "/auth/whoami", "getPrincipal", .handle = handle_whoami),
    GET(V1 "/summary", "getSummary", .handle = handle_summary),
    LIST(V1 "/gateways", "listGateways", gateway),
    GET(V1 "/gateways/{name}", "getGateway", .handle = handle_gateway),
    GET(V1 "/gateways/{name}/bootstrap", "getBootstrap", .parameters = bootstrap_parameters,
        .handle = handle_bootstrap),
    LIST(V1 "/listeners", "listListeners", listener),
    GET(V1 "/listeners/{name}", "getListener", .handle = handle_listener),
    LIST(V1 "/exposures", "listExposures", exposure, .kept = true),
    GET(V1 "/exposures/{name}", "getExposure", .kept = true, .handle = handle_exposure),
    LIST(V1 "/exposures/{name}/endpoints", "listEndpoints", endpoint, .kept = true),
    LIST(V1 "/services", "listServices", service, .kept = true),
    GET(V1 "/services/{name}", "getService", .kept = true, .handle = handle_service),
    LIST(V1 "/certificates", "listCertificates", certificate, .kept = true),
    GET(V1 "/certificates/{name}", "getCertificate", .kept = true, .handle = handle_certificate),
    LIST(V1 "/proxies", "listProxies", proxy),
    GET(V1 "/proxies/{id}", "getProxy", .handle = handle_proxy),
    LIST(V1 "/proxies/{id}/resources", "listProxyResources", resource),
    GET(V1 "/revisions/{revision}/rollout", "getRollout", .handle = handle_rollout),
    LIST(V1 "/topology", "listTopology", topology),
    {"POST", V1 "/explain", "explain", ROLE_VIEWER, JSON, .takes = json_content, .handle = handle_explain},
    LIST(V1 "/alarms", "listAlarms", alarm),
    {"GET", V1 "/events", "watchEvents", ROLE_VIEWER, "text/event-stream", .parameters = event_parameters,
     .handle = handle_events},
};
/* clang-format on */
const size_t api_n_routes = ARRAY_LEN(api_routes);
