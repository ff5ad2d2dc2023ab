/*
 * gRPC's thin shell around the sessions: addresses, streams, and one thread that takes the completions and sends.
 *
 * One grpc_server for each address, since a call does not tell which address it came in on; all share one completion
 * queue. A stream has at most one read and one message under way; a message's completion is the flow control's
 * signal, and only then the session is asked for the next one. Whoever publishes puts the batch into a queue and
 * wakes the thread. gRPC's C interface has no alarm: a connectivity watch that is over before it began comes out of
 * the completion queue at once.
 *
 * gRPC listens for TLS itself. For plaintext, on sockets opened here or passed in, the acceptor
 * (server/xds_acceptor.h) takes the connections and hands them to gRPC, which knows them by their descriptors alone.
 *
 * Threads: `lock` protects inbox, waking, stopping, forgets, asked and what is read by handshakes (struct
 * credentials); everything else belongs to the xDS thread. gRPC's own threads only release parts of messages and ask
 * for certificates; the acceptor's only hands over connections.
 */
#include "server/xds_server.h"

#include "base/clock.h"
#include "base/heap.h"
#include "base/listen.h"
#include "base/log.h"
#include "server/xds_acceptor.h"
#include "server/xds_notes.h"
#include "server/xds_session.h"
#include "server/xds_status.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    STREAM_MAGIC = 0x78645353,
    ACCEPTS = 32,            /* calls that are waited for on each address */
    COPY_MAX = 4096,         /* a message up to that size is copied into one piece */
    PEM_MAX = 1 << 20,       /* bytes of a certificate or key file */
    STOP_MS = 1000,          /* for streams to end by themselves; then they are cancelled */
    END_MS = 2000,           /* for a client to take its status */
    KEEPALIVE_MS = 30000,    /* a peer that is silent for that long is asked whether it is there */
    PING_INTERVAL_MS = 1000, /* the shortest between a client's pings that is taken as good manners */
    SILENT_MS = 120000,      /* for a first stream, as gRPC gives it on what it accepts itself */
};

enum op_kind { OP_CLOSED, OP_READ, OP_SENT, OP_ENDED, OP_KINDS };

/* What comes out of the completion queue points to one of these. */
struct tag {
    enum { TAG_WAKE, TAG_ACCEPT, TAG_STREAM, TAG_SHUTDOWN } what;
    enum op_kind kind; /* of TAG_STREAM */
    void *owner;
};

/* Certificates of an address. Under the server's lock. */
struct credentials {
    const char *certificate_file, *key_file, *client_ca_file;
    char *certificate, *key, *client_ca; /* PEM */
    unsigned generation, given;          /* given: to gRPC, which keeps its own copy */
    struct xds_server *server;
};

struct listener {
    struct xds_server *server;
    char *address;
    char **gateways;
    size_t n_gateways;
    bool all, tls;
    struct credentials credentials;
    grpc_server *grpc;
    struct socket_address at;
    int port;
    int socket;                         /* of plaintext; -1: gRPC listens, as it does for TLS alone */
    bool passed;                        /* the socket was passed in: its file stays */
    grpc_server_credentials *plaintext; /* for the socket's connections */
    struct tag shutdown;
    bool is_down;
};

struct accept {
    struct tag tag;
    struct listener *listener;
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array metadata;
};

struct stream {
    unsigned magic;
    struct stream *next, *previous; /* all of the server's */
    struct stream *next_ready;
    bool is_ready;
    struct xds_server *server;
    struct listener *listener;
    grpc_call *call;
    struct xds_session *session; /* NULL: it ended, or was refused */
    char **names;                /* of the client's certificate; NULL-terminated; NULL: plaintext */
    struct tag tags[OP_KINDS];
    unsigned n_pending; /* operations under way */
    bool reading, sending, ending, closed;
    bool told_unknown;
    char *fault; /* why it was ended here; NULL: for no fault of its own */
    grpc_byte_buffer *incoming;
    int cancelled;
    struct heap_entry deadline;
    clock_ns end_by;
};

struct inbox {
    struct inbox *next;
    struct xds_batch *batch;
};

struct xds_server {
    struct xds_common common;
    struct xds_status *status;
    clock_ns status_at; /* when it wants to go on at the latest; 0: at once */
    struct xds_notes *notes;
    clock_ns notes_at; /* likewise */
    char *default_gateway;
    size_t max_streams;

    struct listener *listeners;
    size_t n_listeners;
    struct accept *accepts;
    size_t n_accepts, n_accepts_pending;
    grpc_completion_queue *queue;
    grpc_channel *lame; /* for wake-ups */
    struct tag wake;
    pthread_t thread;
    bool has_thread;
    struct xds_acceptor *acceptor; /* NULL: all speak TLS */

    struct stream *streams, *ready, **ready_end;
    size_t n_streams;
    struct heap deadlines;      /* of streams */
    struct xds_message message; /* scratch */
    struct buf bytes;           /* scratch */
    bool stop_begun, cancelled_all;
    clock_ns cancel_at;

    pthread_mutex_t lock;
    struct inbox *inbox, **inbox_end;
    bool waking, stopping, forgets; /* forgets: what was refused is to be tried again */
    bool asked;                     /* whether it turns, and it did not turn since */
};

/* ---- services ---- */

struct service {
    const char *path;
    bool aggregated;
    enum xds_type type;
    enum xds_variant variant;
};

