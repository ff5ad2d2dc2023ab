/*
 * Writes JSON (RFC 8259) straight into a buffer: commas are its business, matching ends the caller's. Faster by far
 * than building a tree, which a page of a thousand objects would feel.
 */
#ifndef API_WRITER_H
#define API_WRITER_H

#include "base/buf.h"

#include <stdint.h>

struct writer {
    struct buf *out;
    bool comma; /* before the next key or value */
};

/* kind: '{' or '['; writer_close() takes '}' or ']'. key NULL: an element of an array, or the whole text. */
void writer_open(struct writer *w, const char *key, char kind);
void writer_close(struct writer *w, char kind);
/* NULL becomes null. */
void writer_text(struct writer *w, const char *key, const char *value);
void writer_int(struct writer *w, const char *key, int64_t value);
void writer_bool(struct writer *w, const char *key, bool value);
void writer_null(struct writer *w, const char *key);
/* With exactly three digits behind the point. */
void writer_seconds(struct writer *w, const char *key, double value);
/* JSON that is there already. */
void writer_raw(struct writer *w, const char *key, const char *json, size_t n);
/* An array of texts. */
void writer_texts(struct writer *w, const char *key, const char *const *items, size_t n);
/* RFC 3339 in UTC, of seconds since 1970. */
void writer_time(struct writer *w, const char *key, double wall);

#endif
