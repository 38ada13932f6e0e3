/* compare_judge.c: candidates judged by folds, and the choice of one. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/compare.h"
#include "cli/progress.h"

/* The most of the forms that few requests bear: all candidates are given the same chance. */
#define FORM CALIBRATION_BIAS

void candidate_samples(const comparison *c, const candidate *item, calibration_sample *samples,
                       double *content_free)
{
    const sheet *s = &c->sheets[item->sheet];
    size_t labels = c->requests->n_labels;
    const calibration identity = calibration_identity(labels);
    for (size_t k = 0; k < labels; k++)
        content_free[k] = 0;
    for (size_t i = 0; i < c->n + COMPARE_CONTENT_FREE; i++) {
        const float *row = s->logits + i * s->asked.n_words;
        double p[PROBE_MAX_LABELS];
        for (size_t k = 0; k < labels; k++)
            p[k] = (double)row[item->words[k]];
        if (i < c->n) {
            samples[i].label = c->requests->items[i].label;
            memcpy(samples[i].logits, p, labels * sizeof *p);
            continue;
        }
        calibration_apply(&identity, p, p);
        for (size_t k = 0; k < labels; k++)
            content_free[k] +=
                (p[k] + 1e-9) / COMPARE_CONTENT_FREE; /* above 0: its logarithm is taken */
    }
}

static size_t best_of(const double *values, size_t n)
{
    size_t best = 0;
    for (size_t k = 1; k < n; k++)
        best = values[k] > values[best] ? k : best;
    return best;
}

static double mass_of(const comparison *c, const candidate *item)
{
    const sheet *s = &c->sheets[item->sheet];
    double sum = 0;
    for (size_t i = 0; i < c->n; i++)
        for (size_t k = 0; k < c->requests->n_labels; k++)
            sum += exp((double)s->logits[i * s->asked.n_words + item->words[k]] -
                       (double)s->log_sum[i]);
    return c->n > 0 ? sum / (double)c->n : 0;
}

/* `z`: the held-out log-probabilities. */
static void score(candidate_score *out, const calibration_sample *samples, size_t n, size_t labels,
                  const double *z)
{
    double squares = 0;
    out->right = out->raw_right = out->entropy = 0;
    for (size_t i = 0; i < n; i++, z += labels) {
        double p[PROBE_MAX_LABELS], loss = -z[samples[i].label] - out->nll;
        for (size_t k = 0; k < labels; k++)
            p[k] = exp(z[k]);
        out->right += best_of(z, labels) == samples[i].label;
        out->raw_right += best_of(samples[i].logits, labels) == samples[i].label;
        out->entropy += probabilities_entropy(p, labels);
        squares += loss * loss;
    }
    out->right /= (double)n;
    out->raw_right /= (double)n;
    out->entropy /= (double)n;
    out->nll_error = n > 1 ? sqrt(squares / (double)(n - 1) / (double)n) : 0;
}

/* Room to judge in. */
typedef struct desk {
    calibration_sample *samples, *kept;
    double *said;
    double content_free[PROBE_MAX_LABELS];
    progress progress;
    size_t judged, all; /* candidates */
} desk;

/* All candidates are judged so many times. */
static error_code desk_open(desk *d, const comparison *c, size_t times, const char *what,
                            failure *fail)
{
    *d = (desk){.all = times * c->n_items,
                .samples = calloc(c->n + 1, sizeof *d->samples),
                .kept = calloc(c->n + 1, sizeof *d->kept),
                .said = calloc(c->n + 1, c->requests->n_labels * sizeof *d->said)};
    progress_start(&d->progress, what);
    return d->samples != NULL && d->kept != NULL && d->said != NULL
               ? OK
               : failure_set(fail, ERR_MEMORY, "no memory to judge %zu requests", c->n);
}

static void desk_close(desk *d)
{
    free(d->samples);
    free(d->kept);
    free(d->said);
    progress_end(&d->progress);
}

/* Without a fold of the requests; CALIBRATION_FOLDS: with all of them. */
static void judge(const comparison *c, const candidate *item, size_t without, desk *d,
                  candidate_score *out)
{
    size_t labels = c->requests->n_labels, n = 0;
    candidate_samples(c, item, d->samples, d->content_free);
    for (size_t i = 0; i < c->n; i++)
        if (i % CALIBRATION_FOLDS != without)
            d->kept[n++] = d->samples[i];
    out->nll = calibration_hold_out(FORM, d->kept, n, labels, d->content_free, d->said);
    if (isfinite(out->nll) && n > 0)
        score(out, d->kept, n, labels, d->said);
}

