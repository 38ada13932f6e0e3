/* tune.c: groups of items by label, the best choice of each, written as rules. */
#include "evidence/tune.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "evidence/arm.h"
#include "evidence/interval.h"

/* What may answer: the models in their order, each with lookup auto and then off. Ties are decided
 * in this order: what reads less comes first. */
#define MAX_CANDIDATES ((size_t)2 * CONFIG_MAX_MODELS)
#define MAX_GROUPS 128
static const char LONG[] = "long"; /* names the rule for prompts beyond the first model */

typedef struct tally {
    double n, right, tokens, ms;
    double both, only_best,
        only_this; /* beside the best: answered by both; right here, not there */
} tally;

typedef struct group {
    const char *label;
    bool is_long; /* too long for the first model */
    double n;
    tally by[MAX_CANDIDATES];
} group;

typedef struct evidence {
    const config *config;
    size_t n_candidates;
    json_t *answers[MAX_CANDIDATES]; /* scenario/id → item */
    json_t *labels;                  /* scenario/id → label that the probe gave */
    json_t *asked;                   /* all keys */
    json_t *is_long;                 /* scenario/id of prompts that the first model refused */
    double longest;                  /* tokens of a prompt that the first model took */
    group groups[MAX_GROUPS];
    size_t n_groups;
} evidence;

static size_t level_of(size_t candidate)
{
    return candidate / 2;
}

static const char *lookup_of(size_t candidate)
{
    return candidate % 2 == 0 ? "auto" : "off";
}

/* SIZE_MAX: it is no model alone. */
static size_t find_candidate(const evidence *e, const char *policy)
{
    arm_made store;
    size_t level;
    const arm *a = arm_take(&store, policy, e->config);
    if (a == NULL || a->way != ARM_PINNED || !config_find_model(e->config, a->model, &level))
        return SIZE_MAX;
    return 2 * level + (strcmp(a->lookup, "off") == 0);
}

/* ---- reading ------------------------------------------------------------------------------ */

static double number_at(const json_t *item, const char *key)
{
    return json_number_value(json_object_get(item, key));
}

static bool is_answered(const json_t *item)
{
    return json_is_null(json_object_get(item, "error"));
}

/* A server has no other reason for 400: what a replay sends is well-formed. */
static bool was_too_long(const json_t *item)
{
    static const char refused[] = "HTTP 400";
    const char *error = json_string_value(json_object_get(item, "error"));
    return error != NULL && (strcmp(error, error_code_text(ERR_CONTEXT)) == 0 ||
                             strncmp(error, refused, strlen(refused)) == 0);
}

static void note_item(evidence *e, size_t candidate, const char *key, json_t *item)
{
    json_t *label = json_object_get(item, "label");
    if (json_is_string(label))
        json_object_set(e->labels, key, label);
    if (candidate == SIZE_MAX)
        return;
    json_object_set(e->answers[candidate], key, item);
    json_object_set_new(e->asked, key, json_true());
    if (level_of(candidate) > 0)
        return;
    if (was_too_long(item))
        json_object_set_new(e->is_long, key, json_true());
    else if (is_answered(item))
        e->longest = fmax(e->longest, number_at(item, "prompt_tokens"));
}

static void read_runs(evidence *e, const json_t *runs)
{
    for (size_t i = 0; i < json_array_size(runs); i++) {
        const json_t *r = json_array_get(runs, i);
        const char *scenario = json_string_value(json_object_get(r, "scenario"));
        const char *policy = json_string_value(json_object_get(r, "policy"));
        json_t *item;
        size_t k;
        if (scenario == NULL || policy == NULL)
            continue;
        size_t candidate = find_candidate(e, policy);
        json_array_foreach(json_object_get(r, "items"), k, item)
        {
            char key[512];
            const char *id = json_string_value(json_object_get(item, "id"));
            snprintf(key, sizeof key, "%s/%s", scenario, id != NULL ? id : "");
            note_item(e, candidate, key, item);
        }
    }
}

/* ---- counting ----------------------------------------------------------------------------- */

static group *find_group(evidence *e, const char *label, bool is_long)
{
    for (size_t i = 0; i < e->n_groups; i++)
        if (e->groups[i].is_long == is_long && strcmp(e->groups[i].label, label) == 0)
            return &e->groups[i];
    if (e->n_groups == MAX_GROUPS)
        return NULL;
    e->groups[e->n_groups] = (group){.label = label, .is_long = is_long};
    return &e->groups[e->n_groups++];
}

