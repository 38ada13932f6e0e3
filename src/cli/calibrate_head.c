/* calibrate_head.c: the learned probe and success, fitted on a half of the requests and judged on
 * the other; or, with --fit-all, fitted on all. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/calibrate.h"
#include "base/random.h"

#define MIN_REQUESTS 40
#define SHUFFLE_SEED 1

/* One head on its way. */
typedef struct part {
    const char *name; /* "kind" or "success" */
    head_findings *findings;
    size_t n_labels;
    const limit_targets *targets;
    double highest; /* the most doubt there is */
} part;

/* Requests of a set, chosen for a part. */
typedef struct choice {
    const state_set *set;
    size_t *indexes;
    size_t n, n_long;
} choice;

static bool is_success(const part *p)
{
    return strcmp(p->name, "success") == 0;
}

/* SIZE_MAX: the request has none. */
static size_t label_of(const part *p, const state_request *r)
{
    if (!is_success(p))
        return r->label;
    grade first = r->grades[0];
    return first == GRADE_NONE ? SIZE_MAX : first == GRADE_RIGHT ? SUCCESS_RIGHT : 0;
}

static error_code no_memory(const state_set *set, failure *fail)
{
    return failure_set(fail, ERR_MEMORY, "no memory for %zu requests", set->n);
}

/* ---- halves ---------------------------------------------------------------------------------- */

typedef struct drawn {
    double key;
    uint64_t group;
    size_t index;
} drawn;

