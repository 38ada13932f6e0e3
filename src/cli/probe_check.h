/*
 * probe_check.h: whether a probe and a policy fit their models at all: what they make of the
 * built-in requests, said in one line; and warned of with figures, where the labels hold next to
 * nothing of the probability or all requests go to one model. Nothing of it counts as a decision.
 * Where no rule reads the intent there is nothing to check.
 */
#ifndef CLI_PROBE_CHECK_H
#define CLI_PROBE_CHECK_H

#include <pthread.h>
#include <stdatomic.h>

#include "cli/common.h"

/* At once, with a bar; the line goes to standard output. */
error_code probe_check_print(const stage *s, failure *fail);

/* A thread beside a server: asks one request after another, whenever no model has anything else to
 * do, and logs the line. */
typedef struct probe_watch {
    const stage *stage;
    pthread_t thread;
    atomic_bool stop;
    bool is_started; /* a server that cannot check itself serves all the same */
} probe_watch;

void probe_watch_start(probe_watch *w, const stage *s); /* it stays where it is */
void probe_watch_stop(probe_watch *w);                  /* before the orchestra's end */

#endif
