/* policy.c: a policy from its configuration: the built-in tables, limits; what it reads. */
#include "orchestra/policy_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(CONFIG_MAX_LABELS <= 64, "a rule's intents are bits of 64");
_Static_assert(CONFIG_MAX_LABELS <= PROBE_MAX_LABELS, "every label is classified");
_Static_assert(CONFIG_MAX_DRAFT <= WISH_MAX_DRAFT, "every fixed lookup can be drafted");

#define PAPER_LOOK_AHEAD 2 /* tokens drafted a step in the published system */

/* ---- the built-in tables -------------------------------------------------------------------- */

static const config_lookup lookup_off = {.mode = CONFIG_LOOKUP_OFF};
static const config_lookup lookup_auto = {.mode = CONFIG_LOOKUP_AUTO};
static const config_lookup lookup_paper = {.mode = CONFIG_LOOKUP_FIXED, .length = PAPER_LOOK_AHEAD};

static config_rule *add_rule(policy *p, const char *name, uint64_t intents, size_t level,
                             config_lookup lookup)
{
    config_rule *r = &p->rules[p->n_rules++];
    *r = (config_rule){/* never written through */ .name = (char *)name,
                       .intents = intents,
                       .model = level,
                       .lookup = lookup};
    for (size_t q = 0; q < CONFIG_QUANTITIES; q++)
        r->bounds[q] = (config_bound){.above = -INFINITY, .max = INFINITY};
    return r;
}

static uint64_t code_bit(const policy *p)
{
    for (size_t i = 0; i < p->n_labels; i++)
        if (strcmp(p->labels[i].name, CONFIG_LABEL_CODE) == 0)
            return UINT64_C(1) << i;
    return 0;
}

/* Of a pair, paper and adaptive choose the same models; they differ in the lookup of code and of
 * the rest. */
static void add_small_for_code(policy *p, const config_policy *c, config_lookup on_code,
                               config_lookup on_rest)
{
    uint64_t code = code_bit(p);
    double limit = (double)c->prompt_limit;
    if ((double)p->models[0].context < limit)
        limit = (double)p->models[0].context;
    config_rule *r = add_rule(p, CONFIG_LABEL_CODE, code, 0, on_code);
    r->bounds[CONFIG_PROMPT_TOKENS].max = limit;
    r->bounds[CONFIG_ENTROPY].max = c->entropy_limit;
    r->certain = CONFIG_CERTAIN;
    if (on_code.mode != on_rest.mode) {
        r = add_rule(p, "long_context", code, p->n_models - 1, on_code);
        r->bounds[CONFIG_PROMPT_TOKENS].above = limit;
    }
    r = add_rule(p, "long_context", CONFIG_ANY_INTENT, p->n_models - 1, on_rest);
    r->bounds[CONFIG_PROMPT_TOKENS].above = limit;
    if (on_code.mode != on_rest.mode) {
        r = add_rule(p, "entropy", code, p->n_models - 1, on_code);
        r->bounds[CONFIG_ENTROPY].above = c->entropy_limit;
        r->certain = CONFIG_UNCERTAIN;
    }
    r = add_rule(p, "entropy", CONFIG_ANY_INTENT, p->n_models - 1, on_rest);
    r->bounds[CONFIG_ENTROPY].above = c->entropy_limit;
    r->certain = CONFIG_UNCERTAIN;
    for (size_t i = 0; i < p->n_labels; i++)
        if ((code & UINT64_C(1) << i) == 0)
            add_rule(p, p->labels[i].name, UINT64_C(1) << i, p->n_models - 1, on_rest);
}

/* adaptive with more than two models: code goes up one step for each limit that its entropy is
 * above; where the first limit is the only one, to the next one up from where the conversation is.
 * What is no code is the last model's, as of a pair. */
