/*
 * The HTTP shell's door: one request in, one answer out. Everything above it is free of the library, and can be tried
 * without a socket.
 *
 * The handler runs in one of the shell's threads, once a request, when its content is there as a whole.
 */
#ifndef API_HTTP_H
#define API_HTTP_H

#include "api/api.h"
#include "api/hosts.h"
#include "api/later.h"
#include "api/tls.h"
#include "base/buf.h"
#include "base/socket_address.h"

enum { HTTP_HEADERS_MAX = 8 /* of an answer, beside those that the shell adds */, HTTP_GROUPS_MAX = 64 };

/* Who is at the other end. */
struct http_peer {
    bool is_unix;
    uid_t uid;                     /* of a unix socket's peer */
    gid_t groups[HTTP_GROUPS_MAX]; /* the primary one first */
    size_t n_groups;
    char text[SOCKET_TEXT_MAX]; /* for the log: "unix uid=0", "127.0.0.1:40312" */
    struct address address;     /* of TCP, not mapped */
    bool is_tls;
    const char *certificate; /* the common name of a client certificate that was believed; NULL: there is none */
    double certificate_ends; /* seconds since 1970 */
};

struct http_header {
    const char *name, *value;
};

struct http_request {
    char id[17]; /* 16 hexadecimal digits */
    const char *method;
    const char *target; /* as it was sent, still percent-encoded */
    const struct http_peer *peer;
    /* The field's value, NULL when absent; several lines are joined by ", " (RFC 9110, 5.3). */
    const char *(*header)(void *arg, const char *name);
    void *header_arg;
    const char *body;
    size_t body_len;
};

static inline const char *http_request_header(const struct http_request *r, const char *name)
{
    return r->header(r->header_arg, name);
}

/*
 * An answer whose content is produced over time, as text/event-stream is: its owner says what there is whenever the
 * socket can take more, and wakes the stream up when there is something again. Nothing is queued here beyond what the
 * socket has not taken yet (API_STREAM_BUFFER at most), so the owner bounds what it keeps for a slow reader, and may
 * leave things out. A reader that does not take what was written within API_STREAM_SECONDS is cut off. One that went
 * away is noticed when something is written: an owner that has nothing to say for long writes a heartbeat. When the
 * daemon stops, the stream ends.
 */
struct http_stream {
    struct wake *wake; /* NULL: the answer is no stream; the shell takes this reference over */
    /* In the shell's thread: puts up to n bytes (1 at least) into p and returns how many; 0: nothing now, so that the
     * stream sleeps until wake_up(); HTTP_STREAM_END: this was all. */
    ssize_t (*more)(void *arg, char *p, size_t n);
    /* Once, in the shell's thread, whatever became of the stream, even when it never began: arg is not used again. */
    void (*gone)(void *arg);
    void *arg;
};
enum { HTTP_STREAM_END = -1 };

/* Content that several answers have in common. Counted, immutable; any thread. */
struct http_content {
    int refs;           /* atomic */
    void *not_modified; /* atomic, the shell's: the 304 to who has it, once that was made; NULL before */
    size_t n;
    uint8_t data[];
};
struct http_content *http_content_new(const void *p, size_t n);
struct http_content *http_content_ref(struct http_content *c); /* NULL is allowed, here and below */
void http_content_unref(struct http_content *c);

struct http_answer {
    unsigned status;
    const char *content_type;                     /* NULL: no content */
    struct buf body;                              /* taken by the shell */
    struct http_content *content;                 /* not NULL: instead of body, and all that a 304 says follows from
                                                   * it; a reference, taken over */
    struct http_header headers[HTTP_HEADERS_MAX]; /* texts live in the arena, or for ever */
    size_t n_headers;
    bool close;                /* the connection ends after this answer */
    const char *who;           /* the caller's name for the log, NULL: nobody known */
    struct http_stream stream; /* instead of body */
    /* Set: there is no answer yet (api/later.h, whose reference is taken over). The shell waits at most that long, or
     * as long as for any other request, and then calls go_on, which makes the answer, or has it come later again. */
    struct later *later;
    unsigned later_seconds;
    void (*go_on)(struct http_answer *a, void *arg, void *data);
    void *go_on_arg; /* lives in the arena */
    /* Called at most once, in the shell's thread, with the later's data, while it is not done: the client went away,
     * or the exchange ends. It may make it done. NULL: then nobody looks whether the client is there. */
    void (*give_up)(void *data);
    bool waits; /* http_wait_begins() was true: the shell counts it as long as its answer is to come */
    struct arena *arena;
};

void http_answer_header(struct http_answer *a, const char *name, const char *value);

/* What was counted since the start; each number is true for itself. */
struct http_counters {
    uint64_t requests[6]; /* by the status' first digit; [0]: cut off before an answer */
    uint64_t refused_connections;
    uint64_t seconds_buckets[8]; /* requests that took at most http_buckets[i] seconds; the last: all. No streams */
    double seconds;              /* of all of these requests together */
    uint32_t connections, in_flight, streams, waiting;
};
enum { HTTP_BUCKETS = 7 };
extern const double http_buckets[HTTP_BUCKETS];

/* How the shell treats a request, by its first line. */
struct http_manner {
    bool takes_body; /* else it is refused where it has content, before that is read */
    bool is_probe;   /* is answered even past the limits of requests and connections; it must not take long */
};

struct http_options {
    const char *const *addresses;
    size_t n_addresses;
    const int *sockets; /* as in struct api_options; borrowed until http_start() returns */
    gid_t socket_group; /* of unix sockets; (gid_t)-1: the daemon's */
    void (*handle)(void *arg, const struct http_request *r, struct http_answer *a);
    struct http_manner (*manner)(void *arg, const char *method, const char *target); /* called before the content */
    void *arg;
    struct tls *tls;           /* of TCP addresses, which beyond loopback need it; NULL: plaintext. Borrowed */
    const struct hosts *hosts; /* that TCP's requests may name: 421; NULL: any. Outlives the shell */
    /* Milliseconds; 0: API_IDLE_SECONDS, API_REQUEST_SECONDS, API_STREAM_SECONDS. */
    unsigned idle_ms, request_ms, stream_ms;
};

struct http;

/* options->addresses are borrowed until http_start() returns. */
int http_new(const struct http_options *options, struct http **ret_http, struct err *e);
/* Listens at all addresses; after an error http_stop() is to be called. Handlers may run before it returns. */
int http_start(struct http *h, struct err *e);
/* Ends all connections, waits for the handlers, frees. NULL is allowed. */
void http_stop(struct http *h);
/* For connections from now on; only where there was TLS before. Any thread. */
void http_set_tls(struct http *h, struct tls *tls);
/* Room for one more whose answer waits for others; false: API_WAITERS_MAX do. answer->waits gives it back. */
bool http_wait_begins(struct http *h);
void http_count(struct http *h, struct http_counters *ret);

#endif