#define SERVICE(package, name, stream, delta, is_aggregated, xds_type)                                               \
    {"/envoy.service." package ".v3." name "/" stream, is_aggregated, xds_type, XDS_SOTW},                           \
    {                                                                                                                \
        "/envoy.service." package ".v3." name "/" delta, is_aggregated, xds_type, XDS_DELTA                          \
    }

static const struct service services[] = {
    SERVICE("discovery", "AggregatedDiscoveryService", "StreamAggregatedResources", "DeltaAggregatedResources", true,
            XDS_TYPES),
    SERVICE("cluster", "ClusterDiscoveryService", "StreamClusters", "DeltaClusters", false, XDS_CLUSTER),
    SERVICE("endpoint", "EndpointDiscoveryService", "StreamEndpoints", "DeltaEndpoints", false, XDS_ENDPOINT),
    SERVICE("listener", "ListenerDiscoveryService", "StreamListeners", "DeltaListeners", false, XDS_LISTENER),
    SERVICE("route", "RouteDiscoveryService", "StreamRoutes", "DeltaRoutes", false, XDS_ROUTE),
    SERVICE("secret", "SecretDiscoveryService", "StreamSecrets", "DeltaSecrets", false, XDS_SECRET),
};

static const struct service *find_service(grpc_slice path)
{
    for (size_t i = 0; i < ARRAY_LEN(services); i++)
        if (grpc_slice_str_cmp(path, services[i].path) == 0)
            return &services[i];
    return NULL;
}

/* ---- peers ---- */

/* In gRPC's way: "ipv4:10.0.0.1:40312", "ipv6:%5B::1%5D:40312", "unix:". */
static char *socket_peer(int fd)
{
    struct sockaddr_storage name = {.ss_family = AF_UNSPEC};
    socklen_t n = sizeof(name);
    struct socket_address a;
    char host[ADDRESS_TEXT_MAX];

    if (getpeername(fd, (struct sockaddr *)&name, &n) || socket_address_read(&name, &a))
        return mem_strdup("unknown:"); /* it is gone by now */
    if (a.host.family == AF_INET)
        return mem_printf("ipv4:%s:%u", address_text(&a.host, host), (unsigned)a.port);
    if (a.host.family == AF_INET6)
        return mem_printf("ipv6:%%5B%s%%5D:%u", address_text(&a.host, host), (unsigned)a.port);
    return mem_strdup("unix:");
}

/* Who calls, for people; mem_free() it. gRPC calls those that it did not accept itself "fd:N". */
static char *peer_of(grpc_call *call)
{
    char *given = grpc_call_get_peer(call);
    char *peer = strncmp(given, "fd:", 3) == 0 ? socket_peer((int)strtol(given + 3, NULL, 10)) : mem_strdup(given);

    gpr_free(given);
    return peer;
}

/* ---- operations of a stream ---- */

static void mark_ready(void *arg)
{
    struct stream *stream = arg;
    struct xds_server *s = stream->server;

    assert(stream->magic == STREAM_MAGIC);
    if (stream->is_ready)
        return;
    stream->is_ready = true;
    stream->next_ready = NULL;
    *s->ready_end = stream;
    s->ready_end = &stream->next_ready;
}

static void start(struct stream *stream, enum op_kind kind, grpc_op *ops, size_t n)
{
    grpc_call_error r;

    stream->n_pending++;
    r = grpc_call_start_batch(stream->call, ops, n, &stream->tags[kind], NULL);
    assert(r == GRPC_CALL_OK);
}

static void start_read(struct stream *stream)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

    op.data.recv_message.recv_message = &stream->incoming;
    stream->reading = true;
    start(stream, OP_READ, &op, 1);
}

/* Ends the call with a status; once. */
static void end_stream(struct stream *stream, grpc_status_code code, const char *text, clock_ns now)
{
    grpc_slice details = grpc_slice_from_copied_string(text);
    grpc_op op = {.op = GRPC_OP_SEND_STATUS_FROM_SERVER};

    if (stream->ending)
        return;
    stream->ending = true;
    if (code != GRPC_STATUS_OK && code != GRPC_STATUS_UNAVAILABLE)
        stream->fault = mem_printf("igwd ended its stream: %s", text);
    op.data.send_status_from_server.status = code;
    op.data.send_status_from_server.status_details = &details;
    start(stream, OP_ENDED, &op, 1);
    grpc_slice_unref(details);
    stream->end_by = now + (clock_ns)END_MS * CLOCK_NS_PER_MS;
    heap_set(&stream->server->deadlines, &stream->deadline, stream->end_by);
}

static grpc_status_code code_of(int error)
{
    switch (error) {
    case -EINVAL:
        return GRPC_STATUS_INVALID_ARGUMENT;
    case -EACCES:
        return GRPC_STATUS_PERMISSION_DENIED;
    case -ENOBUFS:
        return GRPC_STATUS_RESOURCE_EXHAUSTED;
    default:
        return GRPC_STATUS_INTERNAL;
    }
}

static void fail_stream(struct stream *stream, const struct err *e, clock_ns now)
{
    char text[ERR_OBJECT_MAX + ERR_FIELD_MAX + ERR_TEXT_MAX];
    _cleanup_(mem_free_p) char *peer = peer_of(stream->call);

    log_err(LOG_LEVEL_WARNING, e, "xDS stream refused", "peer", peer, "node",
            stream->session ? xds_session_node(stream->session) : NULL, NULL);
    end_stream(stream, code_of(e->code), err_format(e, text, sizeof(text)), now);
}

