/*
 * The HTTP shell: the only file that knows the library (GNU libmicrohttpd). One daemon of it per address, each with a
 * pool of threads that wait in epoll; deadlines and counts are of all addresses together.
 *
 * What the library lets through is refused here (RFC 9112): Content-Length beside Transfer-Encoding, either of them
 * twice, codings other than chunked, no or several Host fields. What it refuses itself (a request line or fields that
 * can't be parsed) it answers in its own words, without a problem document, and ends the connection; version 0.9.75
 * writes the head of such an answer twice.
 *
 * An exchange (one request, one answer) lives from the request line to the last byte of its answer. It belongs to the
 * thread of its connection, as the connection's own data does.
 *
 * An exchange that waits for its answer (struct later) or has nothing to say for now (struct http_stream) sleeps: the
 * library leaves its connection alone, sees neither its end nor a timeout, and panics when its daemon is stopped
 * meanwhile. So whoever sleeps stands in a list, is woken up when its deadline cuts it and when the shell stops, and
 * does not fall asleep once it stops.
 */
#include "api/http.h"

#include "api/deadline.h"
#include "api/fault.h"
#include "base/clock.h"
#include "base/listen.h"
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum { /*
     * Of each address. A thread of the library (0.9.75) that finds LIBRARY_EVENTS events at once asks for more before
     * it handles any, and sleeps over them when there are none. So none of them gets that many connections.
     */
       LIBRARY_EVENTS = 128,
       CONNECTIONS_OF_THREAD = LIBRARY_EVENTS - 4, /* it listens, and is woken up, too */
       THREADS = 5,
       CONNECTION_MEMORY = 40 << 10, /* a stream's buffer is taken from it */
       CONNECTIONS_ABOVE = 64, /* over the limit, that get an answer saying so; what comes then is closed at once */
       REFUSED_SECONDS = 3,
       LOG_TARGET_MAX = 256,
};

static const char retry_after[] = "2"; /* seconds */
_Static_assert((int)THREADS *(int)CONNECTIONS_OF_THREAD > (int)API_CONNECTIONS_MAX + (int)CONNECTIONS_ABOVE,
               "who comes above the limit gets an answer");
_Static_assert((int)CONNECTION_MEMORY <= (int)API_STREAM_BUFFER, "what is promised of streams");

const double http_buckets[HTTP_BUCKETS] = {0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10};

struct place {
    struct http *http;
    struct socket_address address;
    bool is_tls;
    bool passed; /* the socket was passed in: it outlives the shell */
    int fd;
    struct MHD_Daemon *daemon;
};

struct http {
    struct http_options options;
    struct deadlines *deadlines;
    clock_ns request_time;
    struct place places[API_ADDRESSES_MAX];
    size_t n_places;
    uint64_t id_salt;
    pthread_mutex_t lock;      /* of the two below; above the locks of wakes */
    struct exchange *sleepers; /* those who may sleep */
    struct tls *tls;           /* of the next connections */
    bool stopping;             /* atomic, set with the lock held */
    /* Atomic: */
    uint64_t next_id;
    uint64_t requests[6], refused_connections, buckets[HTTP_BUCKETS + 1], total_us;
    uint32_t connections, in_flight, streams, waiting;
};

struct connection {
    struct http *http;
    struct http_peer peer;
    struct deadline deadline;
    bool over_limit;
    char local[SOCKET_TEXT_MAX]; /* the address that it came to; "": a unix socket's */
    struct tls *tls;             /* NULL: plaintext */
    bool client_is_known;        /* the handshake is over, and peer.certificate is right */
    char client[TLS_NAME_MAX];
};

struct exchange {
    struct http *http;
    struct connection *connection;
    struct MHD_Connection *mhd;
    struct arena *arena;
    struct http_request request;
    struct http_header *fields; /* of the request; their texts are the library's, as long as the exchange lives */
    size_t n_fields, fields_size;
    struct http_answer answer;
    struct buf body;
    clock_ns began;
    bool seen, answered, too_large, over_limit, streams;
    struct wake *wake;                /* not NULL: it may sleep, and stands in the list */
    struct exchange *before, *behind; /* in the list */
};

#define COUNT(member, n) ((void)__atomic_add_fetch(&(member), (n), __ATOMIC_RELAXED))
#define COUNTED(member) __atomic_load_n(&(member), __ATOMIC_RELAXED)

void http_answer_header(struct http_answer *a, const char *name, const char *value)
{
    assert(a->n_headers < HTTP_HEADERS_MAX);
    a->headers[a->n_headers++] = (struct http_header){name, value};
}

