/*
 * Sections of a service's declaration while it is decoded: where a section stands, what it refers to, what is wrong
 * with it. For store/declaration.c and the files that decode one kind of section; nobody else includes it.
 *
 * A section is decoded when it is first referred to, once, and shared by all that refer to it. Its problems are its
 * own; an exposure collects those of all sections that it reaches.
 */
#ifndef STORE_SECTION_H
#define STORE_SECTION_H

#include "base/map.h"
#include "store/problem.h"

enum section_kind { SECTION_EXPOSE, SECTION_VHOST, SECTION_ROUTE, SECTION_HASH_POLICY, SECTION_CERTIFICATE };

struct section {
    const struct fact_resource *resource;
    const char *rid; /* in the arena */
    enum section_kind kind;
    bool decoded;
    struct problem_list problems;
    struct section **children; /* that its object refers to */
    size_t n_children;
    unsigned visit;                 /* number of the last collection that came by */
    const struct section *replaces; /* the agent's of the same id; of an expose section with a scope */
    union {
        const void *object; /* as decoded; NULL when it could not be */
        const struct vhost *vhost;
        const struct route *route;
        const struct hash_policy *hash_policy;
        const struct certificate *certificate;
    };
};

struct builder {
    struct arena *arena; /* of the declaration */
    const char *path;    /* of the service, in the arena */
    struct section *sections;
    size_t n_sections;
    bool scoped;       /* any of them belongs to one exposure alone */
    struct map by_rid; /* struct section; spelled as in section_key() */
};

void builder_init(struct builder *b, struct arena *arena, const char *path, const struct fact_resource *resources,
                  size_t n);
void builder_clear(struct builder *b);

/*
 * The sections that a keyword of an owner lists, decoded, without repetitions and without those that do not exist;
 * what is wrong becomes a problem of the owner's. They become children of the owner.
 */
struct section **section_refer(struct builder *b, struct section *owner, const char *keyword,
                               const struct json_strings *list, enum section_kind kind, size_t *ret_n);
/*
 * Decodes the section's keywords (NULL: what it declares is no object) by a table into out; faults become problems.
 * adjust may change the object before; may be NULL.
 */
void section_decode(struct builder *b, struct section *s, const struct json_field *fields, size_t n_fields, void *out,
                    void (*adjust)(json_t *info));
/* A text of an HTTP header, a path, a file's name: nothing but visible characters and blanks. Empty becomes NULL, as
 * does what was found wrong. */
void section_text(struct section *s, const char *keyword, const char **text);

/* Each decodes one section and sets its object. */
void section_decode_vhost(struct builder *b, struct section *s);
void section_decode_route(struct builder *b, struct section *s);
void section_decode_hash_policy(struct builder *b, struct section *s);
void section_decode_certificate(struct builder *b, struct section *s);

/* A row of a table for section_decode(). */
#define SECTION_FIELD(T, member, key, field_type, ...)                                                               \
    {                                                                                                                \
        .name = key, .type = field_type, .offset = offsetof(T, member), __VA_ARGS__                                  \
    }

#endif
