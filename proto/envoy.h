/*
 * Envoy's messages under short names, made in arenas.
 *
 * protobuf-c spells a message's package out in its type: NAME here stands for that type, NAME_new(arena) makes one
 * with its defaults. What is built refers to texts without copying them: all of it must live until the message is
 * packed, and nothing of it is freed one by one.
 */
#ifndef PROTO_ENVOY_H
#define PROTO_ENVOY_H

#include "base/mem.h"

#include <stdbool.h>

#include <envoy/config/cluster/v3/cluster.pb-c.h>
#include <envoy/config/listener/v3/listener.pb-c.h>
#include <envoy/config/route/v3/route.pb-c.h>
#include <envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h>
#include <envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.pb-c.h>
#include <envoy/extensions/filters/udp/udp_proxy/v3/route.pb-c.h>
#include <envoy/extensions/filters/udp/udp_proxy/v3/udp_proxy.pb-c.h>
#include <envoy/extensions/transport_sockets/tls/v3/tls.pb-c.h>
#include <envoy/extensions/upstreams/http/v3/http_protocol_options.pb-c.h>

#define ENVOY(name, Type, type)                                                                                      \
    typedef Type name;                                                                                               \
    static inline name *name##_new(struct arena *a)                                                                  \
    {                                                                                                                \
        name *m = arena_new_of(a, name);                                                                             \
                                                                                                                     \
        type##__init(m);                                                                                             \
        return m;                                                                                                    \
    }

/* clang-format off */
ENVOY(pb_any, Google__Protobuf__Any, google__protobuf__any)
ENVOY(pb_bool, Google__Protobuf__BoolValue, google__protobuf__bool_value)
ENVOY(pb_uint32, Google__Protobuf__UInt32Value, google__protobuf__uint32_value)
ENVOY(pb_uint64, Google__Protobuf__UInt64Value, google__protobuf__uint64_value)
ENVOY(pb_duration, Google__Protobuf__Duration, google__protobuf__duration)

ENVOY(pb_address, Envoy__Config__Core__V3__Address, envoy__config__core__v3__address)
ENVOY(pb_socket_address, Envoy__Config__Core__V3__SocketAddress, envoy__config__core__v3__socket_address)
ENVOY(pb_config_source, Envoy__Config__Core__V3__ConfigSource, envoy__config__core__v3__config_source)
ENVOY(pb_ads, Envoy__Config__Core__V3__AggregatedConfigSource, envoy__config__core__v3__aggregated_config_source)
ENVOY(pb_data_source, Envoy__Config__Core__V3__DataSource, envoy__config__core__v3__data_source)
ENVOY(pb_transport_socket, Envoy__Config__Core__V3__TransportSocket, envoy__config__core__v3__transport_socket)
ENVOY(pb_percent, Envoy__Type__V3__Percent, envoy__type__v3__percent)
ENVOY(pb_health_check, Envoy__Config__Core__V3__HealthCheck, envoy__config__core__v3__health_check)
ENVOY(pb_tcp_health_check, Envoy__Config__Core__V3__HealthCheck__TcpHealthCheck,
      envoy__config__core__v3__health_check__tcp_health_check)
ENVOY(pb_http1_options, Envoy__Config__Core__V3__Http1ProtocolOptions,
      envoy__config__core__v3__http1_protocol_options)
ENVOY(pb_http2_options, Envoy__Config__Core__V3__Http2ProtocolOptions,
      envoy__config__core__v3__http2_protocol_options)
ENVOY(pb_http_options, Envoy__Config__Core__V3__HttpProtocolOptions, envoy__config__core__v3__http_protocol_options)
ENVOY(pb_upstream_http_options, Envoy__Config__Core__V3__UpstreamHttpProtocolOptions,
      envoy__config__core__v3__upstream_http_protocol_options)

ENVOY(pb_cluster, Envoy__Config__Cluster__V3__Cluster, envoy__config__cluster__v3__cluster)
ENVOY(pb_assignment, Envoy__Config__Endpoint__V3__ClusterLoadAssignment,
      envoy__config__endpoint__v3__cluster_load_assignment)