static grpc_byte_buffer *copied(const struct xds_message *m)
{
    grpc_slice slice = grpc_slice_malloc(m->len);
    uint8_t *p = GRPC_SLICE_START_PTR(slice);
    grpc_byte_buffer *buffer;

    memcpy(p, m->head.data, m->head.len);
    p += m->head.len;
    for (size_t i = 0; i < m->n_parts; i++) {
        memcpy(p, m->parts[i].p, m->parts[i].n);
        p += m->parts[i].n;
    }
    buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

/* The parts go along, each with its reference. */
static grpc_byte_buffer *shared(struct xds_message *m)
{
    _cleanup_(mem_free_p) grpc_slice *slices = mem_array(grpc_slice, m->n_parts + 1);
    grpc_byte_buffer *buffer;

    slices[0] = grpc_slice_from_copied_buffer((const char *)m->head.data, m->head.len);
    for (size_t i = 0; i < m->n_parts; i++) {
        const struct xds_part *part = &m->parts[i];
        union {
            const uint8_t *bytes;
            void *pointer;
        } p = {.bytes = part->p};

        slices[i + 1] = grpc_slice_new_with_user_data(p.pointer, part->n, part->release, part->owner);
    }
    buffer = grpc_raw_byte_buffer_create(slices, m->n_parts + 1);
    for (size_t i = 0; i <= m->n_parts; i++)
        grpc_slice_unref(slices[i]);
    m->n_parts = 0;
    return buffer;
}

static void start_send(struct stream *stream, struct xds_message *m)
{
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
    grpc_byte_buffer *buffer = m->len <= COPY_MAX && !m->secret ? copied(m) : shared(m);

    op.data.send_message.send_message = buffer;
    stream->sending = true;
    start(stream, OP_SENT, &op, 1);
    grpc_byte_buffer_destroy(buffer);
    xds_message_reset(m);
}

static void tell_unknown(struct stream *stream)
{
    const char *gateway = xds_session_unknown_gateway(stream->session);

    if (!gateway || stream->told_unknown)
        return;
    stream->told_unknown = true;
    _cleanup_(mem_free_p) char *peer = peer_of(stream->call);
    log_event(LOG_LEVEL_WARNING, "a proxy asks for a gateway that does not exist; it is not answered", "peer", peer,
              "node", xds_session_node(stream->session), "gateway", gateway, NULL);
}

/* Sends what there is to send, reads on if it may. */
static void pump(struct stream *stream, clock_ns now)
{
    struct xds_server *s = stream->server;
    struct err e = {0};
    int r;

    if (!stream->session || stream->ending || stream->closed)
        return;
    if (!stream->sending) {
        xds_status_stirred(s->status, stream->session);
        r = xds_session_next(stream->session, now, &s->message, &e);
        if (r < 0) {
            fail_stream(stream, &e, now);
            return;
        }
        if (r > 0)
            start_send(stream, &s->message);
        heap_set(&stream->server->deadlines, &stream->deadline,
                 r > 0 ? INT64_MAX : xds_session_deadline(stream->session));
        tell_unknown(stream);
    }
    if (!stream->reading && xds_session_takes_requests(stream->session))
        start_read(stream);
}

/* ---- life of a stream ---- */

static void free_texts(char **texts)
{
    for (char **t = texts; t && *t; t++)
        mem_free(*t);
    mem_free(texts);
}

static void add_names(const grpc_auth_context *context, const char *property, bool uri, char ***names, size_t *n)
{
    grpc_auth_property_iterator it = grpc_auth_context_find_properties_by_name(context, property);
    const grpc_auth_property *p;

    while ((p = grpc_auth_property_iterator_next(&it)) != NULL) {
        const char *text = p->value, *slash = uri ? strrchr(text, '/') : NULL;

        *names = mem_realloc(*names, *n + 3, sizeof(char *));
        (*names)[(*n)++] = mem_strndup(text, p->value_length);
        if (slash)
            (*names)[(*n)++] = mem_strdup(slash + 1);
        (*names)[*n] = NULL;
    }
}

/* The names of the client's certificate: DNS and URI (also its last part), else the common name. */
static char **peer_names(grpc_call *call)
{
    grpc_auth_context *context = grpc_call_auth_context(call);
    char **names = mem_new(char *);
    size_t n = 0;

    add_names(context, GRPC_PEER_DNS_PROPERTY_NAME, false, &names, &n);
    add_names(context, GRPC_PEER_URI_PROPERTY_NAME, true, &names, &n);
    if (n == 0)
        add_names(context, GRPC_X509_CN_PROPERTY_NAME, false, &names, &n);
    grpc_auth_context_release(context);
    return names;
}

static bool is_allowed(void *arg, const char *gateway)
{
    const struct stream *stream = arg;
    const struct listener *l = stream->listener;
    bool served = l->all, named = !stream->names;

    for (size_t i = 0; i < l->n_gateways && !served; i++)
        served = strcmp(l->gateways[i], gateway) == 0;
    for (char **name = stream->names; name && *name && !named; name++)
        named = strcmp(*name, gateway) == 0;
    return served && named;
}

static void free_stream(struct stream *stream)
{
    struct xds_server *s = stream->server;

    assert(stream->n_pending == 0 && !stream->session && !stream->is_ready);
    heap_remove(&stream->server->deadlines, &stream->deadline);
    *(stream->previous ? &stream->previous->next : &s->streams) = stream->next;
    if (stream->next)
        stream->next->previous = stream->previous;
    s->n_streams--;
    grpc_call_unref(stream->call);
    free_texts(stream->names);
    mem_free(stream->fault);
    stream->magic = 0;
    mem_free(stream);
}

static struct stream *new_stream(struct xds_server *s, struct listener *l, grpc_call *call)
{
    struct stream *stream = mem_new(struct stream);
    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};

    stream->magic = STREAM_MAGIC;
    stream->server = s;
    stream->listener = l;
    stream->deadline.owner = stream;
    stream->call = call;
    stream->next = s->streams;
    if (s->streams)
        s->streams->previous = stream;
    s->streams = stream;
    s->n_streams++;
    for (unsigned kind = 0; kind < OP_KINDS; kind++)
        stream->tags[kind] = (struct tag){.what = TAG_STREAM, .kind = (enum op_kind)kind, .owner = stream};
    op.data.recv_close_on_server.cancelled = &stream->cancelled;
    start(stream, OP_CLOSED, &op, 1);
    return stream;
}

