/* policy_decide.c: from facts to a plan. */
#include <math.h>
#include <stdio.h>

#include "orchestra/policy_internal.h"

const char *fallback_name(fallback f)
{
    static const char *const names[N_FALLBACKS] = {
        [FALLBACK_ENTROPY] = "entropy",         [FALLBACK_MARGIN] = "margin",
        [FALLBACK_SUCCESS] = "success",         [FALLBACK_LONG_CONTEXT] = "long_context",
        [FALLBACK_PROBE_ERROR] = "probe_error", [FALLBACK_PROBE_TIMEOUT] = "probe_timeout",
        [FALLBACK_PINNED] = "pinned",           [FALLBACK_LOAD] = "load",
    };
    return names[f];
}

/* What a rule falls back from, by the conditions it has itself. */
static fallback fallback_of(const policy *p, const config_rule *r, size_t level)
{
    for (config_quantity q = CONFIG_LOADS; q < policy_quantities(p); q++)
        if (bound_exists(&r->bounds[q]))
            return FALLBACK_LOAD;
    if (level <= p->asked)
        return FALLBACK_NONE;
    if (r->bounds[CONFIG_PROMPT_TOKENS].above > -INFINITY)
        return FALLBACK_LONG_CONTEXT;
    if (r->bounds[CONFIG_ENTROPY].above > -INFINITY)
        return FALLBACK_ENTROPY;
    if (r->bounds[CONFIG_SUCCESS].max < INFINITY)
        return FALLBACK_SUCCESS;
    return r->bounds[CONFIG_MARGIN].max < INFINITY ? FALLBACK_MARGIN : FALLBACK_NONE;
}

/* The acceptance estimate of an intent; the last class is for what no intent is known of. */
static uint32_t prior_of(const intent *known)
{
    size_t last = WISH_CLASSES - 1;
    return (uint32_t)(known != NULL && known->best < last ? known->best : last);
}

lookup_wish policy_lookup(const config_lookup *l, uint32_t prior)
{
    static const wish_mode modes[] = {[CONFIG_LOOKUP_OFF] = WISH_OFF,
                                      [CONFIG_LOOKUP_AUTO] = WISH_AUTO,
                                      [CONFIG_LOOKUP_FIXED] = WISH_FIXED,
                                      [CONFIG_LOOKUP_DRAFT] = WISH_DRAFT};
    return (lookup_wish){.mode = modes[l->mode], .length = l->length, .prior = prior};
}

static void take_rule(const policy *p, size_t number, size_t level, uint32_t prior, plan *out)
{
    const config_rule *r = &p->rules[number];
    out->level = level;
    out->lookup = policy_lookup(&r->lookup, prior);
    out->rule = r->name;
    out->number = number;
    out->fallback = fallback_of(p, r, level);
    out->sampling = r->sampling.set != 0 ? &r->sampling : NULL;
    out->max_tokens = r->max_tokens;
}

/* A model without a rule that says so. */
static void take_model(size_t level, const char *why, fallback kind, const policy_facts *f,
                       plan *out)
{
    static const config_lookup automatic = {.mode = CONFIG_LOOKUP_AUTO};
    out->level = level;
    out->lookup = policy_lookup(&automatic, prior_of(f->intent));
    out->rule = why;
    out->number = PLAN_NO_RULE;
    out->fallback = kind;
    out->sampling = NULL;
    out->max_tokens = 0;
}

static size_t top_of(const policy *p)
{
    return p->n_models - 1;
}

/* An answer that leaves labels out says at least that the one who was asked is unsure: the next one
 * up is enough. */
static void fall_back_on_probe(const policy *p, const policy_facts *f, plan *out)
{
    bool is_late = f->probe_failure->code == ERR_TIMEOUT;
    bool is_incomplete = f->probe_failure->code == ERR_FORMAT;
    take_model(is_incomplete ? policy_next_up(p, f) : top_of(p),
               is_late ? "probe_timeout" : "probe_error",
               is_late ? FALLBACK_PROBE_TIMEOUT : FALLBACK_PROBE_ERROR, f, out);
    snprintf(out->reason, sizeof out->reason,
             is_late ? "the probe took too long: %.120s" : "the probe failed: %.120s",
             f->probe_failure->text);
}

static bool is_table_rule(const policy *p, size_t number)
{
    return number < p->n_rules;
}