struct http_content *http_content_new(const void *p, size_t n)
{
    struct http_content *c = mem_alloc(sizeof(*c) + n);

    c->refs = 1;
    c->n = n;
    if (n)
        memcpy(c->data, p, n);
    return c;
}

struct http_content *http_content_ref(struct http_content *c)
{
    if (c)
        (void)__atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
    return c;
}

void http_content_unref(struct http_content *c)
{
    if (!c || __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    if (c->not_modified)
        MHD_destroy_response(c->not_modified);
    mem_free(c);
}

/* ---- connections ---- */

static void read_unix_peer(int fd, struct http_peer *p)
{
    struct ucred who;
    gid_t groups[HTTP_GROUPS_MAX - 1];
    socklen_t n = sizeof(who);

    p->is_unix = true;
    p->uid = (uid_t)-1; /* nobody, should the kernel not know */
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n))
        return;
    p->uid = who.uid;
    p->groups[p->n_groups++] = who.gid;
    n = sizeof(groups);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &n) == 0) /* more than fit: the primary one counts alone */
        for (size_t i = 0; i < n / sizeof(gid_t); i++)
            p->groups[p->n_groups++] = groups[i];
    (void)snprintf(p->text, sizeof(p->text), "unix uid=%u", (unsigned)who.uid);
}

static void read_names(struct connection *c)
{
    struct sockaddr_storage name = {0};
    struct socket_address a;
    socklen_t n = sizeof(name);

    if (getpeername(c->deadline.fd, (struct sockaddr *)&name, &n))
        return; /* gone already: it will not ask anything */
    if (name.ss_family == AF_UNIX) {
        read_unix_peer(c->deadline.fd, &c->peer);
        return;
    }
    if (socket_address_read(&name, &a))
        return;
    socket_address_text(&a, c->peer.text);
    c->peer.address = address_unmapped(&a.host);
    n = sizeof(name);
    if (getsockname(c->deadline.fd, (struct sockaddr *)&name, &n) == 0 && socket_address_read(&name, &a) == 0)
        socket_address_text(&a, c->local);
}

/* The library did not begin the handshake yet: with the credentials of this moment. */
static void begin_tls(struct connection *c, struct MHD_Connection *mhd)
{
    pthread_mutex_lock(&c->http->lock);
    c->tls = tls_ref(c->http->tls);
    pthread_mutex_unlock(&c->http->lock);
    c->peer.is_tls = true;
    tls_begin(c->tls, MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION)->tls_session);
}

/* At a request, so the handshake is over. */
static void know_client(struct connection *c, struct MHD_Connection *mhd)
{
    if (!c->tls || c->client_is_known)
        return;
    c->client_is_known = true;
    if (tls_client(MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION)->tls_session, c->client,
                   &c->peer.certificate_ends))
        c->peer.certificate = c->client;
}

static void on_connection(void *arg, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct place *place = arg;
    struct http *h = place->http;
    struct connection *c = *context;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        c = mem_new(struct connection);
        c->http = h;
        c->deadline.fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        read_names(c);
        if (place->is_tls)
            begin_tls(c, mhd);
        uint32_t n = __atomic_add_fetch(&h->connections, 1, __ATOMIC_RELAXED);
        c->over_limit = n > API_CONNECTIONS_MAX;
        if (c->over_limit)
            COUNT(h->refused_connections, 1);
        if (n > API_CONNECTIONS_MAX + CONNECTIONS_ABOVE)
            (void)shutdown(c->deadline.fd, SHUT_RDWR); /* a peer that went before is as good as refused */
        deadline_set(h->deadlines, &c->deadline, c->over_limit ? DEADLINE_REFUSED : DEADLINE_IDLE);
        *context = c;
    } else if (c) {
        (void)deadline_clear(h->deadlines, &c->deadline); /* its requests were counted as they ended */
        (void)__atomic_sub_fetch(&h->connections, 1, __ATOMIC_RELAXED);
        tls_unref(c->tls); /* the session has ended before */
        mem_free(c);
        *context = NULL;
    }
}

/* ---- exchanges ---- */

static const char *header_value(void *arg, const char *name);

