/*
 * compare.h: templates and words for the probe, compared by what they make of labelled requests.
 *
 * A sheet is what the small model said to one template about every request, for all the words that
 * might stand for a label: one forward pass serves every choice of words. A candidate is a sheet
 * with a word for each label. It is judged by five folds: what it says of a request comes from a
 * calibration that was fitted on the other four.
 *
 * Best is the lowest negative log-likelihood. But those within its standard error cannot be told
 * apart by so few requests; of them a suffix of the conversation goes first (its prefill is the
 * answer's own), then words that hold a tenth of the probability or as much of it as they can: what
 * the model would go on with anyway says more of requests of other sorts than a rare word does.
 */
#ifndef CLI_COMPARE_H
#define CLI_COMPARE_H

#include "cli/labelled.h"
#include "config/candidates.h"
#include "orchestra/calibration_score.h"

#define COMPARE_ENOUGH_MASS 0.1 /* of the probability */
#define COMPARE_CONTENT_FREE 3  /* rows of a sheet beside the requests' own */

typedef struct sheet {
    question asked; /* its texts are the caller's */
    bool is_open;   /* the words are alternatives, of which candidates are still to be made */
    size_t label_of[PROBE_MAX_LABELS]; /* then: what each word might stand for */
    float *logits;                     /* (requests + those without content) × words */
    float *log_sum;                    /* over the vocabulary, by the same rows */
} sheet;

typedef struct candidate_score {
    double nll, nll_error; /* nats, held out, and the standard error; INFINITY: nothing fits */
    double right;          /* share of the held-out requests */
    double raw_right;      /* the same without a calibration */
    double mass;           /* of the probability that the words hold */
    double entropy;        /* nats, held out */
} candidate_score;

typedef struct candidate {
    size_t sheet;
    size_t words[PROBE_MAX_LABELS]; /* of the sheet, by label */
    candidate_score score;
} candidate;

typedef struct comparison {
    const labelled_requests *requests;
    size_t n; /* of them: the first */
    size_t window_head, window_tail;
    sheet *sheets;
    size_t n_sheets;
    candidate *items;
    size_t n_items, capacity;
    size_t n_refused; /* candidates whose words are not one token each */
    failure refusal;  /* of the first of those */
    size_t best;
} comparison;

/* The requests must outlive it, and the texts of what is compared. */
void comparison_init(comparison *c, const labelled_requests *requests, size_t n, size_t window_head,
                     size_t window_tail);
void comparison_free(comparison *c);

/* Each candidate of a list. ERR_CONFIG for another number of words than there are labels, or when
 * none of them has words that are one token each. */
error_code comparison_take_list(comparison *c, const probe_candidates *list, backend *small,
                                failure *fail);
/* One template with several words for each label, of which those are left that are one token of
 * their own; `words[label]` ends with NULL. A label for which none is left is a refusal, and the
 * template is left out. */
error_code comparison_take_template(comparison *c, const char *template,
                                    const char *const *const *words, backend *small, failure *fail);
/* Asks. Of the words of an open template the most probable ones of each label make candidates. */
error_code comparison_ask(comparison *c, backend *small, failure *fail);
/* Judges all and sets best. */
error_code comparison_judge(comparison *c, failure *fail);

/* What a candidate says: n samples in the requests' order, n_labels content-free probabilities. */
void candidate_samples(const comparison *c, const candidate *item, calibration_sample *samples,
                       double *content_free);
const char *candidate_template(const comparison *c, const candidate *item);
const char *candidate_word(const comparison *c, const candidate *item, size_t label);

/* A table of those of a list, and of the best of each open template. */
void comparison_print(const comparison *c);
/* The same; a new object, NULL: no memory. */
json_t *comparison_json(const comparison *c);

/* How well the choice itself does: chosen without a fifth of the requests and judged on that
 * fifth. */
typedef struct choice_score {
    double right, nll;
} choice_score;

error_code comparison_judge_choice(const comparison *c, choice_score *out, failure *fail);

#endif
