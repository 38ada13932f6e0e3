/*
 * python_random.h: the random numbers of Python's `random` module: the Mersenne Twister (MT19937,
 * M. Matsumoto and T. Nishimura, 1998) and what the module makes of it. The built-in tasks are
 * drawn with it, so that they are those of tools/demo_models, seed for seed.
 */
#ifndef EVIDENCE_PYTHON_RANDOM_H
#define EVIDENCE_PYTHON_RANDOM_H

#include <stddef.h>
#include <stdint.h>

typedef struct python_random {
    uint32_t state[624];
    size_t next;
} python_random;

void python_random_seed(python_random *r, uint64_t seed); /* Random(seed) */
double python_random_real(python_random *r);              /* random() */
size_t python_random_below(python_random *r, size_t n);   /* the index that choice() takes */
long python_random_between(python_random *r, long low, long high); /* randint(low, high) */
/* sample(range(n), k): k ≤ n different indexes. */
void python_random_sample(python_random *r, size_t n, size_t k, size_t *out);
void python_random_shuffle(python_random *r, size_t *items, size_t n);

#endif