static void *on_request_line(void *arg, const char *target, struct MHD_Connection *mhd)
{
    struct place *place = arg;
    struct http *h = place->http;
    struct exchange *x = mem_new(struct exchange);

    x->http = h;
    x->mhd = mhd;
    x->connection = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    know_client(x->connection, mhd);
    x->arena = arena_new();
    x->began = clock_now(NULL);
    x->over_limit = __atomic_add_fetch(&h->in_flight, 1, __ATOMIC_RELAXED) > API_REQUESTS_MAX;
    x->request.target = arena_strdup(x->arena, target);
    x->request.peer = &x->connection->peer;
    x->request.header = header_value;
    x->request.header_arg = x;
    x->answer.arena = x->arena;
    buf_init(&x->body, API_BODY_MAX);
    x->body.secret = true; /* keys and passwords come this way */
    buf_init(&x->answer.body, 0);
    /* Never twice, so that a request can be found in the log by it. */
    uint64_t id = __atomic_add_fetch(&h->next_id, 1, __ATOMIC_RELAXED) * UINT64_C(0x9e3779b97f4a7c15) ^ h->id_salt;
    for (size_t i = sizeof(x->request.id) - 1; i-- > 0; id >>= 4)
        x->request.id[i] = "0123456789abcdef"[id & 15];
    if (!x->connection->over_limit)
        deadline_set(h->deadlines, &x->connection->deadline, DEADLINE_REQUEST);
    return x;
}

static void log_exchange(const struct exchange *x, unsigned status, clock_ns took)
{
    bool quiet = (status && status < 400) || status == 429; /* that there are so many is told once */
    enum log_level level = quiet ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
    const char *target = x->request.target;
    char cut[LOG_TARGET_MAX + 4];

    if (!log_enabled(level))
        return;
    if (strlen(target) > LOG_TARGET_MAX) {
        (void)snprintf(cut, sizeof(cut), "%.*s...", LOG_TARGET_MAX, target);
        target = cut;
    }
    log_event(level, status ? "API request" : "API request was cut off", "request", x->request.id, "method",
              x->request.method, "target", target, "status", status ? LOG_INT(status) : NULL, "who", x->answer.who,
              "peer", x->connection->peer.text, "us", LOG_INT(took / 1000), NULL);
}

static void count_duration(struct http *h, clock_ns took)
{
    COUNT(h->total_us, (uint64_t)took / 1000);
    for (size_t i = 0; i < HTTP_BUCKETS; i++)
        if ((double)took <= http_buckets[i] * (double)CLOCK_NS_PER_S)
            COUNT(h->buckets[i], 1);
    COUNT(h->buckets[HTTP_BUCKETS], 1);
}

/* ---- sleeping ---- */

static void suspend(void *arg)
{
    MHD_suspend_connection(arg);
}

static void resume(void *arg)
{
    MHD_resume_connection(arg);
}

/* From now on the exchange sleeps on that wake. */
static void may_sleep(struct exchange *x, struct wake *w)
{
    struct http *h = x->http;

    if (x->wake == w)
        return;
    pthread_mutex_lock(&h->lock);
    if (!x->wake) {
        x->before = NULL; /* it may have slept before, behind another that is gone by now */
        x->behind = h->sleepers;
        if (x->behind)
            x->behind->before = x;
        h->sleepers = x;
    }
    x->wake = w;
    pthread_mutex_unlock(&h->lock);
    deadline_wakes(h->deadlines, &x->connection->deadline, w);
}

static void may_sleep_no_more(struct exchange *x)
{
    struct http *h = x->http;

    if (!x->wake)
        return;
    deadline_wakes(h->deadlines, &x->connection->deadline, NULL);
    pthread_mutex_lock(&h->lock);
    *(x->before ? &x->before->behind : &h->sleepers) = x->behind;
    if (x->behind)
        x->behind->before = x->before;
    x->wake = NULL;
    pthread_mutex_unlock(&h->lock);
}

static bool is_stopping(const struct http *h)
{
    return __atomic_load_n(&h->stopping, __ATOMIC_ACQUIRE);
}

/* False: it was woken up meanwhile, or the shell stops. */
static bool fall_asleep(struct exchange *x)
{
    const struct wake_sleeper s = {suspend, resume, x->mhd};

    return !is_stopping(x->http) && wake_sleep(x->wake, &s);
}

/* Nobody falls asleep any more, and who sleeps goes on and sees that it is over. */
static void wake_all(struct http *h)
{
    pthread_mutex_lock(&h->lock);
    __atomic_store_n(&h->stopping, true, __ATOMIC_RELEASE);
    for (struct exchange *x = h->sleepers; x; x = x->behind)
        wake_up(x->wake);
    pthread_mutex_unlock(&h->lock);
}

