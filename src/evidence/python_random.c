/* python_random.c: MT19937 and Python's ways to make integers, samples and shuffles of it. */
#include "evidence/python_random.h"

#include <stdbool.h>

#define N 624
#define M 397

/* ---- the generator -------------------------------------------------------------------------- */

static void fill(python_random *r, uint32_t seed)
{
    r->state[0] = seed;
    for (uint32_t i = 1; i < N; i++)
        r->state[i] = UINT32_C(1812433253) * (r->state[i - 1] ^ r->state[i - 1] >> 30) + i;
    r->next = N;
}

/* The reference's init_by_array over the seed's 32-bit digits, as the module calls it. */
void python_random_seed(python_random *r, uint64_t seed)
{
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    size_t n_keys = key[1] != 0 ? 2 : 1, i = 1, j = 0;
    uint32_t *s = r->state;
    fill(r, UINT32_C(19650218));
    for (size_t k = N; k > 0; k--) {
        s[i] = (s[i] ^ (s[i - 1] ^ s[i - 1] >> 30) * UINT32_C(1664525)) + key[j] + (uint32_t)j;
        j = (j + 1) % n_keys;
        if (++i == N) {
            s[0] = s[N - 1];
            i = 1;
        }
    }
    for (size_t k = N - 1; k > 0; k--) {
        s[i] = (s[i] ^ (s[i - 1] ^ s[i - 1] >> 30) * UINT32_C(1566083941)) - (uint32_t)i;
        if (++i == N) {
            s[0] = s[N - 1];
            i = 1;
        }
    }
    s[0] = UINT32_C(0x80000000);
}

static void twist(python_random *r)
{
    uint32_t *s = r->state;
    for (size_t i = 0; i < N; i++) {
        uint32_t y = (s[i] & UINT32_C(0x80000000)) | (s[(i + 1) % N] & UINT32_C(0x7fffffff));
        s[i] = s[(i + M) % N] ^ y >> 1 ^ ((y & 1) != 0 ? UINT32_C(0x9908b0df) : 0);
    }
    r->next = 0;
}

static uint32_t next_word(python_random *r)
{
    if (r->next == N)
        twist(r);
    uint32_t y = r->state[r->next++];
    y ^= y >> 11;
    y ^= y << 7 & UINT32_C(0x9d2c5680);
    y ^= y << 15 & UINT32_C(0xefc60000);
    return y ^ y >> 18;
}

/* ---- what the module makes of it -------------------------------------------------------------
 */

double python_random_real(python_random *r)
{
    uint32_t a = next_word(r) >> 5, b = next_word(r) >> 6;
    return (a * 67108864.0 + b) / 9007199254740992.0;
}

size_t python_random_below(python_random *r, size_t n)
{
    unsigned bits = 0;
    for (size_t rest = n; rest > 0; rest >>= 1)
        bits++;
    for (;;) {
        size_t value = next_word(r) >> (32 - bits);
        if (value < n)
            return value;
    }
}

long python_random_between(python_random *r, long low, long high)
{
    return low + (long)python_random_below(r, (size_t)(high - low + 1));
}

static bool is_among(const size_t *list, size_t n, size_t value)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == value)
            return true;
    return false;
}

/* The module takes from a shrinking pool where that is smaller than a set of k would be. */
static bool takes_from_pool(size_t n, size_t k)
{
    size_t set = 21;
    if (k > 5) {
        size_t table = 1;
        while (table < 3 * k)
            table *= 4;
        set += table;
    }
    return n <= set;
}

void python_random_sample(python_random *r, size_t n, size_t k, size_t *out)
{
    size_t pool[128];
    bool from_pool = takes_from_pool(n, k) && n <= sizeof pool / sizeof pool[0];
    for (size_t i = 0; from_pool && i < n; i++)
        pool[i] = i;
    for (size_t i = 0; i < k; i++) {
        if (from_pool) {
            size_t j = python_random_below(r, n - i);
            out[i] = pool[j];
            pool[j] = pool[n - i - 1];
            continue;
        }
        do
            out[i] = python_random_below(r, n);
        while (is_among(out, i, out[i]));
    }
}

void python_random_shuffle(python_random *r, size_t *items, size_t n)
{
    for (size_t i = n; i-- > 1;) {
        size_t j = python_random_below(r, i + 1), kept = items[i];
        items[i] = items[j];
        items[j] = kept;
    }
}