/* The plan that the conversation has. */
static void keep(const policy *p, const policy_facts *f, plan *out)
{
    size_t number = f->kept->rule, level = f->kept->level;
    if (is_table_rule(p, number))
        take_rule(p, number, level, f->kept->prior, out);
    else
        take_model(level, "session", FALLBACK_NONE, f, out);
    snprintf(out->reason, sizeof out->reason, "the conversation stays with the %s model (%s)",
             p->models[level].word,
             is_table_rule(p, number) ? p->rules[number].name : "long_context");
    out->rule = "session";
    out->is_kept = true;
    out->fallback = FALLBACK_NONE;
}

/* Nothing is above it, so that nothing need be asked. */
static bool stays_on_top(const policy *p, const policy_facts *f)
{
    return f->kept != NULL && f->kept->level == top_of(p);
}

/* Its plan goes before one that is not further up, unless that is the same rule's. */
static bool stays_lower(const policy_facts *f, const plan *made)
{
    const policy_kept *k = f->kept;
    return k != NULL &&
           (made->level < k->level || (made->level == k->level && made->number != k->rule));
}

static bool decide_by_rules(const policy *p, const policy_facts *f, plan *out)
{
    for (size_t i = 0; i < p->n_rules; i++) {
        truth holds = policy_holds(p, &p->rules[i], f);
        if (holds == UNKNOWN)
            return false;
        if (holds == NO)
            continue;
        take_rule(p, i, policy_level_of(p, &p->rules[i], f), prior_of(f->intent), out);
        policy_explain(p, &p->rules[i], i == 0, f, out->reason);
        return true;
    }
    return false; /* not reached: the last rule holds always */
}

/* To the first one above that is not known to be too small. */
static void go_up(const policy *p, size_t level, const policy_facts *f, plan *out)
{
    size_t to = level + 1;
    while (to < top_of(p) && !policy_fits(p, to, f))
        to++;
    take_model(to, "long_context", FALLBACK_LONG_CONTEXT, f, out);
    out->is_kept = false;
    snprintf(out->reason, sizeof out->reason,
             "%zu prompt tokens do not fit the %s model's context of %zu",
             level == p->asked ? f->prompt_tokens : f->tokens[level], p->models[level].word,
             p->models[level].context);
}

bool policy_decide(const policy *p, const policy_facts *f, plan *out)
{
    plan result = {.prompt_tokens = f->prompt_tokens,
                   .success = f->success != NULL ? *f->success : NAN};
    bool is_asked_top = p->asked == top_of(p);
    if (stays_on_top(p, f))
        keep(p, f, &result);
    else if (f->probe_failure != NULL)
        fall_back_on_probe(p, f, &result);
    else if (!decide_by_rules(p, f, &result)) {
        bool has_states = p->is_learned || policy_reads_success(p);
        if (!has_states || is_asked_top || policy_fits(p, p->asked, f))
            return false;
        go_up(p, p->asked, f, &result); /* there are no states to ask about */
    } else if (stays_lower(f, &result))
        keep(p, f, &result);
    if (result.level < top_of(p) && !policy_fits(p, result.level, f))
        go_up(p, result.level, f, &result);
    *out = result;
    return true;
}

/* ---- what a fallback changed ----------------------------------------------------------------- */

static bool bound_holds(const config_rule *r, config_quantity q, const policy_facts *f)
{
    double value = policy_value(q, f);
    return value > r->bounds[q].above && value <= r->bounds[q].max;
}

/* The rule that what was asked would have found, were it certain, short, and nobody else there. */
static const config_rule *rule_by_intent(const policy *p, const policy_facts *f)
{
    for (size_t i = 0; i < p->n_rules; i++) {
        const config_rule *r = &p->rules[i];
        bool asks_for = (r->intents == CONFIG_ANY_INTENT || (r->intents >> f->intent->best & 1)) &&
                        bound_holds(r, CONFIG_TURN, f) && bound_holds(r, CONFIG_COIN, f);
        if (fallback_of(p, r, policy_level_of(p, r, f)) == FALLBACK_NONE && asks_for &&
            policy_request_fits(p, r, f))
            return r;
    }
    return NULL;
}

bool policy_fallback_matters(const policy *p, const policy_facts *f, const plan *made)
{
    if (made->fallback == FALLBACK_NONE || made->fallback == FALLBACK_PINNED)
        return false;
    const config_rule *r = f->intent != NULL ? rule_by_intent(p, f) : NULL;
    return r == NULL || policy_level_of(p, r, f) != made->level ||
           policy_lookup(&r->lookup, 0).mode != made->lookup.mode ||
           r->lookup.length != made->lookup.length;
}
