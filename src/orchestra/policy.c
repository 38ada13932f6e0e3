/* policy.c: the built-in tables, deciding by rules, explaining, and which rules are reachable. */
#include "orchestra/policy.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

_Static_assert(CONFIG_MAX_LABELS <= 64, "a rule's intents are bits of 64");
_Static_assert(CONFIG_MAX_LABELS <= PROBE_MAX_LABELS, "every label is classified");
_Static_assert(CONFIG_MAX_DRAFT <= WISH_MAX_DRAFT, "every fixed lookup can be drafted");

#define PAPER_LOOK_AHEAD 2 /* tokens drafted a step in the published system */
#define MAX_HEADERS (CONFIG_MAX_RULES * CONFIG_MAX_HEADERS)

typedef enum truth { NO, YES, UNKNOWN } truth;

struct policy {
    const config_label *labels;
    size_t n_labels;
    size_t small_context;
    const char *headers[MAX_HEADERS]; /* the names that rules look at */
    size_t n_headers;
    bool is_configured; /* the rules are the user's */
    bool is_learned;    /* the intent needs the whole prompt, as success does */
    size_t n_rules;
    config_rule rules[]; /* their texts are the config's or static; the last one holds always */
};

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

/* ---- the built-in tables -------------------------------------------------------------------- */

static const config_lookup lookup_off = {.mode = CONFIG_LOOKUP_OFF};
static const config_lookup lookup_auto = {.mode = CONFIG_LOOKUP_AUTO};
static const config_lookup lookup_paper = {.mode = CONFIG_LOOKUP_FIXED, .length = PAPER_LOOK_AHEAD};

