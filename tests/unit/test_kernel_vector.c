/* test_kernel_vector.c: the small vector operations, by every kernel. */
#include "kernel_test.h"

static void check_vectors(size_t n)
{
    float *x = checked_alloc(n, sizeof(float)), *y = checked_alloc(n, sizeof(float));
    float *out = checked_alloc(n, sizeof(float));
    random_floats(x, n);
    random_floats(y, n);
    double squares = 0;
    for (size_t i = 0; i < n; i++)
        squares += (double)x[i] * (double)x[i];
    double scale = 1 / sqrt(squares / (double)n + 1e-5);
    vector_rms_norm(out, x, y, n, 1e-5f);
    for (size_t i = 0; i < n; i++)
        assert_true(fabs((double)out[i] - (double)x[i] * scale * (double)y[i]) <=
                    3e-7 * fabs((double)x[i] * scale * (double)y[i]));
    memcpy(out, x, n * sizeof *x);
    vector_rms_norm(out, out, y, n, 1e-5f); /* in place */
    vector_add(out, y, n);
    for (size_t i = 0; i < n; i++) {
        float normed = x[i] * (float)scale * y[i];
        assert_true(fabsf(out[i] - (normed + y[i])) <= 1e-6f);
    }
    for (size_t i = 0; i < n; i++)
        x[i] *= i % 3 == 0 ? 200 : 10;
    memcpy(out, x, n * sizeof *x);
    vector_silu_multiply(out, y, n);
    for (size_t i = 0; i < n; i++) {
        double expected = (double)x[i] / (1 + exp(-(double)x[i])) * (double)y[i];
        assert_true(fabs((double)out[i] - expected) <= 4e-7 * fabs(expected) + 1e-30);
    }
    free(x);
    free(y);
    free(out);
}

/* f64 of each gate, times up. */
static double gelu_double(double g, double u)
{
    return g / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (g + 0.044715 * g * g * g))) * u;
}

static double swiglu_oai_double(double g, double u)
{
    g = fmin(g, 7);
    return g / (1 + exp(-1.702 * g)) * (fmax(-7, fmin(u, 7)) + 1);
}

/* The gates over the range in which they bend, and far beyond; 1 + tanh(…) loses what is small, so
 * gelu is compared where that is not all of it. */
static void check_gates(size_t n)
{
    float *x = checked_alloc(n, sizeof(float)), *y = checked_alloc(n, sizeof(float));
    float *gelu = checked_alloc(n, sizeof(float)), *swiglu = checked_alloc(n, sizeof(float));
    random_floats(x, n);
    random_floats(y, n);
    for (size_t i = 0; i < n; i++) {
        x[i] *= i % 5 == 0 ? 1e4f : i % 5 == 1 ? 0.01f : 9;
        y[i] *= i % 4 == 0 ? 100 : 5;
    }
    memcpy(gelu, x, n * sizeof *x);
    memcpy(swiglu, x, n * sizeof *x);
    vector_gelu_multiply(gelu, y, n);
    vector_swiglu_oai_multiply(swiglu, y, n);
    for (size_t i = 0; i < n; i++) {
        double g = gelu_double((double)x[i], (double)y[i]);
        double s = swiglu_oai_double((double)x[i], (double)y[i]);
        assert_true(fabs((double)gelu[i] - g) <= 1e-6 * fabs(g) + 1e-9 * fabs((double)y[i]));
        assert_true(fabs((double)swiglu[i] - s) <= 2e-6 * fabs(s) + 1e-30);
    }
    free(x);
    free(y);
    free(gelu);
    free(swiglu);
}

static void check_layer_norm(size_t n, float offset)
{
    float *x = checked_alloc(n, sizeof(float)), *y = checked_alloc(n, sizeof(float));
    float *out = checked_alloc(n, sizeof(float));
    double mean = 0, variance = 0;
    random_floats(x, n);
    random_floats(y, n);
    for (size_t i = 0; i < n; i++)
        x[i] += offset;
    for (size_t i = 0; i < n; i++)
        mean += (double)x[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        variance += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
    memcpy(out, x, n * sizeof *x);
    vector_layer_norm(out, out, y, n, 1e-5f); /* in place */
    for (size_t i = 0; i < n; i++) {
        double expected = ((double)x[i] - mean) / sqrt(variance + (double)1e-5f) * (double)y[i];
        assert_true(fabs((double)out[i] - expected) <= 3e-7 * fabs(expected) + 1e-12);
    }
    free(x);
    free(y);
    free(out);
}

static void test_vectors(void **state)
{
    (void)state;
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        use_kernel(*name);
        for (size_t n = 1; n < 70; n++)
            check_vectors(n);
        check_vectors(4096);
    }
}

static void test_gates_and_norms(void **state)
{
    (void)state;
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        use_kernel(*name);
        for (size_t n = 1; n < 70; n++) {
            check_gates(n);
            check_layer_norm(n, n % 2 == 0 ? 0 : 100);
        }
        check_gates(4096);
        check_layer_norm(4099, 3);
    }
}

static double relative_to(double got, double expected)
{
    return expected == 0 ? fabs(got) : fabs(got / expected - 1);
}

