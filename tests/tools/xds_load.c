/*
 * The benchmark's load: many xDS clients in one thread, each with a stream on a connection of its own, that ask and
 * answer as Envoys do, and note when what arrived.
 *
 *     xds_load ADDRESS
 *
 * Commands on standard input, answers as JSON lines:
 *
 *     open VARIANT STREAMS CLUSTERS MS   delta or sotw: opens streams; answers when each holds so many clusters,
 *                                        as many assignments and listeners, or after MS milliseconds
 *     open raw STREAMS BYTES 0           streams that answer each message with so many bytes and look at nothing
 *     await CHANGES MS                   {"armed": true}; then, when each stream got so many different assignments
 *                                        (raw: messages) since then, the arrivals
 *     reconnect                          all streams anew, with all that is held told to the server
 *     stats                              what came since the last command, and whether all streams hold the same
 *     close                              ends all streams
 *
 * Ends when standard input does, and with an error when a stream ends by itself. The benchmark takes nothing away:
 * a resource that is removed is an error too.
 *
 * One thread owns everything. Encoded lists of names are shared by the streams, so that the clients' own cost stays
 * small beside the server's.
 */
#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/map.h"
#include "proto/wire.h"
#include "tests/tools/commands.h"

#include <assert.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>

#define SERVICE "/envoy.service.discovery.v3.AggregatedDiscoveryService/"

enum { OUT_MAX = 1024, /* more than a server leaves unanswered, of all types together */ VERSION_MAX = 64 };
enum variant { VARIANT_DELTA, VARIANT_SOTW, VARIANT_RAW };
enum type { TYPE_CLUSTER, TYPE_ENDPOINT, TYPE_LISTENER, TYPES };
enum op_kind { OP_BEGUN, OP_RECEIVED, OP_SENT, OP_ENDED, OP_KINDS };

static const char *const type_urls[TYPES] = {
    [TYPE_CLUSTER] = "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    [TYPE_ENDPOINT] = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
    [TYPE_LISTENER] = "type.googleapis.com/envoy.config.listener.v3.Listener",
};

struct tag {
    enum op_kind kind;
    struct stream *stream; /* NULL: a command */
};

/* A resource, whoever holds it. */
struct name {
    char *text;
    size_t len;
    uint32_t id;
    char version[VERSION_MAX]; /* the last that came: all streams hold the same in the end */
};

struct names {
    struct map by_text;
    struct name **items; /* by id */
    size_t n, cap;
    grpc_slice encoded; /* of all, as field 3 of a request */
    size_t n_encoded;
};

/* What a stream holds of a type, by the name's id. */
struct held {
    uint32_t *hashes; /* of the resource's bytes; 0: not held */
    uint32_t *marks;  /* of assignments: the goal during which it came last */
    size_t n, cap;
    char version[VERSION_MAX]; /* state of the world */
    bool asked;
};

struct stream {
    struct load *load;
    grpc_channel *channel;
    grpc_call *call;
    struct tag tags[OP_KINDS];
    unsigned n_pending;
    grpc_metadata_array initial, trailing;
    grpc_byte_buffer *incoming;
    grpc_status_code status;
    grpc_slice details;
    grpc_byte_buffer *out[OUT_MAX]; /* a ring */
    size_t out_first, n_out;
    bool sending;
    struct held held[TYPES];
    size_t n_distinct; /* since the goal was set */
    clock_ns reached;  /* the goal; 0: not yet */
};

struct counts {
    uint64_t messages, bytes, resources;
};

struct load {
    const char *address;
    grpc_completion_queue *queue;
    struct commands commands;
    struct tag command_tag;
    enum variant variant;
    struct stream *streams;
    size_t n_streams;
    bool closing, command_due; /* a command's wake-up came while streams were being closed */
    struct names names[TYPES];
    struct buf bytes, request; /* scratch */
    size_t raw_answer;
    struct counts counts, counts_before;
    /* The goal that is waited for, if any: CLUSTERS of each type, or different assignments. */
    enum { GOAL_NONE, GOAL_SYNC, GOAL_CHANGES } goal;
    uint32_t goal_number; /* a new one each time: what marks compare with */
    size_t goal_n, n_reached;
    clock_ns goal_begin, goal_deadline;
};

