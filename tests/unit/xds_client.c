/* The tests' gRPC client: see xds_client.h. All calls of a connection share its completion queue; what comes out of
 * it for another call is noted there. */
#include "tests/unit/xds_client.h"

#include "base/buf.h"
#include "base/clock.h"

#include <assert.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <string.h>

enum { SEND_MS = 20000 };

struct xds_client {
    grpc_channel *channel;
    grpc_completion_queue *queue;
};

struct op {
    struct xds_call *call;
    bool pending, done, ok;
};

struct xds_call {
    struct xds_client *client;
    grpc_call *call;
    struct op begun, sent, closed, received, ended;
    grpc_metadata_array initial, trailing;
    grpc_byte_buffer *incoming;
    grpc_status_code status;
    grpc_slice details;
    char *text;
};

struct xds_client *xds_client_new(const struct xds_client_options *o)
{
    struct xds_client *c = mem_new(struct xds_client);
    grpc_channel_credentials *credentials;
    grpc_arg args[8];
    grpc_channel_args channel_args = {.args = args};

#define ADD_INT(name, number)                                                                                        \
    args[channel_args.num_args++] =                                                                                  \
        (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)(name), .value.integer = (number)}
    grpc_init();
    ADD_INT(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, -1);
    ADD_INT(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    ADD_INT(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    if (o->ping_ms) {
        ADD_INT(GRPC_ARG_KEEPALIVE_TIME_MS, o->ping_ms);
        ADD_INT(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
        ADD_INT(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    }
    if (o->window) {
        ADD_INT(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, o->window);
        ADD_INT(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    }
    if (o->server_name)
        args[channel_args.num_args++] = (grpc_arg){.type = GRPC_ARG_STRING,
                                                   .key = (char *)GRPC_SSL_TARGET_NAME_OVERRIDE_ARG,
                                                   .value.string = (char *)o->server_name};
    if (o->ca) {
        grpc_ssl_pem_key_cert_pair pair = {.private_key = o->key, .cert_chain = o->certificate};

        credentials = grpc_ssl_credentials_create(o->ca, o->certificate ? &pair : NULL, NULL, NULL);
    } else {
        credentials = grpc_insecure_credentials_create();
    }
    c->channel = grpc_channel_create(o->target, credentials, &channel_args);
    grpc_channel_credentials_release(credentials);
    c->queue = grpc_completion_queue_create_for_next(NULL);
    return c;
}

/* One event, if one comes before the deadline. */
static bool step(struct xds_client *c, gpr_timespec deadline)
{
    grpc_event event = grpc_completion_queue_next(c->queue, deadline, NULL);
    struct op *op = event.tag;

    if (event.type != GRPC_OP_COMPLETE)
        return false;
    op->pending = false;
    op->done = true;
    op->ok = event.success;
    return true;
}

static gpr_timespec in_ms(int ms)
{
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(ms, GPR_TIMESPAN));
}

static bool wait_for(struct op *op, int ms)
{
    gpr_timespec deadline = in_ms(ms);

    while (op->pending && step(op->call->client, deadline))
        ;
    return !op->pending;
}

void xds_client_free(struct xds_client *c)
{
    grpc_channel_destroy(c->channel);
    grpc_completion_queue_shutdown(c->queue);
    while (grpc_completion_queue_next(c->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type !=
           GRPC_QUEUE_SHUTDOWN)
        ;
    grpc_completion_queue_destroy(c->queue);
    mem_free(c);
    grpc_shutdown();
}

static void start(struct op *op, grpc_op *ops, size_t n)
{
    grpc_call_error r;

    op->pending = true;
    op->done = false;
    r = grpc_call_start_batch(op->call->call, ops, n, op, NULL);
    assert(r == GRPC_CALL_OK);
}

static void start_receive(struct xds_call *k)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

    op.data.recv_message.recv_message = &k->incoming;
    start(&k->received, &op, 1);
}

struct xds_call *xds_call_new(struct xds_client *c, const char *path)
{
    struct xds_call *k = mem_new(struct xds_call);
    grpc_slice method = grpc_slice_from_copied_string(path);
    grpc_op begin[] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_RECV_INITIAL_METADATA}};
    grpc_op end = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};

    k->client = c;
    k->begun.call = k->sent.call = k->closed.call = k->received.call = k->ended.call = k;
    k->call = grpc_channel_create_call(c->channel, NULL, GRPC_PROPAGATE_DEFAULTS, c->queue, method, NULL,
                                       gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    grpc_slice_unref(method);
    grpc_metadata_array_init(&k->initial);
    grpc_metadata_array_init(&k->trailing);
    begin[1].data.recv_initial_metadata.recv_initial_metadata = &k->initial;
    start(&k->begun, begin, ARRAY_LEN(begin));
    end.data.recv_status_on_client.trailing_metadata = &k->trailing;
    end.data.recv_status_on_client.status = &k->status;
    end.data.recv_status_on_client.status_details = &k->details;
    start(&k->ended, &end, 1);
    start_receive(k);
    return k;
}

void xds_call_free(struct xds_call *k)
{
    struct op *ops[] = {&k->begun, &k->sent, &k->closed, &k->received, &k->ended};
    gpr_timespec never = gpr_inf_future(GPR_CLOCK_MONOTONIC);

    xds_call_cancel(k);
    for (size_t i = 0; i < ARRAY_LEN(ops); i++)
        while (ops[i]->pending && step(k->client, never))
            ;
    if (k->incoming)
        grpc_byte_buffer_destroy(k->incoming);
    grpc_metadata_array_destroy(&k->initial);
    grpc_metadata_array_destroy(&k->trailing);
    grpc_slice_unref(k->details);
    grpc_call_unref(k->call);
    mem_free(k->text);
    mem_free(k);
}

bool xds_call_send_bytes(struct xds_call *k, const uint8_t *p, size_t n)
{
    grpc_slice slice = grpc_slice_from_copied_buffer((const char *)p, n);
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};

    op.data.send_message.send_message = buffer;
    start(&k->sent, &op, 1);
    grpc_byte_buffer_destroy(buffer);
    grpc_slice_unref(slice);
    return wait_for(&k->sent, SEND_MS) && k->sent.ok;
}