static int by_key(const void *a, const void *b)
{
    const drawn *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

/* The requests that the part can learn from, in random order, equal ones side by side. */
static error_code choose(choice *out, const part *p, const state_set *set, failure *fail)
{
    *out = (choice){.set = set, .n_long = set->n_long};
    drawn *order = calloc(set->n + 1, sizeof *order);
    out->indexes = calloc(set->n + 1, sizeof *out->indexes);
    if (order == NULL || out->indexes == NULL) {
        free(order);
        return no_memory(set, fail);
    }
    for (size_t i = 0; i < set->n; i++) {
        uint64_t group = set->requests[i].group;
        if (label_of(p, &set->requests[i]) != SIZE_MAX)
            order[out->n++] = (drawn){random_uniform(SHUFFLE_SEED, 1, group), group, i};
    }
    qsort(order, out->n, sizeof *order, by_key);
    for (size_t i = 0; i < out->n; i++)
        out->indexes[i] = order[i].index;
    free(order);
    return OK;
}

static uint64_t group_at(const choice *c, size_t i)
{
    return c->set->requests[c->indexes[i]].group;
}

/* The first half's end; equal requests stay together. */
static size_t half_of(const choice *c)
{
    size_t half = c->n / 2;
    while (half > 0 && half < c->n && group_at(c, half) == group_at(c, half - 1))
        half++;
    return half;
}

/* ---- fitting --------------------------------------------------------------------------------- */

static error_code fit_head(part *p, const choice *c, failure *fail)
{
    const state_set *set = c->set;
    head_findings *f = p->findings;
    size_t *labels = calloc(c->n + 1, sizeof *labels);
    uint64_t *groups = calloc(c->n + 1, sizeof *groups);
    const float **states = calloc(c->n + 1, sizeof *states);
    head_samples s = {.n = c->n,
                      .n_labels = p->n_labels,
                      .width = set->width,
                      .n_layers = set->n_layers,
                      .states = states,
                      .labels = labels,
                      .groups = groups};
    for (size_t i = 0; i < set->n_layers; i++)
        s.layers[i] = set->layers[i];
    bool has_memory = labels != NULL && groups != NULL && states != NULL;
    for (size_t i = 0; has_memory && i < c->n; i++) {
        const state_request *r = &set->requests[c->indexes[i]];
        labels[i] = label_of(p, r);
        groups[i] = r->group;
        states[i] = set->states[c->indexes[i]];
        f->n_stand_in += is_success(p) && r->is_stand_in;
    }
    error_code code =
        has_memory ? head_fit(&f->record.head, &f->report, &s, fail) : no_memory(set, fail);
    f->record.n_fitted = c->n;
    f->record.strength = head_strength(f->report.strength);
    free(labels);
    free(groups);
    free(states);
    return code == OK ? OK : failure_prefix(fail, "%s", p->name);
}

/* ---- judging --------------------------------------------------------------------------------- */

/* The caller's to free: what the head says of the requests. */
static calibration_sample *ask_head(const part *p, const choice *c, failure *fail)
{
    const linear_head *h = &p->findings->record.head;
    calibration_sample *samples = calloc(c->n + 1, sizeof *samples);
    const head_report *r = &p->findings->report;
    for (size_t i = 0; samples != NULL && i < c->n; i++) {
        const float *states = c->set->states[c->indexes[i]];
        samples[i].label = label_of(p, &c->set->requests[c->indexes[i]]);
        if (head_apply(h, states + r->layer * h->width, samples[i].logits, fail) != OK) {
            free(samples);
            return NULL;
        }
    }
    if (samples == NULL)
        no_memory(c->set, fail);
    return samples;
}

static double success_of(const calibration_sample *s)
{
    return 1 / (1 + exp(s->logits[1 - SUCCESS_RIGHT] - s->logits[SUCCESS_RIGHT]));
}

/* Bit i: model i's answer is wrong, and that counts. */
static uint32_t wrong_answers(const part *p, const state_request *r, size_t last)
{
    bool counts = p->targets->goal != LIMIT_LOSS || r->grades[last] == GRADE_RIGHT;
    uint32_t bits = 0;
    for (size_t i = 0; counts && i < last && i < CONFIG_MAX_MODELS; i++)
        bits |= (uint32_t)(r->grades[i] == GRADE_WRONG) << i;
    return bits;
}

static step_case make_case(const part *p, const state_request *r, const calibration_sample *s,
                           const small_labels *small, size_t last)
{
    const calibration plain = calibration_identity(p->n_labels);
    double q[PROBE_MAX_LABELS];
    size_t best = 0;
    if (is_success(p))
        return (step_case){.doubt = 1 - success_of(s),
                           .is_theirs = r->answerable,
                           .wrong = wrong_answers(p, r, last)};
    calibration_apply(&plain, s->logits, q);
    for (size_t k = 1; k < p->n_labels; k++)
        best = q[k] > q[best] ? k : best;
    return (step_case){.doubt = probabilities_entropy(q, p->n_labels),
                       .is_theirs = r->answerable && small->is_small[best],
                       .wrong = best != s->label ? UINT32_MAX : 0};
}

/* Of every model that a limit is of, and of the last one where its answers count. */
static error_code check_grades(const part *p, const state_request *r, const state_set *set,
                               const config *c, failure *fail)
{
    size_t last = c->n_models - 1;
    for (size_t i = 1; is_success(p) && i < p->targets->n; i++)
        if (r->grades[i] == GRADE_NONE && p->targets->goal != LIMIT_SHARE)
            return failure_set(fail, ERR_INVALID,
                               "%s: a limit for %s needs its grade of every request (a-io label)",
                               set->path, config_role(c, i));
    if (p->targets->goal == LIMIT_LOSS && r->grades[last] == GRADE_NONE)
        return failure_set(fail, ERR_INVALID,
                           "%s: --max-loss needs the large model's grade of every request "
                           "(\"large\": {\"right\": …}; a-io label); --max-wrong does not",
                           set->path);
    return OK;
}

/* Requests that were too long are cases, too: the last ones. */
static error_code make_cases(const part *p, const choice *c, const calibration_sample *samples,
                             const calibrate_report *report, const small_labels *small,
                             step_case **out, failure *fail)
{
    error_code code = OK;
    *out = calloc(c->n + c->n_long + 1, sizeof **out);
    if (*out == NULL)
        return no_memory(c->set, fail);
    for (size_t i = 0; code == OK && i < c->n; i++) {
        const state_request *r = &c->set->requests[c->indexes[i]];
        code = check_grades(p, r, c->set, report->config, fail);
        (*out)[i] = make_case(p, r, &samples[i], small, report->config->n_models - 1);
    }
    return code;
}

/* The least success that the doubt allows: as it was seen, so that it is allowed itself. */
static double least_success(const step_case *cases, size_t n, double doubt, double highest)
{
    double least = 1;
    if (!(doubt < highest))
        return 0;
    for (size_t i = 0; i < n; i++)
        if (cases[i].is_theirs && cases[i].doubt <= doubt)
            least = fmin(least, 1 - cases[i].doubt);
    return least;
}

/* Limits of success for limits of doubt, and back; entropy is a doubt itself. */
static chosen_limits turned(const part *p, const chosen_limits *l)
{
    chosen_limits out = *l;
    for (size_t i = 0; is_success(p) && i < out.n; i++)
        out.effects[i].limit = 1 - out.effects[i].limit;
    return out;
}

static error_code judge_limits(const part *p, chosen_limits *out, const step_case *cases, size_t n,
                               failure *fail)
{
    const chosen_limits doubts = turned(p, &p->findings->record.limits);
    error_code code = calibrate_judge_limits(out, &doubts, cases, n, fail);
    for (size_t i = 0; code == OK && i < out->n; i++)
        out->effects[i].limit = p->findings->record.limits.effects[i].limit;
    return code;
}

static error_code choose_limits(part *p, const step_case *cases, size_t n, failure *fail)
{
    chosen_limits *out = &p->findings->record.limits;
    error_code code = calibrate_limits(out, p->targets, cases, n, p->highest, fail);
    for (size_t i = 0; code == OK && is_success(p) && i < out->n; i++)
        out->effects[i].limit = least_success(cases, n, out->effects[i].limit, p->highest);
    return code;
}

/* How success ranks requests: all, and those of each intent. */
static error_code rank(head_result *out, const choice *c, const calibration_sample *samples,
                       size_t n_intents, failure *fail)
{
    ranked_case *cases = calloc(c->n + 1, sizeof *cases);
    error_code code = cases != NULL ? OK : no_memory(c->set, fail);
    for (size_t k = 0; code == OK && k <= n_intents; k++) { /* the last: all */
        size_t n = 0;
        for (size_t i = 0; i < c->n; i++)
            if (k == n_intents || c->set->requests[c->indexes[i]].label == k)
                cases[n++] =
                    (ranked_case){success_of(&samples[i]), samples[i].label == SUCCESS_RIGHT};
        if (k < n_intents)
            out->n_of_label[k] = n;
        code = ranking_judge(k < n_intents ? &out->by_label[k] : &out->ranking, cases, n, fail);
    }
    free(cases);
    return code;
}

/* `chooses`: the limit comes from these requests. */
static error_code judge(part *p, const choice *c, const char *name, bool chooses,
                        const calibrate_report *r, const small_labels *small, failure *fail)
{
    const calibration plain = calibration_identity(p->n_labels);
    head_result *out = &p->findings->results[p->findings->n_results++];
    calibration_gain gain;
    step_case *cases = NULL;
    *out = (head_result){.name = name, .n_long = c->n_long};
    calibration_sample *samples = ask_head(p, c, fail);
    if (samples == NULL)
        return fail->code;
    error_code code = calibration_judge(&out->score, &plain, samples, c->n, fail);
    if (code == OK)
        code = calibration_compare(&gain, &plain, &plain, samples, c->n, fail);
    if (code == OK && is_success(p))
        code = rank(out, c, samples, r->config->probe.n_labels, fail);
    if (code == OK && p->targets->n > 0) {
        code = make_cases(p, c, samples, r, small, &cases, fail);
        if (code == OK && chooses)
            code = choose_limits(p, cases, c->n + c->n_long, fail);
        if (code == OK)
            code = judge_limits(p, &out->limits, cases, c->n + c->n_long, fail);
    }
    out->nll_95 = gain.nll_after;
    out->brier_95 = gain.brier_after;
    free(cases);
    free(samples);
    return code;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static error_code check_count(const part *p, const choice *c, failure *fail)
{
    if (c->n >= MIN_REQUESTS)
        return OK;
    return failure_set(fail, ERR_INVALID, "%s: %zu requests have %s; at least %d are needed",
                       c->set->path, c->n,
                       is_success(p) ? "a grade of the small model's answer (\"small\": "
                                       "{\"right\": …}; a-io label)"
                                     : "an intent",
                       MIN_REQUESTS);
}

static error_code calibrate_part(part *p, const state_set *set, const calibrate_report *r,
                                 const small_labels *small, failure *fail)
{
    choice all;
    error_code code = choose(&all, p, set, fail);
    if (code == OK)
        code = check_count(p, &all, fail);
    bool keeps_half = !r->options->fit_all;
    size_t half = code != OK ? 0 : keeps_half ? half_of(&all) : all.n;
    const choice first = {set, all.indexes, half, 0};
    /* Half of those that are too long belong here. */
    const choice second = {set, all.indexes + half, all.n - half, set->n_long - set->n_long / 2};
    if (code == OK)
        code = fit_head(p, &first, fail);
    if (code == OK && keeps_half)
        code = judge(p, &second, "the half not fitted on", true, r, small, fail);
    free(all.indexes);
    p->findings->is_there = code == OK;
    return code;
}

static error_code test_part(part *p, const state_set *set, const calibrate_report *r,
                            const small_labels *small, failure *fail)
{
    choice all;
    error_code code = choose(&all, p, set, fail);
    if (code == OK)
        code = judge(p, &all, set->path, false, r, small, fail);
    free(all.indexes);
    return code;
}

error_code calibrate_heads(calibrate_report *r, stage *s, failure *fail)
{
    const calibrate_options *o = r->options;
    bool learned = o->kind == KIND_LEARNED;
    size_t n_labels = r->config->probe.n_labels;
    part parts[2], *end = parts;
    small_labels small;
    if (learned)
        *end++ = (part){"kind", &r->kind, n_labels, &o->entropy_targets, log((double)n_labels)};
    if (o->success)
        *end++ = (part){"success", &r->success, SUCCESS_LABELS, &o->success_targets, 1};
    error_code code = OK;
    if (learned)
        code = small_labels_find(&small, o, &r->config->probe, fail);
    for (size_t i = 0; code == OK && i <= o->n_tests; i++) {
        const state_wishes wishes = {.intent = learned};
        state_set set;
        code = state_set_read(&set, s, i == 0 ? o->labelled : o->tests[i - 1], &wishes, fail);
        for (part *p = parts; code == OK && p < end; p++)
            code = (i == 0 ? calibrate_part : test_part)(p, &set, r, &small, fail);
        state_set_free(&set);
    }
    return code;
}

void head_findings_free(head_findings *f)
{
    head_record_free(&f->record);
    head_report_free(&f->report);
}