static void die(const char *what, const char *detail)
{
    fprintf(stderr, "xds_load: %s%s%s\n", what, detail ? ": " : "", detail ? detail : "");
    exit(EXIT_FAILURE);
}

/* ---- names ---- */

static struct name *name_get(struct names *names, const char *text, size_t len)
{
    struct name *name = map_get(&names->by_text, text, len);

    if (name)
        return name;
    name = mem_new(struct name);
    name->text = mem_strndup(text, len);
    name->len = len;
    name->id = (uint32_t)names->n;
    if (names->n == names->cap) {
        names->cap = names->cap ? names->cap * 2 : 1024;
        names->items = mem_realloc(names->items, names->cap, sizeof(struct name *));
    }
    names->items[names->n++] = name;
    map_put(&names->by_text, name->text, len, name);
    return name;
}

static void names_clear(struct names *names)
{
    for (size_t i = 0; i < names->n; i++) {
        mem_free(names->items[i]->text);
        mem_free(names->items[i]);
    }
    map_clear(&names->by_text);
    mem_free(names->items);
    grpc_slice_unref(names->encoded);
    *names = (struct names){.encoded = grpc_empty_slice()};
}

static grpc_slice slice_of(const struct buf *b)
{
    return grpc_slice_from_copied_buffer((const char *)b->data, b->len);
}

/* Names of clusters as a request's field 3: all that this stream holds; one list is made for all that hold all. The
 * caller has a reference. */
static grpc_slice encode_names(struct load *l, const struct stream *s)
{
    struct names *names = &l->names[TYPE_CLUSTER];
    const struct held *held = &s->held[TYPE_CLUSTER];
    bool all = held->n == names->n;

    if (!all || names->n_encoded != names->n) {
        struct buf b = {0};
        grpc_slice slice;

        for (size_t i = 0; i < names->n; i++)
            if (i < held->cap && held->hashes[i])
                wire_put_bytes(&b, 3, names->items[i]->text, names->items[i]->len);
        slice = slice_of(&b);
        buf_clear(&b);
        if (!all)
            return slice;
        grpc_slice_unref(names->encoded);
        names->encoded = slice;
        names->n_encoded = names->n;
    }
    return grpc_slice_ref(names->encoded);
}

/* Field 5 of an incremental request: initial_resource_versions of all that is held. */
static grpc_slice encode_versions(const struct names *names)
{
    struct buf b = {0};
    grpc_slice slice;

    for (size_t i = 0; i < names->n; i++) {
        size_t begin;

        wire_put_tag(&b, 5, WIRE_BYTES);
        begin = wire_begin(&b);
        wire_put_bytes(&b, 1, names->items[i]->text, names->items[i]->len);
        wire_put_bytes(&b, 2, names->items[i]->version, strlen(names->items[i]->version));
        wire_end(&b, begin);
    }
    slice = slice_of(&b);
    buf_clear(&b);
    return slice;
}

/* ---- sending ---- */

static void start(struct stream *s, enum op_kind kind, grpc_op *ops, size_t n)
{
    grpc_call_error r;

    s->n_pending++;
    r = grpc_call_start_batch(s->call, ops, n, &s->tags[kind], NULL);
    assert(r == GRPC_CALL_OK);
}

static void start_send(struct stream *s)
{
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
    grpc_byte_buffer *buffer = s->out[s->out_first];

    if (s->sending || s->n_out == 0 || s->load->closing)
        return;
    s->out_first = (s->out_first + 1) % OUT_MAX;
    s->n_out--;
    s->sending = true;
    op.data.send_message.send_message = buffer;
    start(s, OP_SENT, &op, 1);
    grpc_byte_buffer_destroy(buffer);
}

/* Takes the slices' references. */
static void enqueue(struct stream *s, grpc_slice *slices, size_t n)
{
    if (s->n_out == OUT_MAX)
        die("a stream has too many answers to send", NULL);
    s->out[(s->out_first + s->n_out) % OUT_MAX] = grpc_raw_byte_buffer_create(slices, n);
    s->n_out++;
    for (size_t i = 0; i < n; i++)
        grpc_slice_unref(slices[i]);
    start_send(s);
}

