/* `igwd token create`: asks the running daemon over its REST interface, as root or a member of its group. */
#ifndef SERVER_TOKEN_H
#define SERVER_TOKEN_H

#include "server/config.h"

/* Over the first unix socket of --api. role: "viewer", "admin", "operator=GATEWAY,...". ret_token: the secret with a
 * line's end, mem_free() it. */
int token_create(const struct config *c, const char *name, const char *role, char **ret_token, struct err *e);

#endif