bool http_wait_begins(struct http *h)
{
    bool has_room = __atomic_add_fetch(&h->waiting, 1, __ATOMIC_RELAXED) <= API_WAITERS_MAX;

    if (!has_room)
        (void)__atomic_sub_fetch(&h->waiting, 1, __ATOMIC_RELAXED);
    return has_room;
}

static void wait_ends(struct exchange *x)
{
    if (x->answer.waits)
        (void)__atomic_sub_fetch(&x->http->waiting, 1, __ATOMIC_RELAXED);
    x->answer.waits = false;
    x->answer.give_up = NULL;
}

/* Nobody is there for the answer any more. */
static void give_up(struct http_answer *a)
{
    void (*f)(void *data) = a->give_up;

    a->give_up = NULL;
    if (f && !later_is_done(a->later))
        f(later_data(a->later));
}

static void drop_stream(struct http_answer *a)
{
    if (!a->stream.wake)
        return;
    a->stream.gone(a->stream.arg);
    wake_unref(a->stream.wake);
    a->stream = (struct http_stream){0};
}

static void on_completed(void *arg, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode code)
{
    struct place *place = arg;
    struct http *h = place->http;
    struct exchange *x = *context;

    (void)mhd; /* the exchange has it */
    if (!x)
        return;
    clock_ns took = clock_now(NULL) - x->began;
    unsigned status = code == MHD_REQUEST_TERMINATED_COMPLETED_OK || x->streams ? x->answer.status : 0;
    COUNT(h->requests[status / 100 % 6], 1);
    if (!x->streams)
        count_duration(h, took);
    log_exchange(x, status, took);
    (void)__atomic_sub_fetch(x->streams ? &h->streams : &h->in_flight, 1, __ATOMIC_RELAXED);
    may_sleep_no_more(x);
    give_up(&x->answer);
    wait_ends(x);
    later_unref(x->answer.later);
    http_content_unref(x->answer.content);
    drop_stream(&x->answer);
    if (!x->connection->over_limit)
        deadline_set(h->deadlines, &x->connection->deadline, DEADLINE_IDLE);
    bool had_body = x->body.data != NULL;
    buf_clear(&x->body);
    buf_clear(&x->answer.body);
    arena_free(x->arena);
    if (had_body)
        mem_wipe_traces();
    mem_free(x);
    *context = NULL;
}

/* ---- header fields ---- */

static enum MHD_Result add_field(void *arg, enum MHD_ValueKind kind, const char *key, const char *value)
{
    struct exchange *x = arg;

    (void)kind; /* only header fields were asked for */
    value = value ? value : "";
    x->fields[x->n_fields++] = (struct http_header){key, value};
    x->fields_size += strlen(key) + strlen(value) + 4;
    return MHD_YES;
}

/* Once: each look-up through the library would go through all of them by a callback. */
static void read_fields(struct exchange *x)
{
    int n = MHD_get_connection_values(x->mhd, MHD_HEADER_KIND, NULL, NULL);

    x->fields = arena_array(x->arena, struct http_header, (size_t)n);
    (void)MHD_get_connection_values(x->mhd, MHD_HEADER_KIND, add_field, x); /* as many */
}

struct lookup {
    const char *value; /* NULL: there is none; of several: one behind the other, with commas */
    size_t count;
};

static struct lookup find_header(struct exchange *x, const char *name)
{
    struct lookup l = {0};

    for (size_t i = 0; i < x->n_fields; i++) {
        const struct http_header *f = &x->fields[i];

        if (((*f->name ^ *name) & ~0x20) == 0 && strcasecmp(f->name, name) == 0) /* most begin with another letter */
            l.value = l.count++ ? arena_printf(x->arena, "%s, %s", l.value, f->value) : f->value;
    }
    return l;
}

static const char *header_value(void *arg, const char *name)
{
    return find_header(arg, name).value;
}

/* ---- answering ---- */

/* Where an answer does not say otherwise. The first one alone belongs to a 304 (RFC 9110, 15.4.5): the others are
 * about content, which it does not have. */
