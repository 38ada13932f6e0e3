#include "orchestra/policy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(CONFIG_MAX_LABELS <= 64, "a rule's intents are bits of 64");
_Static_assert(CONFIG_MAX_LABELS <= SEQUENCE_MAX_LABELS, "every label is classified");
_Static_assert(CONFIG_MAX_DRAFT <= LOOKUP_MAX_DRAFT, "every fixed lookup can be drafted");

#define ANY_INTENT UINT64_MAX
#define PAPER_LOOK_AHEAD 2 /* tokens drafted a step in the published system */

typedef enum truth { NO, YES, UNKNOWN } truth;

/* What a rule may bound, besides the intent. */
typedef enum quantity { ENTROPY, MARGIN, PROMPT_TOKENS, COIN, N_QUANTITIES } quantity;

typedef struct bound {
    double above, max; /* holds when above < value ≤ max */
} bound;

typedef struct rule {
    const char *name;
    uint64_t intents; /* bit i: label i */
    bound bounds[N_QUANTITIES];
    config_role role;
    config_lookup lookup;
} rule;

struct policy {
    const config_label *labels;
    size_t n_labels;
    size_t n_rules;
    rule rules[]; /* the last one holds always */
};

/* ---- the built-in tables -------------------------------------------------------------------- */

static const config_lookup lookup_off = {.mode = CONFIG_LOOKUP_OFF};
static const config_lookup lookup_auto = {.mode = CONFIG_LOOKUP_AUTO};
static const config_lookup lookup_paper = {.mode = CONFIG_LOOKUP_FIXED, .length = PAPER_LOOK_AHEAD};

static rule *add_rule(policy *p, const char *name, uint64_t intents, config_role role,
                      config_lookup lookup)
{
    rule *r = &p->rules[p->n_rules++];
    *r = (rule){.name = name, .intents = intents, .role = role, .lookup = lookup};
    for (size_t q = 0; q < N_QUANTITIES; q++)
        r->bounds[q] = (bound){.above = -INFINITY, .max = INFINITY};
    return r;
}

static uint64_t code_bit(const policy *p)
{
    for (size_t i = 0; i < p->n_labels; i++)
        if (strcmp(p->labels[i].name, CONFIG_LABEL_CODE) == 0)
            return UINT64_C(1) << i;
    return 0;
}

/* paper and adaptive choose the same models; they differ in the lookup of code and of the rest. */
static void add_small_for_code(policy *p, const config_policy *c, size_t small_context,
                               config_lookup on_code, config_lookup on_rest)
{
    uint64_t code = code_bit(p);
    double limit = (double)c->prompt_limit;
    if ((double)small_context < limit)
        limit = (double)small_context;
    rule *r = add_rule(p, CONFIG_LABEL_CODE, code, ROLE_SMALL, on_code);
    r->bounds[PROMPT_TOKENS].max = limit;
    r->bounds[ENTROPY].max = c->entropy_limit;
    if (on_code.mode != on_rest.mode) {
        r = add_rule(p, "long_context", code, ROLE_LARGE, on_code);
        r->bounds[PROMPT_TOKENS].above = limit;
    }
    r = add_rule(p, "long_context", ANY_INTENT, ROLE_LARGE, on_rest);
    r->bounds[PROMPT_TOKENS].above = limit;
    if (on_code.mode != on_rest.mode) {
        r = add_rule(p, "entropy", code, ROLE_LARGE, on_code);
        r->bounds[ENTROPY].above = c->entropy_limit;
    }
    r = add_rule(p, "entropy", ANY_INTENT, ROLE_LARGE, on_rest);
    r->bounds[ENTROPY].above = c->entropy_limit;
    for (size_t i = 0; i < p->n_labels; i++)
        if ((code & UINT64_C(1) << i) == 0)
            add_rule(p, p->labels[i].name, UINT64_C(1) << i, ROLE_LARGE, on_rest);
}