static void add_ladder(policy *p, const config_policy *c)
{
    uint64_t code = code_bit(p);
    double limit = fmin((double)c->prompt_limit, (double)p->models[0].context);
    size_t n = c->is_limit_given || c->certain.n == 0 ? 1 : c->certain.n;
    config_rule *r;
    for (size_t i = 0; i < n && i + 1 < p->n_models; i++) {
        r = add_rule(p, CONFIG_LABEL_CODE, code, i, lookup_auto);
        r->bounds[CONFIG_ENTROPY].max = i == 0 ? c->entropy_limit : c->certain.at[i];
        r->certain = CONFIG_CERTAIN;
        if (i == 0)
            r->bounds[CONFIG_PROMPT_TOKENS].max = limit;
    }
    double last = n == 1 ? c->entropy_limit : c->certain.at[n - 1];
    r = add_rule(p, "entropy", code, n, lookup_auto);
    r->choice = n == 1 ? CONFIG_MODEL_NEXT : CONFIG_MODEL_NAMED;
    r->bounds[CONFIG_ENTROPY].above = last;
    r->certain = CONFIG_UNCERTAIN;
    r = add_rule(p, "long_context", code, 1, lookup_auto);
    r->bounds[CONFIG_PROMPT_TOKENS].above = limit;
    for (size_t i = 0; i < p->n_labels; i++)
        if ((code & UINT64_C(1) << i) == 0)
            add_rule(p, p->labels[i].name, UINT64_C(1) << i, p->n_models - 1, lookup_auto);
}

/* Each as often as the others. */
static void add_random(policy *p)
{
    double n = (double)p->n_models;
    for (size_t i = 0; i < p->n_models; i++) {
        config_bound *coin =
            &add_rule(p, "random", CONFIG_ANY_INTENT, i, lookup_auto)->bounds[CONFIG_COIN];
        if (i > 0)
            coin->above = (double)i / n;
        if (i + 1 < p->n_models)
            coin->max = (double)(i + 1) / n;
    }
}

static bool is_unconditional(const config_rule *r)
{
    bool bounded = false;
    for (size_t q = 0; q < CONFIG_QUANTITIES; q++)
        bounded = bounded || bound_exists(&r->bounds[q]);
    return !bounded && r->choice != CONFIG_MODEL_CHEAPEST && r->intents == CONFIG_ANY_INTENT &&
           r->session == CONFIG_SESSION_ANY && r->n_headers == 0;
}

static void note_headers(policy *p, const config_rule *r)
{
    for (size_t k = 0; k < r->n_headers; k++) {
        size_t at = policy_find_header(p, r->headers[k].name);
        p->headers[at] = r->headers[k].name;
        p->n_headers += at == p->n_headers;
    }
}

/* The limit of the step that a rule stands at: within it its own model answers, or beyond it, and
 * then it is the one below whose limit it is. NAN: none is known. */
static double limit_of(const config_limits *l, const config_rule *r, bool is_within)
{
    size_t level = r->choice == CONFIG_MODEL_NAMED ? r->model : 0;
    size_t step = is_within || level == 0 ? level : level - 1;
    if (l->n == 0)
        return NAN;
    return l->at[step < l->n ? step : l->n - 1];
}

static void put_success(config_rule *r, double limit)
{
    if (r->likely == CONFIG_LIKELY)
        r->bounds[CONFIG_SUCCESS].above = config_number_before(limit);
    else
        r->bounds[CONFIG_SUCCESS].max = config_number_before(limit);
}

/* The success limit in the place of the word. */
static error_code put_likely(config_rule *r, const config_limits *limits, size_t i, failure *fail)
{
    double limit = limit_of(limits, r, r->likely == CONFIG_LIKELY);
    if (r->likely == CONFIG_LIKELY_ANY)
        return OK;
    if (isnan(limit))
        return failure_set(fail, ERR_CONFIG,
                           "policy.rules[%zu].likely: the success limit is not known here; "
                           "calibrate with --max-wrong, --max-loss or --share-large, or give "
                           "min_success",
                           i);
    put_success(r, limit);
    return OK;
}

/* The calibration's limit in the place of the word. */
static error_code put_limit(config_rule *r, const config_limits *limits, size_t i, failure *fail)
{
    double limit = limit_of(limits, r, r->certain == CONFIG_CERTAIN);
    if (r->certain == CONFIG_CERTAIN_ANY)
        return OK;
    if (isnan(limit))
        return failure_set(
            fail, ERR_CONFIG,
            "policy.rules[%zu].certain: the calibration's entropy limit is not known "
            "here; calibrate with --max-misroute or --share-large, or give "
            "max_entropy",
            i);
    if (r->certain == CONFIG_CERTAIN)
        r->bounds[CONFIG_ENTROPY].max = limit;
    else
        r->bounds[CONFIG_ENTROPY].above = limit;
    return OK;
}

