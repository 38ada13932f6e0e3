/* random.c: a hash of three numbers, as a number in [0, 1), and what is drawn with it. */
#include "base/random.h"

/* The finaliser of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
 */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

double random_uniform(uint64_t seed, uint64_t choice, uint64_t position)
{
    const uint64_t golden = 0x9e3779b97f4a7c15u;
    uint64_t z = mix(seed + golden);
    z = mix(z ^ (choice + golden));
    z = mix(z ^ (position + golden));
    return (double)(z >> 11) * 0x1p-53;
}

size_t random_below(uint64_t seed, uint64_t choice, uint64_t position, size_t n)
{
    return (size_t)(random_uniform(seed, choice, position) * (double)n);
}

void random_shuffle(uint64_t seed, uint64_t choice, size_t *items, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = random_below(seed, choice, i, i);
        size_t moved = items[i - 1];
        items[i - 1] = items[j];
        items[j] = moved;
    }
}
