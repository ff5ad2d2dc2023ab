/*
 * The growable buffer. Invariants: len < cap whenever cap is not 0 (room for buf_cstr's NUL), len <= max. Once an
 * append was refused all later ones are, until buf_reset() or buf_clear(): what is there is a beginning without gaps.
 */
#include "base/buf.h"

#include "base/json_block.h"
#include "base/utf8.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { CAP_MIN = 64 };

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

static void let_go(const struct buf *b)
{
    if (b->secret)
        mem_free_secret(b->data, b->cap);
    else
        mem_free(b->data);
}

_hot_ void buf_clear(struct buf *b)
{
    let_go(b);
    *b = (struct buf){.max = b->max, .secret = b->secret};
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->overflow = false;
}

static void grow(struct buf *b, size_t cap)
{
    if (b->secret) { /* what moves leaves nothing behind */
        uint8_t *data = mem_alloc(cap);
        if (b->len)
            memcpy(data, b->data, b->len);
        let_go(b);
        b->data = data;
    } else {
        b->data = mem_realloc(b->data, cap, 1);
    }
    b->cap = cap;
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
    size_t max = b->max ? b->max : BUF_MAX_DEFAULT;

    assert(max < SIZE_MAX);
    if (b->overflow || n > max - b->len) {
        b->overflow = true;
        return NULL;
    }
    if (b->len + n >= b->cap) {
        size_t cap = b->cap < CAP_MIN ? CAP_MIN : b->cap;

        while (cap <= b->len + n)
            cap = cap <= SIZE_MAX / 2 ? cap * 2 : SIZE_MAX;
        grow(b, cap);
    }
    return b->data + b->len;
}

int buf_append(struct buf *b, const void *p, size_t n)
{
    uint8_t *to = buf_reserve(b, n);

    if (!to)
        return -EMSGSIZE;
    if (n)
        memcpy(to, p, n);
    b->len += n;
    return 0;
}

int buf_append_str(struct buf *b, const char *s)
{
    return buf_append(b, s, strlen(s));
}

int buf_append_byte(struct buf *b, uint8_t byte)
{
    return buf_append(b, &byte, 1);
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    size_t room = b->cap - b->len;
    va_list ap, again;
    uint8_t *to;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(room ? (char *)b->data + b->len : NULL, room, fmt, ap);
    va_end(ap);
    assert(n >= 0);
    to = buf_reserve(b, (size_t)n);
    /* It was too long for the room that there was. */
    if (to && (size_t)n >= room)
        vsnprintf((char *)to, (size_t)n + 1, fmt, again);
    if (to)
        b->len += (size_t)n;
    va_end(again);
    return to ? 0 : -EMSGSIZE;
}

void buf_consume(struct buf *b, size_t n)
{
    assert(n <= b->len);
    b->len -= n;
    if (b->len)
        memmove(b->data, b->data + n, b->len);
}

const char *buf_cstr(struct buf *b)
{
    if (!b->cap)
        return "";
    b->data[b->len] = '\0';
    return (const char *)b->data;
}

char *buf_take(struct buf *b, size_t *ret_len)
{
    char *text;

    if (ret_len)
        *ret_len = b->len;
    if (b->cap)
        b->data[b->len] = '\0';
    text = b->cap ? (char *)b->data : mem_strdup("");
    *b = (struct buf){.max = b->max, .secret = b->secret};
    return text;
}

/* One character that may not stand in a JSON string as it is; bad UTF-8 is replaced. Returns the bytes consumed. */
static size_t append_json_special(struct buf *b, const char *s, size_t n)
{
    static const char short_forms[] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r', ['"'] = '"', ['\\'] = '\\'};
    uint8_t c = (uint8_t)*s;
    unsigned length;

    if (c < sizeof(short_forms) && short_forms[c]) {
        buf_append(b, (char[]){'\\', short_forms[c]}, 2);
        return 1;
    }
    if (c < 0x20) {
        buf_printf(b, "\\u%04x", c);
        return 1;
    }
    length = utf8_char(s, n);
    if (length)
        buf_append(b, s, length);
    else
        buf_append_str(b, "\xef\xbf\xbd");
    return length ? length : 1;
}

int buf_json_string(struct buf *b, const char *s, size_t n)
{
    size_t start = b->len, i = 0, end = 0;
    bool high = false;
    uint8_t *to = buf_reserve(b, n + 2); /* it becomes no shorter */

    if (!to)
        return -EMSGSIZE;
    /* At once where nothing has to be looked at, as nearly always. */
    if (json_plain_bytes(s, n, &high) == n && !high) {
        to[0] = '"';
        if (n)
            memcpy(to + 1, s, n);
        to[n + 1] = '"';
        b->len += n + 2;
        return 0;
    }
    buf_append_byte(b, '"');
    while (i < n) {
        size_t plain;

        /* Not looked for again behind each bad byte. */
        if (i >= end) {
            high = false;
            end = i + json_plain_bytes(s + i, n - i, &high);
        }
        plain = high ? utf8_prefix(s + i, end - i) : end - i;
        buf_append(b, s + i, plain);
        i += plain;
        if (i < n)
            i += append_json_special(b, s + i, n - i);
    }
    if (buf_append_byte(b, '"') == 0)
        return 0;
    b->len = start;
    return -EMSGSIZE;
}
