/*
 * A small gRPC client for tests: connections and bidirectional streams of raw messages, without threads. Waiting is
 * bounded by a deadline; nothing sleeps.
 */
#ifndef TESTS_UNIT_XDS_CLIENT_H
#define TESTS_UNIT_XDS_CLIENT_H

#include "base/mem.h"
#include "tests/unit/xds_wire.h"

#include <stdbool.h>

struct xds_client; /* one connection */
struct xds_call;   /* one stream */

struct xds_client_options {
    const char *target; /* "127.0.0.1:1234", "unix:/path" */
    /* TLS; PEM texts; all NULL: plaintext. */
    const char *ca, *certificate, *key;
    const char *server_name; /* expected of the server's certificate instead of the target's host */
    int ping_ms;             /* keepalive pings, also without data; 0: none */
    int window;              /* HTTP/2 flow control: bytes to receive before the application reads; 0: default */
};

struct xds_client *xds_client_new(const struct xds_client_options *o);
/* Its calls must have been freed. */
void xds_client_free(struct xds_client *c);

/* path: "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources" */
struct xds_call *xds_call_new(struct xds_client *c, const char *path);
/* Cancels it unless it has ended. */
void xds_call_free(struct xds_call *k);
/* False when the call has ended. Waits until the message is on its way. */
bool xds_call_send_bytes(struct xds_call *k, const uint8_t *p, size_t n);
bool xds_call_send(struct xds_call *k, enum xds_variant variant, const struct wire_request *r);
/* The client is done. */
void xds_call_half_close(struct xds_call *k);
void xds_call_cancel(struct xds_call *k);
/* The next message, or NULL when none came within ms or the call ended (ms 0: without waiting). The caller frees. */
struct wire_response *xds_call_receive(struct xds_call *k, enum xds_variant variant, int ms);
uint8_t *xds_call_receive_bytes(struct xds_call *k, size_t *ret_len, int ms);
/* Waits for the end: gRPC's status code, or -1 when it did not end within ms. */
int xds_call_status(struct xds_call *k, int ms);
/* The status' text, after it ended. */
const char *xds_call_status_text(const struct xds_call *k);

#define ADS_SOTW "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
#define ADS_DELTA "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"

#endif
