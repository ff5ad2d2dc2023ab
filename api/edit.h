/*
 * Writes: from what a request wants to documents that the store keeps, tried against a view, taken only when nothing
 * that they were made from is another by then, and answered with the revision that they made.
 *
 * A handler hands a plan to write_run(). The plan reads the call's view and the request, and says which documents are
 * to change, or fails the call. It may run several times, each time with the newest view, so it keeps nothing. What
 * follows is the same for all writes: what the caller may do, the draft and its faults, dry_run, the writer, the
 * answer.
 */
#ifndef API_EDIT_H
#define API_EDIT_H

#include "api/list.h"
#include "base/json.h"
#include "store/edit.h"

enum { WRITE_ATTEMPTS_MAX = 16 };

/* What stands in an answer for what is not shown, and comes back as it is. */
extern const char write_redacted[];

struct write {
    struct arena *arena; /* of all that is here; outlives the call */
    struct edit *edits;
    const char **places; /* of each edit in the request's content: "#" */
    size_t n, cap;
    const struct collection *shown; /* whose object `key` stands in the answer; NULL: none does */
    const char *key;
    bool created;         /* 201 */
    const char *location; /* of what was created; NULL: where the request went */
    /* Members that the answer has beside; extra is in the arena. */
    void (*write_extra)(const char *extra, struct writer *w);
    const char *extra;
};

typedef void (*write_plan)(struct call *c, struct write *w, const void *arg);

/* The last thing that a handler does. arg lives for ever, or in the call's arena. */
void write_run(struct call *c, write_plan plan, const void *arg);

/* body NULL: the document is removed. place: NULL: "#". A document is changed at most once (the last one counts). */
void write_edit(struct write *w, enum document_kind kind, const char *name, const json_t *body, const char *place);

/* Edits that would change nothing are none. */
void write_drop_unchanged(struct call *c, struct write *w);

/*
 * The request's content, a new reference; NULL: the call failed (400). An absent one is an empty object where that is
 * allowed.
 */
json_t *write_content(struct call *c, bool may_be_absent);
/* Whether it is an object without members other than these (lists are NULL-terminated; those that may be null, and
 * those that are only shown, apart); if not, the faults are told, with pointers below place ("#"). */
bool write_members(struct call *c, const json_t *object, const char *const *members, const char *const *nullable,
                   const char *const *read_only, const char *place);
/* What an object may have: fields, which may be null or may not, and members that are only shown. */
struct write_form {
    const struct json_field *fields;
    size_t n;
    bool nullable;
    const char *const *read_only;
};
/* write_members() of the fields' names and json_decode(), strictly, with all faults told. */
bool write_decode(struct call *c, const json_t *object, const struct write_form *form, const char *place, void *out);
/* The call fails with 422 when faults were told. */
bool write_is_good(struct call *c);
void write_fault(struct call *c, const char *pointer, const char *code, const char *text);
/* A spec_fault whose arg is a struct write_place: pointers ("#/vhosts") are of what stands at that place. */
struct write_place {
    struct call *c;
    const char *place;
};
void write_placed_fault(void *place, const char *pointer, const char *code, const char *text);
/* An object's members of that list, without those that are null; a new reference. */
json_t *write_picked(const json_t *object, const char *const *members);

/*
 * If-Match and If-None-Match (RFC 9110, 13.1) against the present tag (NULL: there is none) of what is there, or is
 * not. Of "SPEC.STATUS" SPEC alone counts. False: the call failed (412, or 400: they are malformed).
 */
bool write_precondition(struct call *c, const char *etag, bool exists);
/* As write_precondition() with the tag of a collection's object; ret_exists may be NULL. */
bool write_precondition_of(struct call *c, const struct collection *l, const char *key, bool *ret_exists);

/* A patch of operations (RFC 6902), or a merge patch (RFC 7396); a new reference, or NULL: the call failed. */
json_t *write_patched(struct call *c, const json_t *document, const json_t *patch, bool operations);

/* JSON of an object whose members are texts, with what may be secret left out; mem_free() it. */
char *document_shown(enum document_kind kind, const char *body);

#endif
