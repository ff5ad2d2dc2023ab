/* Handlers that are more than a page or an object of a collection. */
#ifndef API_HANDLERS_H
#define API_HANDLERS_H

#include "api/call.h"

void handle_livez(struct call *c);
void handle_readyz(struct call *c);
void handle_metrics(struct call *c);
void handle_contract(struct call *c);
void handle_version(struct call *c);
void handle_whoami(struct call *c);
void handle_summary(struct call *c);
void handle_bootstrap(struct call *c);
void handle_rollout(struct call *c);
void handle_events(struct call *c);
void handle_post_session(struct call *c);
void handle_delete_sessions(struct call *c);
void handle_delete_session(struct call *c);

extern const char *const event_kinds[]; /* NULL-terminated */
void handle_explain(struct call *c);
void handle_delete_proxy(struct call *c);

#endif
