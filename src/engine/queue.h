/*
 * queue.h: inside the engine room only: sequences in the order they came. A sequence is in one
 * queue at most. The conductor's thread's, but `arrivals`, which is under the conductor's lock.
 */
#ifndef ENGINE_QUEUE_H
#define ENGINE_QUEUE_H

#include "engine/sequence.h"

typedef struct sequence_queue {
    sequence *first, *last;
    size_t length;
} sequence_queue;

void queue_push(sequence_queue *q, sequence *s);
/* NULL: it is empty. */
sequence *queue_pop(sequence_queue *q);
void queue_remove(sequence_queue *q, sequence *s); /* it is in the queue */

#endif