static void put_text(struct buf *b, uint32_t number, const char *text, size_t len)
{
    if (len > 0)
        wire_put_bytes(b, number, text, len);
}

static void put_node(struct buf *b, uint32_t number, size_t index)
{
    _cleanup_(mem_free_p) char *id = mem_printf("load-%zu", index);
    size_t begin;

    wire_put_tag(b, number, WIRE_BYTES);
    begin = wire_begin(b);
    wire_put_bytes(b, 1, id, strlen(id));
    wire_put_bytes(b, 2, "envoy", 5);
    wire_end(b, begin);
}

/* names and versions: empty slices for none; their references are taken. The fields are in the order in which
 * protobuf writes them. The node goes into a stream's first request only. */
static void request(struct stream *s, enum type type, const char *nonce, size_t nonce_len, grpc_slice names,
                    grpc_slice versions)
{
    struct load *l = s->load;
    bool sotw = l->variant == VARIANT_SOTW, first = true;
    grpc_slice slices[4];

    for (unsigned i = 0; i < TYPES; i++)
        first &= !s->held[i].asked;
    s->held[type].asked = true;
    buf_reset(&l->request);
    if (sotw)
        put_text(&l->request, 1, s->held[type].version, strlen(s->held[type].version));
    if (first)
        put_node(&l->request, sotw ? 2 : 1, (size_t)(s - l->streams));
    if (!sotw)
        wire_put_bytes(&l->request, 2, type_urls[type], strlen(type_urls[type]));
    slices[0] = slice_of(&l->request);
    slices[1] = names;
    slices[2] = versions;
    buf_reset(&l->request);
    if (sotw)
        wire_put_bytes(&l->request, 4, type_urls[type], strlen(type_urls[type]));
    put_text(&l->request, sotw ? 5 : 6, nonce, nonce_len);
    slices[3] = slice_of(&l->request);
    enqueue(s, slices, ARRAY_LEN(slices));
}

static void ask(struct stream *s, enum type type, grpc_slice names)
{
    request(s, type, "", 0, names, grpc_empty_slice());
}

static void acknowledge(struct stream *s, enum type type, const char *nonce, size_t len)
{
    bool repeat = s->load->variant == VARIANT_SOTW && type == TYPE_ENDPOINT;

    request(s, type, nonce, len, repeat ? encode_names(s->load, s) : grpc_empty_slice(), grpc_empty_slice());
}

static void answer_raw(struct stream *s)
{
    grpc_slice slice = grpc_slice_malloc(s->load->raw_answer);

    memset(GRPC_SLICE_START_PTR(slice), 'a', s->load->raw_answer);
    enqueue(s, &slice, 1);
}

/* ---- goals ---- */

static void set_goal(struct load *l, int goal, size_t n, long ms)
{
    l->goal = goal;
    l->goal_n = n;
    l->goal_number++;
    l->goal_begin = clock_now(NULL);
    l->goal_deadline = l->goal_begin + ms * CLOCK_NS_PER_MS;
    l->n_reached = 0;
    l->counts_before = l->counts;
    for (size_t i = 0; i < l->n_streams; i++) {
        l->streams[i].n_distinct = 0;
        l->streams[i].reached = 0;
    }
}

static void print_counts(const struct load *l)
{
    printf("\"streams\": %zu, \"messages\": %llu, \"bytes\": %llu, \"resources\": %llu", l->n_streams,
           (unsigned long long)(l->counts.messages - l->counts_before.messages),
           (unsigned long long)(l->counts.bytes - l->counts_before.bytes),
           (unsigned long long)(l->counts.resources - l->counts_before.resources));
}

static void finish_goal(struct load *l)
{
    printf("{\"ok\": %s, \"begin\": %lld, \"reached\": %zu, ", l->n_reached == l->n_streams ? "true" : "false",
           (long long)l->goal_begin, l->n_reached);
    print_counts(l);
    printf(", \"arrivals\": [");
    for (size_t i = 0, n = 0; i < l->n_streams; i++)
        if (l->streams[i].reached)
            printf("%s%lld", n++ ? ", " : "", (long long)l->streams[i].reached);
    printf("]}\n");
    fflush(stdout);
    l->goal = GOAL_NONE;
}

