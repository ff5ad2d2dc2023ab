/* Notes: what is written of a set is what differs from the one before. */
#include "store/notes.h"

#include "base/map.h"
#include "store/state.h"

#include <string.h>

void notes_add(struct notes *notes, char *name, struct buf *b)
{
    struct note *note;

    /* Doubled when it is full: at a power of two. */
    if ((notes->n & (notes->n - 1)) == 0)
        notes->items = mem_realloc(notes->items, notes->n ? 2 * notes->n : 1, sizeof(struct note));
    note = &notes->items[notes->n++];
    note->name = name;
    note->len = 0;
    note->bytes = b ? (uint8_t *)buf_take(b, &note->len) : NULL;
}

void notes_clear(struct notes *notes)
{
    for (size_t i = 0; i < notes->n; i++) {
        mem_free(notes->items[i].name);
        mem_free_secret(notes->items[i].bytes, notes->items[i].len);
    }
    mem_free(notes->items);
    *notes = (struct notes){0};
}

void store_set_notes(struct store *s, struct notes *notes)
{
    struct map before = {0};
    struct map_entry *e;

    for (size_t i = 0; i < s->notes.n; i++)
        map_puts(&before, s->notes.items[i].name, &s->notes.items[i]);
    for (size_t i = 0; i < notes->n; i++) {
        const struct note *now = &notes->items[i], *old = map_removes(&before, now->name);

        if (!old || !old->bytes || old->len != now->len || memcmp(old->bytes, now->bytes, now->len) != 0)
            row_put_note(s, now);
    }
    for (size_t i = 0; map_next(&before, &i, &e);)
        row_drop_note(s, e->key);
    map_clear(&before);
    notes_clear(&s->notes);
    s->notes = *notes;
    *notes = (struct notes){0};
    keeper_flush(s->observed);
}

const struct notes *store_notes(const struct store *s)
{
    return &s->notes;
}
