/*
 * Facts: what the agent says of one service, whatever the agent's generation: the raw declarations and the
 * addresses. They are made by the mirror and given to the store; everything is borrowed for the call.
 *
 * A scaler's facts carry the declarations and addresses of all its slaves under the scaler's own path.
 */
#ifndef STORE_FACTS_H
#define STORE_FACTS_H

#include <stdbool.h>
#include <stddef.h>

/* A declaration resource (expose, vhost, route, hashpolicy, certificate), as the newest instance has it. */
struct fact_resource {
    const char *rid;   /* "expose#0" */
    const char *type;  /* "expose.envoy" */
    const char *info;  /* canonical JSON of an object: the evaluated keywords */
    const char *scope; /* NULL: the agent's; else the rid of the exposure whose own section it is, instead of the
                        * agent's of the same rid (store/overlay.h) */
};

/* An address of an instance. */
struct fact_address {
    const char *node;
    const char *instance;       /* path of the object on that node: the service, or the scaler's slave */
    const char *rid;            /* "ip#1" */
    const char *address;        /* text as the agent has it; "" until it is allocated */
    bool up;                    /* may get new traffic: the resource is up and nobody intends to stop it */
    const char *state;          /* for people: "up", "down", "stopping", ... */
    const char *const *exposes; /* ids of expose resources ("expose#0"); inline mappings are not among them */
    size_t n_exposes;
};

struct facts {
    const char *path;                      /* of the service: "web1", "test/svc/web1" */
    const struct fact_resource *resources; /* sorted by rid */
    size_t n_resources;
    const struct fact_address *addresses; /* sorted by node, instance, rid */
    size_t n_addresses;
    const char *disagreement; /* NULL, or a sentence: instances disagree, which one was taken */
};

#endif
