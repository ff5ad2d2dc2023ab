/*
 * Notes: what those who serve proxies want to find again after a restart, and can do without: names, and bytes that
 * mean something to their writer alone. A set of notes is replaced as a whole; the store writes what differs.
 * observed.db keeps them, sealed; they are lost with it.
 */
#ifndef STORE_NOTES_H
#define STORE_NOTES_H

#include "base/buf.h"

struct note {
    char *name;
    uint8_t *bytes; /* wiped when it is freed; NULL: could not be read */
    size_t len;
};

struct notes { /* all zero: none */
    struct note *items;
    size_t n;
};

/* Takes the name (mem_free()) and what is in b; NULL: it could not be read. */
void notes_add(struct notes *notes, char *name, struct buf *b);
void notes_clear(struct notes *notes);

#endif
