/* init_find.c: the template and words that a pair's small model is best asked with. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/init.h"

/* ---- candidates ----------------------------------------------------------------------------- */

/* All are suffixes: what the probe reads of the conversation is the answer's own prefix. */
static const char *const templates[] = {
    "{conversation}Category:",        "{conversation}Task category:",
    "{conversation}Intent:",          "{conversation}Topic:",
    "{conversation}Field:",           "{conversation}Subject:",
    "{conversation}Type of request:", "{conversation}This is a question about",
};
#define N_TEMPLATES (sizeof templates / sizeof templates[0])

/* What small models go on with after them. */
static const struct {
    const char *label;
    const char *words[20];
} known_words[] = {
    {"code",
     {" Code", " code", " Programming", " programming", " Python", " Software", " software",
      " coding", " Coding", " Computer", " computer", " Technical", "Code", "Programming", NULL}},
    {"qa",
     {" History", " history", " Science", " science", " Knowledge", " knowledge", " General",
      " general", " Question", " question", " Information", " trivia", " Facts", " fact",
      " Geography", " qa", "History", "General", NULL}},
    {"math",
     {" Arithmetic", " arithmetic", " Math", " math", " Mathematics", " mathematics",
      " Calculation", " calculation", " Algebra", " Maths", "Math", "Mathematics", NULL}},
};

/* The label's own name, with and without a space and a capital. */
static error_code make_variants(init_words *w, size_t label, const char *name, size_t *n,
                                failure *fail)
{
    for (size_t i = 0; i < 4; i++) {
        char **made = &w->made[label][i];
        if (asprintf(made, "%s%s", i < 2 ? " " : "", name) < 0) {
            *made = NULL;
            return failure_set(fail, ERR_MEMORY, "no memory for a word");
        }
        char *first = *made + (i < 2);
        *first = i % 2 == 0 ? *first : (char)toupper((unsigned char)*first);
        w->lists[label][(*n)++] = *made;
    }
    return OK;
}

static error_code words_make(init_words *w, const labelled_requests *set, failure *fail)
{
    error_code code = OK;
    for (size_t k = 0; code == OK && k < set->n_labels; k++) {
        size_t n = 0;
        for (size_t i = 0; i < sizeof known_words / sizeof known_words[0]; i++)
            for (size_t j = 0; strcmp(set->labels[k], known_words[i].label) == 0 &&
                               known_words[i].words[j] != NULL;
                 j++)
                w->lists[k][n++] = known_words[i].words[j];
        code = make_variants(w, k, set->labels[k], &n, fail);
        w->by_label[k] = w->lists[k];
    }
    return code;
}

void init_words_free(init_words *w)
{
    for (size_t k = 0; w != NULL && k < PROBE_MAX_LABELS; k++)
        for (size_t i = 0; i < 4; i++)
            free(w->made[k][i]);
    free(w);
}

/* ---- comparing ------------------------------------------------------------------------------ */

static error_code take_own_candidates(init_report *r, backend *small, failure *fail)
{
    comparison *c = &r->comparison;
    init_words *words = r->words = calloc(1, sizeof *words);
    if (words == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for words");
    error_code code = words_make(words, c->requests, fail);
    for (size_t i = 0; code == OK && i < N_TEMPLATES; i++)
        code = comparison_take_template(c, templates[i], words->by_label, small, fail);
    if (code != OK || c->n_sheets > 0)
        return code;
    *fail = c->refusal;
    return failure_prefix(fail, "no word can stand for a label; name candidates with --templates");
}

static error_code take_candidates(init_report *r, backend *small, failure *fail)
{
    if (r->options->templates == NULL)
        return take_own_candidates(r, small, fail);
    error_code code = probe_candidates_read(&r->candidates, r->options->templates, fail);
    return code == OK ? comparison_take_list(&r->comparison, &r->candidates, small, fail) : code;
}

static error_code compare(init_report *r, backend *small, failure *fail)
{
    comparison *c = &r->comparison;
    error_code code = comparison_ask(c, small, fail);
    if (code == OK)
        code = comparison_judge(c, fail);
    return code == OK ? comparison_judge_choice(c, &r->choice, fail) : code;
}

/* ---- the chosen one ------------------------------------------------------------------------- */

static size_t best_of(const double *values, size_t n)
{
    size_t best = 0;
    for (size_t k = 1; k < n; k++)
        best = values[k] > values[best] ? k : best;
    return best;
}

/* `z`: held-out log-probabilities. */
static void count_routes(init_report *r, const calibration_sample *samples, const double *z)
{
    size_t n = r->comparison.n, labels = r->requests.n_labels;
    for (size_t i = 0; i < n; i++, z += labels) {
        double p[PROBE_MAX_LABELS];
        size_t said = best_of(z, labels), right = samples[i].label;
        for (size_t k = 0; k < labels; k++)
            p[k] = exp(z[k]);
        double entropy = probabilities_entropy(p, labels);
        bool is_small = (r->small_labels >> said & 1) != 0 && entropy <= INIT_ENTROPY_LIMIT &&
                        r->requests.items[i].tokens <= INIT_PROMPT_LIMIT;
        r->n_requests[right]++;
        r->n_small[right] += is_small;
        r->n_all_small += is_small;
        r->n_misrouted += is_small && said != right;
        r->n_right += said == right;
        r->entropy += entropy / (double)n;
    }
}

static error_code calibrate_best(init_report *r, failure *fail)
{
    const comparison *c = &r->comparison;
    size_t labels = r->requests.n_labels;
    calibration_sample *samples = calloc(c->n + 1, sizeof *samples);
    double *said = calloc(c->n + 1, labels * sizeof *said);
    error_code code = samples != NULL && said != NULL
                          ? OK
                          : failure_set(fail, ERR_MEMORY, "no memory for %zu requests", c->n);
    if (code == OK) {
        candidate_samples(c, &c->items[c->best], samples, r->probe.content_free);
        code = calibrate_choose_form(&r->probe, r->held_out, samples, c->n, labels, fail);
    }
    if (code == OK) {
        calibration_hold_out(r->probe.form, samples, c->n, labels, r->probe.content_free, said);
        count_routes(r, samples, said);
    }
    free(samples);
    free(said);
    return code;
}

error_code init_find_probe(init_report *r, backend *small, failure *fail)
{
    error_code code = take_candidates(r, small, fail);
    if (code == OK)
        code = compare(r, small, fail);
    return code == OK ? calibrate_best(r, fail) : code;
}