ENVOY(pb_locality, Envoy__Config__Endpoint__V3__LocalityLbEndpoints,
      envoy__config__endpoint__v3__locality_lb_endpoints)
ENVOY(pb_lb_endpoint, Envoy__Config__Endpoint__V3__LbEndpoint, envoy__config__endpoint__v3__lb_endpoint)
ENVOY(pb_endpoint, Envoy__Config__Endpoint__V3__Endpoint, envoy__config__endpoint__v3__endpoint)
ENVOY(pb_eds_config, Envoy__Config__Cluster__V3__Cluster__EdsClusterConfig,
      envoy__config__cluster__v3__cluster__eds_cluster_config)
ENVOY(pb_common_lb, Envoy__Config__Cluster__V3__Cluster__CommonLbConfig,
      envoy__config__cluster__v3__cluster__common_lb_config)
ENVOY(pb_circuit_breakers, Envoy__Config__Cluster__V3__CircuitBreakers, envoy__config__cluster__v3__circuit_breakers)
ENVOY(pb_connection_options, Envoy__Config__Cluster__V3__UpstreamConnectionOptions,
      envoy__config__cluster__v3__upstream_connection_options)
ENVOY(pb_tcp_keepalive, Envoy__Config__Core__V3__TcpKeepalive, envoy__config__core__v3__tcp_keepalive)
ENVOY(pb_thresholds, Envoy__Config__Cluster__V3__CircuitBreakers__Thresholds,
      envoy__config__cluster__v3__circuit_breakers__thresholds)
ENVOY(pb_extension_options, Envoy__Config__Cluster__V3__Cluster__TypedExtensionProtocolOptionsEntry,
      envoy__config__cluster__v3__cluster__typed_extension_protocol_options_entry)
ENVOY(pb_http_protocol_options, Envoy__Extensions__Upstreams__Http__V3__HttpProtocolOptions,
      envoy__extensions__upstreams__http__v3__http_protocol_options)
ENVOY(pb_explicit_http, Envoy__Extensions__Upstreams__Http__V3__HttpProtocolOptions__ExplicitHttpConfig,
      envoy__extensions__upstreams__http__v3__http_protocol_options__explicit_http_config)

ENVOY(pb_listener, Envoy__Config__Listener__V3__Listener, envoy__config__listener__v3__listener)
ENVOY(pb_listener_filter, Envoy__Config__Listener__V3__ListenerFilter,
      envoy__config__listener__v3__listener_filter)
ENVOY(pb_udp_listener, Envoy__Config__Listener__V3__UdpListenerConfig,
      envoy__config__listener__v3__udp_listener_config)
ENVOY(pb_filter_chain, Envoy__Config__Listener__V3__FilterChain, envoy__config__listener__v3__filter_chain)
ENVOY(pb_filter_chain_match, Envoy__Config__Listener__V3__FilterChainMatch,
      envoy__config__listener__v3__filter_chain_match)
ENVOY(pb_filter, Envoy__Config__Listener__V3__Filter, envoy__config__listener__v3__filter)

ENVOY(pb_hash_policy, Envoy__Type__V3__HashPolicy, envoy__type__v3__hash_policy)
ENVOY(pb_hash_source_ip, Envoy__Type__V3__HashPolicy__SourceIp, envoy__type__v3__hash_policy__source_ip)
ENVOY(pb_tcp_proxy, Envoy__Extensions__Filters__Network__TcpProxy__V3__TcpProxy,
      envoy__extensions__filters__network__tcp_proxy__v3__tcp_proxy)
ENVOY(pb_udp_proxy, Envoy__Extensions__Filters__Udp__UdpProxy__V3__UdpProxyConfig,
      envoy__extensions__filters__udp__udp_proxy__v3__udp_proxy_config)