static const struct http_header always[] = {
    {"Cache-Control", "no-store"},
    {"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Referrer-Policy", "no-referrer"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
};

/* The library asks for more of a stream: what was written before is with the kernel. */
static ssize_t on_more(void *arg, uint64_t position, char *p, size_t n)
{
    struct exchange *x = arg;
    struct deadlines *d = x->http->deadlines;

    (void)position; /* a stream only goes forward */
    for (;;) {
        if (is_stopping(x->http))
            return MHD_CONTENT_READER_END_OF_STREAM;
        ssize_t got = x->answer.stream.more(x->answer.stream.arg, p, n);
        assert(got <= (ssize_t)n);
        if (got == HTTP_STREAM_END)
            return MHD_CONTENT_READER_END_OF_STREAM;
        if (got > 0) {
            deadline_set(d, &x->connection->deadline, DEADLINE_STREAM);
            return got;
        }
        if (deadline_clear(d, &x->connection->deadline))
            return MHD_CONTENT_READER_END_WITH_ERROR;
        if (fall_asleep(x))
            return 0;
    }
}

static struct MHD_Response *stream_response(struct exchange *x)
{
    (void)__atomic_sub_fetch(&x->http->in_flight, 1, __ATOMIC_RELAXED);
    x->streams = true;
    /* The library sends the last chunk of the content that a HEAD does not have; nobody may take it for an answer. */
    x->answer.close = x->answer.close || strcmp(x->request.method, "HEAD") == 0;
    may_sleep(x, x->answer.stream.wake);
    return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, API_STREAM_BUFFER, on_more, x, NULL);
}

static void drop_content(void *content)
{
    http_content_unref(content);
}

static struct MHD_Response *shared_response(struct http_answer *a)
{
    struct http_content *content = take_ptr(a->content);
    struct MHD_Response *r =
        MHD_create_response_from_buffer_with_free_callback_cls(content->n, content->data, drop_content, content);
    if (!r)
        http_content_unref(content);
    return r;
}

static struct MHD_Response *whole_response(struct http_answer *a)
{
    size_t len;

    if (!a->content_type)
        return MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    if (a->content)
        return shared_response(a);
    void (*let_go)(void *p) = a->body.secret ? mem_free_wiped : mem_free;
    char *data = buf_take(&a->body, &len);
    struct MHD_Response *r = MHD_create_response_from_buffer_with_free_callback(len, data, let_go);
    if (!r)
        let_go(data);
    return r;
}

/* Whether an answer says by itself what would else be added. */
static bool says(const struct http_answer *a, const char *name)
{
    for (size_t i = 0; i < a->n_headers; i++)
        if (strcmp(a->headers[i].name, name) == 0)
            return true;
    return false;
}

/* A 304 has no X-Request-Id: it says the same to everybody. */
static enum MHD_Result add_common_fields(const struct exchange *x, struct MHD_Response *r)
{
    const struct http_answer *a = &x->answer;
    bool bare = a->status == 304;
    enum MHD_Result ok = bare ? MHD_YES : MHD_add_response_header(r, "X-Request-Id", x->request.id);

    for (size_t i = 0; ok && i < (bare ? 1 : ARRAY_LEN(always)); i++)
        if (!says(a, always[i].name))
            ok = MHD_add_response_header(r, always[i].name, always[i].value);
    return ok;
}

/* With all fields; NULL: the library can't. */
static struct MHD_Response *make_response(struct exchange *x)
{
    struct http_answer *a = &x->answer;
    struct MHD_Response *r = a->stream.wake ? stream_response(x) : whole_response(a);

    if (!r)
        return NULL;
    enum MHD_Result ok = add_common_fields(x, r);
    for (size_t i = 0; ok && i < a->n_headers; i++)
        ok = MHD_add_response_header(r, a->headers[i].name, a->headers[i].value);
    if (ok && a->content_type)
        ok = MHD_add_response_header(r, "Content-Type", a->content_type);
    if (ok && a->close)
        ok = MHD_add_response_header(r, "Connection", "close");
    if (!ok)
        MHD_destroy_response(r);
    return ok ? r : NULL;
}

/* The 304 of shared content is kept with it: who asks again and again asks for that. NULL as above. */
static struct MHD_Response *not_modified_response(struct exchange *x)
{
    struct http_content *content = x->answer.content;
    struct MHD_Response *r = __atomic_load_n(&content->not_modified, __ATOMIC_ACQUIRE);
    void *none = NULL;

    if (r)
        return r;
    r = make_response(x);
    if (r &&
        !__atomic_compare_exchange_n(&content->not_modified, &none, r, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        MHD_destroy_response(r); /* another thread was faster */
        r = none;
    }
    return r;
}

static enum MHD_Result send_answer(struct exchange *x)
{
    const struct http_answer *a = &x->answer;
    bool kept = a->status == 304 && a->content && !a->close;
    struct MHD_Response *r = kept ? not_modified_response(x) : make_response(x);

