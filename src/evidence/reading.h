/*
 * reading.h: what one model thinks of an answer that another one gave: one prefill, and nothing is
 * generated.
 */
#ifndef EVIDENCE_READING_H
#define EVIDENCE_READING_H

#include "evidence/task.h"
#include "orchestra/orchestra.h"

typedef struct reading {
    double mean, least; /* log-probability of the answer's tokens, nats */
    size_t tokens;      /* of the model that reads; 0: the answer is empty, and nothing is known */
} reading;

/* `reader`: the name of the model that reads. Waits until it has. */
error_code reading_take(reading *out, orchestra *o, const char *reader, const task *t,
                        const char *answer, failure *fail);

#endif