/* The rule that the header states, for two that are likely enough. */
static bool is_better(const comparison *c, const candidate_score *scores, size_t a, size_t b)
{
    bool suffix_a = strstr(candidate_template(c, &c->items[a]), "{conversation}") != NULL;
    bool suffix_b = strstr(candidate_template(c, &c->items[b]), "{conversation}") != NULL;
    double mass_a = fmin(scores[a].mass, COMPARE_ENOUGH_MASS);
    double mass_b = fmin(scores[b].mass, COMPARE_ENOUGH_MASS);
    if (suffix_a != suffix_b)
        return suffix_a;
    return mass_a != mass_b ? mass_a > mass_b : scores[a].nll < scores[b].nll;
}

static size_t choose(const comparison *c, const candidate_score *scores)
{
    size_t best = 0;
    for (size_t i = 1; i < c->n_items; i++)
        best = scores[i].nll < scores[best].nll ? i : best;
    double limit = scores[best].nll + scores[best].nll_error;
    for (size_t i = 0; i < c->n_items; i++)
        if (scores[i].nll <= limit && is_better(c, scores, i, best))
            best = i;
    return best;
}

static error_code judge_all(const comparison *c, size_t without, desk *d, candidate_score *scores,
                            failure *fail)
{
    bool any = false;
    for (size_t i = 0; i < c->n_items; i++) {
        scores[i].mass = mass_of(c, &c->items[i]);
        judge(c, &c->items[i], without, d, &scores[i]);
        any = any || isfinite(scores[i].nll);
        progress_show(&d->progress, (double)++d->judged / (double)d->all);
    }
    return any ? OK
               : failure_set(fail, ERR_INVALID,
                             "no candidate's probabilities have anything to do with the labels of "
                             "the requests: are those in order?");
}

error_code comparison_judge(comparison *c, failure *fail)
{
    desk d;
    candidate_score *scores = calloc(c->n_items + 1, sizeof *scores);
    error_code code = desk_open(&d, c, 1, "judging templates", fail);
    if (code == OK && scores == NULL)
        code = failure_set(fail, ERR_MEMORY, "no memory for %zu candidates", c->n_items);
    if (code == OK)
        code = judge_all(c, CALIBRATION_FOLDS, &d, scores, fail);
    for (size_t i = 0; code == OK && i < c->n_items; i++)
        c->items[i].score = scores[i];
    if (code == OK)
        c->best = choose(c, scores);
    free(scores);
    desk_close(&d);
    return code;
}

/* ---- the choice itself ---------------------------------------------------------------------- */

/* What the chosen one, fitted on the rest, says of the fold. */
static error_code judge_fold(const comparison *c, const candidate *chosen, size_t fold, desk *d,
                             choice_score *out, failure *fail)
{
    size_t labels = c->requests->n_labels, n = 0;
    calibration fitted;
    candidate_samples(c, chosen, d->samples, d->content_free);
    for (size_t i = 0; i < c->n; i++)
        if (i % CALIBRATION_FOLDS != fold)
            d->kept[n++] = d->samples[i];
    error_code code = calibration_fit(&fitted, FORM, d->kept, n, labels, d->content_free, fail);
    for (size_t i = fold; code == OK && i < c->n; i += CALIBRATION_FOLDS) {
        double z[PROBE_MAX_LABELS];
        calibration_log_apply(&fitted, d->samples[i].logits, z);
        out->right += (best_of(z, labels) == d->samples[i].label) / (double)c->n;
        out->nll -= z[d->samples[i].label] / (double)c->n;
    }
    return code;
}

error_code comparison_judge_choice(const comparison *c, choice_score *out, failure *fail)
{
    desk d;
    candidate_score *scores = calloc(c->n_items + 1, sizeof *scores);
    error_code code = desk_open(&d, c, CALIBRATION_FOLDS, "judging the choice", fail);
    *out = (choice_score){.right = 0};
    if (code == OK && scores == NULL)
        code = failure_set(fail, ERR_MEMORY, "no memory for %zu candidates", c->n_items);
    for (size_t fold = 0; code == OK && fold < CALIBRATION_FOLDS; fold++) {
        code = judge_all(c, fold, &d, scores, fail);
        if (code == OK)
            code = judge_fold(c, &c->items[choose(c, scores)], fold, &d, out, fail);
    }
    free(scores);
    desk_close(&d);
    return code;
}
