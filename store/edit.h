/*
 * Edits: what a request of the API wants changed. They are checked and drafted against a view by whoever asks
 * (store/draft.h), then handed to the writer with that view: an edit is taken only if nothing that it was made from
 * is another meanwhile (compare and set), so two writers never overwrite each other unseen. Who gets -EAGAIN looks at
 * the new view and tries again.
 *
 * All edits of one request become real together, in one revision, or none of them does. They are on config.db's disk
 * before anybody sees them.
 */
#ifndef STORE_EDIT_H
#define STORE_EDIT_H

#include "store/store.h"

enum { EDITS_MAX = 1000 /* of one request */, STORE_EDIT_WAIT_MS = 2000 };

struct edit {
    enum document_kind kind;
    const char *name;
    const char *body; /* canonical JSON of an object; NULL: the document is removed */
};

struct edit_request {
    /* What it wants; borrowed until it is done. */
    struct view *view;        /* that it was made from */
    const struct edit *edits; /* at most one a document */
    size_t n_edits;
    const char *author, *cause, *request_id;
    unsigned attempts; /* how often it got -EAGAIN: who hands several over lets those go first that waited longest */
    /* What became of it: 0, -EAGAIN (something is another by now), -EIO (not kept: config.db can't be written, in
     * e's words), -EMSGSIZE, -ENOSPC (a limit, in e's words). */
    int result;
    struct err error;
    uint64_t revision; /* that it made; one that changes nothing makes none: then the newest */
};

/* Takes a difference (view_delta_free()). */
typedef void (*edit_publish)(void *arg, struct view_delta *delta);

/*
 * The writer's thread: takes the requests in this order. Those that fit are written and flushed together (waiting for
 * the disk at most STORE_EDIT_WAIT_MS: those that could not be kept by then are withdrawn), then made real one after
 * the other; publish is called for each that changed something.
 */
void store_edit(struct store *s, struct edit_request *const *requests, size_t n, edit_publish publish, void *arg);

#endif
