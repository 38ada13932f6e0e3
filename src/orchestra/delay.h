/*
 * delay.h: how long a model's replies take to their first token, as it is expected now. Inside the
 * room only; any thread may call.
 */
#ifndef ORCHESTRA_DELAY_H
#define ORCHESTRA_DELAY_H

#include "backend/backend.h"

/* Starts from {0}. */
typedef struct delay_meter {
    _Atomic double mean_ms;  /* of recent replies; 0: there was none */
    _Atomic double noted_ms; /* when the last one was noted */
} delay_meter;

/* A reply's first token has come, so long after its first step. */
void delay_note(delay_meter *m, double ms, double now_ms);
/* From submission to first token, ms: the mean of recent replies, and the wait for a place where
 * none is free. What nobody has measured for long is believed less and less, so that a model that
 * was slow once is tried again: half of it in half a minute. 0: nothing is known. */
double delay_expected(const delay_meter *m, const backend_load *l, double now_ms);

#endif
