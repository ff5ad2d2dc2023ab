/* A client of the REST interface's shell, over a real socket, byte by byte. */
#ifndef TESTS_UNIT_HTTP_CLIENT_H
#define TESTS_UNIT_HTTP_CLIENT_H

#include "base/buf.h"

struct http_client {
    int fd;
    struct buf got; /* what came and was not taken yet */
};

/* Connects to a unix socket; the test fails when it can't. */
void http_client_open(struct http_client *c, const char *path);
void http_client_close(struct http_client *c);
void http_client_send(struct http_client *c, const char *text);
/* Reads until the text came, and takes all up to its end. The test fails when the connection ends before. */
void http_client_await(struct http_client *c, const char *text);
/* Reads one answer, whose content has a length; returns its status and its content (mem_free() it). */
unsigned http_client_answer(struct http_client *c, char **ret_body);
/* Sends a GET and reads its answer. */
unsigned http_client_get(struct http_client *c, const char *target, char **ret_body);
/* Reads, and drops, what comes until the connection ends; returns how many bytes. */
size_t http_client_drain(struct http_client *c);

#endif
