/*
 * The log: one event, one line, on standard error. logfmt, JSON, or logfmt with journald's <N> priority prefix when
 * standard error is the journal ($JOURNAL_STREAM). Thread-safe; a line is one write.
 *
 * Logged at the edges only: libraries return errors. Never pass a secret.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_NOTICE, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_AUTO, LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

/* 0 or -EINVAL. Names: error, warning, notice, info, debug; auto, logfmt, json. */
int log_level_parse(const char *text, enum log_level *ret_level);
int log_format_parse(const char *text, enum log_format *ret_format);
void log_setup(enum log_level level, enum log_format format);
bool log_enabled(enum log_level level);

/*
 * A line with fields: pairs of a name and a text, ended by NULL; a pair whose text is NULL is left out.
 *     log_event(LOG_LEVEL_INFO, "agent connected", "socket", path, NULL);
 */
void log_event(enum log_level level, const char *message, ...) __attribute__((sentinel));
/* As log_event, with e's object, field and text as fields first. */
void log_err(enum log_level level, const struct err *e, const char *message, ...) __attribute__((sentinel));
/* Numbers as text for log_event's pairs: LOG_INT(n) lives until the end of the enclosing block. */
struct log_number {
    char text[32];
};
const char *log_int(struct log_number *n, int64_t value);
#define LOG_INT(value) log_int(&(struct log_number){{0}}, (int64_t)(value))

/* A test reads what is logged instead of standard error; NULL gives it back. Called with the log's lock held. */
void log_set_sink(void (*sink)(const char *line, size_t len, void *arg), void *arg);

#endif
