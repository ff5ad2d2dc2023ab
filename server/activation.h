/*
 * Listening sockets that the supervisor opened and passes in (the protocol of sd_listen_fds(3)). They outlive the
 * daemon: who connects while it restarts waits in the kernel's queue and is not refused.
 *
 * A socket is known by the address it listens on; the settings say what is served there, as if igwd had opened it
 * itself. One that no setting names is an error: whoever connects to it would wait for ever.
 *
 * For the main thread, before and while the daemon starts.
 */
#ifndef SERVER_ACTIVATION_H
#define SERVER_ACTIVATION_H

#include "base/err.h"
#include "base/mem.h"
#include "base/socket_address.h"

enum { ACTIVATION_MAX = 64 /* sockets */ };

struct activation;

/* Takes what $LISTEN_PID and $LISTEN_FDS tell of, and these variables out of the environment, so that no child takes
 * the sockets for its own. Without them there are no sockets. -EINVAL: something that is no listening stream socket.
 * Call it before the process forks. */
int activation_new(struct activation **ret_activation, struct err *e);
/* What nobody took is closed. */
void activation_free(struct activation *a);
define_cleanup(struct activation *, activation_free)

/* The socket that listens there, non-blocking and closed on exec; it is the caller's then. 0: none was passed in. */
int activation_take(struct activation *a, const struct socket_address *at);
/* -EINVAL with its address: there is one that nobody took. */
int activation_all_taken(const struct activation *a, struct err *e);

#endif