    x->answered = true;
    if (!r)
        return MHD_NO;
    enum MHD_Result ok = MHD_queue_response(x->mhd, a->status, r);
    if (!kept)
        MHD_destroy_response(r);
    return ok;
}

static enum MHD_Result refuse(struct exchange *x, unsigned status, const char *detail)
{
    fault_answer(&x->answer, x->request.id, status, detail, NULL);
    if (status == 503)
        http_answer_header(&x->answer, "Retry-After", retry_after);
    x->answer.close = true;
    return send_answer(x);
}

/* What RFC 9112 forbids and the library lets through; NULL when there is nothing. */
static const char *framing_fault(struct exchange *x, const char *version, bool *ret_content)
{
    struct lookup length = find_header(x, "Content-Length"), coding = find_header(x, "Transfer-Encoding");
    struct lookup host = find_header(x, "Host");

    *ret_content = coding.count || (length.count && strcmp(length.value, "0") != 0);
    if (host.count > 1)
        return "there is more than one Host field";
    if (!host.count && strcmp(version, "HTTP/1.0") != 0)
        return "there is no Host field";
    if (coding.count && length.count)
        return "Content-Length and Transfer-Encoding exclude each other";
    if (coding.count > 1 || length.count > 1)
        return "the length of the content is said twice";
    if (coding.count && strcasecmp(coding.value, "chunked") != 0)
        return "the only transfer coding is chunked";
    if (length.count && strspn(length.value, "0123456789") != strlen(length.value))
        return "Content-Length is no number";
    return NULL;
}

/* What is asked over a unix socket does not come from a browser. */
static bool host_is_good(struct exchange *x)
{
    const struct hosts *hosts = x->http->options.hosts;
    const char *field, *authority;

    if (!hosts || x->connection->peer.is_unix)
        return true;
    field = header_value(x, "Host");
    authority = hosts_of_target(x->request.target, x->arena);
    return (!field || hosts_allow(hosts, field, x->connection->local)) &&
           (!authority || hosts_allow(hosts, authority, x->connection->local));
}

static bool length_is_above(const char *text, size_t max)
{
    size_t n = 0;

    for (; text && *text; text++) {
        n = n * 10 + (size_t)(*text - '0');
        if (n > max)
            return true;
    }
    return false;
}

static struct http_manner manner_of(const struct exchange *x)
{
    const struct http_options *o = &x->http->options;

    return o->manner(o->arg, x->request.method, x->request.target);
}

/* The header fields are there, the content is not. */
static enum MHD_Result on_headers(struct exchange *x, const char *version)
{
    bool content;

    bool over_limit = x->over_limit || x->connection->over_limit;
    x->answer.close = over_limit;
    if (over_limit && !manner_of(x).is_probe)
        return refuse(x, 503, "too many requests or connections at the same time");
    if (strlen(x->request.target) > API_URI_MAX)
        return refuse(x, 414, "the request's target is longer than 8 KiB");
    if (x->fields_size > API_HEADERS_MAX)
        return refuse(x, 431, "the header fields are larger than 16 KiB");
    const char *fault = framing_fault(x, version, &content);
    if (fault)
        return refuse(x, 400, fault);
    if (!host_is_good(x))
        return refuse(x, 421, "this interface is not known by that host name (api-host)");
    if (!content)
        return MHD_YES;
    if (length_is_above(header_value(x, "Content-Length"), API_BODY_MAX))
        return refuse(x, 413, "the content is larger than 1 MiB");
    if (!manner_of(x).takes_body)
        return refuse(x, 400, "this request takes no content");
    return MHD_YES;
}

/* The client sends nothing more, and nobody was told yet. */
static bool is_left(const struct exchange *x)
{
    return x->answer.give_up && deadline_hung_up(x->http->deadlines, &x->connection->deadline);
}

/* Falls asleep until its answer is there; false: it is there, or never will be. */
static bool wait_for_answer(struct exchange *x)
{
    struct http_answer *a = &x->answer;

    if (later_is_done(a->later))
        return false;
    if (a->later_seconds)
        deadline_set_for(x->http->deadlines, &x->connection->deadline, DEADLINE_LATER,
                         a->later_seconds * CLOCK_NS_PER_S + x->http->request_time);
    a->later_seconds = 0;
    may_sleep(x, later_wake(a->later));
    if (a->give_up)
        deadline_watch(x->http->deadlines, &x->connection->deadline);
    for (;;) { /* a wake may have been kept that says nothing new */
        if (is_left(x))
            give_up(a);
        if (later_is_done(a->later))
            return false;
        if (fall_asleep(x))
            return true;
        if (is_stopping(x->http) || deadline_is_cut(x->http->deadlines, &x->connection->deadline))
            return false;
    }
}

/* There is an answer, or it comes later. */
static enum MHD_Result on_handled(struct exchange *x)
{
    struct http_answer *a = &x->answer;

