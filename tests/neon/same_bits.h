/*
 * same_bits.h: what the files of same_bits share.
 *
 *   same_bits_products.c, same_bits_attention.c, same_bits_vectors.c    the checks
 *   same_bits.c                                                         which kernels, and the
 * count
 */
#ifndef TESTS_SAME_BITS_H
#define TESTS_SAME_BITS_H

#include "kernel/internal.h"

/* The kernels that run here, without the reference. */
enum { MOST_SETS = 8 };
extern const kernel_set *bits_sets[MOST_SETS];
extern size_t bits_n_sets;

/* ---- numbers -------------------------------------------------------------------------------- */

uint32_t bits_random_u32(void);
float bits_random_float(void); /* uniform in [-1, 1) */
void bits_random_floats(float *x, size_t n, float factor);
float bits_float_of_bits(uint32_t bits);
/* Zeros, aligned as records are; ends the program where there is no memory. */
void *bits_allocate(size_t bytes);

/* ---- judging -------------------------------------------------------------------------------- */

/* What the reference said, which every architecture must say. */
void bits_add_to_digest(const void *bytes, size_t n);
/* One check: n elements of `size` bytes. `what` and two sizes say where. */
void bits_check(const kernel_set *set, const char *what, size_t a, size_t b, const void *got,
                const void *expected, size_t n, size_t size);

void bits_check_products(void);
void bits_check_attention(void);
void bits_check_vectors(void);

#endif
