/* pool_hash.h: hashes that spread, against nobody's malice: who finds two texts of one hash gains
 * nothing but a place beside another's. The same on every machine. */
#ifndef BACKEND_POOL_HASH_H
#define BACKEND_POOL_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Every bit of the argument changes half of the result's (the end of splitmix64). */
static inline uint64_t pool_hash_mix(uint64_t x)
{
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

/* A chain: hash(a then b) = bytes(bytes(seed, a), b). */
static inline uint64_t pool_hash_bytes(uint64_t seed, const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    uint64_t hash = pool_hash_mix(seed ^ n), word;
    for (; n >= sizeof word; n -= sizeof word, at += sizeof word) {
        memcpy(&word, at, sizeof word);
        hash = (hash ^ word) * 0x9FB21C651E98DF25u;
        hash ^= hash >> 32;
    }
    word = 0;
    memcpy(&word, at, n);
    return pool_hash_mix(hash ^ word);
}

#endif
