/* run.c: the state machine of a run: probe, plan, reply. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "orchestra/internal.h"
#include "orchestra/sense.h"

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

    sensing probe;               /* while RUN_PROBING */
    double probe_end_ms;         /* when the probe's time is up; 0: never */
    request_copy request;        /* while RUN_PROBING */
    prepared_prompt *prompts[2]; /* by config_role; NULL: not made, or needed no more */

    run_state state;
    bool is_decided;
    sensed sensed;
    plan plan;
    receipt receipt;
    reply_end finish;
    const char *stop; /* the reply's */
    failure failure;
};

/* ---- signals -------------------------------------------------------------------------------- */

/* On the backend's thread. */
static void on_wake(void *context)
{
    run *r = context;
    pthread_mutex_lock(&r->lock);
    r->woken = true;
    pthread_cond_signal(&r->woken_changed);
    pthread_mutex_unlock(&r->lock);
    if (r->wake.call != NULL)
        r->wake.call(r->wake.context);
}

static wakeup own_wakeup(run *r)
{
    return (wakeup){.call = on_wake, .context = r};
}

static bool is_over(const run *r)
{
    return r->state == RUN_FINISHED || r->state == RUN_FAILED;
}

void run_wait(run *r)
{
    if (is_over(r))
        return;
    pthread_mutex_lock(&r->lock);
    while (!r->woken)
        pthread_cond_wait(&r->woken_changed, &r->lock);
    r->woken = false;
    pthread_mutex_unlock(&r->lock);
}

static bool is_cancelled(run *r)
{
    pthread_mutex_lock(&r->lock);
    bool cancelled = r->cancelled;
    pthread_mutex_unlock(&r->lock);
    return cancelled;
}

void run_cancel(run *r)
{
    pthread_mutex_lock(&r->lock);
    r->cancelled = true;
    reply *running = r->reply;
    pthread_mutex_unlock(&r->lock);
    if (running != NULL)
        reply_cancel(running);
    else
        on_wake(r);
}

/* ---- from a plan to a reply -------------------------------------------------------------------
 */

static player *player_in(const run *r, config_role role)
{
    orchestra *o = r->orchestra;
    return &o->players[role == ROLE_SMALL ? o->small : o->large];
}

/* The request's prompt for a model, made when it is first wanted. */
static error_code prepare(run *r, config_role role, const request *q, failure *fail)
{
    if (r->prompts[role] != NULL)
        return OK;
    return backend_prepare(player_in(r, role)->backend, q, &r->prompts[role], fail);
}

static void drop_prompts(run *r)
{
    for (size_t i = 0; i < sizeof r->prompts / sizeof r->prompts[0]; i++) {
        prompt_destroy(r->prompts[i]);
        r->prompts[i] = NULL;
    }
}

/* A run's deadline counts from its submission: what it starts has what is left of the time. */
static error_code take_time_left(const run *r, request *q, failure *fail)
{
    if (r->end_ms == 0)
        return OK;
    q->deadline_ms = r->end_ms - clock_ms();
    return q->deadline_ms > 0 ? OK
                              : failure_set(fail, ERR_TIMEOUT, "the request's deadline has passed");
}

/* What the plan says of the reply, where the client has not said it. */
static void apply_plan(const run *r, request *q)
{
    const config_sampling *s = r->plan.sampling;
    unsigned set = s != NULL ? s->set & ~r->sampling_given : 0;
    sampling_params *to = &q->sampling;
    if (set & CONFIG_TEMPERATURE)
        to->temperature = s->temperature;
    if (set & CONFIG_TOP_P)
        to->top_p = s->top_p;
    if (set & CONFIG_MIN_P)
        to->min_p = s->min_p;
    if (set & CONFIG_TOP_K)
        to->top_k = s->top_k;
    if (set & CONFIG_REPETITION_PENALTY)
        to->repetition_penalty = s->repetition_penalty;
    if (set & CONFIG_PRESENCE_PENALTY)
        to->presence_penalty = s->presence_penalty;
    if (set & CONFIG_FREQUENCY_PENALTY)
        to->frequency_penalty = s->frequency_penalty;
    if (r->plan.max_tokens > 0 && (q->max_tokens == 0 || q->max_tokens > r->plan.max_tokens))
        q->max_tokens = r->plan.max_tokens;
}

