/*
 * What can be written, a file per resource (write_*.c). Each says how one object is made what a client wants, and how
 * it is removed; single requests, change sets and whole documents all go through that.
 */
#ifndef API_WRITE_H
#define API_WRITE_H

#include "api/edit.h"

/*
 * Faults are told with pointers below place ("#", "#/operations/3/body"); the call may fail at once (404, 409). put
 * and remove add edits.
 */
struct write_resource {
    const char *kind;
    const struct collection *collection;
    /* What is there, as it is shown but with its secrets, for a patch; a new reference. NULL: nothing is there. */
    json_t *(*current)(struct call *c, const char *name);
    void (*put)(struct call *c, struct write *w, const char *name, const json_t *wanted, const char *place);
    void (*remove)(struct call *c, struct write *w, const char *name, const char *place);
    bool may_be_absent; /* the content of a PUT */
};

extern const struct write_resource exposure_resource, gateway_resource, certificate_resource, grant_resource;

/* What names of objects, of namespaces and of tokens are made of. */
extern const char name_characters[];

/* Of the object that the first path argument names. */
void handle_put_exposure(struct call *c);
void handle_patch_exposure(struct call *c);
void handle_delete_exposure(struct call *c);
void handle_put_gateway(struct call *c);
void handle_patch_gateway(struct call *c);
void handle_delete_gateway(struct call *c);
void handle_put_certificate(struct call *c);
void handle_delete_certificate(struct call *c);
void handle_put_grant(struct call *c);
void handle_delete_grant(struct call *c);

void handle_put_drain(struct call *c);
void handle_delete_drain(struct call *c);
void handle_delete_overrides(struct call *c);
void handle_delete_override(struct call *c);

void handle_get_config(struct call *c);
void handle_put_config(struct call *c);
void handle_post_changeset(struct call *c);
void handle_post_revision(struct call *c);
void handle_get_revision_diff(struct call *c);
void handle_post_token(struct call *c);
void handle_delete_token(struct call *c);

/* A document of its own, whether the agent declares an exposure of that name or not. */
void exposure_put_document(struct call *c, struct write *w, const char *name, const json_t *wanted,
                           const char *place);

/* The agent's own nested form of an exposure (store/spec.h), a new reference; NULL: the agent does not declare it. */
json_t *agent_exposure(const struct view *v, const char *path, const char *rid);

#endif
