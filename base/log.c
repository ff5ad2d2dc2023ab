/*
 * The log. A line is built in one static buffer under one lock (the lowest in rank: nothing is locked, and no memory
 * allocated, while it is held; so the allocator may log that there is no more) and written at once. A value that is
 * too long is cut, a field that does not fit the line is left out and the line says truncated=true.
 */
#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/utf8.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 16384, VALUE_MAX_BYTES = 4096, TAIL_BYTES = 32 };

static const char *const level_names[] = {[LOG_LEVEL_ERROR] = "error",
                                          [LOG_LEVEL_WARNING] = "warning",
                                          [LOG_LEVEL_NOTICE] = "notice",
                                          [LOG_LEVEL_INFO] = "info",
                                          [LOG_LEVEL_DEBUG] = "debug"};
/* syslog(3)'s severities, which journald takes as a prefix (sd-daemon(3)). */
static const char level_priorities[] = {[LOG_LEVEL_ERROR] = '3',
                                        [LOG_LEVEL_WARNING] = '4',
                                        [LOG_LEVEL_NOTICE] = '5',
                                        [LOG_LEVEL_INFO] = '6',
                                        [LOG_LEVEL_DEBUG] = '7'};
static const char *const format_names[] = {
    [LOG_FORMAT_AUTO] = "auto", [LOG_FORMAT_LOGFMT] = "logfmt", [LOG_FORMAT_JSON] = "json"};

static atomic_int enabled_level = LOG_LEVEL_INFO;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Under the lock. */
static uint8_t line_bytes[LINE_MAX_BYTES];
static bool as_json, for_journal;
static void (*line_sink)(const char *line, size_t len, void *arg);
static void *line_sink_arg;

static int parse_name(const char *text, const char *const *names, size_t n, int *ret_index)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(text, names[i]) == 0) {
            *ret_index = (int)i;
            return 0;
        }
    return -EINVAL;
}

int log_level_parse(const char *text, enum log_level *ret_level)
{
    int index, r = parse_name(text, level_names, ARRAY_LEN(level_names), &index);

    if (r < 0)
        return r;
    *ret_level = (enum log_level)index;
    return 0;
}

int log_format_parse(const char *text, enum log_format *ret_format)
{
    int index, r = parse_name(text, format_names, ARRAY_LEN(format_names), &index);

    if (r < 0)
        return r;
    *ret_format = (enum log_format)index;
    return 0;
}

/* systemd.exec(5): $JOURNAL_STREAM is DEVICE:INODE of the stream that the journal reads. */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char here[64];
    struct stat st;

    if (!stream || fstat(STDERR_FILENO, &st) < 0)
        return false;
    snprintf(here, sizeof(here), "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
    return strcmp(stream, here) == 0;
}

void log_setup(enum log_level level, enum log_format format)
{
    bool journal = format == LOG_FORMAT_AUTO && stderr_is_journal();

    atomic_store(&enabled_level, (int)level);
    pthread_mutex_lock(&lock);
    as_json = format == LOG_FORMAT_JSON;
    for_journal = journal;
    pthread_mutex_unlock(&lock);
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&enabled_level, memory_order_relaxed);
}

void log_set_sink(void (*sink)(const char *line, size_t len, void *arg), void *arg)
{
    pthread_mutex_lock(&lock);
    line_sink = sink;
    line_sink_arg = arg;
    pthread_mutex_unlock(&lock);
}

const char *log_int(struct log_number *n, int64_t value)
{
    snprintf(n->text, sizeof(n->text), "%lld", (long long)value);
    return n->text;
}

static bool needs_quotes(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] <= ' ' || s[i] > '~' || s[i] == '"' || s[i] == '=' || s[i] == '\\')
            return true;
    return n == 0;
}

/* The whole field or nothing of it; false if it does not fit. */
static bool put_field(struct buf *line, const char *name, const char *value)
{
    size_t start = line->len, length = strnlen(value, VALUE_MAX_BYTES + 1);
    size_t cut = length > VALUE_MAX_BYTES ? utf8_cut(value, length, VALUE_MAX_BYTES) : length;

    if (as_json) {
        buf_append_str(line, start > 0 && line->data[start - 1] != '{' ? "," : "");
        buf_json_string(line, name, strlen(name));
        buf_append_byte(line, ':');
    } else {
        buf_append_str(line, start > 0 && line->data[start - 1] != '>' ? " " : "");
        buf_append_str(line, name);
        buf_append_byte(line, '=');
    }
    if (as_json || cut < length || needs_quotes(value, cut)) {
        buf_json_string(line, value, cut);
        if (cut < length && !line->overflow) {
            line->len--;
            buf_append_str(line, "...\"");
        }
    } else {
        buf_append(line, value, cut);
    }
    if (line->overflow || line->len > LINE_MAX_BYTES - TAIL_BYTES) {
        line->len = start;
        line->overflow = false;
        return false;
    }
    return true;
}

static void write_line(const struct buf *line)
{
    const uint8_t *p = line->data;
    size_t left = line->len;

    if (line_sink) {
        line_sink((const char *)line->data, line->len, line_sink_arg);
        return;
    }
    while (left > 0) {
        ssize_t n = write(STDERR_FILENO, p, left);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* There is nobody left to tell. */
        p += n;
        left -= (size_t)n;
    }
}

static void log_line(enum log_level level, const struct err *e, const char *message, va_list ap)
{
    struct buf line = {.data = line_bytes, .cap = sizeof(line_bytes), .max = sizeof(line_bytes) - 1};
    const char *name;
    char when[32];
    bool fits = true;
    int saved_errno = errno;

    pthread_mutex_lock(&lock);
    if (for_journal)
        buf_append(&line, (char[]){'<', level_priorities[level], '>'}, 3);
    if (as_json)
        buf_append_byte(&line, '{');
    if (!for_journal)
        fits &= put_field(&line, "time", clock_wall_text(clock_wall(), when));
    fits &= put_field(&line, "level", level_names[level]);
    fits &= put_field(&line, "msg", message);
    if (e && e->object[0])
        fits &= put_field(&line, "object", e->object);
    if (e && e->field[0])
        fits &= put_field(&line, "field", e->field);
    if (e && e->text[0])
        fits &= put_field(&line, "error", e->text);
    while ((name = va_arg(ap, const char *)) != NULL) {
        const char *value = va_arg(ap, const char *);

        if (value)
            fits &= put_field(&line, name, value);
    }
    if (!fits)
        buf_append_str(&line, as_json ? ",\"truncated\":true" : " truncated=true");
    buf_append_str(&line, as_json ? "}\n" : "\n");
    write_line(&line);
    pthread_mutex_unlock(&lock);
    errno = saved_errno;
}

void log_event(enum log_level level, const char *message, ...)
{
    va_list ap;

    if (!log_enabled(level))
        return;
    va_start(ap, message);
    log_line(level, NULL, message, ap);
    va_end(ap);
}

void log_err(enum log_level level, const struct err *e, const char *message, ...)
{
    va_list ap;

    if (!log_enabled(level))
        return;
    va_start(ap, message);
    log_line(level, e, message, ap);
    va_end(ap);
}