static void count(tally *t, const json_t *item)
{
    const json_t *right = json_object_get(item, "right");
    if (!json_is_boolean(right))
        return;
    t->n++;
    t->right += json_is_true(right);
    t->tokens += number_at(item, "tokens");
    t->ms += json_number_value(json_object_get(json_object_get(item, "ms"), "latency"));
}

/* Prompts that are too long for the first model are one group: nothing is gained by probing them.
 */
static const char *label_of(const evidence *e, const char *key)
{
    if (json_object_get(e->is_long, key) != NULL)
        return LONG;
    return json_string_value(json_object_get(e->labels, key));
}

static void count_all(evidence *e)
{
    const char *key;
    json_t *asked;
    json_object_foreach(e->asked, key, asked)
    {
        const char *label = label_of(e, key);
        group *g = label != NULL ? find_group(e, label, label == LONG) : NULL;
        for (size_t i = 0; g != NULL && i < e->n_candidates; i++) {
            const json_t *item = json_object_get(e->answers[i], key);
            bool can = item != NULL && !(g->is_long && level_of(i) == 0);
            if (can)
                count(&g->by[i], item);
        }
    }
    for (size_t i = 0; i < e->n_groups; i++)
        for (size_t k = 0; k < e->n_candidates; k++)
            e->groups[i].n = fmax(e->groups[i].n, e->groups[i].by[k].n);
}

/* ---- choosing ----------------------------------------------------------------------------- */

static double accuracy(const tally *t)
{
    return t->n > 0 ? 100 * t->right / t->n : -1;
}

static double speed(const tally *t)
{
    return t->ms > 0 ? 1e3 * t->tokens / t->ms : 0;
}

static size_t find_best(const evidence *e, const group *g)
{
    size_t best = 0;
    for (size_t i = 1; i < e->n_candidates; i++)
        if (accuracy(&g->by[i]) > accuracy(&g->by[best]))
            best = i;
    return best;
}

static size_t choose(const evidence *e, const group *g, double tolerance)
{
    size_t best = find_best(e, g), chosen = best;
    double floor = accuracy(&g->by[best]) - tolerance;
    for (size_t i = 0; i < e->n_candidates; i++)
        if (g->by[i].n > 0 && accuracy(&g->by[i]) >= floor - 1e-9 &&
            speed(&g->by[i]) > speed(&g->by[chosen]))
            chosen = i;
    return chosen;
}

/* Paired: how the chosen one differs from the most accurate one on the same requests. */
static void compare(const evidence *e, group *g, size_t chosen, size_t best)
{
    const char *key;
    json_t *asked;
    tally *t = &g->by[chosen];
    json_object_foreach(e->asked, key, asked)
    {
        const json_t *a = json_object_get(e->answers[chosen], key);
        const json_t *b = json_object_get(e->answers[best], key);
        const char *label = label_of(e, key);
        if (a == NULL || b == NULL || label == NULL || (label == LONG) != g->is_long ||
            strcmp(label, g->label) != 0)
            continue;
        const json_t *here = json_object_get(a, "right"), *there = json_object_get(b, "right");
        if (!json_is_boolean(here) || !json_is_boolean(there)) /* nobody graded it */
            continue;
        t->both++;
        t->only_this += json_is_true(here) && !json_is_true(there);
        t->only_best += json_is_true(there) && !json_is_true(here);
    }
}

/* ---- writing ------------------------------------------------------------------------------ */

/* Of the column of models. */
static int name_width(const evidence *e)
{
    size_t width = 0;
    for (size_t i = 0; i < e->config->n_models; i++) {
        size_t length = strlen(config_role(e->config, i));
        width = length > width ? length : width;
    }
    return (int)width;
}

static void write_evidence(buffer *out, const evidence *e, const group *g, size_t chosen,
                           size_t best)
{
    int width = name_width(e);
    for (size_t i = 0; i < e->n_candidates; i++) {
        const tally *t = &g->by[i];
        double low, high;
        if (t->n == 0)
            continue;
        interval_of_share(t->right, t->n, &low, &high);
        buffer_add_format(out,
                          "    #   %-*s lookup %-4s %5.0f requests, %6.2f %% right (%.2f … %.2f), "
                          "%.0f tokens/s%s\n",
                          width, config_role(e->config, level_of(i)), lookup_of(i), t->n,
                          accuracy(t), low, high, speed(t), i == chosen ? "  <- chosen" : "");
    }
    const tally *t = &g->by[chosen];
    if (chosen == best || t->both == 0)
        return;
    double d = (t->only_this - t->only_best) / t->both;
    double spread = 1.96 * sqrt(fmax(0, (t->only_this + t->only_best) / t->both - d * d) / t->both);
    buffer_add_format(out, "    #   paired with the most accurate: %+.2f points (%+.2f … %+.2f)\n",
                      100 * d, 100 * (d - spread), 100 * (d + spread));
}