/* Looked at after each message. */
static void check_goal(struct stream *s, clock_ns now)
{
    struct load *l = s->load;
    bool done;

    if (l->goal == GOAL_NONE || s->reached)
        return;
    done = l->goal == GOAL_CHANGES && s->n_distinct >= l->goal_n;
    if (l->goal == GOAL_SYNC) {
        done = true;
        for (unsigned i = 0; i < TYPES; i++)
            done &= s->held[i].n >= l->goal_n;
    }
    if (!done)
        return;
    s->reached = now;
    if (++l->n_reached == l->n_streams)
        finish_goal(l);
}

/* ---- receiving ---- */

static void held_grow(struct held *h, size_t n, bool marked)
{
    size_t cap = h->cap ? h->cap : 1024;

    if (n <= h->cap)
        return;
    while (cap < n)
        cap *= 2;
    h->hashes = mem_realloc(h->hashes, cap, sizeof(uint32_t));
    memset(h->hashes + h->cap, 0, (cap - h->cap) * sizeof(uint32_t));
    if (marked) {
        h->marks = mem_realloc(h->marks, cap, sizeof(uint32_t));
        memset(h->marks + h->cap, 0, (cap - h->cap) * sizeof(uint32_t));
    }
    h->cap = cap;
}

/* The record with that number, or false. */
static bool find(const uint8_t *p, size_t n, uint32_t number, struct wire_record *ret)
{
    struct wire w = {.p = p, .end = p + n};
    int r;

    while ((r = wire_next(&w, ret)) > 0)
        if (ret->number == number && ret->type == WIRE_BYTES)
            return true;
    if (r < 0)
        die("a response is no protobuf message", NULL);
    return false;
}

struct received {
    enum type type;
    struct wire_record nonce, version;
    bool has_nonce, has_version, new_names;
};

static void take_resource(struct stream *s, const struct wire_record *record, struct received *r)
{
    struct load *l = s->load;
    struct wire_record any = *record, value, name, version = {0};
    struct held *h = &s->held[r->type];
    struct name *found;

    if (l->variant == VARIANT_DELTA) {
        if (!find(record->data, record->len, 2, &any))
            die("a resource without its content", NULL);
        if (!find(record->data, record->len, 1, &version))
            die("a resource without a version", NULL);
    }
    /* All types have their name in field 1. */
    if (!find(any.data, any.len, 2, &value) || !find(value.data, value.len, 1, &name))
        die("a resource without a name", NULL);
    found = name_get(&l->names[r->type], (const char *)name.data, name.len);
    if (version.len >= VERSION_MAX)
        die("a version is too long", NULL);
    if (version.len > 0) {
        memcpy(found->version, version.data, version.len);
        found->version[version.len] = '\0';
    }
    held_grow(h, l->names[r->type].n, r->type == TYPE_ENDPOINT);
    if (!h->hashes[found->id]) {
        h->n++;
        r->new_names = true;
    }
    h->hashes[found->id] = (uint32_t)hash_bytes(value.data, value.len) | 1;
    if (h->marks && h->marks[found->id] != l->goal_number) {
        h->marks[found->id] = l->goal_number;
        s->n_distinct++;
    }
    l->counts.resources++;
}

static enum type type_of(const struct wire_record *url)
{
    for (unsigned i = 0; i < TYPES; i++)
        if (strlen(type_urls[i]) == url->len && memcmp(type_urls[i], url->data, url->len) == 0)
            return (enum type)i;
    die("a response of a type that nobody asked for", NULL);
    return TYPES;
}

/* Asks for more, as Envoy does: assignments of new clusters, listeners once there are assignments. */
static void ask_for_more(struct stream *s, const struct received *r)
{
    if (r->type == TYPE_CLUSTER && r->new_names)
        ask(s, TYPE_ENDPOINT, encode_names(s->load, s));
    if (r->type == TYPE_ENDPOINT && !s->held[TYPE_LISTENER].asked)
        ask(s, TYPE_LISTENER, grpc_empty_slice());
}

