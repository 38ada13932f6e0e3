/* same_bits_vectors.c: small operations on vectors. */
#include "same_bits.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check_store_f16(const float *x, size_t n)
{
    uint16_t expected[80], out[80];
    kernel_reference.store_f16(expected, x, n);
    bits_add_to_digest(expected, n * sizeof expected[0]);
    for (size_t set = 0; set < bits_n_sets; set++) {
        bits_sets[set]->store_f16(out, x, n);
        bits_check(bits_sets[set], "store_f16", n, 0, out, expected, n, sizeof out[0]);
    }
}

static void check_stores(void)
{
    enum { N = 67 };
    float x[N];
    for (size_t n = 1; n <= N; n++) {
        bits_random_floats(x, n, 70000);
        x[n / 2] = -0.0f;
        check_store_f16(x, n);
    }
    for (size_t round = 0; round < 4000; round++) { /* any bits, NaN too */
        for (size_t i = 0; i < N; i++)
            x[i] = bits_float_of_bits(bits_random_u32());
        check_store_f16(x, N);
    }
    /* Each binary16, the middle to the next one, and both sides of the middle. */
    for (uint32_t half = 0; half < 0x7bff; half += 16) {
        for (uint32_t i = 0; i < 16; i++) {
            float low = f16_to_f32((uint16_t)(half + i)),
                  high = f16_to_f32((uint16_t)(half + i + 1));
            x[4 * i] = low;
            x[4 * i + 1] = low + (high - low) / 2;
            x[4 * i + 2] = nextafterf(x[4 * i + 1], 0);
            x[4 * i + 3] = -nextafterf(x[4 * i + 1], INFINITY);
        }
        check_store_f16(x, 64);
    }
}

static void check_vectors(size_t n, float factor)
{
    float *x = bits_allocate(n * sizeof *x), *y = bits_allocate(n * sizeof *y);
    enum { PARTS = 8 };
    float *expected = bits_allocate(PARTS * n * sizeof *expected);
    float *out = bits_allocate(PARTS * n * sizeof *out);
    bits_random_floats(x, n, factor);
    bits_random_floats(y, n, 1);
    for (size_t set = 0; set <= bits_n_sets; set++) {
        const kernel_set *kernel = set == 0 ? &kernel_reference : bits_sets[set - 1];
        float *to = set == 0 ? expected : out;
        for (size_t part = 0; part < PARTS; part++)
            memcpy(to + part * n, x, n * sizeof *x);
        kernel->rms_norm(to, to, y, n, 1e-6f);
        kernel->add(to + n, y, n);
        kernel->silu_multiply(to + 2 * n, y, n);
        kernel->scale(to + 3 * n, x, 0.3f, n);
        kernel->layer_norm(to + 4 * n, x, y, n, 1e-6f);
        kernel->soft_cap(to + 5 * n, 3, n);
        kernel->gelu_multiply(to + 6 * n, y, n);
        kernel->swiglu_oai_multiply(to + 7 * n, y, n);
        if (set == 0)
            bits_add_to_digest(expected, PARTS * n * sizeof *expected);
        else
            bits_check(kernel, "vector operations", n, 0, out, expected, PARTS * n, sizeof *out);
    }
    free(x);
    free(y);
    free(expected);
    free(out);
}

/* The largest value first, last and in between, and NaN beside it. */
static void check_largest(size_t n)
{
    float x[100];
    bits_random_floats(x, n, 1);
    for (size_t at = 0; at < n; at += n / 5 + 1) {
        x[at] = 3 + (float)at;
        x[(at + 1) % n] = n > 1 ? NAN : x[0];
        float expected = kernel_reference.largest(x, n);
        for (size_t set = 0; set < bits_n_sets; set++) {
            float out = bits_sets[set]->largest(x, n);
            bits_check(bits_sets[set], "largest", n, at, &out, &expected, 1, sizeof out);
        }
    }
}

static void check_rotate(size_t pairs, rotate_layout layout)
{
    float x[200], cosines[100], sines[100], expected[200], out[200];
    bits_random_floats(x, 2 * pairs, 10);
    bits_random_floats(cosines, pairs, 1);
    bits_random_floats(sines, pairs, 1);
    memcpy(expected, x, 2 * pairs * sizeof *x);
    kernel_reference.rotate(expected, cosines, sines, pairs, layout);
    bits_add_to_digest(expected, 2 * pairs * sizeof *x);
    for (size_t set = 0; set < bits_n_sets; set++) {
        memcpy(out, x, 2 * pairs * sizeof *x);
        bits_sets[set]->rotate(out, cosines, sines, pairs, layout);
        bits_check(bits_sets[set], "rotate", pairs, layout, out, expected, 2 * pairs, sizeof *out);
    }
}

void bits_check_vectors(void)
{
    check_stores();
    for (size_t n = 1; n < 70; n++)
        for (int factor = 1; factor <= 100; factor *= 10)
            check_vectors(n, (float)factor);
    check_vectors(100003, 100);
    for (size_t pairs = 1; pairs <= 100; pairs++) {
        check_largest(pairs);
        check_rotate(pairs, ROTATE_ADJACENT);
        check_rotate(pairs, ROTATE_HALVES);
    }
}