static void begin_stream(struct stream *stream, const struct service *service, clock_ns now)
{
    struct xds_session_options options = {.common = &stream->server->common,
                                          .variant = service->variant,
                                          .aggregated = service->aggregated,
                                          .type = service->type,
                                          .allowed = is_allowed,
                                          .ready = mark_ready,
                                          .arg = stream};
    grpc_op ops[] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_RECV_MESSAGE}};
    _cleanup_(mem_free_p) char *peer = peer_of(stream->call);

    options.peer = peer;
    if (stream->listener->tls)
        stream->names = peer_names(stream->call);
    stream->session = xds_session_new(&options, now);
    xds_status_stirred(stream->server->status, stream->session);
    ops[1].data.recv_message.recv_message = &stream->incoming;
    stream->reading = true;
    start(stream, OP_READ, ops, ARRAY_LEN(ops));
}

static void refuse_call(struct stream *stream, grpc_status_code code, const char *text, clock_ns now)
{
    grpc_slice details = grpc_slice_from_static_string(text);
    grpc_op ops[] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_STATUS_FROM_SERVER}};

    ops[1].data.send_status_from_server.status = code;
    ops[1].data.send_status_from_server.status_details = &details;
    stream->ending = true;
    start(stream, OP_ENDED, ops, ARRAY_LEN(ops));
    stream->end_by = now + (clock_ns)END_MS * CLOCK_NS_PER_MS;
    heap_set(&stream->server->deadlines, &stream->deadline, stream->end_by);
}