ENVOY(pb_udp_hash_policy, Envoy__Extensions__Filters__Udp__UdpProxy__V3__UdpProxyConfig__HashPolicy,
      envoy__extensions__filters__udp__udp_proxy__v3__udp_proxy_config__hash_policy)
ENVOY(pb_udp_socket, Envoy__Config__Core__V3__UdpSocketConfig, envoy__config__core__v3__udp_socket_config)
ENVOY(pb_udp_route, Envoy__Extensions__Filters__Udp__UdpProxy__V3__Route,
      envoy__extensions__filters__udp__udp_proxy__v3__route)
ENVOY(pb_matcher, Xds__Type__Matcher__V3__Matcher, xds__type__matcher__v3__matcher)
ENVOY(pb_on_match, Xds__Type__Matcher__V3__Matcher__OnMatch, xds__type__matcher__v3__matcher__on_match)
ENVOY(pb_typed_extension, Xds__Core__V3__TypedExtensionConfig, xds__core__v3__typed_extension_config)

ENVOY(pb_hcm, Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager,
      envoy__extensions__filters__network__http_connection_manager__v3__http_connection_manager)
ENVOY(pb_rds, Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__Rds,
      envoy__extensions__filters__network__http_connection_manager__v3__rds)
ENVOY(pb_http_filter, Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpFilter,
      envoy__extensions__filters__network__http_connection_manager__v3__http_filter)
ENVOY(pb_upgrade,
      Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager__UpgradeConfig,
      envoy__extensions__filters__network__http_connection_manager__v3__http_connection_manager__upgrade_config)

ENVOY(pb_route_configuration, Envoy__Config__Route__V3__RouteConfiguration,
      envoy__config__route__v3__route_configuration)
ENVOY(pb_virtual_host, Envoy__Config__Route__V3__VirtualHost, envoy__config__route__v3__virtual_host)
ENVOY(pb_route, Envoy__Config__Route__V3__Route, envoy__config__route__v3__route)
ENVOY(pb_route_match, Envoy__Config__Route__V3__RouteMatch, envoy__config__route__v3__route_match)
ENVOY(pb_route_action, Envoy__Config__Route__V3__RouteAction, envoy__config__route__v3__route_action)
ENVOY(pb_redirect, Envoy__Config__Route__V3__RedirectAction, envoy__config__route__v3__redirect_action)
ENVOY(pb_direct_response, Envoy__Config__Route__V3__DirectResponseAction,
      envoy__config__route__v3__direct_response_action)
ENVOY(pb_retry_policy, Envoy__Config__Route__V3__RetryPolicy, envoy__config__route__v3__retry_policy)
ENVOY(pb_retry_host, Envoy__Config__Route__V3__RetryPolicy__RetryHostPredicate,
      envoy__config__route__v3__retry_policy__retry_host_predicate)
ENVOY(pb_route_upgrade, Envoy__Config__Route__V3__RouteAction__UpgradeConfig,
      envoy__config__route__v3__route_action__upgrade_config)
ENVOY(pb_route_hash, Envoy__Config__Route__V3__RouteAction__HashPolicy,
      envoy__config__route__v3__route_action__hash_policy)
ENVOY(pb_hash_cookie, Envoy__Config__Route__V3__RouteAction__HashPolicy__Cookie,
      envoy__config__route__v3__route_action__hash_policy__cookie)
ENVOY(pb_hash_header, Envoy__Config__Route__V3__RouteAction__HashPolicy__Header,
      envoy__config__route__v3__route_action__hash_policy__header)
ENVOY(pb_hash_connection, Envoy__Config__Route__V3__RouteAction__HashPolicy__ConnectionProperties,
      envoy__config__route__v3__route_action__hash_policy__connection_properties)
ENVOY(pb_regex, Envoy__Type__Matcher__V3__RegexMatcher, envoy__type__matcher__v3__regex_matcher)

ENVOY(pb_secret, Envoy__Extensions__TransportSockets__Tls__V3__Secret,
      envoy__extensions__transport_sockets__tls__v3__secret)
