/* JSON into a buffer. A buffer that is full says so itself (overflow), so nothing here has an error path. */
#include "api/writer.h"

#include "base/clock.h"

#include <string.h>

static void begin(struct writer *w, const char *key)
{
    if (w->comma)
        (void)buf_append_byte(w->out, ',');
    if (key) {
        (void)buf_json_string(w->out, key, strlen(key));
        (void)buf_append_byte(w->out, ':');
    }
    w->comma = true;
}

void writer_open(struct writer *w, const char *key, char kind)
{
    begin(w, key);
    (void)buf_append_byte(w->out, (uint8_t)kind);
    w->comma = false;
}

void writer_close(struct writer *w, char kind)
{
    (void)buf_append_byte(w->out, (uint8_t)kind);
    w->comma = true;
}

void writer_text(struct writer *w, const char *key, const char *value)
{
    if (!value) {
        writer_null(w, key);
        return;
    }
    begin(w, key);
    (void)buf_json_string(w->out, value, strlen(value));
}

void writer_int(struct writer *w, const char *key, int64_t value)
{
    char text[20]; /* digits and sign of the longest */
    size_t at = sizeof(text);
    uint64_t left = value < 0 ? -(uint64_t)value : (uint64_t)value;

    do
        text[--at] = (char)('0' + left % 10);
    while (left /= 10);
    if (value < 0)
        text[--at] = '-';
    begin(w, key);
    (void)buf_append(w->out, text + at, sizeof(text) - at); /* what is too long is seen in the buffer */
}

void writer_bool(struct writer *w, const char *key, bool value)
{
    begin(w, key);
    (void)buf_append_str(w->out, value ? "true" : "false");
}

void writer_null(struct writer *w, const char *key)
{
    begin(w, key);
    (void)buf_append_str(w->out, "null");
}

void writer_seconds(struct writer *w, const char *key, double value)
{
    begin(w, key);
    (void)buf_printf(w->out, "%.3f", value);
}

void writer_raw(struct writer *w, const char *key, const char *json, size_t n)
{
    begin(w, key);
    (void)buf_append(w->out, json, n);
}

void writer_texts(struct writer *w, const char *key, const char *const *items, size_t n)
{
    writer_open(w, key, '[');
    for (size_t i = 0; i < n; i++)
        writer_text(w, NULL, items[i]);
    writer_close(w, ']');
}

void writer_time(struct writer *w, const char *key, double wall)
{
    char text[32];

    writer_text(w, key, clock_wall_text(wall, text));
}