static void write_rule(buffer *out, const evidence *e, const group *g, size_t chosen)
{
    buffer_add_format(out, "    - name: %s\n", g->label);
    if (!g->is_long)
        buffer_add_format(out, "      intent: %s\n", g->label);
    if (g->is_long)
        buffer_add_format(out, "      above_prompt_tokens: %.0f\n", e->longest);
    else if (level_of(chosen) == 0 && json_object_size(e->is_long) > 0)
        buffer_add_format(out, "      max_prompt_tokens: %.0f\n", e->longest);
    const char *quote = e->config->n_models > 2 ? "\"" : ""; /* a name may begin with @ */
    buffer_add_format(out, "      model: %s%s%s\n      lookup: %s\n", quote,
                      config_role(e->config, level_of(chosen)), quote,
                      strcmp(lookup_of(chosen), "off") == 0 ? "\"off\"" : "auto");
}

static void write_group(buffer *out, const evidence *e, group *g, const tune_options *o,
                        size_t *rules)
{
    size_t best = find_best(e, g), chosen = choose(e, g, o->tolerance);
    buffer_add_format(out, "    # %s%s\n", g->label,
                      g->is_long ? ": more than the first model takes, not probed" : "");
    compare(e, g, chosen, best);
    write_evidence(out, e, g, chosen, best);
    if (g->n < (double)o->least) {
        buffer_add_format(out, "    #   fewer than %zu: no rule, the last model answers\n",
                          o->least);
        return;
    }
    write_rule(out, e, g, chosen);
    ++*rules;
}

/* What replay must be asked for. */
static void add_policies(buffer *out, const config *c)
{
    for (size_t i = 0; i < c->n_models; i++)
        buffer_add_format(out, "%s,%s-lookup,", config_role(c, i), config_role(c, i));
    buffer_add_text(out, "adaptive");
}

static error_code refuse_models(const evidence *e, size_t missing, failure *fail)
{
    buffer policies;
    buffer_init(&policies, 4096);
    add_policies(&policies, e->config);
    failure_set(fail, ERR_INVALID,
                "the results need answers of every model to the same requests, and have none of "
                "%.80s: replay with --policies %s",
                config_role(e->config, missing), policies.data != NULL ? policies.data : "");
    buffer_free(&policies);
    return fail->code;
}

static error_code check_evidence(const evidence *e, failure *fail)
{
    for (size_t i = 0; i < e->config->n_models; i++)
        if (json_object_size(e->answers[2 * i]) + json_object_size(e->answers[2 * i + 1]) == 0)
            return refuse_models(e, i, fail);
    if (json_object_size(e->labels) == 0)
        return failure_set(fail, ERR_INVALID,
                           "the results need the probe's labels: replay adaptive (or paper) too");
    return OK;
}

error_code tune_rules(buffer *out, const json_t *runs, const config *c, const tune_options *o,
                      failure *fail)
{
    evidence e = {.config = c,
                  .n_candidates = (size_t)2 * c->n_models,
                  .labels = json_object(),
                  .asked = json_object(),
                  .is_long = json_object()};
    size_t rules = 0;
    for (size_t i = 0; i < e.n_candidates; i++)
        e.answers[i] = json_object();
    read_runs(&e, runs);
    error_code code = check_evidence(&e, fail);
    if (code == OK) {
        count_all(&e);
        buffer_add_format(out,
                          "policy:\n  name: rules\n  # The fastest within %g points of the best, "
                          "by what the probe said; 95 %% intervals.\n  rules:\n",
                          o->tolerance);
        /* By length first: that needs no probe. */
        for (int long_ones = 1; long_ones >= 0; long_ones--)
            for (size_t i = 0; i < e.n_groups; i++)
                if (e.groups[i].is_long == (long_ones == 1))
                    write_group(out, &e, &e.groups[i], o, &rules);
        if (rules == 0)
            code = failure_set(fail, ERR_INVALID,
                               "no label has %zu requests: nothing to make a rule of", o->least);
    }
    for (size_t i = 0; i < e.n_candidates; i++)
        json_decref(e.answers[i]);
    json_decref(e.labels);
    json_decref(e.asked);
    json_decref(e.is_long);
    return code;
}
