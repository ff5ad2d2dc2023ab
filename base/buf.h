/* A growable byte buffer with a named maximum. Owned by one thread at a time. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/mem.h"

#include <stdbool.h>

struct buf {
    uint8_t *data;
    size_t len, cap;
    size_t max;    /* 0: BUF_MAX_DEFAULT */
    bool overflow; /* an append was refused because of max; what is there is whole appends only */
    bool secret;   /* what it held is wiped when it lets go of it; set while it is empty */
};

enum { BUF_MAX_DEFAULT = 1 << 30 };

void buf_init(struct buf *b, size_t max);
void buf_clear(struct buf *b); /* frees */
void buf_reset(struct buf *b); /* keeps the memory */
/* 0 or -EMSGSIZE (and b->overflow). */
int buf_append(struct buf *b, const void *p, size_t n);
int buf_append_str(struct buf *b, const char *s);
int buf_append_byte(struct buf *b, uint8_t byte);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Room for n more bytes at the end, or NULL past max; write there and add to b->len. */
uint8_t *buf_reserve(struct buf *b, size_t n);
/* Drops n bytes at the front. */
void buf_consume(struct buf *b, size_t n);
/* The bytes with a NUL behind them, owned by the caller (mem_free); b is empty afterwards. */
char *buf_take(struct buf *b, size_t *ret_len);
/* A NUL-terminated look at the content, valid until the next change. */
const char *buf_cstr(struct buf *b);
/* Appends s as a JSON string, with quotes; n bytes, which must be UTF-8 (bad bytes become U+FFFD). */
int buf_json_string(struct buf *b, const char *s, size_t n);

#endif