ENVOY(pb_sds, Envoy__Extensions__TransportSockets__Tls__V3__SdsSecretConfig,
      envoy__extensions__transport_sockets__tls__v3__sds_secret_config)
ENVOY(pb_tls_certificate, Envoy__Extensions__TransportSockets__Tls__V3__TlsCertificate,
      envoy__extensions__transport_sockets__tls__v3__tls_certificate)
ENVOY(pb_validation, Envoy__Extensions__TransportSockets__Tls__V3__CertificateValidationContext,
      envoy__extensions__transport_sockets__tls__v3__certificate_validation_context)
ENVOY(pb_tls_parameters, Envoy__Extensions__TransportSockets__Tls__V3__TlsParameters,
      envoy__extensions__transport_sockets__tls__v3__tls_parameters)
ENVOY(pb_common_tls, Envoy__Extensions__TransportSockets__Tls__V3__CommonTlsContext,
      envoy__extensions__transport_sockets__tls__v3__common_tls_context)
ENVOY(pb_downstream_tls, Envoy__Extensions__TransportSockets__Tls__V3__DownstreamTlsContext,
      envoy__extensions__transport_sockets__tls__v3__downstream_tls_context)
ENVOY(pb_upstream_tls, Envoy__Extensions__TransportSockets__Tls__V3__UpstreamTlsContext,
      envoy__extensions__transport_sockets__tls__v3__upstream_tls_context)
/* clang-format on */

/* Enum constants and the members of oneofs, without their package. */
#define PB_CORE(name) ENVOY__CONFIG__CORE__V3__##name
#define PB_ENDPOINT(name) ENVOY__CONFIG__ENDPOINT__V3__##name
#define PB_CLUSTER(name) ENVOY__CONFIG__CLUSTER__V3__##name
#define PB_LISTENER(name) ENVOY__CONFIG__LISTENER__V3__##name
#define PB_ROUTE(name) ENVOY__CONFIG__ROUTE__V3__##name
#define PB_TYPE(name) ENVOY__TYPE__V3__##name
#define PB_TLS(name) ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__##name
#define PB_UPSTREAM(name) ENVOY__EXTENSIONS__UPSTREAMS__HTTP__V3__##name
#define PB_HCM(name) ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__##name
#define PB_TCP(name) ENVOY__EXTENSIONS__FILTERS__NETWORK__TCP_PROXY__V3__##name
#define PB_UDP(name) ENVOY__EXTENSIONS__FILTERS__UDP__UDP_PROXY__V3__##name

/* protobuf-c's texts are not const, and are never written to. */
#define PB_TEXT(text) ((char *)(uintptr_t)(text))

/* Any message as an Any; the type's URL as Envoy has it. */
pb_any *pb_any_of(struct arena *a, const ProtobufCMessage *m);
/* An Any of an empty message of that type. */
pb_any *pb_any_empty(struct arena *a, const char *type_name);
pb_bool *pb_bool_of(struct arena *a, bool value);
pb_uint32 *pb_uint32_of(struct arena *a, uint32_t value);
pb_uint64 *pb_uint64_of(struct arena *a, uint64_t value);
pb_duration *pb_duration_of(struct arena *a, int64_t ns);
/* An array of one pointer, for a repeated field. */
void *pb_list_of(struct arena *a, void *element);
/* Of an IP address and a port. */
struct address;
pb_address *pb_address_of(struct arena *a, const struct address *address, uint16_t port, bool udp);
/* "Ask the ADS stream": of everything that a resource refers to. */
pb_config_source *pb_ads_source(struct arena *a);
/* The wire bytes of a message, in the arena. */
uint8_t *pb_pack(struct arena *a, const ProtobufCMessage *m, size_t *ret_len);
/* From wire bytes into the arena; NULL when they are not such a message. Its texts may be replaced, not freed. */
void *pb_unpack(struct arena *a, const ProtobufCMessageDescriptor *type, const uint8_t *wire, size_t n);

#endif
