/* What a supervisor is told, by systemd's sd_notify protocol; nothing without $NOTIFY_SOCKET. */
#ifndef SERVER_NOTIFY_H
#define SERVER_NOTIFY_H

/* state: "READY=1", "STOPPING=1", ... A message that can't be sent is lost: the supervisor's own limits then act. */
void notify_supervisor(const char *state);
/* "RELOADING=1" with the time that newer ones want beside it; "READY=1" is its end. */
void notify_reloading(void);

#endif
