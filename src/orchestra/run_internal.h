/* run_internal.h: one request on its way: what its files share. For them only.
 *
 *   run_submit.c  its beginning
 *   run_decide.c  to a plan, through the probe where rules ask for it
 *   run_plan.c    from a plan to a reply
 *   run.c         polling, and the end
 *   run_known.c   what there is to know of it
 *   run_signal.c  waking, waiting, cancelling
 */
#ifndef ORCHESTRA_RUN_INTERNAL_H
#define ORCHESTRA_RUN_INTERNAL_H

#include "orchestra/internal.h"

#define RUN_ID_SIZE 129

struct run {
    orchestra *orchestra;
    routing *routing; /* held: what decides here, whatever comes later */
    wakeup wake;
    lookup_wish lookup; /* overrides the plan's when has_lookup */
    bool has_lookup;
    bool decide_only;
    bool follows; /* another run's plan */
    unsigned sampling_given;
    char id[RUN_ID_SIZE];
    double start_ms;
    double end_ms; /* the deadline; 0: none */
    known_facts known;
    json_t *prompt; /* of the decision log's line; NULL: none is written */

    pthread_mutex_t lock; /* of the next three; the rest belongs to the thread that polls */
    pthread_cond_t woken_changed;
    bool woken;
    bool cancelled;
    reply *reply; /* written under the lock: run_cancel may come from another thread */

    sensing probe;                               /* while RUN_PROBING */
    double probe_end_ms;                         /* when the probe's time is up; 0: never */
    request_copy request;                        /* while RUN_PROBING */
    prepared_prompt *prompts[CONFIG_MAX_MODELS]; /* by model; NULL: not made, or needed no more */

    run_state state;
    bool is_decided; /* here, not by a run that it follows: it has a line in the log */
    bool is_timed;   /* its first token has come */
    sensed sensed;
    plan plan;
    receipt receipt;
    reply_end finish;
    const char *stop; /* the reply's */
    failure failure;
};

/* ---- run_signal.c ---------------------------------------------------------------------------- */

wakeup run_wakeup(run *r); /* for what the run starts */
bool run_is_cancelled(run *r);

/* ---- run_plan.c ------------------------------------------------------------------------------ */

/* The request's prompt for a model, made when it is first wanted. */
error_code run_prepare(run *r, size_t level, const request *q, failure *fail);
void run_drop_prompts(run *r);
/* A run's deadline counts from its submission: what it starts has what is left of the time. */
error_code run_take_time_left(const run *r, request *q, failure *fail);
/* By what is known. True: the plan is there. */
bool run_decide(run *r);
/* The plan is there: what it says is started. */
error_code run_start_reply(run *r, const request *q, failure *fail);
/* The same for a plan that was decided here: it fits, and the conversation keeps it. */
error_code run_follow_plan(run *r, const request *q, failure *fail);

/* ---- run_decide.c ---------------------------------------------------------------------------- */

/* From the request to a plan, or to the probe that it needs. */
error_code run_route(run *r, const request *q, const run_options *options, failure *fail);
/* From what a pass said to the plan, or to the next pass that it needs. */
error_code run_follow_probe(run *r, const failure *why);

#endif
