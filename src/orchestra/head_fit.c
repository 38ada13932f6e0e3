/* head_fit.c: which layer, which strength, and how sure the head may be. */
#include "orchestra/head_fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "orchestra/head_internal.h"

#define FOLD_SEED 1
#define ROUGH 1e-5 /* nats a sample: enough to compare by */
#define EXACT 1e-8
#define PATIENCE 2 /* weaker ridges that may be worse before no weaker one is tried */

typedef struct fit {
    const head_samples *samples;
    head_report *report;
    size_t *fold_of;           /* n */
    size_t *chosen;            /* n; scratch */
    double *parameters;        /* of every fold, one after another */
    calibration_sample *trial; /* n: what the folds say at one strength */
    double best;               /* nats a sample */
} fit;

double head_strength(size_t index)
{
    return 100 * pow(10, -(double)index / 2);
}

/* ---- folds ----------------------------------------------------------------------------------- */

typedef struct dealt {
    double key;
    uint64_t group;
    size_t sample;
} dealt;

static int by_key(const void *a, const void *b)
{
    const dealt *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return (x->sample > y->sample) - (x->sample < y->sample);
}

/* Groups in random order, each to the fold that has the fewest samples. */
static error_code deal_folds(fit *f, failure *fail)
{
    const head_samples *s = f->samples;
    size_t sizes[HEAD_FOLDS] = {0}, fold = 0;
    dealt *order = calloc(s->n, sizeof *order);
    if (order == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for %zu samples", s->n);
    for (size_t i = 0; i < s->n; i++)
        order[i] = (dealt){random_uniform(FOLD_SEED, 0, s->groups[i]), s->groups[i], i};
    qsort(order, s->n, sizeof *order, by_key);
    for (size_t i = 0; i < s->n; i++) {
        if (i == 0 || order[i].group != order[i - 1].group) {
            fold = 0;
            for (size_t k = 1; k < HEAD_FOLDS; k++)
                fold = sizes[k] < sizes[fold] ? k : fold;
        }
        f->fold_of[order[i].sample] = fold;
        sizes[fold]++;
    }
    free(order);
    return OK;
}

/* ---- one layer ------------------------------------------------------------------------------- */

/* Fits without the fold; says what it thinks of the fold's samples. Adds their losses. */
static error_code try_fold(fit *f, const head_features *features, size_t fold, double strength,
                           double *loss, failure *fail)
{
    const head_samples *s = f->samples;
    const calibration plain = calibration_identity(s->n_labels);
    head_problem p = {.features = features,
                      .labels = s->labels,
                      .n_labels = s->n_labels,
                      .chosen = f->chosen,
                      .strength = strength,
                      .tolerance = ROUGH};
    for (size_t i = 0; i < s->n; i++)
        if (f->fold_of[i] != fold)
            f->chosen[p.n_chosen++] = i;
    double *parameters = f->parameters + fold * head_parameter_count(features, s->n_labels);
    error_code code = head_solve(&p, parameters, fail);
    for (size_t i = 0; code == OK && i < s->n; i++) {
        if (f->fold_of[i] != fold)
            continue;
        f->trial[i].label = s->labels[i];
        head_problem_logits(&p, parameters, i, f->trial[i].logits);
        *loss += calibration_nll(&plain, &f->trial[i], 1);
    }
    return code;
}

/* From the strongest ridge on, each begun where the stronger one ended. */
static error_code try_layer(fit *f, size_t layer, failure *fail)
{
    const head_samples *s = f->samples;
    head_features features;
    error_code code = head_features_create(&features, s, layer, fail);
    if (code != OK)
        return code;
    double least = INFINITY;
    size_t worse = 0, n = HEAD_FOLDS * head_parameter_count(&features, s->n_labels);
    f->parameters = calloc(n, sizeof *f->parameters);
    if (f->parameters == NULL)
        code = failure_set(fail, ERR_MEMORY, "no memory to fit %zu parameters", n);
    for (size_t k = 0; code == OK && k < HEAD_STRENGTHS && worse < PATIENCE; k++) {
        double loss = 0;
        for (size_t fold = 0; code == OK && fold < HEAD_FOLDS; fold++)
            code = try_fold(f, &features, fold, head_strength(k), &loss, fail);
        loss /= (double)s->n;
        f->report->nll[layer][k] = loss;
        worse = loss < least ? 0 : worse + 1;
        least = fmin(least, loss);
        if (code != OK || !(loss < f->best))
            continue;
        f->best = loss;
        f->report->layer = layer;
        f->report->strength = k;
        memcpy(f->report->held_out, f->trial, s->n * sizeof *f->trial);
    }
    free(f->parameters);
    f->parameters = NULL;
    head_features_free(&features);
    return code;
}

/* ---- on top ---------------------------------------------------------------------------------- */

/* The form that held-out samples find likeliest. */
static error_code calibrate(head_report *r, size_t n, size_t n_labels, failure *fail)
{
    double even[PROBE_MAX_LABELS], least = INFINITY;
    for (size_t k = 0; k < n_labels; k++)
        even[k] = 1 / (double)n_labels;
    for (calibration_form form = 0; form < CALIBRATION_FORMS; form++) {
        double nll = calibration_held_out(form, r->held_out, n, n_labels, even);
        if (nll < least) {
            least = nll;
            r->form = form;
        }
    }
    error_code code =
        calibration_fit(&r->calibration, r->form, r->held_out, n, n_labels, even, fail);
    for (size_t i = 0; code == OK && i < n; i++)
        calibration_log_apply(&r->calibration, r->held_out[i].logits, r->held_out[i].logits);
    return code;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static error_code check(const head_samples *s, failure *fail)
{
    bool differ = false;
    for (size_t i = 1; i < s->n; i++)
        differ = differ || s->labels[i] != s->labels[0];
    if (s->n < HEAD_FOLDS || !differ)
        return failure_set(fail, ERR_INVALID,
                           s->n < HEAD_FOLDS ? "%zu samples are too few to fit a head"
                                             : "all %zu samples have the same label: there is "
                                               "nothing to tell apart",
                           s->n);
    return OK;
}

/* On all samples, with what was chosen. */
static error_code fit_whole(linear_head *out, fit *f, failure *fail)
{
    const head_samples *s = f->samples;
    head_features features;
    error_code code = head_features_create(&features, s, f->report->layer, fail);
    if (code != OK)
        return code;
    double *parameters = calloc(head_parameter_count(&features, s->n_labels), sizeof *parameters);
    for (size_t i = 0; i < s->n; i++)
        f->chosen[i] = i;
    const head_problem p = {.features = &features,
                            .labels = s->labels,
                            .n_labels = s->n_labels,
                            .chosen = f->chosen,
                            .n_chosen = s->n,
                            .strength = head_strength(f->report->strength),
                            .tolerance = EXACT};
    code = parameters != NULL ? head_solve(&p, parameters, fail)
                              : failure_set(fail, ERR_MEMORY, "no memory for a head");
    if (code == OK)
        code = head_create(out, s->n_labels, s->width, fail);
    if (code == OK)
        code = head_features_unfold(&features, parameters, out, fail);
    free(parameters);
    head_features_free(&features);
    return code;
}

static error_code choose(linear_head *out, fit *f, failure *fail)
{
    const head_samples *s = f->samples;
    head_report *r = f->report;
    error_code code = deal_folds(f, fail);
    for (size_t i = 0; code == OK && i < s->n_layers; i++)
        code = try_layer(f, i, fail);
    if (code == OK)
        code = calibrate(r, s->n, s->n_labels, fail);
    if (code == OK)
        code = fit_whole(out, f, fail);
    if (code == OK) {
        out->layer = s->layers[r->layer];
        head_calibrate(out, &r->calibration);
    }
    return code;
}

error_code head_fit(linear_head *out, head_report *report, const head_samples *s, failure *fail)
{
    *out = (linear_head){.weights = NULL};
    *report = (head_report){.n_layers = s->n_layers};
    memcpy(report->layers, s->layers, sizeof report->layers);
    for (size_t i = 0; i < HEAD_MAX_LAYERS; i++)
        for (size_t k = 0; k < HEAD_STRENGTHS; k++)
            report->nll[i][k] = NAN;
    error_code code = check(s, fail);
    if (code != OK)
        return code;
    fit f = {.samples = s, .report = report, .best = INFINITY};
    f.fold_of = calloc(s->n, sizeof *f.fold_of);
    f.chosen = calloc(s->n, sizeof *f.chosen);
    f.trial = calloc(s->n, sizeof *f.trial);
    report->held_out = calloc(s->n, sizeof *report->held_out);
    if (f.fold_of == NULL || f.chosen == NULL || f.trial == NULL || report->held_out == NULL)
        code = failure_set(fail, ERR_MEMORY, "no memory for %zu samples", s->n);
    if (code == OK)
        code = choose(out, &f, fail);
    free(f.fold_of);
    free(f.chosen);
    free(f.trial);
    if (code != OK) {
        head_free(out);
        head_report_free(report);
    }
    return code;
}

void head_report_free(head_report *report)
{
    free(report->held_out);
    *report = (head_report){.held_out = NULL};
}
