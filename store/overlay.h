/*
 * Two sources, one truth per field: what the agent declares of a service, and what people made of its exposures over
 * the API, put together into the resources that are decoded. Pure.
 *
 * An exposure made over the API and one that the agent declares under the same name: the one that was there first is
 * in effect, and the API takes none where the agent has one; so the API's is, with a problem that says so.
 */
#ifndef STORE_OVERLAY_H
#define STORE_OVERLAY_H

#include "store/document.h"
#include "store/facts.h"
#include "store/service.h"

/* The document of a key ("override/web.expose#0"); ops of view_documents. */
struct overlay {
    struct fact_resource *resources; /* the agent's, then those of each edited exposure (with its rid as scope) */
    size_t n;
    bool edited; /* any document is in effect */
};

/*
 * documents: a view's map. agent: what the agent declares of the service path (none: 0). Texts are borrowed from
 * agent or live in the arena. Bodies that do not fit (which edits do not make) become a section that says why.
 */
void overlay_make(const char *path, const struct fact_resource *agent, size_t n_agent, const struct pmap *documents,
                  struct arena *arena, struct overlay *ret);
/* Whether a grant lets a namespace use a secret of another, or a domain that another holds (struct plan_context). */
bool grant_stands(const struct pmap *documents, const char *ns, const char *kind, const char *name);
/* The same of what the agent declares, packed; NULL: nothing. */
void overlay_of_word(const char *path, const struct agent_word *word, const struct pmap *documents,
                     struct arena *arena, struct overlay *ret);
/* Whether any document concerns the service. */
bool overlay_concerns(const char *path, const struct pmap *documents);
/* Whether an exposure of the service was made over the API, so that it is there without the agent. */
bool overlay_has_made(const char *path, const struct pmap *documents);
/* The name of an exposure to its service's path, in the arena; NULL: it is none ("PATH.expose#N"). ret_rid points
 * into name. */
const char *exposure_path(const char *name, struct arena *arena, const char **ret_rid);

#endif
