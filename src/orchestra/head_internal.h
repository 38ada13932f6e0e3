/* head_internal.h: what the files of the fit share. Inside the room only. */
#ifndef ORCHESTRA_HEAD_INTERNAL_H
#define ORCHESTRA_HEAD_INTERNAL_H

#include <stdbool.h>

#include "orchestra/head_fit.h"

/* ---- head_features.c ------------------------------------------------------------------------- */

/* Samples as the fit sees them: rows of mean square length 1. With more numbers than samples they
 * are the rows of a Cholesky factor of the Gram matrix, which has the same scalar products. */
typedef struct head_features {
    size_t n, width; /* of the hidden states */
    size_t depth;    /* of a row */
    float *rows;     /* n × depth */
    double *mean;    /* width */
    double *scale;   /* width: 1 / (deviation · √width); 0 where a feature is constant */
    float *standard; /* n × width: standardised; the same memory as rows where that is all */
    size_t *pivots;  /* depth: samples that span the rest; NULL: rows are standard */
} head_features;

/* Of one of the layers. */
error_code head_features_create(head_features *out, const head_samples *s, size_t layer,
                                failure *fail);
void head_features_free(head_features *f); /* a zeroed one too */

/* parameters: n_labels × (depth + 1), the bias last → weights and bias on hidden states. */
error_code head_features_unfold(const head_features *f, const double *parameters, linear_head *out,
                                failure *fail);

/* Σ a b, of n; the order depends on n alone. */
double head_dot(const float *a, const float *b, size_t n);

/* ---- head_solve.c ---------------------------------------------------------------------------- */

typedef struct head_problem {
    const head_features *features;
    const size_t *labels;
    size_t n_labels;
    const size_t *chosen; /* the samples that count */
    size_t n_chosen;
    double strength;
    double tolerance; /* nats a sample, of what is left to gain */
} head_problem;

size_t head_parameter_count(const head_features *f, size_t n_labels);
/* From the parameters that are there to the best ones, by L-BFGS: the problem is convex. ERR_MEMORY
 * only. */
error_code head_solve(const head_problem *p, double *parameters, failure *fail);
/* n_labels logits of a sample. */
void head_problem_logits(const head_problem *p, const double *parameters, size_t sample,
                         double *logits);

#endif