static void take_response(struct stream *s, const uint8_t *p, size_t n)
{
    struct wire w = {.p = p, .end = p + n};
    struct received r = {0};
    struct wire_record record;
    uint32_t removed = s->load->variant == VARIANT_DELTA ? 6 : 0;

    if (!find(p, n, 4, &record))
        die("a response without a type", NULL);
    r.type = type_of(&record);
    while (wire_next(&w, &record) > 0) {
        if (record.number == removed)
            die("a resource was removed", NULL);
        else if (record.number == 1)
            r.version = record;
        else if (record.number == 2)
            take_resource(s, &record, &r);
        else if (record.number == 5)
            r.nonce = record;
    }
    if (r.nonce.len == 0 || r.version.len >= VERSION_MAX)
        die("a response without a nonce, or with a version that is too long", NULL);
    if (s->load->variant == VARIANT_SOTW && r.version.len > 0) {
        memcpy(s->held[r.type].version, r.version.data, r.version.len);
        s->held[r.type].version[r.version.len] = '\0';
    }
    acknowledge(s, r.type, (const char *)r.nonce.data, r.nonce.len);
    ask_for_more(s, &r);
}

static void start_receive(struct stream *s)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

    op.data.recv_message.recv_message = &s->incoming;
    start(s, OP_RECEIVED, &op, 1);
}

static void on_received(struct stream *s)
{
    struct load *l = s->load;
    clock_ns now = clock_now(NULL);
    grpc_byte_buffer_reader reader;
    grpc_slice slice;
    int ok;

    if (!s->incoming)
        return;
    l->counts.messages++;
    l->counts.bytes += grpc_byte_buffer_length(s->incoming);
    if (l->variant == VARIANT_RAW) {
        s->n_distinct++;
        answer_raw(s);
    } else {
        buf_reset(&l->bytes);
        ok = grpc_byte_buffer_reader_init(&reader, s->incoming);
        assert(ok);
        while (grpc_byte_buffer_reader_next(&reader, &slice)) {
            buf_append(&l->bytes, GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice));
            grpc_slice_unref(slice);
        }
        grpc_byte_buffer_reader_destroy(&reader);
        take_response(s, l->bytes.data, l->bytes.len);
    }
    grpc_byte_buffer_destroy(take_ptr(s->incoming));
    if (!l->closing)
        start_receive(s);
    check_goal(s, now);
}

/* ---- life of a stream ---- */

static grpc_channel *connect_to(const char *address)
{
    grpc_arg args[] = {
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, .value.integer = -1},
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, .value.integer = 1},
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, .value.integer = 100},
    };
    grpc_channel_args channel_args = {.num_args = ARRAY_LEN(args), .args = args};
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    grpc_channel *channel = grpc_channel_create(address, credentials, &channel_args);

    grpc_channel_credentials_release(credentials);
    return channel;
}

static void stream_begin(struct load *l, struct stream *s)
{
    grpc_slice method = grpc_slice_from_static_string(
        l->variant == VARIANT_SOTW ? SERVICE "StreamAggregatedResources" : SERVICE "DeltaAggregatedResources");
    grpc_op begin[] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_RECV_INITIAL_METADATA}};
    grpc_op end = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};

    s->load = l;
    for (unsigned i = 0; i < OP_KINDS; i++)
        s->tags[i] = (struct tag){.kind = (enum op_kind)i, .stream = s};
    for (unsigned i = 0; i < TYPES; i++)
        s->held[i].asked = false;
    s->out_first = s->n_out = 0;
    s->sending = false;
    s->channel = connect_to(l->address);
    s->call = grpc_channel_create_call(s->channel, NULL, GRPC_PROPAGATE_DEFAULTS, l->queue, method, NULL,
                                       gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    grpc_metadata_array_init(&s->initial);
    grpc_metadata_array_init(&s->trailing);
    begin[0].flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY;
    begin[1].data.recv_initial_metadata.recv_initial_metadata = &s->initial;
    start(s, OP_BEGUN, begin, 1);
    end.data.recv_status_on_client.trailing_metadata = &s->trailing;
    end.data.recv_status_on_client.status = &s->status;
    end.data.recv_status_on_client.status_details = &s->details;
    start(s, OP_ENDED, &end, 1);
    start(s, OP_BEGUN, &begin[1], 1);
    start_receive(s);
}

