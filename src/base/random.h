/* random.h: random numbers that are functions of their arguments. Any thread. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stdint.h>

/* A uniform number in [0, 1) that depends on its arguments alone. */
double random_uniform(uint64_t seed, uint64_t choice, uint64_t position);

#endif