static void add_configured(policy *p, const config_policy *c)
{
    for (size_t i = 0; i < c->n_rules; i++) {
        const config_rule *from = &c->rules[i];
        uint64_t intents = ANY_INTENT;
        for (size_t k = 0; from->intent != NULL && k < p->n_labels; k++)
            if (strcmp(p->labels[k].name, from->intent) == 0)
                intents = UINT64_C(1) << k;
        rule *r = add_rule(p, from->name, intents, from->model, from->lookup);
        r->bounds[ENTROPY] = (bound){from->above_entropy, from->max_entropy};
        r->bounds[MARGIN] = (bound){from->above_margin, from->max_margin};
        if (from->above_prompt_tokens > 0)
            r->bounds[PROMPT_TOKENS].above = from->above_prompt_tokens;
        if (from->max_prompt_tokens < UINT32_MAX)
            r->bounds[PROMPT_TOKENS].max = from->max_prompt_tokens;
    }
}

error_code policy_create(policy **out, const config *c, size_t small_context, failure *fail)
{
    const char *name = c->policy.name;
    size_t room =
        c->policy.n_rules + c->probe.n_labels + 6; /* the longest table, and the last rule */
    policy *p = calloc(1, sizeof *p + room * sizeof p->rules[0]);
    *out = p;
    if (p == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the policy");
    p->labels = c->probe.labels;
    p->n_labels = c->probe.n_labels;
    if (strcmp(name, "adaptive") == 0)
        add_small_for_code(p, &c->policy, small_context, lookup_auto, lookup_auto);
    else if (strcmp(name, "paper") == 0)
        add_small_for_code(p, &c->policy, small_context, lookup_off, lookup_paper);
    else if (strcmp(name, "small") == 0)
        add_rule(p, "small", ANY_INTENT, ROLE_SMALL, lookup_auto);
    else if (strcmp(name, "random") == 0) {
        add_rule(p, "random", ANY_INTENT, ROLE_SMALL, lookup_auto)->bounds[COIN].max = 0.5;
        add_rule(p, "random", ANY_INTENT, ROLE_LARGE, lookup_auto)->bounds[COIN].above = 0.5;
    } else if (strcmp(name, "rules") == 0)
        add_configured(p, &c->policy);
    const char *last = strcmp(name, "rules") == 0 ? "no_rule" : name;
    add_rule(p, last, ANY_INTENT, ROLE_LARGE, lookup_auto);
    return OK;
}

void policy_destroy(policy *p)
{
    free(p);
}

/* ---- evaluation --------------------------------------------------------------------------- */

static bool is_bounded(const bound *b)
{
    return b->above > -INFINITY || b->max < INFINITY;
}

static bool needs_intent(const rule *r)
{
    return r->intents != ANY_INTENT || is_bounded(&r->bounds[ENTROPY]) ||
           is_bounded(&r->bounds[MARGIN]);
}

bool policy_reads_intent(const policy *p)
{
    for (size_t i = 0; i < p->n_rules; i++)
        if (needs_intent(&p->rules[i]))
            return true;
    return false;
}

/* NAN: not known. */
static double value_of(quantity q, const policy_facts *f)
{
    switch (q) {
    case ENTROPY:
        return f->intent != NULL ? f->intent->entropy : NAN;
    case MARGIN:
        return f->intent != NULL ? f->intent->margin : NAN;
    case PROMPT_TOKENS:
        return (double)f->prompt_tokens;
    default:
        return f->coin;
    }
}

/* One condition that fails is enough to say no, whatever else is unknown. */
static truth rule_holds(const rule *r, const policy_facts *f)
{
    truth result = YES;
    for (quantity q = 0; q < N_QUANTITIES; q++) {
        const bound *b = &r->bounds[q];
        double value = value_of(q, f);
        if (!is_bounded(b))
            continue;
        if (isnan(value))
            result = UNKNOWN;
        else if (value <= b->above || value > b->max)
            return NO;
    }
    if (r->intents == ANY_INTENT)
        return result;
    if (f->intent == NULL)
        return UNKNOWN;
    return (r->intents >> f->intent->best & 1) != 0 ? result : NO;
}

/* ---- the plan ----------------------------------------------------------------------------- */

static void say(char reason[PLAN_REASON_SIZE], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(char reason[PLAN_REASON_SIZE], const char *format, ...)
{
    size_t used = strlen(reason);
    if (used > 0 && used + 2 < PLAN_REASON_SIZE) {
        strcpy(reason + used, ", ");
        used += 2;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(reason + used, PLAN_REASON_SIZE - used, format, args);
    va_end(args);
}

static void say_bound(char reason[PLAN_REASON_SIZE], quantity q, const bound *b, double value)
{
    static const struct {
        const char *before, *between, *after;
        int decimals;
    } words[N_QUANTITIES] = {
        [ENTROPY] = {"entropy ", "", " nats", 2},
        [MARGIN] = {"margin ", "", "", 2},
        [PROMPT_TOKENS] = {"", " prompt tokens", "", 0},
        [COIN] = {"coin ", "", "", 2},
    };
    int d = words[q].decimals;
    /* Two close numbers must not read as equal: more digits until they differ. */
    double near = b->above > -INFINITY ? b->above : b->max;
    while (d > 0 && d < 9 && value != near && fabs(value - near) < 0.5 * pow(10.0, -d))
        d++;
    if (b->above > -INFINITY)
        say(reason, "%s%.*f%s > %.*f%s", words[q].before, d, value, words[q].between, d, b->above,
            words[q].after);
    if (b->max < INFINITY)
        say(reason, "%s%.*f%s ≤ %.*f%s", words[q].before, d, value, words[q].between, d, b->max,
            words[q].after);
}

static void explain(const rule *r, bool is_first, const policy_facts *f, plan *out)
{
    out->reason[0] = '\0';
    if (r->intents != ANY_INTENT)
        say(out->reason, "intent %s", f->intent->labels[f->intent->best]);
    for (quantity q = 0; q < N_QUANTITIES; q++)
        if (is_bounded(&r->bounds[q]))
            say_bound(out->reason, q, &r->bounds[q], value_of(q, f));
    if (out->reason[0] == '\0')
        say(out->reason, is_first ? "policy %s takes every request" : "no earlier rule held (%s)",
            r->name);
}

/* The acceptance estimate of an intent; the last class is for what no intent is known of. */
static uint32_t prior_of(const intent *known)
{
    size_t last = LOOKUP_CLASSES - 1;
    return (uint32_t)(known != NULL && known->best < last ? known->best : last);
}

static lookup_setting lookup_of(const config_lookup *l, const intent *known)
{
    static const lookup_mode modes[] = {[CONFIG_LOOKUP_OFF] = LOOKUP_OFF,
                                        [CONFIG_LOOKUP_AUTO] = LOOKUP_AUTO,
                                        [CONFIG_LOOKUP_FIXED] = LOOKUP_FIXED};
    return (lookup_setting){.mode = modes[l->mode], .length = l->length, .prior = prior_of(known)};
}

bool policy_decide(const policy *p, const policy_facts *facts, plan *out)
{
    for (size_t i = 0; i < p->n_rules; i++) {
        const rule *r = &p->rules[i];
        truth holds = rule_holds(r, facts);
        if (holds == UNKNOWN)
            return false;
        if (holds == NO)
            continue;
        out->role = r->role;
        out->lookup = lookup_of(&r->lookup, facts->intent);
        out->rule = r->name;
        out->prompt_tokens = facts->prompt_tokens;
        explain(r, i == 0, facts, out);
        return true;
    }
    return false; /* not reached: the last rule holds always */
}

void policy_probe_error(const failure *why, size_t prompt_tokens, plan *out)
{
    out->role = ROLE_LARGE;
    out->lookup = lookup_of(&lookup_auto, NULL);
    out->rule = "probe_error";
    out->prompt_tokens = prompt_tokens;
    snprintf(out->reason, sizeof out->reason, "the probe failed: %.120s", why->text);
}
