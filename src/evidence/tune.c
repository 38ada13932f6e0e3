/* tune.c: groups of items by label, the best choice of each, written as rules. */
#include "evidence/tune.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "evidence/interval.h"

/* What may answer, in the order in which ties are decided: what reads less comes first. */
static const struct candidate {
    const char *policy, *model, *lookup;
} candidates[] = {{"small-lookup", "small", "auto"},
                  {"small", "small", "off"},
                  {"large-lookup", "large", "auto"},
                  {"large", "large", "off"}};
#define N_CANDIDATES (sizeof candidates / sizeof candidates[0])
#define MAX_GROUPS 128
#define LONG "long" /* names the rule for prompts beyond the small model */

typedef struct tally {
    double n, right, tokens, ms;
    double both, only_best,
        only_this; /* beside the best: answered by both; right here, not there */
} tally;

typedef struct group {
    const char *label;
    bool is_long; /* too long for the small model */
    double n;
    tally by[N_CANDIDATES];
} group;

typedef struct evidence {
    json_t *answers[N_CANDIDATES]; /* scenario/id → item */
    json_t *labels;                /* scenario/id → label that the probe gave */
    json_t *asked;                 /* all keys */
    json_t *is_long;               /* scenario/id of prompts that the small model refused */
    double longest;                /* tokens of a prompt that the small model took */
    group groups[MAX_GROUPS];
    size_t n_groups;
} evidence;

/* ---- reading ------------------------------------------------------------------------------ */

static double number_at(const json_t *item, const char *key)
{
    return json_number_value(json_object_get(item, key));
}

static bool is_answered(const json_t *item)
{
    return json_is_null(json_object_get(item, "error"));
}

static void note_item(evidence *e, const char *policy, const char *key, json_t *item)
{
    json_t *label = json_object_get(item, "label");
    if (json_is_string(label))
        json_object_set(e->labels, key, label);
    for (size_t i = 0; i < N_CANDIDATES; i++) {
        if (strcmp(policy, candidates[i].policy) != 0)
            continue;
        json_object_set(e->answers[i], key, item);
        json_object_set_new(e->asked, key, json_true());
        if (strcmp(candidates[i].model, "small") != 0)
            continue;
        if (!is_answered(item))
            json_object_set_new(e->is_long, key, json_true());
        else
            e->longest = fmax(e->longest, number_at(item, "prompt_tokens"));
    }
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
        json_array_foreach(json_object_get(r, "items"), k, item)
        {
            char key[512];
            const char *id = json_string_value(json_object_get(item, "id"));
            snprintf(key, sizeof key, "%s/%s", scenario, id != NULL ? id : "");
            note_item(e, policy, key, item);
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

/* Prompts that are too long for the small model are one group: nothing is gained by probing them.
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
        group *g = label != NULL ? find_group(e, label, strcmp(label, LONG) == 0) : NULL;
        for (size_t i = 0; g != NULL && i < N_CANDIDATES; i++) {
            const json_t *item = json_object_get(e->answers[i], key);
            bool can = item != NULL && !(g->is_long && strcmp(candidates[i].model, "small") == 0);
            if (can)
                count(&g->by[i], item);
        }
    }
    for (size_t i = 0; i < e->n_groups; i++)
        for (size_t k = 0; k < N_CANDIDATES; k++)
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

static size_t find_best(const group *g)
{
    size_t best = 0;
    for (size_t i = 1; i < N_CANDIDATES; i++)
        if (accuracy(&g->by[i]) > accuracy(&g->by[best]))
            best = i;
    return best;
}

static size_t choose(const group *g, double tolerance)
{
    size_t best = find_best(g), chosen = best;
    double floor = accuracy(&g->by[best]) - tolerance;
    for (size_t i = 0; i < N_CANDIDATES; i++)
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
        if (a == NULL || b == NULL || label == NULL || strcmp(label, g->label) != 0)
            continue;
        bool here = json_is_true(json_object_get(a, "right"));
        bool there = json_is_true(json_object_get(b, "right"));
        t->both++;
        t->only_this += here && !there;
        t->only_best += there && !here;
    }
}

/* ---- writing ------------------------------------------------------------------------------ */

static void write_evidence(buffer *out, const group *g, size_t chosen, size_t best)
{
    for (size_t i = 0; i < N_CANDIDATES; i++) {
        const tally *t = &g->by[i];
        double low, high;
        if (t->n == 0)
            continue;
        interval_of_share(t->right, t->n, &low, &high);
        buffer_add_format(out,
                          "    #   %-5s lookup %-4s %5.0f requests, %6.2f %% right (%.2f … %.2f), "
                          "%.0f tokens/s%s\n",
                          candidates[i].model, candidates[i].lookup, t->n, accuracy(t), low, high,
                          speed(t), i == chosen ? "  <- chosen" : "");
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
    else if (strcmp(candidates[chosen].model, "small") == 0 && json_object_size(e->is_long) > 0)
        buffer_add_format(out, "      max_prompt_tokens: %.0f\n", e->longest);
    buffer_add_format(out, "      model: %s\n      lookup: %s\n", candidates[chosen].model,
                      strcmp(candidates[chosen].lookup, "off") == 0 ? "\"off\"" : "auto");
}

static void write_group(buffer *out, const evidence *e, group *g, const tune_options *o,
                        size_t *rules)
{
    size_t best = find_best(g), chosen = choose(g, o->tolerance);
    buffer_add_format(out, "    # %s%s\n", g->label,
                      g->is_long ? ": more than the small model takes, not probed" : "");
    compare(e, g, chosen, best);
    write_evidence(out, g, chosen, best);
    if (g->n < (double)o->least) {
        buffer_add_format(out, "    #   fewer than %zu: no rule, the large model answers\n",
                          o->least);
        return;
    }
    write_rule(out, e, g, chosen);
    ++*rules;
}

static error_code check_evidence(const evidence *e, failure *fail)
{
    bool has_small = json_object_size(e->answers[0]) + json_object_size(e->answers[1]) > 0;
    bool has_large = json_object_size(e->answers[2]) + json_object_size(e->answers[3]) > 0;
    if (!has_small || !has_large)
        return failure_set(fail, ERR_INVALID,
                           "the results need answers of both models to the same requests: replay "
                           "with --policies small,small-lookup,large,large-lookup,adaptive");
    if (json_object_size(e->labels) == 0)
        return failure_set(fail, ERR_INVALID,
                           "the results need the probe's labels: replay adaptive (or paper) too");
    return OK;
}

error_code tune_rules(buffer *out, const json_t *runs, const tune_options *o, failure *fail)
{
    evidence e = {.labels = json_object(), .asked = json_object(), .is_long = json_object()};
    size_t rules = 0;
    for (size_t i = 0; i < N_CANDIDATES; i++)
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
    for (size_t i = 0; i < N_CANDIDATES; i++)
        json_decref(e.answers[i]);
    json_decref(e.labels);
    json_decref(e.asked);
    json_decref(e.is_long);
    return code;
}