bool xds_call_send(struct xds_call *k, enum xds_variant variant, const struct wire_request *r)
{
    size_t n;
    uint8_t *bytes = wire_pack(variant, r, &n);
    bool ok = xds_call_send_bytes(k, bytes, n);

    mem_free(bytes);
    return ok;
}

void xds_call_half_close(struct xds_call *k)
{
    grpc_op op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};

    start(&k->closed, &op, 1);
}

void xds_call_cancel(struct xds_call *k)
{
    grpc_call_cancel(k->call, NULL);
}

/* Names end in from_grpc where bytes are read that gRPC's threads wrote: see tests/tsan.supp. */
static void bytes_from_grpc(struct buf *b, grpc_byte_buffer *message)
{
    grpc_byte_buffer_reader reader;
    grpc_slice slice;
    int ok = grpc_byte_buffer_reader_init(&reader, message);

    assert(ok);
    while (grpc_byte_buffer_reader_next(&reader, &slice)) {
        buf_append(b, GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice));
        grpc_slice_unref(slice);
    }
    grpc_byte_buffer_reader_destroy(&reader);
    grpc_byte_buffer_destroy(message);
}

static char *text_from_grpc(grpc_slice slice)
{
    return mem_strndup((const char *)GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice));
}

uint8_t *xds_call_receive_bytes(struct xds_call *k, size_t *ret_len, int ms)
{
    struct buf bytes = {0};

    if (!wait_for(&k->received, ms) || !k->incoming)
        return NULL;
    bytes_from_grpc(&bytes, take_ptr(k->incoming));
    start_receive(k);
    return (uint8_t *)buf_take(&bytes, ret_len);
}

struct wire_response *xds_call_receive(struct xds_call *k, enum xds_variant variant, int ms)
{
    size_t n;
    uint8_t *bytes = xds_call_receive_bytes(k, &n, ms);
    struct wire_response *r = bytes ? wire_unpack(variant, bytes, n) : NULL;

    mem_free(bytes);
    return r;
}

int xds_call_status(struct xds_call *k, int ms)
{
    if (!wait_for(&k->ended, ms))
        return -1;
    if (!k->text)
        k->text = text_from_grpc(k->details);
    return (int)k->status;
}

const char *xds_call_status_text(const struct xds_call *k)
{
    return k->text;
}
