/* run_submit.c: a request becomes a run: pinned to a model, or routed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "orchestra/run_internal.h"

static error_code pin(run *r, size_t index, const request *q, failure *fail)
{
    orchestra *o = r->orchestra;
    r->plan = (plan){.level = index,
                     .rule = "pinned",
                     .number = PLAN_NO_RULE,
                     .fallback = FALLBACK_PINNED,
                     .success = NAN,
                     .lookup = {.mode = WISH_AUTO, .prior = WISH_CLASSES - 1}};
    snprintf(r->plan.reason, sizeof r->plan.reason,
             r->routing->policy == NULL ? "%s is the only model" : "the request names the model %s",
             o->players[index].name);
    return run_start_reply(r, q, fail);
}

/* The probe and its cost are the other run's. */
static error_code follow(run *r, const run *like, const request *q, failure *fail)
{
    r->follows = true;
    r->plan = like->plan;
    r->sensed = like->sensed;
    return run_start_reply(r, q, fail);
}

/* The index of the model that a name pins; n_players: none, the request is routed. */
static error_code find_pinned(const orchestra *o, const char *name, size_t *index, failure *fail)
{
    bool routed = name == NULL || strcmp(name, "auto") == 0;
    *index = o->n_players == 1 ? 0 : o->n_players;
    if (routed)
        return OK;
    for (size_t i = 0; i < o->n_players; i++) {
        if (strcmp(o->players[i].name, name) == 0) {
            *index = i;
            return OK;
        }
    }
    char names[512] = "auto";
    for (size_t i = 0, used = 4; i < o->n_players && used + 66 < sizeof names; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, ", %.64s", o->players[i].name);
    return failure_set(fail, ERR_NOT_FOUND, "no model \"%.100s\"; there are: %s", name, names);
}

/* A model that has no room for the prompt is not asked for its tokens. */
static error_code check_length(const orchestra *o, size_t pinned, const request *q, failure *fail)
{
    if (pinned < o->n_players)
        return backend_check_length(o->players[pinned].backend, q, fail);
    error_code code = OK;
    for (size_t i = o->n_players;
         i-- > 0;) { /* one that has room is enough; the last one says why */
        error_code found = backend_check_length(o->players[i].backend, q, code == OK ? fail : NULL);
        if (found == OK)
            return OK;
        code = code == OK ? found : code;
    }
    return code;
}

error_code orchestra_submit(orchestra *o, const request *q, const run_options *options, wakeup wake,
                            run **out, failure *fail)
{
    size_t pinned = 0;
    *out = NULL;
    error_code code = find_pinned(o, options->model, &pinned, fail);
    if (code == OK)
        code = check_length(o, pinned, q, fail);
    if (code != OK)
        return code;
    run *r = calloc(1, sizeof *r);
    if (r == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the request");
    r->orchestra = o;
    r->routing =
        options->like != NULL ? routing_hold(options->like->routing) : orchestra_hold_routing(o);
    r->wake = wake;
    r->decide_only = options->decide_only;
    r->has_lookup = options->lookup != NULL;
    if (r->has_lookup)
        r->lookup = *options->lookup;
    r->sampling_given = options->sampling_given;
    snprintf(r->id, sizeof r->id, "%s", options->id != NULL ? options->id : "");
    r->sensed.success = NAN;
    r->start_ms = clock_ms();
    r->end_ms = q->deadline_ms > 0 ? r->start_ms + q->deadline_ms : 0;
    r->woken = true; /* the first poll tells the state */
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->woken_changed, NULL);
    if (o->log != NULL && options->like == NULL)
        r->prompt = record_prompt(q, decision_log_keeps_text(o->log));
    if (options->like != NULL)
        code = follow(r, options->like, q, fail);
    else
        code = pinned < o->n_players ? pin(r, pinned, q, fail) : run_route(r, q, options, fail);
    if (code != OK) {
        r->state = RUN_FAILED;
        if (fail != NULL)
            r->failure = *fail;
        run_release(r);
    } else
        *out = r;
    return code;
}
