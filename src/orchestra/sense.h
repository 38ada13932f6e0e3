/*
 * sense.h: the forward passes that a decision needs. Inside the room only.
 *
 * At most two, one after the other: the hidden states of the conversation's last position, for the
 * heads (the learned probe's and success's in one pass), and then the label tokens' logits. The
 * second finds what the first has prefilled in the prefix cache, and so does the answer.
 */
#ifndef ORCHESTRA_SENSE_H
#define ORCHESTRA_SENSE_H

#include "orchestra/orchestra.h"

/* What is known of a request. */
typedef struct sensed {
    intent intent;
    double success; /* NAN: not known */
} sensed;

/* A pass that runs; both NULL: none. */
typedef struct sensing {
    embedding_job *states;
    classification *labels;
} sensing;

/* Starts the pass for what the policy reads and is not known yet. `timed` is the request with the
 * probe's deadline, `p` its prompt for the small model. */
error_code sense_start(sensing *s, orchestra *o, const routing *g, const sensed *known,
                       const request *timed, const prepared_prompt *p, wakeup wake, failure *why);
/* False: still running. Else the pass is over: what it gave is in *known, what it took is added to
 * *cost, and why->code is not OK when it gave nothing usable. */
bool sense_poll(sensing *s, const routing *g, sensed *known, receipt *cost, failure *why);
void sense_drop(sensing *s);

#endif
