/*
 * Edits in a store of store_world.h: bodies in few words, and what people made as a text. Single quotes may stand for
 * double ones in bodies.
 */
#ifndef TESTS_UNIT_EDIT_WORLD_H
#define TESTS_UNIT_EDIT_WORLD_H

#include "store/edit.h"
#include "tests/unit/store_world.h"

/* One edit made from the present view; body NULL: removed. Its result. */
int world_edit(struct world *w, enum document_kind kind, const char *name, const char *body);
/* The same, and it must be taken. */
void world_edited(struct world *w, enum document_kind kind, const char *name, const char *body);

/* Several requests, each with its edits, from views of their own. Everything is copied, but not the view. */
struct edit_batch;
struct edit_batch *edit_batch_new(void);
void edit_batch_free(struct edit_batch *b);
define_cleanup(struct edit_batch *, edit_batch_free)
/* The next request; takes a reference to the view, NULL: the present one. */
struct edit_request *edit_batch_request(struct edit_batch *b, struct world *w, struct view *v);
/* An edit of the last request. */
void edit_batch_add(struct edit_batch *b, enum document_kind kind, const char *name, const char *body);
/* Runs it; returns how many views were published. Each of them must fit its documents (world_check_views()). */
unsigned edit_batch_run(struct edit_batch *b, struct world *w);

/* What must hold of any view: services are what their agent's words and the documents make. */
void world_check_view(struct world *w, const struct view *v);
/* Documents and revisions as a text (mem_free()). */
char *world_dump_edits(struct world *w);
/* world_dump_all() and world_dump_edits(). */
char *world_dump_whole(struct world *w);
/* Borrowed from the present view; must be there. */
const struct service_exposure *world_exposure(struct world *w, const char *path, const char *rid);
const struct verdict *world_verdict(struct world *w, const char *listener, const char *exposure);
/* "code field: text" of each problem of a verdict, in lines (mem_free()). */
char *verdict_problems(const struct verdict *v);

#endif