/* The plan is there: what it is called, and what is known of it from now on. */
static void note_plan(run *r, const player *p)
{
    orchestra *o = r->orchestra;
    r->is_decided = true;
    if (r->follows)
        return;
    r->plan.model = p->name;
    r->plan.client_lookup = r->has_lookup;
    if (policy_fallback_matters(r->routing->policy, &r->known.facts, &r->plan))
        atomic_fetch_add(&o->counts.fallbacks[r->plan.fallback], 1);
    if (r->has_lookup)
        r->plan.lookup = (lookup_wish){
            .mode = r->lookup.mode, .length = r->lookup.length, .prior = r->plan.lookup.prior};
    r->receipt.overhead.total_ms = clock_ms() - r->start_ms;
    atomic_fetch_add(&o->counts.decisions[r->plan.role], 1);
    atomic_fetch_add(&o->counts.kept, r->plan.is_kept);
    const intent *i = &r->sensed.intent;
    routing *g = r->routing;
    if (i->known)
        atomic_fetch_add(&g->intents[i->best], 1);
    if (i->known && g->online != NULL)
        online_limit_note(g->online, r->id, r->plan.role == ROLE_SMALL, i->best);
    if (r->known.facts.success != NULL && g->online_doubt != NULL)
        online_limit_note(g->online_doubt, r->id, r->plan.role == ROLE_SMALL, SUCCESS_RIGHT);
}

static error_code start_reply(run *r, const request *q, failure *fail)
{
    player *p = player_in(r, r->plan.role);
    request planned = *q;
    error_code code = take_time_left(r, &planned, fail);
    if (code != OK)
        return code;
    note_plan(r, p);
    if (r->decide_only) {
        r->state = RUN_FINISHED;
        return OK;
    }
    apply_plan(r, &planned);
    reply *started = NULL;
    code = prepare(r, r->plan.role, &planned, fail);
    if (code == OK)
        code = backend_submit(p->backend, &planned, r->prompts[r->plan.role], &r->plan.lookup,
                              own_wakeup(r), &started, fail);
    drop_prompts(r);
    if (code != OK)
        return code;
    r->state = RUN_REPLYING;
    pthread_mutex_lock(&r->lock);
    r->reply = started;
    bool cancelled = r->cancelled;
    pthread_mutex_unlock(&r->lock);
    if (cancelled)
        reply_cancel(started);
    return OK;
}

/* What is too long for the large model is refused here when only a decision is asked for, and when
 * it was too long for the small one: with both numbers. The rest the large model's engine finds. */
static error_code check_fit(run *r, const request *q, failure *fail)
{
    orchestra *o = r->orchestra;
    size_t holds_small = backend_context(o->players[o->small].backend);
    bool fits_small = r->known.facts.prompt_tokens < holds_small;
    if (r->plan.role == ROLE_SMALL || (fits_small && !r->decide_only))
        return OK;
    error_code code = prepare(r, ROLE_LARGE, q, fail);
    if (code != OK)
        return code;
    size_t tokens = prompt_tokens(r->prompts[ROLE_LARGE]);
    size_t holds_large = backend_context(o->players[o->large].backend);
    if (tokens < holds_large)
        return OK;
    return failure_set(fail, ERR_CONTEXT,
                       "the prompt has %zu tokens; the small model's context holds %zu, the large "
                       "one's %zu, the reply included",
                       tokens, holds_small, holds_large);
}

static error_code follow_plan(run *r, const request *q, failure *fail)
{
    error_code code = check_fit(r, q, fail);
    if (code == OK)
        code = start_reply(r, q, fail);
    if (code == OK && !r->decide_only)
        facts_keep_plan(&r->known, r->routing, &r->plan);
    return code;
}

/* True: the plan is there. */
static bool decide(run *r)
{
    double start = clock_ms();
    bool decided = policy_decide(r->routing->policy, &r->known.facts, &r->plan);
    r->receipt.overhead.decide_ms += clock_ms() - start;
    return decided;
}

/* ---- submitting ----------------------------------------------------------------------------- */

static error_code pin(run *r, size_t index, const request *q, failure *fail)
{
    orchestra *o = r->orchestra;
    r->plan = (plan){.role = o->config->models[index].role,
                     .rule = "pinned",
                     .number = PLAN_NO_RULE,
                     .fallback = FALLBACK_PINNED,
                     .success = NAN,
                     .lookup = {.mode = WISH_AUTO, .prior = WISH_CLASSES - 1}};
    snprintf(r->plan.reason, sizeof r->plan.reason,
             r->routing->policy == NULL ? "%s is the only model" : "the request names the model %s",
             o->players[index].name);
    return start_reply(r, q, fail);
}