    while (a->later) {
        if (wait_for_answer(x))
            return MHD_YES;
        if (!later_is_done(a->later))
            return MHD_NO; /* it was cut, or the shell stops */
        may_sleep_no_more(x);
        wait_ends(x);
        deadline_set(x->http->deadlines, &x->connection->deadline, DEADLINE_REQUEST);
        struct later *l = take_ptr(a->later);
        a->go_on(a, a->go_on_arg, later_data(l));
        later_unref(l);
    }
    assert(a->status >= 200);
    if (a->stream.wake && __atomic_add_fetch(&x->http->streams, 1, __ATOMIC_RELAXED) > API_STREAMS_MAX) {
        (void)__atomic_sub_fetch(&x->http->streams, 1, __ATOMIC_RELAXED);
        drop_stream(a);
        return refuse(x, 503, "too many streams at the same time");
    }
    return send_answer(x);
}

static enum MHD_Result on_whole(struct exchange *x)
{
    if (x->too_large)
        return refuse(x, 413, "the content is larger than 1 MiB");
    if (x->answer.later)
        return on_handled(x);
    x->request.body = buf_cstr(&x->body);
    x->request.body_len = x->body.len;
    x->http->options.handle(x->http->options.arg, &x->request, &x->answer);
    return on_handled(x);
}

static enum MHD_Result on_access(void *arg, struct MHD_Connection *mhd, const char *url, const char *method,
                                 const char *version, const char *data, size_t *size, void **context)
{
    struct exchange *x = *context;

    (void)arg, (void)mhd, (void)url; /* the exchange has them, and the target as it was sent */
    if (!x->seen) {
        x->seen = true;
        x->request.method = arena_strdup(x->arena, method);
        read_fields(x);
        return on_headers(x, version);
    }
    if (*size) {
        arena_set_secret(x->arena); /* what is made of it stands there */
        x->answer.body.secret = true;
        if (!x->too_large && buf_append(&x->body, data, *size))
            x->too_large = true;
        *size = 0;
        return MHD_YES;
    }
    return x->answered ? MHD_YES : on_whole(x);
}

/* Percent-encoding stays as it is: a %2F in a name is no separator. */
static size_t leave_encoded(void *arg, struct MHD_Connection *mhd, char *text)
{
    (void)arg, (void)mhd; /* nothing depends on them */
    return strlen(text);
}

/* What clients do wrong is theirs; it is of interest only to who looks for it. */
__attribute__((format(printf, 2, 0))) static void on_library_log(void *arg, const char *format, va_list ap)
{
    (void)arg; /* the log is everybody's */
    if (!log_enabled(LOG_LEVEL_DEBUG))
        return;
    _cleanup_(mem_free_p) char *text = mem_vprintf(format, ap);
    text[strcspn(text, "\n")] = '\0';
    log_event(LOG_LEVEL_DEBUG, "HTTP library", "text", text, NULL);
}

/* ---- start and stop ---- */

/* Those of a socket that was passed in stay with it, and its file. */
static void close_place(struct place *p, int fd)
{
    if (!p->passed)
        listen_close(&p->address, fd);
    else if (fd >= 0)
        close(fd);
}

static int start_place(struct http *h, const char *text, int socket, struct err *e)
{
    struct place *p = &h->places[h->n_places];
    int r = socket_address_parse(text, &p->address, e);

    p->http = h;
    p->passed = socket > 0;
    p->fd = socket;
    p->is_tls = h->tls && !p->address.path[0];
    if (!r && !p->is_tls && !socket_address_is_local(&p->address))
        r = err_set(e, -EPERM, text, NULL, "beyond loopback the REST interface is served with TLS only");
    if (!r && !p->passed)
        r = listen_open(&p->address, h->options.socket_group, &p->fd, e);
    if (r && p->passed)
        close(socket);
    if (r)
        return r;
    struct MHD_OptionItem secure[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, p->is_tls ? (void *)tls_certificate_pem(h->tls) : NULL},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, p->is_tls ? (void *)tls_key_pem(h->tls) : NULL},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)tls_priorities},
        {MHD_OPTION_END, 0, NULL},
    };
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME;
    p->daemon = MHD_start_daemon(
        p->is_tls ? flags | MHD_USE_TLS : flags, 0, NULL, NULL, on_access, p, MHD_OPTION_EXTERNAL_LOGGER,
        on_library_log, NULL, MHD_OPTION_LISTEN_SOCKET, p->fd, MHD_OPTION_THREAD_POOL_SIZE, (unsigned)THREADS,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)(THREADS * CONNECTIONS_OF_THREAD), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)API_IDLE_SECONDS,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, p, MHD_OPTION_URI_LOG_CALLBACK, on_request_line, p,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, p, MHD_OPTION_UNESCAPE_CALLBACK, leave_encoded, NULL,
        MHD_OPTION_ARRAY, p->is_tls ? secure : &secure[ARRAY_LEN(secure) - 1], MHD_OPTION_END);
    if (!p->daemon) {
        close_place(p, p->fd);
        return err_set(e, -EIO, text, NULL, "the HTTP library can't serve there");
    }
    h->n_places++;
    return 0;
}