/* exp and tanh over their whole range, by way of what uses them, within 1e-6 of libm's. */
static void test_transcendentals(void **state)
{
    (void)state;
    enum { N = 1 << 16 };
    float *x = checked_alloc(N, sizeof(float)), *out = checked_alloc(N, sizeof(float));
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        use_kernel(*name);
        for (size_t i = 0; i < N; i++) { /* both signs, from 2^-30 to 2^10 */
            float magnitude = exp2f((float)(i / 2) * (40.0f / (N / 2)) - 30);
            x[i] = i % 2 == 0 ? magnitude : -magnitude;
        }
        for (int cap = 1; cap <= 50; cap += 49) {
            memcpy(out, x, N * sizeof *x);
            vector_soft_cap(out, (float)cap, N);
            for (size_t i = 0; i < N; i++) {
                double expected = cap * tanh((double)(x[i] / (float)cap));
                if (relative_to((double)out[i], expected) > 5e-7)
                    fail_msg("%s: %d · tanh(%a / %d) = %a", *name, cap, (double)x[i], cap,
                             (double)out[i]);
                assert_true(fabsf(out[i]) <= (float)cap);
            }
        }
        for (size_t i = 0; i < N; i++)
            x[i] = -86.9f * (float)i / N;
        memcpy(out, x, N * sizeof *x);
        vector_exponentials(out, N, 0);
        for (size_t i = 0; i < N; i++)
            assert_true(relative_to((double)out[i], exp((double)x[i])) <= 1e-6);
        float ends[] = {0, -0.0f, INFINITY, -INFINITY, NAN, 3e38f, 1e-40f};
        vector_soft_cap(ends, 30, sizeof ends / sizeof ends[0]);
        assert_true(ends[0] == 0 && !signbit(ends[0]) && ends[1] == 0 && signbit(ends[1]));
        assert_true(ends[2] == 30 && ends[3] == -30 && isnan(ends[4]) && ends[5] == 30);
        assert_true(ends[6] > 0.99e-40f && ends[6] < 1.01e-40f);
    }
    free(x);
    free(out);
}

static void test_scale(void **state)
{
    (void)state;
    float x[37], out[37];
    random_floats(x, 37);
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        use_kernel(*name);
        memcpy(out, x, sizeof x);
        vector_scale(out, -0.3f, 37);
        for (size_t i = 0; i < 37; i++)
            assert_true(out[i] == x[i] * -0.3f);
    }
}

static void test_vectors_same_bits(void **state)
{
    (void)state;
    enum { N = 331 };
    float x[N], y[N], expected[7][N], out[7][N];
    random_floats(x, N);
    random_floats(y, N);
    for (size_t i = 0; i < N; i++)
        x[i] *= 30;
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        for (int pass = 0; pass < 2; pass++) {
            use_kernel(pass == 0 ? "reference" : *name);
            float(*to)[N] = pass == 0 ? expected : out;
            vector_rms_norm(to[0], x, y, N, 1e-6f);
            memcpy(to[1], x, sizeof x);
            vector_silu_multiply(to[1], y, N);
            memcpy(to[2], x, sizeof x);
            vector_add(to[2], y, N);
            memcpy(to[3], x, sizeof x);
            vector_gelu_multiply(to[3], y, N);
            memcpy(to[4], x, sizeof x);
            vector_swiglu_oai_multiply(to[4], y, N);
            memcpy(to[5], x, sizeof x);
            vector_soft_cap(to[5], 7, N);
            vector_layer_norm(to[6], x, y, N, 1e-6f);
        }
        assert_memory_equal(out, expected, sizeof out);
    }
}

/* The same as one pair after the other, and nothing beyond the pairs is touched. */
static void check_rotate(size_t pairs, rotate_layout layout)
{
    enum { MOST = 70, AFTER = 16 };
    float x[2 * MOST + AFTER], out[2 * MOST + AFTER], cosines[MOST], sines[MOST];
    random_floats(x, 2 * MOST + AFTER);
    random_floats(cosines, MOST);
    random_floats(sines, MOST);
    memcpy(out, x, sizeof x);
    vector_rotate(out, cosines, sines, pairs, layout);
    for (size_t i = 0; i < pairs; i++) {
        size_t a = layout == ROTATE_ADJACENT ? 2 * i : i;
        size_t b = layout == ROTATE_ADJACENT ? a + 1 : i + pairs;
        float first[2] = {x[a] * cosines[i], x[b] * sines[i]};
        float second[2] = {x[b] * cosines[i], x[a] * sines[i]};
        assert_true(out[a] == first[0] - first[1]);
        assert_true(out[b] == second[0] + second[1]);
    }
    assert_memory_equal(out + 2 * pairs, x + 2 * pairs, sizeof x - 2 * pairs * sizeof *x);
}

static void test_rotate(void **state)
{
    (void)state;
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        use_kernel(*name);
        for (size_t pairs = 1; pairs <= 70; pairs++) {
            check_rotate(pairs, ROTATE_ADJACENT);
            check_rotate(pairs, ROTATE_HALVES);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),           cmocka_unit_test(test_gates_and_norms),
        cmocka_unit_test(test_transcendentals),   cmocka_unit_test(test_scale),
        cmocka_unit_test(test_vectors_same_bits), cmocka_unit_test(test_rotate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