/* The probe and its cost are the other run's. */
static error_code follow(run *r, const run *like, const request *q, failure *fail)
{
    r->follows = true;
    r->plan = like->plan;
    r->sensed = like->sensed;
    return start_reply(r, q, fail);
}

/* The probe gave nothing: decides without; but where memory is short, the answer must not depend on
 * it. */
static error_code follow_failed_probe(run *r, const failure *why, const request *q, failure *fail)
{
    if (why->code == ERR_MEMORY) {
        *fail = *why;
        return ERR_MEMORY;
    }
    r->known.probe_failure = *why;
    r->known.facts.probe_failure = &r->known.probe_failure;
    decide(r); /* always decides once the probe has failed */
    return follow_plan(r, q, fail);
}

/* Puts what is sensed among the facts; true: and the plan is there. */
static bool decide_by_sensed(run *r)
{
    policy_facts *f = &r->known.facts;
    f->intent = r->sensed.intent.known ? &r->sensed.intent : NULL;
    f->success = !isnan(r->sensed.success) ? &r->sensed.success : NULL;
    return decide(r);
}

/* The pass for what the rules ask next, within so long (0: however long it takes). The request's
 * own copy is there. */
static error_code start_pass(run *r, double limit_ms, failure *why)
{
    request timed = r->request.request;
    error_code code = take_time_left(r, &timed, why);
    if (code != OK)
        return code;
    if (limit_ms > 0 && (timed.deadline_ms == 0 || timed.deadline_ms > limit_ms))
        timed.deadline_ms = limit_ms;
    return sense_start(&r->probe, r->orchestra, r->routing, &r->sensed, &timed,
                       r->prompts[ROLE_SMALL], own_wakeup(r), why);
}

/* Both passes share the probe's time. */
static error_code start_next_pass(run *r, failure *why)
{
    double left_ms = r->probe_end_ms - clock_ms();
    if (r->probe_end_ms > 0 && left_ms <= 0)
        return failure_set(why, ERR_TIMEOUT, "no time was left for the second pass");
    return start_pass(r, r->probe_end_ms > 0 ? left_ms : 0, why);
}

static error_code start_probe(run *r, const request *q, failure *fail)
{
    request timed = *q;
    error_code code = take_time_left(r, &timed, fail);
    if (code == OK)
        code = request_copy_make(&r->request, q, fail);
    if (code != OK)
        return code;
    failure why = {.code = OK};
    double limit_ms = r->routing->config->probe.timeout_ms;
    r->probe_end_ms = limit_ms > 0 ? clock_ms() + limit_ms : 0;
    code = start_pass(r, limit_ms, &why);
    return code == OK ? OK : follow_failed_probe(r, &why, q, fail);
}

static bool find_cached_probe(run *r)
{
    recent *probes = r->routing->probes;
    if (probes == NULL || !recent_find(probes, &r->known.probe, &r->sensed))
        return false;
    r->sensed.intent.cached = true;
    atomic_fetch_add(&r->orchestra->counts.cached_probes, 1);
    return true;
}

static error_code route(run *r, const request *q, const run_options *options, failure *fail)
{
    orchestra *o = r->orchestra;
    error_code code = prepare(r, ROLE_SMALL, q, fail);
    if (code == OK) {
        r->known.facts.prompt_tokens = prompt_tokens(r->prompts[ROLE_SMALL]);
        r->receipt.overhead.template_ms = prompt_template_ms(r->prompts[ROLE_SMALL]);
        code = facts_gather(&r->known, o, r->routing, q, options, fail);
    }
    if (code != OK)
        return code;
    bool decided = decide(r) || (find_cached_probe(r) && decide_by_sensed(r));
    return decided ? follow_plan(r, q, fail) : start_probe(r, q, fail);
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
    const char *second = o->n_players > 1 ? o->players[1].name : NULL;
    return failure_set(fail, ERR_NOT_FOUND, "no model \"%.100s\"; there are: auto, %s%s%s", name,
                       o->players[0].name, second != NULL ? ", " : "",
                       second != NULL ? second : "");
}