/* Appends the message's bytes and frees it. False when it can't be decompressed. */
static bool bytes_from_grpc(struct buf *b, grpc_byte_buffer *message)
{
    grpc_byte_buffer_reader reader;
    grpc_slice *slice;
    bool ok = grpc_byte_buffer_reader_init(&reader, message);

    while (ok && grpc_byte_buffer_reader_peek(&reader, &slice))
        buf_append(b, GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
    if (ok)
        grpc_byte_buffer_reader_destroy(&reader);
    grpc_byte_buffer_destroy(message);
    return ok;
}

static void on_incoming(struct stream *stream, clock_ns now)
{
    struct xds_server *s = stream->server;
    struct err e = {0};
    int r;

    buf_reset(&s->bytes);
    if (!bytes_from_grpc(&s->bytes, take_ptr(stream->incoming))) {
        end_stream(stream, GRPC_STATUS_INTERNAL, "the message can't be decompressed", now);
        return;
    }
    if (s->bytes.overflow || s->bytes.len > XDS_REQUEST_MAX) {
        s->bytes.overflow = false;
        end_stream(stream, GRPC_STATUS_RESOURCE_EXHAUSTED, "the request is too large", now);
        return;
    }
    xds_status_stirred(s->status, stream->session);
    r = xds_session_request(stream->session, s->bytes.data, s->bytes.len, now, &e);
    if (r < 0)
        fail_stream(stream, &e, now);
}

static void on_read(struct stream *stream, bool ok, clock_ns now)
{
    stream->reading = false;
    if (ok && stream->incoming && stream->session && !stream->ending && !stream->closed) {
        on_incoming(stream, now);
        return;
    }
    if (stream->incoming)
        grpc_byte_buffer_destroy(take_ptr(stream->incoming));
    else if (stream->session && !stream->closed)
        end_stream(stream, GRPC_STATUS_OK, "", now); /* the client is done */
}

/* For people. gRPC tells no more than whether the client was still there for the status. */
static const char *why_ended(const struct stream *stream)
{
    if (stream->fault)
        return stream->fault;
    if (stream->server->stop_begun)
        return "igwd was stopped";
    return stream->cancelled ? "its connection ended (it was stopped, or can't reach igwd)" : "it ended its stream";
}

static void on_stream_event(struct stream *stream, enum op_kind kind, bool ok, clock_ns now)
{
    assert(stream->magic == STREAM_MAGIC && stream->n_pending > 0);
    stream->n_pending--;
    switch (kind) {
    case OP_READ:
        on_read(stream, ok, now);
        break;
    case OP_SENT:
        stream->sending = false;
        break;
    case OP_CLOSED:
        stream->closed = true;
        heap_remove(&stream->server->deadlines, &stream->deadline);
        if (stream->session)
            xds_status_gone(stream->server->status, stream->session, why_ended(stream), now);
        xds_session_free(take_ptr(stream->session));
        break;
    case OP_ENDED:
    case OP_KINDS:
        break;
    }
    if (!stream->closed)
        pump(stream, now);
    else if (stream->n_pending == 0 && !stream->is_ready)
        free_stream(stream);
}

/* ---- accepting ---- */

static void start_accept(struct accept *a)
{
    struct xds_server *s = a->listener->server;
    grpc_call_error r;

    grpc_call_details_init(&a->details);
    grpc_metadata_array_init(&a->metadata);
    r = grpc_server_request_call(a->listener->grpc, &a->call, &a->details, &a->metadata, s->queue, s->queue, &a->tag);
    assert(r == GRPC_CALL_OK);
    s->n_accepts_pending++;
}

static void on_accept(struct accept *a, bool ok, clock_ns now)
{
    struct xds_server *s = a->listener->server;
    const struct service *service = ok ? find_service(a->details.method) : NULL;
    struct stream *stream = ok ? new_stream(s, a->listener, a->call) : NULL;

    s->n_accepts_pending--;
    grpc_call_details_destroy(&a->details);
    grpc_metadata_array_destroy(&a->metadata);
    if (!stream)
        return; /* shutting down */
    if (s->stop_begun)
        refuse_call(stream, GRPC_STATUS_UNAVAILABLE, "shutting down", now);
    else if (!service)
        refuse_call(stream, GRPC_STATUS_UNIMPLEMENTED, "no such method", now);
    else if (s->n_streams > s->max_streams)
        refuse_call(stream, GRPC_STATUS_RESOURCE_EXHAUSTED, "too many streams", now);
    else
        begin_stream(stream, service, now);
    if (!s->stop_begun)
        start_accept(a);
}

/* ---- the thread ---- */

static void forget_refusals(struct xds_server *s)
{
    xds_refusals_forget(s->common.refusals);
    for (struct stream *stream = s->streams; stream; stream = stream->next)
        if (stream->session)
            xds_session_try_again(stream->session);
}

static void take_inbox(struct xds_server *s, bool *ret_stopping)
{
    struct inbox *list;
    bool forgets;

    pthread_mutex_lock(&s->lock);
    list = take_ptr(s->inbox);
    s->inbox_end = &s->inbox;
    s->waking = false;
    s->asked = false;
    *ret_stopping = s->stopping;
    forgets = s->forgets;
    s->forgets = false;
    pthread_mutex_unlock(&s->lock);
    if (forgets)
        forget_refusals(s);
    while (list) {
        struct inbox *next = list->next;

        xds_status_changed(s->status);
        xds_directory_apply(s->common.directory, list->batch);
        xds_notes_applied(s->notes);
        xds_status_applied(s->status, list->batch);
        xds_batch_free(list->batch);
        mem_free(list);
        list = next;
    }
}

static void begin_stop(struct xds_server *s, clock_ns now)
{
    s->stop_begun = true;
    s->cancel_at = now + (clock_ns)STOP_MS * CLOCK_NS_PER_MS;
    xds_status_stop(s->status);
    for (struct stream *stream = s->streams; stream; stream = stream->next)
        if (!stream->closed)
            end_stream(stream, GRPC_STATUS_UNAVAILABLE, "shutting down", now);
    for (size_t i = 0; i < s->n_listeners; i++)
        grpc_server_shutdown_and_notify(s->listeners[i].grpc, s->queue, &s->listeners[i].shutdown);
}

static void on_wake(struct xds_server *s, clock_ns now)
{
    bool stopping;

    take_inbox(s, &stopping);
    if (stopping && !s->stop_begun)
        begin_stop(s, now);
}

static void pump_ready(struct xds_server *s, clock_ns now)
{
    while (s->ready) {
        struct stream *stream = s->ready;

        s->ready = stream->next_ready;
        if (!s->ready)
            s->ready_end = &s->ready;
        stream->is_ready = false;
        if (stream->closed && stream->n_pending == 0)
            free_stream(stream);
        else
            pump(stream, now);
    }
}

static void pass_time(struct xds_server *s, clock_ns now)
{
    while (heap_next(&s->deadlines) <= now) {
        struct stream *stream = heap_first(&s->deadlines)->owner;

        heap_remove(&s->deadlines, &stream->deadline);
        if (stream->ending && !stream->closed)
            grpc_call_cancel(stream->call, NULL);
        else
            pump(stream, now);
    }
    if (s->stop_begun && !s->cancelled_all && s->cancel_at <= now) {
        s->cancelled_all = true;
        for (size_t i = 0; i < s->n_listeners; i++)
            grpc_server_cancel_all_calls(s->listeners[i].grpc);
    }
}

static void on_event(struct xds_server *s, const grpc_event *event, clock_ns now)
{
    struct tag *tag = event->tag;

    switch (tag->what) {
    case TAG_WAKE:
        on_wake(s, now);
        break;
    case TAG_ACCEPT:
        on_accept(tag->owner, event->success, now);
        break;
    case TAG_STREAM:
        on_stream_event(tag->owner, tag->kind, event->success, now);
        break;
    case TAG_SHUTDOWN:
        ((struct listener *)tag->owner)->is_down = true;
        break;
    }
}

static bool is_down(const struct xds_server *s)
{
    if (!s->stop_begun || s->streams || s->n_accepts_pending > 0)
        return false;
    for (size_t i = 0; i < s->n_listeners; i++)
        if (!s->listeners[i].is_down)
            return false;
    return true;
}

static gpr_timespec next_deadline(const struct xds_server *s)
{
    clock_ns at = heap_next(&s->deadlines);

    if (s->stop_begun && !s->cancelled_all && s->cancel_at < at)
        at = s->cancel_at;
    if (s->status_at < at)
        at = s->status_at;
    if (s->notes_at < at)
        at = s->notes_at;
    if (at == INT64_MAX)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return (gpr_timespec){
        .tv_sec = at / CLOCK_NS_PER_S, .tv_nsec = (int32_t)(at % CLOCK_NS_PER_S), .clock_type = GPR_CLOCK_MONOTONIC};
}

static void *run(void *arg)
{
    struct xds_server *s = arg;

    while (!is_down(s)) {
        grpc_event event = grpc_completion_queue_next(s->queue, next_deadline(s), NULL);
        clock_ns now = clock_now(NULL);

        if (event.type == GRPC_OP_COMPLETE)
            on_event(s, &event, now);
        pass_time(s, now);
        pump_ready(s, now);
        s->status_at = xds_status_run(s->status, now);
        s->notes_at = xds_notes_run(s->notes, now);
    }
    return NULL;
}

/* With the lock held. */
static void wake(struct xds_server *s)
{
    if (s->waking)
        return;
    s->waking = true;
    grpc_channel_watch_connectivity_state(s->lame, GRPC_CHANNEL_IDLE, gpr_inf_past(GPR_CLOCK_MONOTONIC), s->queue,
                                          &s->wake);
}

/* A question waits. */
static void wake_for_status(void *arg)
{
    struct xds_server *s = arg;

    pthread_mutex_lock(&s->lock);
    wake(s);
    pthread_mutex_unlock(&s->lock);
}

bool xds_server_turned(struct xds_server *s)
{
    pthread_mutex_lock(&s->lock);
    bool turned = !s->asked;
    s->asked = true;
    wake(s);
    pthread_mutex_unlock(&s->lock);
    return turned;
}

struct xds_status *xds_server_status(const struct xds_server *s)
{
    return s->status;
}

void xds_server_publish(struct xds_server *s, struct xds_batch *batch)
{
    struct inbox *item = mem_new(struct inbox);

    item->batch = batch;
    pthread_mutex_lock(&s->lock);
    *s->inbox_end = item;
    s->inbox_end = &item->next;
    wake(s);
    pthread_mutex_unlock(&s->lock);
}

/* ---- certificates ---- */

static int read_pem(const char *path, char **ret, struct err *e)
{
    _cleanup_(mem_free_p) char *text = mem_alloc(PEM_MAX + 1);
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return err_set(e, -errno, path, NULL, "can't be opened: %s", strerrordesc_np(errno));
    n = read(fd, text, PEM_MAX);
    close(fd);
    if (n < 0)
        return err_set(e, -EIO, path, NULL, "can't be read");
    if (!strstr(text, "-----BEGIN "))
        return err_set(e, -EBADMSG, path, NULL, "holds nothing in PEM form");
    *ret = mem_strdup(text);
    mem_wipe(text, (size_t)n);
    return 0;
}

static void clear_pems(char **pems)
{
    for (unsigned i = 0; i < 3; i++)
        if (pems[i])
            mem_free_secret(pems[i], strlen(pems[i]));
}

/* All three files, or none of them. */
static int load_credentials(struct credentials *c, struct err *e)
{
    char *pems[3] = {NULL, NULL, NULL};
    char **places[3] = {&c->certificate, &c->key, &c->client_ca};
    int r = read_pem(c->certificate_file, &pems[0], e);

    if (r == 0)
        r = read_pem(c->key_file, &pems[1], e);
    if (r == 0)
        r = read_pem(c->client_ca_file, &pems[2], e);
    if (r == 0) {
        pthread_mutex_lock(&c->server->lock);
        for (unsigned i = 0; i < 3; i++) {
            char *before = *places[i];

            *places[i] = pems[i];
            pems[i] = before;
        }
        c->generation++;
        pthread_mutex_unlock(&c->server->lock);
    }
    clear_pems(pems);
    return r;
}

/* gRPC asks at each handshake, in threads of its own. */
static grpc_ssl_certificate_config_reload_status give_certificates(void *arg,
                                                                   grpc_ssl_server_certificate_config **ret)
{
    struct credentials *c = arg;
    grpc_ssl_certificate_config_reload_status status = GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;

    pthread_mutex_lock(&c->server->lock);
    if (c->given != c->generation) {
        grpc_ssl_pem_key_cert_pair pair = {.private_key = c->key, .cert_chain = c->certificate};

        *ret = grpc_ssl_server_certificate_config_create(c->client_ca, &pair, 1);
        c->given = c->generation;
        status = GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
    }
    pthread_mutex_unlock(&c->server->lock);
    return status;
}

void xds_server_reload(struct xds_server *s)
{
    for (size_t i = 0; i < s->n_listeners; i++) {
        struct err e = {0};

        if (s->listeners[i].tls && load_credentials(&s->listeners[i].credentials, &e) < 0)
            log_err(LOG_LEVEL_ERROR, &e, "xDS certificates are not renewed", "address", s->listeners[i].address,
                    NULL);
    }
    pthread_mutex_lock(&s->lock);
    s->forgets = true;
    wake(s);
    pthread_mutex_unlock(&s->lock);
}

/* ---- addresses ---- */

/* In the acceptor's thread; the descriptor is gRPC's from now on. */
static void on_connection(void *arg, int connection)
{
    struct listener *l = arg;

    grpc_server_add_channel_from_fd(l->grpc, connection, l->plaintext);
}

static void start_acceptor(struct xds_server *s)
{
    _cleanup_(mem_free_p) struct xds_door *doors = mem_array(struct xds_door, s->n_listeners);
    size_t n = 0;

    for (size_t i = 0; i < s->n_listeners; i++)
        if (!s->listeners[i].tls)
            doors[n++] = (struct xds_door){s->listeners[i].socket, &s->listeners[i]};
    if (n)
        s->acceptor = xds_acceptor_start(doors, n, on_connection);
}

static int check_address(struct listener *l, struct err *e)
{
    const struct credentials *c = &l->credentials;
    int r = socket_address_parse(l->address, &l->at, e);

    if (r < 0)
        return r;
    if (l->tls && (!c->certificate_file || !c->key_file || !c->client_ca_file))
        return err_set(e, -EINVAL, l->address, NULL,
                       "TLS takes a certificate, a key and the authority of the clients' certificates");
    if (!l->tls && !socket_address_is_local(&l->at))
        return err_set(e, -EINVAL, l->address, NULL,
                       "an address beyond loopback needs TLS with client certificates: what is served there includes "
                       "private keys");
    if (l->tls && l->passed)
        return err_set(e, -EINVAL, l->address, NULL,
                       "speaks TLS, which a socket that is passed in can't: take it out of the socket unit");
    return 0;
}

static int bind_tls(struct listener *l, struct err *e)
{
    int r = load_credentials(&l->credentials, e);

    if (r < 0)
        return r;
    grpc_ssl_server_credentials_options *options = grpc_ssl_server_credentials_create_options_using_config_fetcher(
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, give_certificates, &l->credentials);
    grpc_server_credentials *credentials = grpc_ssl_server_credentials_create_with_options(options);
    l->port = grpc_server_add_http2_port(l->grpc, l->address, credentials);
    grpc_server_credentials_release(credentials);
    if (l->port == 0)
        return err_set(e, -EADDRINUSE, l->address, NULL,
                       "can't listen there (in use, not an address of this host, or "
                       "a certificate that does not fit its key)");
    return 0;
}

static int bind_plaintext(struct listener *l, struct err *e)
{
    struct sockaddr_storage name = {.ss_family = AF_UNSPEC};
    socklen_t n = sizeof(name);
    struct socket_address bound;
    int r = l->passed ? 0 : listen_open(&l->at, (gid_t)-1, &l->socket, e);

    if (r < 0)
        return r;
    l->plaintext = grpc_insecure_server_credentials_create();
    r = getsockname(l->socket, (struct sockaddr *)&name, &n);
    assert(r == 0);
    r = socket_address_read(&name, &bound);
    assert(r == 0);
    l->port = bound.port;
    return 0;
}

static int listener_init(struct listener *l, struct xds_server *s, const struct xds_address *a, struct err *e)
{
    grpc_arg args[] = {
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_ALLOW_REUSEPORT, .value.integer = 0},
        {.type = GRPC_ARG_INTEGER,
         .key = (char *)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
         .value.integer = XDS_REQUEST_MAX},
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, .value.integer = -1},
        {.type = GRPC_ARG_INTEGER,
         .key = (char *)GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
         .value.integer = PING_INTERVAL_MS},
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_HTTP2_MAX_PING_STRIKES, .value.integer = 0},
        /* What clients send is little: the pings that would measure how fast it can come cost more than a wider
         * window brings. */
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_HTTP2_BDP_PROBE, .value.integer = 0},
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_KEEPALIVE_TIME_MS, .value.integer = KEEPALIVE_MS},
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_KEEPALIVE_TIMEOUT_MS, .value.integer = KEEPALIVE_MS},
        {.type = GRPC_ARG_INTEGER,
         .key = (char *)GRPC_ARG_MAX_CONCURRENT_STREAMS,
         .value.integer = (int)s->max_streams + 1},
        /* The last one: for what gRPC does not accept itself. */
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_MAX_CONNECTION_IDLE_MS, .value.integer = SILENT_MS},
    };
    l->server = s;
    l->address = mem_strdup(a->address);
    l->all = a->all;
    l->tls = a->certificate_file || a->key_file || a->client_ca_file;
    l->passed = a->socket > 0;
    l->socket = l->passed ? a->socket : -1;
    l->credentials.server = s;
    l->credentials.certificate_file = mem_strdup(a->certificate_file);
    l->credentials.key_file = mem_strdup(a->key_file);
    l->credentials.client_ca_file = mem_strdup(a->client_ca_file);
    l->gateways = mem_array(char *, a->n_gateways);
    for (; l->n_gateways < a->n_gateways; l->n_gateways++)
        l->gateways[l->n_gateways] = mem_strdup(a->gateways[l->n_gateways]);
    l->shutdown = (struct tag){.what = TAG_SHUTDOWN, .owner = l};
    int r = check_address(l, e);
    if (r < 0)
        return r;
    grpc_channel_args channel_args = {.num_args = ARRAY_LEN(args) - l->tls, .args = args};
    l->grpc = grpc_server_create(&channel_args, NULL);
    grpc_server_register_completion_queue(l->grpc, s->queue, NULL);
    return l->tls ? bind_tls(l, e) : bind_plaintext(l, e);
}

