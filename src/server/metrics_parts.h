/* metrics_parts.h: what the files metrics_*.c share: the counters, and who writes which of them. */
#ifndef SERVER_METRICS_PARTS_H
#define SERVER_METRICS_PARTS_H

#include <pthread.h>

#include "server/histogram.h"
#include "server/metrics.h"
#include "server/metrics_text.h"

#define MAX_STATUSES 16 /* more than there are */

/* Of the replies of one model. */
typedef struct totals {
    uint64_t prompt_tokens, cached_tokens, reply_tokens, drafted, accepted, refilled_tokens, parked;
    uint64_t weight_bytes, kv_bytes;
    uint64_t steps;
    double cost;
    uint64_t stopped, cut; /* replies that ended by themselves, and at their limit */
    histogram queue, prefill, decode;
    histogram first_token, per_token, whole;
} totals;

/* How often a decision was made. */
typedef struct decision {
    const char *model; /* lives as long as the orchestra */
    char *intent, *rule;
    uint64_t count;
} decision;

enum { PHASE_TEMPLATE, PHASE_PREFILL, PHASE_DECIDE, PHASE_SWITCH, PHASE_TOTAL, N_PHASES };

struct metrics {
    orchestra *orchestra;
    pthread_mutex_t lock; /* guards what follows */
    struct {
        int status;
        uint64_t count;
    } answers[MAX_STATUSES];
    decision *decisions; /* as many as the configurations had combinations of, at most */
    size_t n_decisions;
    histogram phases[N_PHASES];
    double success_sum; /* of the estimates, and how many there were */
    uint64_t success_count;
    totals *models;                       /* in the orchestra's order */
    uint64_t embeddings, embedded_tokens; /* that llama-server counts as prompts without a reply */
};

/* metrics_counted.c: under the lock. */
void write_counted(const metrics *m, metrics_text *t);
/* metrics_engines.c: what each model's engine says of itself now, in the orchestra's order. */
void write_engines(const metrics *m, metrics_text *t, const backend_load *statuses);
/* metrics_replicas.c: what the servers of models that are elsewhere are to them now. */
void write_replicas(const metrics *m, metrics_text *t);
/* metrics_peers.c: the same under the names that vLLM and llama-server gave; under the lock. */
void write_peers(const metrics *m, metrics_text *t, const backend_load *statuses);
/* metrics_process.c: the process, as Prometheus's own client libraries tell it. */
void write_process(metrics_text *t);

#endif
