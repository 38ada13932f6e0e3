/* Quantizing values: errors of the encoders, and what another tool makes of the same. */
#include "quantize_types.h"

enum { N_VALUES = 256 * 400 };

/* ---- errors of the encoders ----------------------------------------------------------------- */

static double uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 11) * 0x1p-53;
}

static float normal(uint64_t *state)
{
    double sum = 0;
    for (int i = 0; i < 12; i++)
        sum += uniform(state);
    return (float)(sum - 6);
}

static void encode_and_decode(tensor_type type, const float *x, float *decoded, size_t n)
{
    const tensor_type_info *info = info_of(type);
    void *blocks = malloc(n / info->block_values * info->block_bytes);
    assert_true(tensor_encode(type, x, blocks, n));
    info->decode(blocks, decoded, n);
    free(blocks);
}

/* Root mean square of what rounding to the nearest of 2^bits evenly spaced values errs on a normal
 * distribution, spaced as well as one spacing for all can be (J. Max, Quantizing for minimum
 * distortion, 1960, table II; 8 bits by the same method). A scale for each block must do better. */
static double one_spacing(tensor_type type)
{
    switch (type) {
    case TENSOR_Q8_0:
        return 0.0103;
    case TENSOR_Q6_K:
        return 0.0323;
    default:
        return 0.1074;
    }
}

static void test_normal_weights(void **state)
{
    (void)state;
    static float x[N_VALUES], decoded[N_VALUES];
    /* What the search reaches, and two per cent. */
    static const double reached[N_TYPES] = {0.00525, 0.01664, 0.0705, 0.0795};
    uint64_t random = 1;
    for (size_t i = 0; i < N_VALUES; i++)
        x[i] = 0.02f * normal(&random);
    for (size_t t = 0; t < N_TYPES; t++) {
        encode_and_decode(types[t], x, decoded, N_VALUES);
        double error = relative_error(x, decoded, N_VALUES);
        printf("  %s: relative error %.5f of normal weights\n", info_of(types[t])->name, error);
        assert_true(error < one_spacing(types[t]));
        assert_true(error < 1.02 * reached[t]);
    }
}

/* With the extreme value of a block at the end of the range, and no search. */
static double plain_q4_0(const float *x)
{
    float extreme = 0, error = 0;
    for (size_t i = 0; i < 32; i++)
        extreme = fabsf(x[i]) > fabsf(extreme) ? x[i] : extreme;
    float d = f16_to_f32(f32_to_f16(extreme / -8));
    for (size_t i = 0; i < 32; i++) {
        float q = d == 0 ? 0 : fminf(7, rintf(x[i] / d));
        error += (x[i] - d * q) * (x[i] - d * q);
    }
    return (double)error;
}

static void test_search_never_loses(void **state)
{
    (void)state;
    uint64_t random = 5;
    for (int block = 0; block < 2000; block++) {
        float x[32], decoded[32];
        double squares = 0;
        for (size_t i = 0; i < 32; i++) {
            x[i] = normal(&random) * (block % 3 == 0 ? normal(&random) : 1);
            squares += (double)x[i] * (double)x[i];
        }
        encode_and_decode(TENSOR_Q4_0, x, decoded, 32);
        double error = relative_error(x, decoded, 32);
        assert_true(error * error * squares <= plain_q4_0(x) * 1.0001);
    }
}

static void test_bound_of_q8_0(void **state)
{
    (void)state;
    uint64_t random = 9;
    for (int block = 0; block < 2000; block++) {
        float x[32], decoded[32], most = 0;
        for (size_t i = 0; i < 32; i++) {
            x[i] = normal(&random);
            most = fmaxf(most, fabsf(x[i]));
        }
        encode_and_decode(TENSOR_Q8_0, x, decoded, 32);
        for (size_t i = 0; i < 32; i++) /* half a step; the scale itself is off by 2^-11 */
            assert_true(fabsf(decoded[i] - x[i]) <= most / 127 * 0.5f + most * 0x1p-11f);
    }
}

static void fill_odd(float x[256], int kind)
{
    uint64_t random = 3;
    for (size_t i = 0; i < 256; i++) {
        float n = normal(&random);
        const float values[] = {0,
                                1,
                                -1,
                                0.5f * (float)(i % 2),
                                n + 10,
                                n - 10,
                                n * 1e-6f,
                                i == 77 ? 100 : n,
                                fabsf(n),
                                -fabsf(n),
                                i < 32 ? n : 0,
                                i / 32 % 2 == 0 ? n : n * 1e-3f,
                                65504 * (i % 2 == 0 ? 1 : -1),
                                n * 1e-4f};
        x[i] = values[kind];
    }
}

