/*
 * What gRPC core itself costs: a server of one thread that pushes ready bytes to all its streams and takes their
 * answers, and does nothing else. The benchmark compares igwd with it.
 *
 *     xds_floor ADDRESS
 *
 * Commands on standard input, answers as JSON lines:
 *
 *     count              {"streams": those that are open, "answers": messages that came since the last push}
 *     push BYTES         sends a message of that size to every stream; {"at": CLOCK_MONOTONIC in ns, "streams": N}
 *
 * Ends when standard input does. One thread owns everything; a push waits for nobody: a stream that is still sending
 * ends the program, since the figures would mean nothing.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "tests/tools/commands.h"

#include <assert.h>
#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>

enum { ACCEPTS = 32, STREAMS_MAX = 20000, REQUEST_MAX = 16 << 20 };

enum op_kind { OP_READ, OP_SENT, OP_CLOSED, OP_KINDS };

struct tag {
    enum { TAG_COMMAND, TAG_ACCEPT, TAG_STREAM } what;
    enum op_kind kind;
    void *owner;
};

struct floor_server;

struct stream {
    struct floor_server *server;
    struct stream *next;
    grpc_call *call;
    struct tag tags[OP_KINDS];
    grpc_byte_buffer *incoming;
    int cancelled;
    bool sending, closed;
};

struct accept {
    struct tag tag;
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array metadata;
};

struct floor_server {
    grpc_server *grpc;
    grpc_completion_queue *queue;
    struct commands commands;
    struct tag command_tag;
    struct accept accepts[ACCEPTS];
    struct stream *streams;
    size_t n_streams, n_answers;
};

static void start(struct stream *stream, enum op_kind kind, grpc_op *ops, size_t n)
{
    grpc_call_error r = grpc_call_start_batch(stream->call, ops, n, &stream->tags[kind], NULL);

    assert(r == GRPC_CALL_OK);
}

static void start_read(struct stream *stream)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

    op.data.recv_message.recv_message = &stream->incoming;
    start(stream, OP_READ, &op, 1);
}

static void start_accept(struct floor_server *s, struct accept *a)
{
    grpc_call_error r;

    a->tag = (struct tag){.what = TAG_ACCEPT, .owner = a};
    a->call = NULL;
    grpc_call_details_init(&a->details);
    grpc_metadata_array_init(&a->metadata);
    r = grpc_server_request_call(s->grpc, &a->call, &a->details, &a->metadata, s->queue, s->queue, &a->tag);
    assert(r == GRPC_CALL_OK);
}

static void on_accept(struct floor_server *s, struct accept *a)
{
    struct stream *stream = mem_new(struct stream);
    grpc_op begin = {.op = GRPC_OP_SEND_INITIAL_METADATA};
    grpc_op closed = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};

    stream->server = s;
    stream->call = a->call;
    for (unsigned i = 0; i < OP_KINDS; i++)
        stream->tags[i] = (struct tag){.what = TAG_STREAM, .kind = (enum op_kind)i, .owner = stream};
    closed.data.recv_close_on_server.cancelled = &stream->cancelled;
    stream->sending = true;
    start(stream, OP_SENT, &begin, 1);
    start(stream, OP_CLOSED, &closed, 1);
    start_read(stream);
    stream->next = s->streams;
    s->streams = stream;
    s->n_streams++;
    grpc_call_details_destroy(&a->details);
    grpc_metadata_array_destroy(&a->metadata);
    start_accept(s, a);
}

static void on_stream(struct stream *stream, enum op_kind kind)
{
    switch (kind) {
    case OP_READ:
        if (stream->incoming) {
            grpc_byte_buffer_destroy(take_ptr(stream->incoming));
            stream->server->n_answers++;
            start_read(stream);
        }
        break;
    case OP_SENT:
        stream->sending = false;
        break;
    case OP_CLOSED:
        /* Its memory stays: the program ends soon, and reads may be under way. */
        stream->closed = true;
        stream->server->n_streams--;
        break;
    case OP_KINDS:
        break;
    }
}

static void push(struct floor_server *s, size_t n)
{
    grpc_slice slice = grpc_slice_malloc(n);
    size_t pushed = 0;
    clock_ns at;

    memset(GRPC_SLICE_START_PTR(slice), 'x', n);
    s->n_answers = 0;
    at = clock_now(NULL);
    for (struct stream *stream = s->streams; stream; stream = stream->next) {
        grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
        grpc_byte_buffer *buffer;

        if (stream->closed)
            continue;
        if (stream->sending) {
            fprintf(stderr, "xds_floor: pushed again before the last message was on its way\n");
            exit(EXIT_FAILURE);
        }
        buffer = grpc_raw_byte_buffer_create(&slice, 1);
        op.data.send_message.send_message = buffer;
        stream->sending = true;
        start(stream, OP_SENT, &op, 1);
        grpc_byte_buffer_destroy(buffer);
        pushed++;
    }
    grpc_slice_unref(slice);
    printf("{\"at\": %lld, \"streams\": %zu}\n", (long long)at, pushed);
}

/* False: the end. */
static bool on_command(struct floor_server *s)
{
    struct command c;

    commands_take(&s->commands, &c);
    if (c.n == 0)
        return false;
    if (strcmp(c.words[0], "push") == 0)
        push(s, (size_t)command_number(&c, 1));
    else if (strcmp(c.words[0], "count") == 0)
        printf("{\"streams\": %zu, \"answers\": %zu}\n", s->n_streams, s->n_answers);
    else
        printf("{\"error\": \"unknown command\"}\n");
    fflush(stdout);
    return true;
}

static bool on_event(struct floor_server *s, const grpc_event *event)
{
    struct tag *tag = event->tag;

    switch (tag->what) {
    case TAG_COMMAND:
        return on_command(s);
    case TAG_ACCEPT:
        if (event->success)
            on_accept(s, tag->owner);
        break;
    case TAG_STREAM:
        on_stream(tag->owner, tag->kind);
        break;
    }
    return true;
}

static void listen_on(struct floor_server *s, const char *address)
{
    grpc_arg args[] = {
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, .value.integer = REQUEST_MAX},
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, .value.integer = -1},
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_MAX_CONCURRENT_STREAMS, .value.integer = STREAMS_MAX},
    };
    grpc_channel_args channel_args = {.num_args = ARRAY_LEN(args), .args = args};
    grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();

    s->queue = grpc_completion_queue_create_for_next(NULL);
    s->grpc = grpc_server_create(&channel_args, NULL);
    grpc_server_register_completion_queue(s->grpc, s->queue, NULL);
    if (grpc_server_add_http2_port(s->grpc, address, credentials) == 0) {
        fprintf(stderr, "xds_floor: can't listen on %s\n", address);
        exit(EXIT_FAILURE);
    }
    grpc_server_credentials_release(credentials);
    grpc_server_start(s->grpc);
    for (unsigned i = 0; i < ACCEPTS; i++)
        start_accept(s, &s->accepts[i]);
}

int main(int argc, char **argv)
{
    struct floor_server *s = mem_new(struct floor_server);
    grpc_event event;

    if (argc != 2) {
        fprintf(stderr, "usage: xds_floor ADDRESS\n");
        return EXIT_FAILURE;
    }
    grpc_init();
    listen_on(s, argv[1]);
    s->command_tag = (struct tag){.what = TAG_COMMAND};
    commands_start(&s->commands, s->queue, &s->command_tag);
    do
        event = grpc_completion_queue_next(s->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    while (event.type != GRPC_OP_COMPLETE || on_event(s, &event));
    return EXIT_SUCCESS;
}