/* A model that has no room for the prompt is not asked for its tokens. */
static error_code check_length(const orchestra *o, size_t pinned, const request *q, failure *fail)
{
    if (pinned < o->n_players)
        return backend_check_length(o->players[pinned].backend, q, fail);
    error_code code = backend_check_length(o->players[o->large].backend, q, fail);
    return code == OK || backend_check_length(o->players[o->small].backend, q, NULL) == OK ? OK
                                                                                           : code;
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
        code = pinned < o->n_players ? pin(r, pinned, q, fail) : route(r, q, options, fail);
    if (code != OK) {
        r->state = RUN_FAILED;
        if (fail != NULL)
            r->failure = *fail;
        run_release(r);
    } else
        *out = r;
    return code;
}

/* ---- polling -------------------------------------------------------------------------------- */

/* The plan, or the next pass that it needs. */
static error_code follow_probe(run *r, const failure *why)
{
    const request *q = &r->request.request;
    failure next = *why;
    if (why->code == OK) {
        if (r->routing->probes != NULL)
            recent_store(r->routing->probes, &r->known.probe, &r->sensed);
        if (decide_by_sensed(r))
            return follow_plan(r, q, &r->failure);
        if (start_next_pass(r, &next) == OK)
            return OK;
    }
    return follow_failed_probe(r, &next, q, &r->failure);
}

static void poll_probe(run *r)
{
    failure why;
    if (is_cancelled(r)) {
        sense_drop(&r->probe);
        failure_set(&r->failure, ERR_CANCELLED, "cancelled before a model was chosen");
        r->state = RUN_FAILED;
        return;
    }
    if (!sense_poll(&r->probe, r->routing, &r->sensed, &r->receipt, &why))
        return;
    if (follow_probe(r, &why) != OK)
        r->state = RUN_FAILED;
    if (r->state != RUN_PROBING)
        request_copy_free(&r->request);
}

static void poll_reply(run *r, buffer *text, token_list *tokens)
{
    reply_status status;
    error_code code = reply_poll(r->reply, &status, text, tokens);
    if (code != OK) {
        failure_set(&r->failure, code, "cannot take the reply: %s", error_code_text(code));
        r->state = RUN_FAILED;
        return;
    }
    overhead *o = &r->receipt.overhead;
    r->receipt.reply = status.stats;
    o->total_ms += status.stats.switch_ms - o->switch_ms; /* it becomes known with the first step */
    o->switch_ms = status.stats.switch_ms;
    if (status.state == WORK_FAILED) {
        r->failure = status.failure;
        r->state = RUN_FAILED;
    } else if (status.state == WORK_FINISHED) {
        r->finish = status.finish;
        r->stop = status.stop;
        r->state = RUN_FINISHED;
    }
}

const score_list *run_scores(const run *r)
{
    static const score_list none = {.n_top = 0};
    return r->reply != NULL ? reply_scores(r->reply) : &none;
}

run_state run_poll(run *r, buffer *text, token_list *tokens)
{
    if (r->state == RUN_PROBING)
        poll_probe(r);
    if (r->state == RUN_REPLYING)
        poll_reply(r, text, tokens);
    return r->state;
}

/* ---- what there is to know --------------------------------------------------------------------
 */

const intent *run_intent(const run *r)
{
    return &r->sensed.intent;
}

const plan *run_plan(const run *r)
{
    return &r->plan;
}

const receipt *run_receipt(const run *r)
{
    return &r->receipt;
}

reply_end run_finish_reason(const run *r)
{
    return r->finish;
}

const char *run_stop(const run *r)
{
    return r->stop;
}

bool run_follows(const run *r)
{
    return r->follows;
}

reply_style run_style(const run *r)
{
    return reply_style_of(r->reply);
}

const failure *run_failure(const run *r)
{
    return &r->failure;
}

const routing *run_routing(const run *r)
{
    return r->routing;
}

const known_facts *run_facts(const run *r)
{
    return &r->known;
}

run_state run_reached(const run *r)
{
    return r->state;
}

const char *run_id(const run *r)
{
    return r->id;
}

bool run_only_decides(const run *r)
{
    return r->decide_only;
}

void run_release(run *r)
{
    if (r == NULL)
        return;
    /* Where no memory was had for the prompt, the log counts a lost line. */
    if (r->orchestra->log != NULL && r->is_decided)
        decision_log_write(r->orchestra->log, &r->routing->head, record_line(r, r->prompt));
    json_decref(r->prompt);
    facts_free(&r->known);
    sense_drop(&r->probe);
    if (r->reply != NULL)
        reply_release(r->reply);
    request_copy_free(&r->request);
    drop_prompts(r);
    routing_release(r->routing); /* last: plan, intent and probe point into it */
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->woken_changed);
    free(r);
}
