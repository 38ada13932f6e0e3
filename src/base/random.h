/* random.h: random numbers that are functions of their arguments. Any thread. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* A uniform number in [0, 1) that depends on its arguments alone. */
double random_uniform(uint64_t seed, uint64_t choice, uint64_t position);
/* A whole number below n > 0, of which every one is as likely as another (n far below 2^53). */
size_t random_below(uint64_t seed, uint64_t choice, uint64_t position, size_t n);
/* Puts items into an order that seed and choice give. */
void random_shuffle(uint64_t seed, uint64_t choice, size_t *items, size_t n);

#endif
