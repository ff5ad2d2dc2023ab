/*
 * Canonical JSON texts: compact, the keys of each object sorted bytewise (as they are written, escapes and all), of
 * equal keys the last one, numbers as they came. The same value in any order of keys gives the same text. Made from
 * a reader's tokens, and changed in place of a value deep within, without a tree.
 *
 * Pure; owned by one thread.
 */
#ifndef SERVER_CANONICAL_H
#define SERVER_CANONICAL_H

#include "base/buf.h"
#include "base/sax.h"

#include <stdbool.h>
#include <stddef.h>

/* Makes one text after the other of a reader's tokens. */
struct canonical;

struct canonical *canonical_new(void);
void canonical_free(struct canonical *c); /* NULL is allowed */
/* Ready for the next value. */
void canonical_begin(struct canonical *c);
/* Takes a token of the value; true when it was the last one. */
bool canonical_token(struct canonical *c, enum sax_event event, const char *text, size_t n);
/* The text of a complete value; borrowed until the next canonical_begin(). */
const char *canonical_text(struct canonical *c, size_t *ret_n);

/* One step of a path into a value: a key of an object, or an index of an array. */
struct json_step {
    bool is_index;
    size_t index;
    const char *key; /* decoded */
    size_t key_len;
};

/*
 * Writes to out (which is emptied first) the canonical text with the value at the end of the steps (at least one)
 * set to the canonical text `value`, or removed where value is NULL. A key is added where it is missing, an index
 * equal to the array's length appends. ret_shifted: what was removed was not the last of its array, so others moved.
 * -ENOENT: there is nothing at a step before the last, or nothing to remove, or an index beyond the end. -ENOTDIR: a
 * step does not suit the kind of value it stands in.
 */
int canonical_edit(const char *text, size_t n, const struct json_step *steps, size_t n_steps, const char *value,
                   size_t value_len, struct buf *out, bool *ret_shifted);

/* The strings of a canonical array, decoded one by one; what else is in it is passed over. *at: 0 at first. False at
 * the end, or when it is no array. ret is emptied first. */
bool canonical_next_string(const char *text, size_t n, size_t *at, struct buf *ret);

#endif