/* Whoever comes from now on is refused, and the address is free for the next one that listens there. */
static void close_socket(struct listener *l)
{
    if (l->socket >= 0 && l->passed)
        close(l->socket);
    else if (l->socket >= 0)
        listen_close(&l->at, l->socket);
    l->socket = -1;
}

static void listener_clear(struct listener *l)
{
    char *pems[3] = {l->credentials.certificate, l->credentials.key, l->credentials.client_ca};

    if (l->grpc)
        grpc_server_destroy(l->grpc);
    if (l->plaintext)
        grpc_server_credentials_release(l->plaintext);
    close_socket(l);
    clear_pems(pems);
    for (size_t i = 0; i < l->n_gateways; i++)
        mem_free(l->gateways[i]);
    mem_free(l->gateways);
    mem_free((char *)l->credentials.certificate_file);
    mem_free((char *)l->credentials.key_file);
    mem_free((char *)l->credentials.client_ca_file);
    mem_free(l->address);
}

/* ---- starting and stopping ---- */

static void log_grpc(gpr_log_func_args *args)
{
    log_event(args->severity == GPR_LOG_SEVERITY_ERROR ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG, "gRPC says", "text",
              args->message, NULL);
}

static void server_free(struct xds_server *s)
{
    grpc_event event;

    /* What was started and never ran: servers go down through the queue too. */
    if (!s->has_thread)
        for (size_t i = 0; i < s->n_listeners; i++)
            if (s->listeners[i].grpc) {
                grpc_server_shutdown_and_notify(s->listeners[i].grpc, s->queue, &s->listeners[i].shutdown);
                grpc_completion_queue_next(s->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
            }
    for (size_t i = 0; i < s->n_listeners; i++)
        listener_clear(&s->listeners[i]);
    grpc_channel_destroy(s->lame);
    grpc_completion_queue_shutdown(s->queue);
    do
        event = grpc_completion_queue_next(s->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    while (event.type != GRPC_QUEUE_SHUTDOWN);
    grpc_completion_queue_destroy(s->queue);
    while (s->inbox) {
        struct inbox *next = s->inbox->next;

        xds_batch_free(s->inbox->batch);
        mem_free(s->inbox);
        s->inbox = next;
    }
    xds_message_clear(&s->message);
    buf_clear(&s->bytes);
    xds_status_free(s->status);
    xds_notes_free(s->notes);
    xds_presence_free(s->common.presence);
    xds_directory_free(s->common.directory);
    xds_refusals_free(s->common.refusals);
    pthread_mutex_destroy(&s->lock);
    heap_clear(&s->deadlines);
    mem_free(s->accepts);
    mem_free(s->listeners);
    mem_free(s->default_gateway);
    mem_free(s);
    grpc_shutdown();
}

static struct xds_server *server_new(const struct xds_options *options)
{
    struct xds_server *s = mem_new(struct xds_server);

    gpr_set_log_function(log_grpc);
    grpc_init();
    pthread_mutex_init(&s->lock, NULL);
    s->default_gateway = mem_strdup(options->default_gateway);
    s->max_streams = options->max_streams ? options->max_streams : XDS_STREAMS_MAX_DEFAULT;
    s->common = (struct xds_common){.directory = xds_directory_new(),
                                    .refusals = xds_refusals_new(),
                                    .default_gateway = s->default_gateway,
                                    .nacked = options->nacked,
                                    .tell = options->tell,
                                    .arg = options->arg};
    s->common.presence = xds_presence_new(&(struct xds_presence_options){.directory = s->common.directory,
                                                                         .keep = options->keep_gone,
                                                                         .grace = options->gone_after,
                                                                         .tell = options->tell,
                                                                         .gone = options->gone,
                                                                         .arg = options->arg});
    s->notes = xds_notes_new(s->common.directory, s->common.refusals, s->common.presence, options->notes,
                             options->note, options->arg);
    s->common.epoch = xds_presence_epoch(s->common.presence);
    s->status = xds_status_new(&s->common, wake_for_status, s);
    s->status_at = s->notes_at = INT64_MAX;
    buf_init(&s->bytes, XDS_REQUEST_MAX + 1);
    s->ready_end = &s->ready;
    s->inbox_end = &s->inbox;
    s->wake = (struct tag){.what = TAG_WAKE, .owner = s};
    s->queue = grpc_completion_queue_create_for_next(NULL);
    s->lame = grpc_lame_client_channel_create("wake", GRPC_STATUS_UNAVAILABLE, "");
    s->listeners = mem_array(struct listener, options->n_addresses);
    s->accepts = mem_array(struct accept, options->n_addresses * ACCEPTS);
    return s;
}

int xds_server_start(const struct xds_options *options, struct xds_server **ret_server, struct err *e)
{
    struct xds_server *s = server_new(options);
    int r = 0;

    for (size_t i = 0; r == 0 && i < options->n_addresses; i++)
        r = listener_init(&s->listeners[s->n_listeners++], s, &options->addresses[i], e);
    if (r < 0) {
        server_free(s);
        return r;
    }
    for (size_t i = 0; i < s->n_listeners; i++) {
        grpc_server_start(s->listeners[i].grpc);
        for (unsigned k = 0; k < ACCEPTS; k++) {
            struct accept *a = &s->accepts[s->n_accepts++];

            a->tag = (struct tag){.what = TAG_ACCEPT, .owner = a};
            a->listener = &s->listeners[i];
            start_accept(a);
        }
    }
    s->has_thread = true;
    r = pthread_create(&s->thread, NULL, run, s);
    assert(r == 0);
    start_acceptor(s);
    *ret_server = s;
    return 0;
}

int xds_server_port(const struct xds_server *s, size_t address)
{
    return address < s->n_listeners ? s->listeners[address].port : -1;
}

void xds_server_stop(struct xds_server *s)
{
    if (!s)
        return;
    xds_acceptor_stop(take_ptr(s->acceptor));
    for (size_t i = 0; i < s->n_listeners; i++)
        close_socket(&s->listeners[i]);
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    wake(s);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    server_free(s);
}
