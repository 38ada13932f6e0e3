/* bell.h: an engine's thread rings it, a command waits for it. */
#ifndef CLI_BELL_H
#define CLI_BELL_H

#include <pthread.h>
#include <stddef.h>

#include "backend/backend.h"

typedef struct bell {
    pthread_mutex_t lock;
    pthread_cond_t rung;
    size_t count;
} bell;

void bell_init(bell *b);
void bell_end(bell *b);
wakeup bell_wakeup(bell *b); /* that rings it */
/* How often it was rung: to be taken before the look that finds nothing … */
size_t bell_heard(bell *b);
/* … and waited on for another ring. */
void bell_wait(bell *b, size_t heard);

#endif
