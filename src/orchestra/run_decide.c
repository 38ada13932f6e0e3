/* run_decide.c: from a request to a plan: what is known at once, then what the probe says. */
#include <math.h>

#include "base/clock.h"
#include "orchestra/run_internal.h"

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
    run_decide(r); /* always decides once the probe has failed */
    return run_follow_plan(r, q, fail);
}

/* Puts what is sensed among the facts; true: and the plan is there. */
static bool decide_by_sensed(run *r)
{
    policy_facts *f = &r->known.facts;
    f->intent = r->sensed.intent.known ? &r->sensed.intent : NULL;
    f->success = !isnan(r->sensed.success) ? &r->sensed.success : NULL;
    return run_decide(r);
}

/* The pass for what the rules ask next, within so long (0: however long it takes). The request's
 * own copy is there. */
static error_code start_pass(run *r, double limit_ms, failure *why)
{
    request timed = r->request.request;
    error_code code = run_take_time_left(r, &timed, why);
    if (code != OK)
        return code;
    if (limit_ms > 0 && (timed.deadline_ms == 0 || timed.deadline_ms > limit_ms))
        timed.deadline_ms = limit_ms;
    return sense_start(&r->probe, r->orchestra, r->routing, &r->sensed, &timed,
                       r->prompts[r->routing->asked], run_wakeup(r), why);
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
    error_code code = run_take_time_left(r, &timed, fail);
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

/* Renders and tokenises for the model that is asked. */
static error_code count_prompt(run *r, const request *q, failure *fail)
{
    size_t asked = r->routing->asked;
    error_code code = run_prepare(r, asked, q, fail);
    if (code != OK)
        return code;
    r->known.facts.prompt_tokens = prompt_tokens(r->prompts[asked]);
    r->known.facts.lacks_count = false;
    r->receipt.overhead.template_ms = prompt_template_ms(r->prompts[asked]);
    return OK;
}

/* Where neither the rules nor a reader of the decision look at its length, nor the model that is
 * asked answers, the prompt is not tokenised for that. */
static bool decide_without_count(run *r)
{
    r->known.facts.lacks_count = true;
    return !r->decide_only && r->orchestra->log == NULL && run_decide(r) &&
           r->plan.level != r->routing->asked;
}

error_code run_route(run *r, const request *q, const run_options *options, failure *fail)
{
    error_code code = facts_gather(&r->known, r->orchestra, r->routing, q, options, fail);
    if (code != OK)
        return code;
    if (decide_without_count(r))
        return run_follow_plan(r, q, fail);
    code = count_prompt(r, q, fail);
    if (code != OK)
        return code;
    bool decided = run_decide(r) || (find_cached_probe(r) && decide_by_sensed(r));
    return decided ? run_follow_plan(r, q, fail) : start_probe(r, q, fail);
}

error_code run_follow_probe(run *r, const failure *why)
{
    const request *q = &r->request.request;
    failure next = *why;
    if (why->code == OK) {
        if (r->routing->probes != NULL)
            recent_store(r->routing->probes, &r->known.probe, &r->sensed);
        if (decide_by_sensed(r))
            return run_follow_plan(r, q, &r->failure);
        if (start_next_pass(r, &next) == OK)
            return OK;
    }
    return follow_failed_probe(r, &next, q, &r->failure);
}