static config_rule *add_rule(policy *p, const char *name, uint64_t intents, config_role role,
                             config_lookup lookup)
{
    config_rule *r = &p->rules[p->n_rules++];
    *r = (config_rule){/* never written through */ .name = (char *)name,
                       .intents = intents,
                       .model = role,
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

/* paper and adaptive choose the same models; they differ in the lookup of code and of the rest. */
static void add_small_for_code(policy *p, const config_policy *c, config_lookup on_code,
                               config_lookup on_rest)
{
    uint64_t code = code_bit(p);
    double limit = (double)c->prompt_limit;
    if ((double)p->small_context < limit)
        limit = (double)p->small_context;
    config_rule *r = add_rule(p, CONFIG_LABEL_CODE, code, ROLE_SMALL, on_code);
    r->bounds[CONFIG_PROMPT_TOKENS].max = limit;
    r->bounds[CONFIG_ENTROPY].max = c->entropy_limit;
    r->certain = CONFIG_CERTAIN;
    if (on_code.mode != on_rest.mode) {
        r = add_rule(p, "long_context", code, ROLE_LARGE, on_code);
        r->bounds[CONFIG_PROMPT_TOKENS].above = limit;
    }
    r = add_rule(p, "long_context", CONFIG_ANY_INTENT, ROLE_LARGE, on_rest);
    r->bounds[CONFIG_PROMPT_TOKENS].above = limit;
    if (on_code.mode != on_rest.mode) {
        r = add_rule(p, "entropy", code, ROLE_LARGE, on_code);
        r->bounds[CONFIG_ENTROPY].above = c->entropy_limit;
        r->certain = CONFIG_UNCERTAIN;
    }
    r = add_rule(p, "entropy", CONFIG_ANY_INTENT, ROLE_LARGE, on_rest);
    r->bounds[CONFIG_ENTROPY].above = c->entropy_limit;
    r->certain = CONFIG_UNCERTAIN;
    for (size_t i = 0; i < p->n_labels; i++)
        if ((code & UINT64_C(1) << i) == 0)
            add_rule(p, p->labels[i].name, UINT64_C(1) << i, ROLE_LARGE, on_rest);
}

static void add_random(policy *p)
{
    add_rule(p, "random", CONFIG_ANY_INTENT, ROLE_SMALL, lookup_auto)->bounds[CONFIG_COIN].max =
        0.5;
    add_rule(p, "random", CONFIG_ANY_INTENT, ROLE_LARGE, lookup_auto)->bounds[CONFIG_COIN].above =
        0.5;
}

static bool is_bounded(const config_bound *b)
{
    return b->above > -INFINITY || b->max < INFINITY;
}

static bool is_unconditional(const config_rule *r)
{
    bool bounded = false;
    for (size_t q = 0; q < CONFIG_QUANTITIES; q++)
        bounded = bounded || is_bounded(&r->bounds[q]);
    return !bounded && r->intents == CONFIG_ANY_INTENT && r->session == CONFIG_SESSION_ANY &&
           r->n_headers == 0;
}

static size_t find_header(const policy *p, const char *name)
{
    size_t i = 0;
    while (i < p->n_headers && strcasecmp(p->headers[i], name) != 0)
        i++;
    return i;
}

static void note_headers(policy *p, const config_rule *r)
{
    for (size_t k = 0; k < r->n_headers; k++) {
        size_t at = find_header(p, r->headers[k].name);
        p->headers[at] = r->headers[k].name;
        p->n_headers += at == p->n_headers;
    }
}

static void put_success(config_rule *r, double limit)
{
    if (r->likely == CONFIG_LIKELY)
        r->bounds[CONFIG_SUCCESS].above = config_number_before(limit);
    else
        r->bounds[CONFIG_SUCCESS].max = config_number_before(limit);
}

/* The success limit in the place of the word. */
static error_code put_likely(config_rule *r, double limit, size_t i, failure *fail)
{
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
static error_code put_limit(config_rule *r, double limit, size_t i, failure *fail)
{
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
        code = put_limit(&p->rules[p->n_rules], c->certain_limit, i, fail);
        if (code == OK)
            code = put_likely(&p->rules[p->n_rules], c->likely_limit, i, fail);
        p->n_rules++;
        note_headers(p, &c->rules[i]);
    }
    return code;
}

error_code policy_create(policy **out, const config *c, size_t small_context, failure *fail)
{
    const char *name = c->policy.name;
    error_code code = OK;
    size_t room =
        c->policy.n_rules + c->probe.n_labels + 6; /* the longest table, and the last rule */
    policy *p = calloc(1, sizeof *p + room * sizeof p->rules[0]);
    *out = p;
    if (p == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the policy");
    p->labels = c->probe.labels;
    p->n_labels = c->probe.n_labels;
    p->small_context = small_context;
    p->is_learned = c->probe.kind == CONFIG_PROBE_LEARNED;
    if (strcmp(name, "adaptive") == 0)
        add_small_for_code(p, &c->policy, lookup_auto, lookup_auto);
    else if (strcmp(name, "paper") == 0)
        add_small_for_code(p, &c->policy, lookup_off, lookup_paper);
    else if (strcmp(name, "small") == 0)
        add_rule(p, "small", CONFIG_ANY_INTENT, ROLE_SMALL, lookup_auto);
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
        add_rule(p, last, CONFIG_ANY_INTENT, ROLE_LARGE, lookup_auto);
    return OK;
}

void policy_destroy(policy *p)
{
    free(p);
}

/* ---- what there is to know ------------------------------------------------------------------ */

static bool needs_intent(const config_rule *r)
{
    return r->intents != CONFIG_ANY_INTENT || is_bounded(&r->bounds[CONFIG_ENTROPY]) ||
           is_bounded(&r->bounds[CONFIG_MARGIN]);
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
        if (is_bounded(&p->rules[i].bounds[CONFIG_SUCCESS]))
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

/* ---- evaluation --------------------------------------------------------------------------- */

/* NAN: not known. */
static double value_of(config_quantity q, const policy_facts *f)
{
    switch (q) {
    case CONFIG_ENTROPY:
        return f->intent != NULL ? f->intent->entropy : NAN;
    case CONFIG_MARGIN:
        return f->intent != NULL ? f->intent->margin : NAN;
    case CONFIG_SUCCESS:
        return f->success != NULL ? *f->success : NAN;
    case CONFIG_PROMPT_TOKENS:
        return (double)f->prompt_tokens;
    case CONFIG_TURN:
        return (double)f->turn;
    case CONFIG_SMALL_RUNNING:
        return f->load[ROLE_SMALL].running;
    case CONFIG_SMALL_WAITING:
        return f->load[ROLE_SMALL].waiting;
    case CONFIG_LARGE_RUNNING:
        return f->load[ROLE_LARGE].running;
    case CONFIG_LARGE_WAITING:
        return f->load[ROLE_LARGE].waiting;
    default:
        return f->coin;
    }
}

/* The calibration's limit may have moved since the table was made. */
static config_bound bound_of(const config_rule *r, config_quantity q, const policy_facts *f)
{
    config_bound b = r->bounds[q];
    if (q == CONFIG_ENTROPY && f->entropy_limit != NULL && r->certain == CONFIG_CERTAIN)
        b.max = *f->entropy_limit;
    if (q == CONFIG_ENTROPY && f->entropy_limit != NULL && r->certain == CONFIG_UNCERTAIN)
        b.above = *f->entropy_limit;
    if (q == CONFIG_SUCCESS && f->success_limit != NULL && r->likely == CONFIG_LIKELY)
        b.above = config_number_before(*f->success_limit);
    if (q == CONFIG_SUCCESS && f->success_limit != NULL && r->likely == CONFIG_UNLIKELY)
        b.max = config_number_before(*f->success_limit);
    return b;
}

static bool request_fits(const policy *p, const config_rule *r, const policy_facts *f)
{
    if (r->session != CONFIG_SESSION_ANY && f->has_session != (r->session == CONFIG_SESSION_NAMED))
        return false;
    for (size_t k = 0; k < r->n_headers; k++) {
        const char *sent =
            f->headers != NULL ? f->headers[find_header(p, r->headers[k].name)] : NULL;
        if (sent == NULL || (r->headers[k].value != NULL && strcmp(sent, r->headers[k].value) != 0))
            return false;
    }
    return true;
}

/* One condition that fails is enough to say no, whatever else is unknown. */
static truth rule_holds(const policy *p, const config_rule *r, const policy_facts *f)
{
    truth result = YES;
    if (!request_fits(p, r, f))
        return NO;
    for (config_quantity q = 0; q < CONFIG_QUANTITIES; q++) {
        const config_bound b = bound_of(r, q, f);
        double value = value_of(q, f);
        if (!is_bounded(&b))
            continue;
        if (isnan(value))
            result = UNKNOWN;
        else if (value <= b.above || value > b.max)
            return NO;
    }
    if (r->intents == CONFIG_ANY_INTENT)
        return result;
    if (f->intent == NULL)
        return UNKNOWN;
    return (r->intents >> f->intent->best & 1) != 0 ? result : NO;
}

/* ---- the reason ----------------------------------------------------------------------------- */

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

/* So many decimals that two close numbers do not read as equal. */
static int decimals_apart(int decimals, double value, double near)
{
    while (decimals > 0 && decimals < 9 && value != near &&
           fabs(value - near) < 0.5 * pow(10.0, -decimals))
        decimals++;
    return decimals;
}

/* In the words of its keys. */
static void say_success(char reason[PLAN_REASON_SIZE], const config_bound *b, double value)
{
    double least = config_number_after(b->above), below = config_number_after(b->max);
    int d = decimals_apart(2, value, b->above > -INFINITY ? least : below);
    if (b->above > -INFINITY)
        say(reason, "success %.*f ≥ %.*f", d, value, d, least);
    if (b->max < INFINITY)
        say(reason, "success %.*f < %.*f", d, value, d, below);
}

static void say_bound(char reason[PLAN_REASON_SIZE], config_quantity q, const config_bound *b,
                      double value)
{
    static const struct {
        const char *before, *between, *after;
        int decimals;
    } words[CONFIG_QUANTITIES] = {
        [CONFIG_ENTROPY] = {"entropy ", "", " nats", 2},
        [CONFIG_MARGIN] = {"margin ", "", "", 2},
        [CONFIG_PROMPT_TOKENS] = {"", " prompt tokens", "", 0},
        [CONFIG_TURN] = {"turn ", "", "", 0},
        [CONFIG_COIN] = {"coin ", "", "", 2},
        [CONFIG_SMALL_RUNNING] = {"small model: ", " running", "", 0},
        [CONFIG_SMALL_WAITING] = {"small model: ", " waiting", "", 0},
        [CONFIG_LARGE_RUNNING] = {"large model: ", " running", "", 0},
        [CONFIG_LARGE_WAITING] = {"large model: ", " waiting", "", 0},
    };
    int d = decimals_apart(words[q].decimals, value, b->above > -INFINITY ? b->above : b->max);
    if (b->above > -INFINITY)
        say(reason, "%s%.*f%s > %.*f%s", words[q].before, d, value, words[q].between, d, b->above,
            words[q].after);
    if (b->max < INFINITY)
        say(reason, "%s%.*f%s ≤ %.*f%s", words[q].before, d, value, words[q].between, d, b->max,
            words[q].after);
}

static void explain(const config_rule *r, bool is_first, const policy_facts *f, plan *out)
{
    out->reason[0] = '\0';
    if (r->intents != CONFIG_ANY_INTENT)
        say(out->reason, "intent %s", f->intent->labels[f->intent->best]);
    for (config_quantity q = 0; q < CONFIG_QUANTITIES; q++) {
        const config_bound b = bound_of(r, q, f);
        if (is_bounded(&b))
            (q == CONFIG_SUCCESS ? say_success(out->reason, &b, *f->success)
                                 : say_bound(out->reason, q, &b, value_of(q, f)));
    }
    if (r->session != CONFIG_SESSION_ANY)
        say(out->reason,
            r->session == CONFIG_SESSION_NAMED ? "a session is named" : "no session is named");
    for (size_t k = 0; k < r->n_headers; k++)
        say(out->reason, r->headers[k].value != NULL ? "header %s: %s" : "header %s",
            r->headers[k].name, r->headers[k].value);
    if (out->reason[0] == '\0')
        say(out->reason, is_first ? "policy %s takes every request" : "no earlier rule held (%s)",
            r->name);
}

/* ---- the plan ----------------------------------------------------------------------------- */

/* What a rule falls back from, by the conditions it has itself. */
static fallback fallback_of(const config_rule *r)
{
    for (size_t q = CONFIG_SMALL_RUNNING; q <= CONFIG_LARGE_WAITING; q++)
        if (is_bounded(&r->bounds[q]))
            return FALLBACK_LOAD;
    if (r->model == ROLE_SMALL)
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

static void take_rule(const policy *p, size_t number, uint32_t prior, plan *out)
{
    const config_rule *r = &p->rules[number];
    out->role = r->model;
    out->lookup = policy_lookup(&r->lookup, prior);
    out->rule = r->name;
    out->number = number;
    out->fallback = fallback_of(r);
    out->sampling = r->sampling.set != 0 ? &r->sampling : NULL;
    out->max_tokens = r->max_tokens;
}

/* The large model without a rule that says so. */
static void take_large(const char *why, fallback kind, const policy_facts *f, plan *out)
{
    out->role = ROLE_LARGE;
    out->lookup = policy_lookup(&lookup_auto, prior_of(f->intent));
    out->rule = why;
    out->number = PLAN_NO_RULE;
    out->fallback = kind;
    out->sampling = NULL;
    out->max_tokens = 0;
}

static void fall_back_on_probe(const policy_facts *f, plan *out)
{
    bool is_late = f->probe_failure->code == ERR_TIMEOUT;
    take_large(is_late ? "probe_timeout" : "probe_error",
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
    static const char *const roles[] = {[ROLE_SMALL] = "small", [ROLE_LARGE] = "large"};
    size_t number = f->kept->rule;
    if (is_table_rule(p, number))
        take_rule(p, number, f->kept->prior, out);
    else
        take_large("session", FALLBACK_NONE, f, out);
    snprintf(out->reason, sizeof out->reason, "the conversation stays with the %s model (%s)",
             roles[out->role], is_table_rule(p, number) ? p->rules[number].name : "long_context");
    out->rule = "session";
    out->is_kept = true;
    out->fallback = FALLBACK_NONE;
}

static bool stays_large(const policy *p, const policy_facts *f)
{
    return f->kept != NULL &&
           (!is_table_rule(p, f->kept->rule) || p->rules[f->kept->rule].model == ROLE_LARGE);
}

static bool decide_by_rules(const policy *p, const policy_facts *f, plan *out)
{
    for (size_t i = 0; i < p->n_rules; i++) {
        truth holds = rule_holds(p, &p->rules[i], f);
        if (holds == UNKNOWN)
            return false;
        if (holds == NO)
            continue;
        take_rule(p, i, prior_of(f->intent), out);
        explain(&p->rules[i], i == 0, f, out);
        return true;
    }
    return false; /* not reached: the last rule holds always */
}

static void go_large(const policy *p, const policy_facts *f, plan *out)
{
    take_large("long_context", FALLBACK_LONG_CONTEXT, f, out);
    out->is_kept = false;
    snprintf(out->reason, sizeof out->reason,
             "%zu prompt tokens do not fit the small model's context of %zu", f->prompt_tokens,
             p->small_context);
}

bool policy_decide(const policy *p, const policy_facts *f, plan *out)
{
    plan result = {.prompt_tokens = f->prompt_tokens,
                   .success = f->success != NULL ? *f->success : NAN};
    bool fits = f->prompt_tokens < p->small_context;
    if (stays_large(p, f))
        keep(p, f, &result);
    else if (f->probe_failure != NULL)
        fall_back_on_probe(f, &result);
    else if (!decide_by_rules(p, f, &result)) {
        if (fits || !(p->is_learned || policy_reads_success(p)))
            return false;
        go_large(p, f, &result); /* there are no states to ask about */
    } else if (f->kept != NULL && result.role == ROLE_SMALL && result.number != f->kept->rule)
        keep(p, f, &result);
    if (result.role == ROLE_SMALL && !fits)
        go_large(p, f, &result);
    *out = result;
    return true;
}

/* ---- what a fallback changed ----------------------------------------------------------------- */

static bool bound_holds(const config_rule *r, config_quantity q, const policy_facts *f)
{
    double value = value_of(q, f);
    return value > r->bounds[q].above && value <= r->bounds[q].max;
}

/* The rule that what was asked would have found, were it certain, short, and nobody else there. */
static const config_rule *rule_by_intent(const policy *p, const policy_facts *f)
{
    for (size_t i = 0; i < p->n_rules; i++) {
        const config_rule *r = &p->rules[i];
        bool asks_for = (r->intents == CONFIG_ANY_INTENT || (r->intents >> f->intent->best & 1)) &&
                        bound_holds(r, CONFIG_TURN, f) && bound_holds(r, CONFIG_COIN, f);
        if (fallback_of(r) == FALLBACK_NONE && asks_for && request_fits(p, r, f))
            return r;
    }
    return NULL;
}

bool policy_fallback_matters(const policy *p, const policy_facts *f, const plan *made)
{
    if (made->fallback == FALLBACK_NONE || made->fallback == FALLBACK_PINNED)
        return false;
    const config_rule *r = f->intent != NULL ? rule_by_intent(p, f) : NULL;
    return r == NULL || r->model != made->role ||
           policy_lookup(&r->lookup, 0).mode != made->lookup.mode ||
           r->lookup.length != made->lookup.length;
}

/* ---- rules that nothing reaches ------------------------------------------------------------- */

/* A set of requests: what one rule takes, or what is left of it. Headers are left out: a rule that
 * looks at one is not counted on to take anything from a later rule. */
typedef struct region {
    uint64_t intents;
    unsigned sessions; /* bit 0: unnamed, bit 1: named */
    config_bound bounds[CONFIG_QUANTITIES];
} region;

static region region_of(const policy *p, const config_rule *r)
{
    uint64_t all = p->n_labels < 64 ? (UINT64_C(1) << p->n_labels) - 1 : UINT64_MAX;
    region g = {.intents = r->intents & all,
                .sessions = r->session == CONFIG_SESSION_ANY
                                ? 3u
                                : 1u + (r->session == CONFIG_SESSION_NAMED)};
    memcpy(g.bounds, r->bounds, sizeof g.bounds);
    return g;
}

/* Takes away what no request can be. */
static void clip(const policy *p, region *g)
{
    const double most[CONFIG_QUANTITIES] = {[CONFIG_ENTROPY] = log((double)p->n_labels) + 1e-9,
                                            [CONFIG_MARGIN] = 1,
                                            [CONFIG_SUCCESS] = 1,
                                            [CONFIG_PROMPT_TOKENS] = INFINITY,
                                            [CONFIG_TURN] = INFINITY,
                                            [CONFIG_COIN] = 1,
                                            [CONFIG_SMALL_RUNNING] = INFINITY,
                                            [CONFIG_SMALL_WAITING] = INFINITY,
                                            [CONFIG_LARGE_RUNNING] = INFINITY,
                                            [CONFIG_LARGE_WAITING] = INFINITY};
    for (size_t q = 0; q < CONFIG_QUANTITIES; q++) {
        config_bound *b = &g->bounds[q];
        b->max = fmin(b->max, most[q]);
        b->above = b->above < 0 ? -INFINITY : b->above;
    }
}

static bool is_empty(const region *g)
{
    bool empty = g->intents == 0 || g->sessions == 0;
    for (size_t q = 0; q < CONFIG_QUANTITIES; q++)
        empty = empty || g->bounds[q].above >= g->bounds[q].max;
    return empty;
}

static bool is_covered(const policy *p, const region *g, size_t from, size_t to, size_t *effort);

/* Goes on with what the rule `at` leaves of the region: cut along one condition after another, a
 * piece at a time. */
static bool is_rest_covered(const policy *p, region left, size_t at, size_t to, size_t *effort)
{
    region taken = region_of(p, &p->rules[at]);
    region piece = left;
    piece.intents = left.intents & ~taken.intents;
    if (!is_covered(p, &piece, at + 1, to, effort))
        return false;
    left.intents &= taken.intents;
    piece = left;
    piece.sessions = left.sessions & ~taken.sessions;
    if (!is_covered(p, &piece, at + 1, to, effort))
        return false;
    left.sessions &= taken.sessions;
    for (size_t q = 0; q < CONFIG_QUANTITIES; q++) {
        config_bound *b = &left.bounds[q];
        const config_bound *t = &taken.bounds[q];
        piece = left;
        piece.bounds[q].max = fmin(b->max, t->above);
        if (!is_covered(p, &piece, at + 1, to, effort))
            return false;
        piece = left;
        piece.bounds[q].above = fmax(b->above, t->max);
        if (!is_covered(p, &piece, at + 1, to, effort))
            return false;
        b->above = fmax(b->above, t->above);
        b->max = fmin(b->max, t->max);
    }
    return true;
}

static bool is_covered(const policy *p, const region *g, size_t from, size_t to, size_t *effort)
{
    if (is_empty(g))
        return true;
    while (from < to && p->rules[from].n_headers > 0)
        from++;
    if (from == to || *effort == 0)
        return false;
    --*effort;
    return is_rest_covered(p, *g, from, to, effort);
}

bool policy_reachable(const policy *p, size_t index)
{
    size_t effort =
        100000; /* pieces; a hostile table would make more of them than anybody waits for */
    region g = region_of(p, &p->rules[index]);
    clip(p, &g);
    return !is_covered(p, &g, 0, index, &effort);
}
