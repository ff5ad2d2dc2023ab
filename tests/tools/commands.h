/*
 * How the benchmark's gRPC programs are driven: commands come on standard input, one a line, are read by a thread of
 * their own, and wake the only thread that works through its completion queue. Answers are JSON, one a line, on
 * standard output. The reader takes no line before the one before it was taken.
 */
#ifndef TESTS_TOOLS_COMMANDS_H
#define TESTS_TOOLS_COMMANDS_H

#include "base/mem.h"

#include <assert.h>
#include <grpc/grpc.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COMMAND_MAX = 512, COMMAND_WORDS = 8 };

struct commands {
    grpc_completion_queue *queue;
    grpc_channel *lame; /* a watch of it is over before it began: gRPC's C interface has no other alarm */
    void *tag;          /* comes out of the queue when a line is there */
    pthread_t thread;
    pthread_mutex_t lock; /* of the rest */
    pthread_cond_t taken;
    char line[COMMAND_MAX]; /* empty: none */
    bool ended;
};

/* One command, in words; n 0: standard input has ended. */
struct command {
    char line[COMMAND_MAX];
    const char *words[COMMAND_WORDS];
    size_t n;
};

static inline void *commands_read(void *arg)
{
    struct commands *c = arg;
    char line[COMMAND_MAX];
    bool more;

    do {
        more = fgets(line, sizeof(line), stdin) != NULL;
        pthread_mutex_lock(&c->lock);
        while (c->line[0])
            pthread_cond_wait(&c->taken, &c->lock);
        if (more)
            memcpy(c->line, line, sizeof(line));
        c->ended = !more;
        grpc_channel_watch_connectivity_state(c->lame, GRPC_CHANNEL_IDLE, gpr_inf_past(GPR_CLOCK_MONOTONIC), c->queue,
                                              c->tag);
        pthread_mutex_unlock(&c->lock);
    } while (more);
    return NULL;
}

static inline void commands_start(struct commands *c, grpc_completion_queue *queue, void *tag)
{
    int r;

    *c = (struct commands){.queue = queue, .tag = tag};
    c->lame = grpc_lame_client_channel_create("wake", GRPC_STATUS_UNAVAILABLE, "");
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->taken, NULL);
    r = pthread_create(&c->thread, NULL, commands_read, c);
    assert(r == 0);
}

/* The command whose tag came out of the queue. */
static inline void commands_take(struct commands *c, struct command *ret)
{
    char *rest = NULL;

    *ret = (struct command){.n = 0};
    pthread_mutex_lock(&c->lock);
    memcpy(ret->line, c->line, sizeof(c->line));
    c->line[0] = '\0';
    pthread_cond_signal(&c->taken);
    pthread_mutex_unlock(&c->lock);
    for (char *w = strtok_r(ret->line, " \n", &rest); w && ret->n < COMMAND_WORDS; w = strtok_r(NULL, " \n", &rest))
        ret->words[ret->n++] = w;
}

static inline long command_number(const struct command *c, size_t i)
{
    char *end = NULL;
    long n = i < c->n ? strtol(c->words[i], &end, 10) : -1;

    if (n < 0 || !end || *end) {
        fprintf(stderr, "%s: word %zu must be a number\n", c->n ? c->words[0] : "", i);
        exit(EXIT_FAILURE);
    }
    return n;
}

#endif
