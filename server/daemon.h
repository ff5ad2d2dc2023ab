/*
 * The daemon: wires the parts together and runs them until a signal ends it. The calling thread becomes the writer's
 * (the core loop); the xDS server and the store have threads of their own.
 */
#ifndef SERVER_DAEMON_H
#define SERVER_DAEMON_H

#include "server/activation.h"
#include "server/config.h"

/*
 * Runs until SIGTERM or SIGINT (0) or a failed start. ready (may be NULL) is called once everything listens. reload
 * (may be NULL) is called on SIGHUP and returns the new settings' text, or NULL after it logged what is wrong.
 */
struct daemon_hooks {
    void (*ready)(void *arg);
    void (*reload)(void *arg);
    void *arg;
};
/* sockets: those passed in, of which it takes what the settings name; all of them, or it does not start. */
int daemon_run(const struct config *config, struct activation *sockets, const struct daemon_hooks *hooks,
               struct err *e);

#endif
