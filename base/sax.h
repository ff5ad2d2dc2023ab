/*
 * Incremental JSON reader (RFC 8259): takes bytes as they come, in pieces of any size, calls back for each token,
 * keeps nothing but the current token and the nesting. For messages of a hundred megabytes that nobody wants as a
 * tree. Pure; owned by one thread.
 *
 * Limits: depth, bytes of one string or number, bytes of the whole text; each ends the text with -EMSGSIZE.
 * Strings are checked and decoded (escapes, surrogates) to UTF-8; invalid UTF-8 is -EBADMSG, as any other fault. An
 * escape that is half of a surrogate pair is allowed by the grammar (RFC 8259, 8.2), and Python writes it for a byte
 * that is no UTF-8: it is read as U+FFFD, so that one odd text does not cost the whole message.
 */
#ifndef BASE_SAX_H
#define BASE_SAX_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sax_event {
    SAX_OBJECT_BEGIN,
    SAX_OBJECT_END,
    SAX_ARRAY_BEGIN,
    SAX_ARRAY_END,
    SAX_KEY,    /* text: the decoded key */
    SAX_STRING, /* text: the decoded value */
    SAX_NUMBER, /* text: the number as it was written */
    SAX_TRUE,
    SAX_FALSE,
    SAX_NULL,
};

/* text (n bytes, not NUL-terminated) lives during the call. A non-zero return ends the reading and is returned. */
typedef int (*sax_handler)(void *arg, enum sax_event event, const char *text, size_t n);

struct sax_limits {
    uint64_t max_bytes; /* of the whole text; 0: no limit */
    size_t max_token;   /* of one string or number; 0: 16 MiB */
    unsigned max_depth; /* 0: 64 */
};

struct sax;

struct sax *sax_new(const struct sax_limits *limits, sax_handler handler, void *arg);
void sax_free(struct sax *s);
/* Ready for a new text. */
void sax_reset(struct sax *s);
/* Changes where events go, from the next one on; may be called from within a handler. */
void sax_set_handler(struct sax *s, sax_handler handler, void *arg);
/*
 * Reads n bytes. 0, or the first fault (-EBADMSG, -EMSGSIZE with byte offset and what was expected in e, or what the
 * handler returned); after a fault only sax_reset() and sax_free() are allowed.
 *
 * sax_skip(): called from within a handler for SAX_OBJECT_BEGIN, SAX_ARRAY_BEGIN or SAX_KEY: what follows up to the
 * matching end (for a key: its value) is checked for balance of brackets and strings only, makes no events, costs
 * little, and the end itself is not reported either.
 */
int sax_feed(struct sax *s, const char *p, size_t n, struct err *e);
void sax_skip(struct sax *s);
/* True once one complete value was read and only white space came behind it. */
bool sax_done(const struct sax *s);
/* sax_done() or -EBADMSG: for the end of a text (a number at top level ends only here). */
int sax_finish(struct sax *s, struct err *e);

#endif
