/*
 * Commands that ask the daemon that runs, over its REST interface: one request, one answer. For programs of one
 * thread; blocks.
 */
#ifndef SERVER_ASK_H
#define SERVER_ASK_H

#include "base/buf.h"
#include "base/err.h"
#include "base/socket_address.h"

enum { ASK_ANSWER_MAX = 1 << 20 };

/*
 * Sends a request of HTTP/1.0 and reads all that comes back, status line and header fields included, into ret_answer:
 * initialized here, buf_clear() it always. seconds: that the other side may be silent. A negative errno when it can't
 * be reached or asked, or does not answer.
 */
int ask_daemon(const struct socket_address *at, const struct buf *request, unsigned seconds, struct buf *ret_answer,
               struct err *e);
/* "503" of "HTTP/1.0 503 ..."; 0: it is no answer. ret_content: behind the header fields. */
unsigned ask_status(struct buf *answer, const char **ret_content);

#endif