int http_new(const struct http_options *options, struct http **ret_http, struct err *e)
{
    struct http *h = mem_new(struct http);

    h->options = *options;
    if (options->n_addresses > API_ADDRESSES_MAX ||
        getrandom(&h->id_salt, sizeof(h->id_salt), 0) != (ssize_t)sizeof(h->id_salt)) {
        mem_free(h);
        return err_set(e, -EINVAL, "api", NULL, "more than %d addresses, or no random numbers", API_ADDRESSES_MAX);
    }
    pthread_mutex_init(&h->lock, NULL);
    h->tls = tls_ref(options->tls);
    *ret_http = h;
    return 0;
}

static clock_ns duration(unsigned ms, unsigned seconds_otherwise)
{
    return ms ? (clock_ns)ms * CLOCK_NS_PER_MS : seconds_otherwise * CLOCK_NS_PER_S;
}

int http_start(struct http *h, struct err *e)
{
    const struct http_options *o = &h->options;
    const clock_ns durations[DEADLINE_KINDS] = {
        [DEADLINE_IDLE] = duration(o->idle_ms, API_IDLE_SECONDS),
        [DEADLINE_REQUEST] = duration(o->request_ms, API_REQUEST_SECONDS),
        [DEADLINE_LATER] = duration(o->request_ms, API_REQUEST_SECONDS),
        [DEADLINE_STREAM] = duration(o->stream_ms, API_STREAM_SECONDS),
        [DEADLINE_REFUSED] = REFUSED_SECONDS * CLOCK_NS_PER_S,
    };
    h->request_time = durations[DEADLINE_REQUEST];
    int r = deadlines_start(durations, &h->deadlines, e);

    for (size_t i = 0; !r && i < h->options.n_addresses; i++)
        r = start_place(h, h->options.addresses[i], h->options.sockets ? h->options.sockets[i] : 0, e);
    return r;
}

void http_stop(struct http *h)
{
    if (!h)
        return;
    wake_all(h);
    for (size_t i = 0; i < h->n_places; i++) {
        struct place *p = &h->places[i];
        /* The library would shut down the socket that it listens on, for whoever else holds it, too. */
        int fd = p->passed ? MHD_quiesce_daemon(p->daemon) : -1;
        MHD_stop_daemon(p->daemon);
        close_place(p, fd);
    }
    deadlines_stop(h->deadlines);
    tls_unref(h->tls);
    pthread_mutex_destroy(&h->lock);
    mem_free(h);
}

void http_set_tls(struct http *h, struct tls *tls)
{
    struct tls *next = tls_ref(tls);

    pthread_mutex_lock(&h->lock);
    assert(h->tls && next);
    struct tls *before = h->tls;
    h->tls = next;
    pthread_mutex_unlock(&h->lock);
    tls_unref(before);
}

void http_count(struct http *h, struct http_counters *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(h->requests); i++)
        ret->requests[i] = COUNTED(h->requests[i]);
    for (size_t i = 0; i < ARRAY_LEN(h->buckets); i++)
        ret->seconds_buckets[i] = COUNTED(h->buckets[i]);
    ret->refused_connections = COUNTED(h->refused_connections);
    ret->seconds = (double)COUNTED(h->total_us) / 1e6;
    ret->connections = COUNTED(h->connections);
    ret->in_flight = COUNTED(h->in_flight);
    ret->streams = COUNTED(h->streams);
    ret->waiting = COUNTED(h->waiting);
}