static void stream_end(struct stream *s)
{
    for (; s->n_out > 0; s->n_out--) {
        grpc_byte_buffer_destroy(s->out[s->out_first]);
        s->out_first = (s->out_first + 1) % OUT_MAX;
    }
    grpc_metadata_array_destroy(&s->initial);
    grpc_metadata_array_destroy(&s->trailing);
    grpc_slice_unref(s->details);
    grpc_call_unref(s->call);
    grpc_channel_destroy(s->channel);
}

static void on_ended(struct stream *s)
{
    _cleanup_(mem_free_p) char *text = NULL;

    if (s->load->closing)
        return;
    text = mem_strndup((const char *)GRPC_SLICE_START_PTR(s->details), GRPC_SLICE_LENGTH(s->details));
    die("a stream ended", text);
}

static void on_stream(struct tag *tag)
{
    struct stream *s = tag->stream;

    s->n_pending--;
    switch (tag->kind) {
    case OP_RECEIVED:
        if (s->load->closing && s->incoming)
            grpc_byte_buffer_destroy(take_ptr(s->incoming));
        else
            on_received(s);
        break;
    case OP_SENT:
        s->sending = false;
        start_send(s);
        break;
    case OP_ENDED:
        on_ended(s);
        break;
    case OP_BEGUN:
    case OP_KINDS:
        break;
    }
}

/* ---- commands ---- */