static error_code add_configured(policy *p, const config_policy *c, failure *fail)
{
    error_code code = OK;
    p->is_configured = true;
    for (size_t i = 0; i < c->n_rules && code == OK; i++) {
        p->rules[p->n_rules] = c->rules[i];
        code = put_limit(&p->rules[p->n_rules], &c->certain, i, fail);
        if (code == OK)
            code = put_likely(&p->rules[p->n_rules], &c->likely, i, fail);
        p->n_rules++;
        note_headers(p, &c->rules[i]);
    }
    return code;
}

error_code policy_create(policy **out, const config *c, const size_t *contexts, failure *fail)
{
    const char *name = c->policy.name;
    error_code code = OK;
    size_t room = c->policy.n_rules + c->probe.n_labels + c->n_models + 6; /* the longest table, and
                                                                              the last rule */
    policy *p = calloc(1, sizeof *p + room * sizeof p->rules[0]);
    *out = p;
    if (p == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the policy");
    p->labels = c->probe.labels;
    p->n_labels = c->probe.n_labels;
    p->asked = c->probe.model;
    for (; p->n_models < c->n_models; p->n_models++)
        p->models[p->n_models] = (known_model){.word = config_role(c, p->n_models),
                                               .context = contexts[p->n_models],
                                               .price = c->models[p->n_models].price};
    p->is_learned = c->probe.kind == CONFIG_PROBE_LEARNED;
    if (strcmp(name, "adaptive") == 0 && p->n_models > 2)
        add_ladder(p, &c->policy);
    else if (strcmp(name, "adaptive") == 0)
        add_small_for_code(p, &c->policy, lookup_auto, lookup_auto);
    else if (strcmp(name, "paper") == 0)
        add_small_for_code(p, &c->policy, lookup_off, lookup_paper);
    else if (strcmp(name, "small") == 0)
        add_rule(p, "small", CONFIG_ANY_INTENT, 0, lookup_auto);
    else if (strcmp(name, "random") == 0)
        add_random(p);
    else if (strcmp(name, "rules") == 0)
        code = add_configured(p, &c->policy, fail);
    if (code != OK) {
        policy_destroy(p);
        *out = NULL;
        return code;
    }
    const char *last = p->is_configured ? "no_rule" : name;
    if (p->n_rules == 0 || !is_unconditional(&p->rules[p->n_rules - 1]))
        add_rule(p, last, CONFIG_ANY_INTENT, p->n_models - 1, lookup_auto);
    return OK;
}

void policy_destroy(policy *p)
{
    free(p);
}

/* ---- what there is to know ------------------------------------------------------------------ */

static bool needs_intent(const config_rule *r)
{
    return r->intents != CONFIG_ANY_INTENT || bound_exists(&r->bounds[CONFIG_ENTROPY]) ||
           bound_exists(&r->bounds[CONFIG_MARGIN]);
}

bool policy_reads_intent(const policy *p)
{
    for (size_t i = 0; i < p->n_rules; i++)
        if (needs_intent(&p->rules[i]))
            return true;
    return false;
}

bool policy_reads_success(const policy *p)
{
    for (size_t i = 0; i < p->n_rules; i++)
        if (bound_exists(&p->rules[i].bounds[CONFIG_SUCCESS]))
            return true;
    return false;
}

size_t policy_header_count(const policy *p)
{
    return p->n_headers;
}

const char *policy_header(const policy *p, size_t index)
{
    return p->headers[index];
}

size_t policy_model_count(const policy *p)
{
    return p->n_models;
}

const char *policy_model(const policy *p, size_t number)
{
    return p->models[number].word;
}

size_t policy_label_count(const policy *p)
{
    return p->n_labels;
}

const char *policy_label(const policy *p, size_t index)
{
    return p->labels[index].name;
}

size_t policy_rule_count(const policy *p)
{
    return p->n_rules;
}

const config_rule *policy_rule(const policy *p, size_t index)
{
    return &p->rules[index];
}

bool policy_follows_limit(const policy *p)
{
    for (size_t i = 0; i < p->n_rules; i++)
        if (p->rules[i].certain != CONFIG_CERTAIN_ANY)
            return true;
    return false;
}

bool policy_follows_success(const policy *p)
{
    for (size_t i = 0; i < p->n_rules; i++)
        if (p->rules[i].likely != CONFIG_LIKELY_ANY)
            return true;
    return false;
}

bool policy_reachable(const policy *p, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (is_unconditional(&p->rules[i]))
            return false;
    return true;
}
