/* `igwd ready`: whether the daemon that runs has a state to serve; for whatever supervises it. */
#ifndef SERVER_READY_H
#define SERVER_READY_H

#include "server/config.h"

#define READY_API_DEFAULT "unix:/run/igwd/api.sock" /* where --api is not set; as the package and the image have it */

/* Asks at the first unix socket of --api, else at the first address on loopback that speaks no TLS, for five seconds
 * at most. A negative errno and why it is not: -EAGAIN when the daemon itself says so. */
int ready_ask(const struct config *c, struct err *e);

#endif
