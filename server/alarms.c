/* Alarms by name; there are as many as the daemon has parts that can fail, so a sorted list will do. */
#include "server/alarms.h"

#include "base/clock.h"

#include <pthread.h>
#include <string.h>

struct alarm {
    char *name, *text;
    double since;
    struct alarm *next;
};

struct alarm_board {
    pthread_mutex_t lock;
    struct alarm *first; /* sorted by name */
};

struct alarm_board *alarm_board_new(void)
{
    struct alarm_board *b = mem_new(struct alarm_board);

    pthread_mutex_init(&b->lock, NULL);
    return b;
}

static void remove_alarm(struct alarm **place)
{
    struct alarm *a = *place;

    *place = a->next;
    mem_free(a->name);
    mem_free(a->text);
    mem_free(a);
}

void alarm_board_free(struct alarm_board *b)
{
    if (!b)
        return;
    while (b->first)
        remove_alarm(&b->first);
    pthread_mutex_destroy(&b->lock);
    mem_free(b);
}

/* Where it stands, or should, in the list. Under the lock. */
static struct alarm **find_place(struct alarm_board *b, const char *name, struct alarm **ret_alarm)
{
    struct alarm **place = &b->first;

    while (*place && strcmp((*place)->name, name) < 0)
        place = &(*place)->next;
    *ret_alarm = *place && strcmp((*place)->name, name) == 0 ? *place : NULL;
    return place;
}

bool alarm_board_has(struct alarm_board *b, const char *name)
{
    struct alarm *a;

    pthread_mutex_lock(&b->lock);
    (void)find_place(b, name, &a); /* only whether it is there */
    pthread_mutex_unlock(&b->lock);
    return a != NULL;
}

void alarm_board_set(struct alarm_board *b, const char *name, const char *text)
{
    struct alarm *a;

    pthread_mutex_lock(&b->lock);
    struct alarm **place = find_place(b, name, &a);
    if (text && !a) {
        a = mem_new(struct alarm);
        *a = (struct alarm){.name = mem_strdup(name), .since = clock_wall(), .next = *place};
        *place = a;
    }
    if (text) {
        mem_free(a->text);
        a->text = mem_strdup(text);
    } else if (a) {
        remove_alarm(place);
    }
    pthread_mutex_unlock(&b->lock);
}

void alarm_board_each(struct alarm_board *b, void (*f)(void *arg, const char *name, const char *text, double since),
                      void *arg)
{
    pthread_mutex_lock(&b->lock);
    for (const struct alarm *a = b->first; a; a = a->next)
        f(arg, a->name, a->text, a->since);
    pthread_mutex_unlock(&b->lock);
}
