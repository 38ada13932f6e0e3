/* vector_reference.h: the portable vector and attention operations. */
#ifndef KERNEL_VECTOR_REFERENCE_H
#define KERNEL_VECTOR_REFERENCE_H

#include "kernel/internal.h"

enum { REFERENCE_LANES = 16 };

/* exp(x) as exponential.h says; x must not be NaN. */
float reference_exp(float x);
float reference_tanh(float x);

enum { NORM_LANES = 8 /* sums of a norm, side by side */ };

/* The sum of all lanes, added up as a tree in lanes[0]. */
double reference_sum_lanes(double lanes[NORM_LANES]);

/* What the sets do at the ends of vectors, and what those without their own borrow. */
void reference_soft_cap(float *x, float cap, size_t n);
void reference_gelu_multiply(float *gate, const float *up, size_t n);
void reference_swiglu_oai_multiply(float *gate, const float *up, size_t n);

/* vector_rotate for the pairs from `first` on. */
void reference_rotate_from(float *x, const float *cosines, const float *sines, size_t pairs,
                           rotate_layout layout, size_t first);

void reference_expand(kv_type type, float *dst, const void *src, size_t n, const void *next);
void reference_expand_keys(float *dst, const void *group, size_t begin, size_t end, size_t head_dim,
                           const void *next);
void reference_scores(kv_type type, const float *q, size_t n_queries, const void *k, size_t n,
                      size_t head_dim, const void *next, float *s);
float reference_softmax(float *s, size_t n, float *max, float *sum);
void reference_accumulate(kv_type type, float *out, const float *rescale, const float *s,
                          size_t n_queries, const void *v, size_t n, size_t head_dim,
                          const void *next);

#endif
