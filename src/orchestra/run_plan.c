/* run_plan.c: from a plan to a reply. */
#include "base/clock.h"
#include "orchestra/run_internal.h"

error_code run_prepare(run *r, size_t level, const request *q, failure *fail)
{
    if (r->prompts[level] != NULL)
        return OK;
    return backend_prepare(r->orchestra->players[level].backend, q, &r->prompts[level], fail);
}

void run_drop_prompts(run *r)
{
    for (size_t i = 0; i < sizeof r->prompts / sizeof r->prompts[0]; i++) {
        prompt_destroy(r->prompts[i]);
        r->prompts[i] = NULL;
    }
}

error_code run_take_time_left(const run *r, request *q, failure *fail)
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
    if (r->follows)
        return;
    r->is_decided = true;
    r->plan.model = p->name;
    r->plan.client_lookup = r->has_lookup;
    if (policy_fallback_matters(r->routing->policy, &r->known.facts, &r->plan))
        atomic_fetch_add(&o->counts.fallbacks[r->plan.fallback], 1);
    if (r->has_lookup)
        r->plan.lookup = (lookup_wish){
            .mode = r->lookup.mode, .length = r->lookup.length, .prior = r->plan.lookup.prior};
    r->receipt.overhead.total_ms = clock_ms() - r->start_ms;
    atomic_fetch_add(&o->counts.decisions[r->plan.level], 1);
    atomic_fetch_add(&o->counts.kept, r->plan.is_kept);
    const intent *i = &r->sensed.intent;
    routing *g = r->routing;
    bool is_trusted = r->plan.level <= g->asked; /* what is told of those that answer is about it */
    if (i->known)
        atomic_fetch_add(&g->intents[i->best], 1);
    if (i->known && g->online != NULL)
        online_limit_note(g->online, r->id, is_trusted, i->best);
    if (r->known.facts.success != NULL && g->online_doubt != NULL)
        online_limit_note(g->online_doubt, r->id, r->plan.level == 0, SUCCESS_RIGHT);
}

error_code run_start_reply(run *r, const request *q, failure *fail)
{
    player *p = &r->orchestra->players[r->plan.level];
    request planned = *q;
    error_code code = run_take_time_left(r, &planned, fail);
    if (code != OK)
        return code;
    note_plan(r, p);
    if (r->decide_only) {
        r->state = RUN_FINISHED;
        return OK;
    }
    apply_plan(r, &planned);
    reply *started = NULL;
    code = run_prepare(r, r->plan.level, &planned, fail);
    if (code == OK)
        code = backend_submit(p->backend, &planned, r->prompts[r->plan.level], &r->plan.lookup,
                              run_wakeup(r), &started, fail);
    run_drop_prompts(r);
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

bool run_decide(run *r)
{
    double start = clock_ms();
    bool decided = policy_decide(r->routing->policy, &r->known.facts, &r->plan);
    r->receipt.overhead.decide_ms += clock_ms() - start;
    return decided;
}

static error_code refuse_length(const run *r, size_t tokens, failure *fail)
{
    const orchestra *o = r->orchestra;
    size_t asked = r->routing->asked, top = o->n_players - 1;
    size_t first = asked < top ? asked : 0;
    return failure_set(fail, ERR_CONTEXT,
                       "the prompt has %zu tokens; the %s model's context holds %zu, the %s "
                       "one's %zu, the reply included",
                       tokens, config_role(o->config, first),
                       backend_context(o->players[first].backend), config_role(o->config, top),
                       backend_context(o->players[top].backend));
}

/* By the count of the model that is to answer. What is too long for it goes up; what is too long
 * for the last one is refused here when only a decision is asked for, and when it was too long for
 * another before. The rest the last one's backend finds. */
static error_code check_fit(run *r, const request *q, failure *fail)
{
    const orchestra *o = r->orchestra;
    size_t asked = r->routing->asked, top = o->n_players - 1;
    policy_facts *f = &r->known.facts;
    bool fits = f->prompt_tokens < backend_context(o->players[asked].backend);
    for (;;) {
        size_t level = r->plan.level;
        if ((level == asked && level < top) || (level == top && fits && !r->decide_only))
            return OK;
        error_code code = run_prepare(r, level, q, fail);
        if (code != OK)
            return code;
        f->tokens[level] = prompt_tokens(r->prompts[level]);
        if (f->tokens[level] < backend_context(o->players[level].backend))
            return OK;
        if (level == top)
            return refuse_length(r, f->tokens[level], fail);
        fits = false;
        run_decide(r); /* further up */
    }
}

error_code run_follow_plan(run *r, const request *q, failure *fail)
{
    error_code code = check_fit(r, q, fail);
    if (code == OK)
        code = run_start_reply(r, q, fail);
    if (code == OK && !r->decide_only)
        facts_keep_plan(&r->known, r->routing, &r->plan);
    return code;
}
