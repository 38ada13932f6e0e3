/*
 * online_limit.h: an entropy limit that holds its target while requests change in kind.
 *
 * Adaptive conformal inference (Gibbs and Candès 2021): whenever the truth about a request is
 * told, the limit moves by -step · (misrouted - target). The misrouted share of all requests told
 * of is then at most target + (start + step) / (step · their number), whatever comes, when each
 * is told of before the next is decided. The limit may fall below 0, by less than a step (nothing
 * is certain enough then); it never rises above the highest entropy there is. Any thread may call.
 */
#ifndef ORCHESTRA_ONLINE_LIMIT_H
#define ORCHESTRA_ONLINE_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"

#define ONLINE_LIMIT_MEMORY 4096 /* decisions that can still be told the truth about */

typedef struct online_limit online_limit;

typedef struct online_limit_options {
    double start, highest; /* nats */
    double target;         /* misrouted requests, a share of all that are told of */
    double step;           /* nats */
} online_limit_options;

error_code online_limit_create(online_limit **out, const online_limit_options *options,
                               failure *fail);
void online_limit_destroy(online_limit *l); /* NULL too */

/* Nats. */
double online_limit_now(online_limit *l);

/* A decision that truth may come for; `said`: the label's number. The oldest one is forgotten. */
void online_limit_note(online_limit *l, const char *id, bool sent_small, size_t said);

typedef struct online_limit_lesson {
    size_t said;
    bool wrong, misrouted;
    double limit; /* from now on, nats */
} online_limit_lesson;

/* Learns from the truth about the latest decision of that id. ERR_NOT_FOUND: there is none;
 * ERR_INVALID: its truth was told before. */
error_code online_limit_tell(online_limit *l, const char *id, size_t truth,
                             online_limit_lesson *out, failure *fail);

typedef struct online_limit_counts {
    double limit;                     /* nats */
    uint64_t right, wrong, misrouted; /* the misrouted are wrong, too */
} online_limit_counts;

void online_limit_read(online_limit *l, online_limit_counts *out);

#endif
