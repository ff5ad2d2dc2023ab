/*
 * Which secrets a gateway's resources refer to: a secret is served to the gateways that refer to it, as long as
 * something does. Owned by one thread.
 */
#ifndef PROTO_SDS_REFS_H
#define PROTO_SDS_REFS_H

#include "proto/ledger.h"
#include "proto/tls.h"

struct sds_refs;

struct sds_refs *sds_refs_new(struct ledger *l); /* borrowed */
void sds_refs_free(struct sds_refs *s);          /* NULL is allowed */
/* One reference more; the certificate must live until the next flush. */
void sds_refs_add(struct sds_refs *s, const char *gateway, const struct sds_ref *ref);
void sds_refs_remove(struct sds_refs *s, const char *gateway, const char *name);
/* The secret at that path has changed. */
void sds_refs_changed(struct sds_refs *s, const char *path);
/* What became of a secret of a gateway, or who refers to it changed; e NULL: it is made, or nobody does any more. */
typedef void (*sds_tell)(void *arg, const char *gateway, const char *name, const struct err *e);
/*
 * Makes what is new or changed, drops what nothing refers to any more, and tells of each. What can't be made stays in
 * its last form.
 */
void sds_refs_flush(struct sds_refs *s, const struct view *v, sds_tell tell, void *arg);

#endif