/* The most that may be lost, per type: ten per cent above what the search reaches. A type without
 * minima spends half of its range on nothing where all values are far from zero, and weights of
 * 1e-6 need scales below the smallest that f16 has: those become zeros at worst. */
static void test_odd_weights(void **state)
{
    (void)state;
    static const double most[14][N_TYPES] = {
        {0, 0, 0, 0},                /* zeros */
        {3e-4, 3e-4, 3e-4, 3e-4},    /* ones */
        {3e-4, 3e-4, 3e-4, 3e-4},    /* minus ones */
        {3e-4, 3e-4, 3e-4, 3e-4},    /* halves and zeros */
        {.0031, .0095, .0235, .042}, /* far above zero */
        {.0031, .0092, .0083, .041}, /* far below zero: the minima take it */
        {1, 1, 1, .11},              /* 1e-6 */
        {.013, .035, .059, .059},    /* an outlier */
        {.0065, .019, .052, .102},   /* no negative value */
        {.0065, .019, .052, .102},   /* no positive value */
        {.0065, .0175, .09, .097},   /* one block of eight */
        {.0072, .0195, .088, .114},  /* blocks of very different size */
        {5e-4, 3e-4, 6e-4, 3e-4},    /* the largest there are */
        {.007, .019, .08, .1},       /* 1e-4 */
    };
    for (int kind = 0; kind < 14; kind++)
        for (size_t t = 0; t < N_TYPES; t++) {
            float x[256], decoded[256];
            fill_odd(x, kind);
            encode_and_decode(types[t], x, decoded, 256);
            double error = relative_error(x, decoded, 256);
            if (!(error <= most[kind][t]))
                fail_msg("kind %d, %s: relative error %g", kind, info_of(types[t])->name, error);
        }
}

static void test_values_that_cannot_be(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY, 65536, -1e30f};
    for (size_t t = 0; t < N_TYPES; t++)
        for (size_t i = 0; i < 5; i++) {
            float x[256] = {0};
            uint8_t blocks[2048];
            x[200] = bad[i];
            assert_false(tensor_encode(types[t], x, blocks, 256));
        }
    assert_false(tensor_can_encode(TENSOR_F16));
    assert_false(tensor_encode(TENSOR_BF16, &(float){1}, &(float){0}, 1));
}

/* ---- beside a well-known tool --------------------------------------------------------------- */

static void compare_files(const gguf *original, tensor_type type, const char *path)
{
    failure fail;
    gguf *theirs;
    double our_error = 0, their_error = 0, squares = 0;
    if (gguf_open(&theirs, path, &fail) != OK)
        fail_msg("%s", fail.text);
    for (size_t i = 0; i < gguf_tensor_count(original); i++) {
        const gguf_tensor *x = gguf_tensor_at(original, i);
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)x->name.length, x->name.data);
        const gguf_tensor *y = gguf_tensor_find(theirs, name);
        if (y == NULL || y->type->type != type)
            continue;
        size_t n = (size_t)(x->dims[0] * x->dims[1]);
        float *values = malloc(n * sizeof *values), *a = malloc(n * sizeof *a),
              *b = malloc(n * sizeof *b);
        x->type->decode(x->data, values, n);
        encode_and_decode(type, values, a, n);
        y->type->decode(y->data, b, n);
        for (size_t k = 0; k < n; k++) {
            our_error += pow((double)a[k] - (double)values[k], 2);
            their_error += pow((double)b[k] - (double)values[k], 2);
            squares += pow((double)values[k], 2);
        }
        free(values);
        free(a);
        free(b);
    }
    assert_true(squares > 0);
    printf("  %s: relative error %.5f, another tool's %.5f\n", info_of(type)->name,
           sqrt(our_error / squares), sqrt(their_error / squares));
    assert_true(our_error <= 1.005 * their_error);
    gguf_close(theirs);
}

static void test_beside_another_tool(void **state)
{
    (void)state;
    static const char *const files[N_TYPES] = {SHARED "llama.Q8_0.gguf", SHARED "llama.Q6_K.gguf",
                                               SHARED "llama.Q4_K_M.gguf",
                                               SHARED "llama.Q4_0.gguf"};
    gguf *original;
    if (gguf_open(&original, SHARED "llama.F32.gguf", NULL) != OK) {
        printf("  skipped: %s is not here\n", SHARED);
        skip();
    }
    for (size_t t = 0; t < N_TYPES; t++)
        compare_files(original, types[t], files[t]);
    gguf_close(original);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normal_weights),        cmocka_unit_test(test_search_never_loses),
        cmocka_unit_test(test_bound_of_q8_0),         cmocka_unit_test(test_odd_weights),
        cmocka_unit_test(test_values_that_cannot_be), cmocka_unit_test(test_beside_another_tool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
