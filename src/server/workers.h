/*
 * workers.h: threads for what would hold up the loop: reading large JSON, rendering, tokenising.
 * Inside the server room only.
 *
 * There are two lanes, each one thread with a queue: what is short never waits behind what is long,
 * and the long lane runs at a lower priority, so that the engine's threads keep their cores.
 */
#ifndef SERVER_WORKERS_H
#define SERVER_WORKERS_H

#include <stdbool.h>

#include "base/failure.h"

typedef struct workers workers;

/* Part of what it works for; one piece of work is queued or runs at a time. */
typedef struct work {
    /* On the lane's thread. Its last act is to tell that the work is done: from then on nobody here
     * looks at the struct any more. */
    void (*run)(struct work *w);
    bool is_long;
    bool is_begun;     /* goes on with what was taken before: never refused */
    struct work *next; /* the pool's */
    bool is_queued;    /* likewise */
} work;

error_code workers_create(workers **out, failure *fail);
/* Waits for what runs; what is queued never runs, and nothing is taken any more. */
void workers_end(workers *p);
void workers_destroy(workers *p); /* after workers_end; nothing is queued */

/* ERR_BUSY: the lane has as much as it takes, or the pool ends. */
error_code workers_add(workers *p, work *w);
/* True: it was queued and will not run. False: it runs, or has run. */
bool workers_withdraw(workers *p, work *w);

#endif