static void close_streams(struct load *l)
{
    l->closing = true;
    for (size_t i = 0; i < l->n_streams; i++)
        grpc_call_cancel(l->streams[i].call, NULL);
    for (size_t i = 0; i < l->n_streams; i++) {
        while (l->streams[i].n_pending > 0) {
            grpc_event event = grpc_completion_queue_next(l->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
            struct tag *tag = event.tag;

            if (event.type != GRPC_OP_COMPLETE)
                continue;
            if (tag->stream)
                on_stream(tag);
            else
                l->command_due = true;
        }
        stream_end(&l->streams[i]);
    }
    l->closing = false;
}

static void forget(struct load *l)
{
    for (size_t i = 0; i < l->n_streams; i++)
        for (unsigned t = 0; t < TYPES; t++) {
            mem_free(l->streams[i].held[t].hashes);
            mem_free(l->streams[i].held[t].marks);
        }
    mem_free(take_ptr(l->streams));
    l->n_streams = 0;
    for (unsigned t = 0; t < TYPES; t++)
        names_clear(&l->names[t]);
}

static void open_streams(struct load *l, const struct command *c)
{
    const char *variant = c->n > 1 ? c->words[1] : "";
    long n = command_number(c, 2), clusters = command_number(c, 3), ms = command_number(c, 4);

    if (l->n_streams > 0)
        die("streams are open already", NULL);
    l->variant = strcmp(variant, "raw") == 0    ? VARIANT_RAW
                 : strcmp(variant, "sotw") == 0 ? VARIANT_SOTW
                                                : VARIANT_DELTA;
    l->raw_answer = (size_t)clusters;
    l->n_streams = (size_t)n;
    l->streams = mem_array(struct stream, l->n_streams);
    set_goal(l, l->variant == VARIANT_RAW ? GOAL_NONE : GOAL_SYNC, (size_t)clusters, ms);
    for (size_t i = 0; i < l->n_streams; i++) {
        stream_begin(l, &l->streams[i]);
        if (l->variant == VARIANT_RAW)
            answer_raw(&l->streams[i]);
        else
            ask(&l->streams[i], TYPE_CLUSTER, grpc_empty_slice());
    }
    if (l->variant == VARIANT_RAW)
        printf("{\"ok\": true}\n");
}

static void reconnect(struct load *l)
{
    grpc_slice versions[TYPES];
    bool delta = l->variant == VARIANT_DELTA;

    close_streams(l);
    set_goal(l, GOAL_NONE, 0, 0);
    for (unsigned t = 0; t < TYPES; t++)
        versions[t] = delta ? encode_versions(&l->names[t]) : grpc_empty_slice();
    for (size_t i = 0; i < l->n_streams; i++) {
        struct stream *s = &l->streams[i];

        stream_begin(l, s);
        for (unsigned t = 0; t < TYPES; t++)
            request(s, (enum type)t, "", 0, t == TYPE_ENDPOINT ? encode_names(l, s) : grpc_empty_slice(),
                    grpc_slice_ref(versions[t]));
    }
    for (unsigned t = 0; t < TYPES; t++)
        grpc_slice_unref(versions[t]);
    printf("{\"ok\": true}\n");
}

/* Whether all streams hold the same resources with the same content. */
static bool all_equal(const struct load *l)
{
    for (size_t i = 1; i < l->n_streams; i++)
        for (unsigned t = 0; t < TYPES; t++) {
            const struct held *a = &l->streams[0].held[t], *b = &l->streams[i].held[t];

            if (a->n != b->n || a->cap != b->cap ||
                (a->cap > 0 && memcmp(a->hashes, b->hashes, a->cap * sizeof(uint32_t)) != 0))
                return false;
        }
    return true;
}

static void print_stats(struct load *l)
{
    printf("{\"equal\": %s, ", all_equal(l) ? "true" : "false");
    print_counts(l);
    printf("}\n");
    l->counts_before = l->counts;
}

/* False: the end. */
static bool on_command(struct load *l)
{
    struct command c;

    commands_take(&l->commands, &c);
    if (c.n == 0)
        return false;
    if (strcmp(c.words[0], "open") == 0) {
        open_streams(l, &c);
    } else if (strcmp(c.words[0], "await") == 0) {
        set_goal(l, GOAL_CHANGES, (size_t)command_number(&c, 1), command_number(&c, 2));
        printf("{\"armed\": true}\n");
    } else if (strcmp(c.words[0], "reconnect") == 0) {
        reconnect(l);
    } else if (strcmp(c.words[0], "stats") == 0) {
        print_stats(l);
    } else if (strcmp(c.words[0], "close") == 0) {
        close_streams(l);
        forget(l);
        printf("{\"ok\": true}\n");
    } else {
        printf("{\"error\": \"unknown command\"}\n");
    }
    fflush(stdout);
    return true;
}

static gpr_timespec next_deadline(const struct load *l)
{
    clock_ns at = l->goal_deadline;

    if (l->goal == GOAL_NONE)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return (gpr_timespec){
        .tv_sec = at / CLOCK_NS_PER_S, .tv_nsec = (int32_t)(at % CLOCK_NS_PER_S), .clock_type = GPR_CLOCK_MONOTONIC};
}

static bool step(struct load *l)
{
    grpc_event event;
    struct tag *tag;

    if (l->command_due) {
        l->command_due = false;
        return on_command(l);
    }
    event = grpc_completion_queue_next(l->queue, next_deadline(l), NULL);
    tag = event.tag;
    if (event.type == GRPC_QUEUE_TIMEOUT && l->goal != GOAL_NONE)
        finish_goal(l);
    if (event.type != GRPC_OP_COMPLETE)
        return true;
    if (!tag->stream)
        return on_command(l);
    on_stream(tag);
    return true;
}

int main(int argc, char **argv)
{
    struct load *l = mem_new(struct load);

    if (argc != 2) {
        fprintf(stderr, "usage: xds_load ADDRESS\n");
        return EXIT_FAILURE;
    }
    grpc_init();
    l->address = argv[1];
    l->queue = grpc_completion_queue_create_for_next(NULL);
    for (unsigned t = 0; t < TYPES; t++)
        l->names[t].encoded = grpc_empty_slice();
    commands_start(&l->commands, l->queue, &l->command_tag);
    while (step(l))
        ;
    close_streams(l);
    return EXIT_SUCCESS;
}
