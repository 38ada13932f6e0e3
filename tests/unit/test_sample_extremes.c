/* Every sampling setting at its extremes, alone and in pairs, over logits that no sound model
 * computes: a refusal, or a token of the vocabulary; the largest logit's where only one token can
 * be meant. What is read before or after an array shows under make SANITIZE=address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/sample.h"
#include "kernel/kernel.h"

enum { MOST_LOGITS = 200, POSITIONS = 3 };

/* ---- settings -------------------------------------------------------------------------------- */

typedef enum field {
    TEMPERATURE,
    TOP_K,
    TOP_P,
    MIN_P,
    REPETITION,
    PRESENCE,
    FREQUENCY,
    BIAS,
    FIELDS
} field;

static const double extremes[FIELDS][14] = {
    [TEMPERATURE] = {0, -0.0, 1e-45, 1e-39, 1.1754944e-38, 1e-37, 1e-20, 1e-6, 1, 100, 1e30,
                     INFINITY, NAN, -1},
    [TOP_K] = {0, 1, 2, 199, 200, 201, 1e6, 4294967295.0, 0, 0, 0, 0, 0, 0},
    [TOP_P] = {0, 1e-45, 1e-9, 1e-6, 1.0001e-6, 0.5, 0.99999994, 1, 1.0000001, -1, INFINITY, NAN, 1,
               1},
    [MIN_P] = {0, 1e-45, 1e-9, 0.5, 0.99999994, 1, 1.0000001, -1e-9, INFINITY, NAN, 0, 0, 0, 0},
    [REPETITION] = {0, 1e-45, 0.01, 0.99999994, 1, 100, 1e30, -1, INFINITY, NAN, 1, 1, 1, 1},
    [PRESENCE] = {-2, 2, 2.0000002, 1e30, INFINITY, NAN, 1e-45, 0, 0, 0, 0, 0, 0, 0},
    [FREQUENCY] = {-2, 2, 2.0000002, 1e30, INFINITY, NAN, 1e-45, 0, 0, 0, 0, 0, 0, 0},
    [BIAS] = {-100, 100, 100.00001, 1e30, INFINITY, -INFINITY, NAN, 1e-45, 0, 0, 0, 0, 0, 0},
};
enum { EXTREMES = sizeof extremes[0] / sizeof extremes[0][0] };

static logit_bias bias;

static void set_field(sampling_params *p, field which, double value)
{
    switch (which) {
    case TEMPERATURE:
        p->temperature = (float)value;
        break;
    case TOP_K:
        p->top_k = (uint32_t)value;
        break;
    case TOP_P:
        p->top_p = (float)value;
        break;
    case MIN_P:
        p->min_p = (float)value;
        break;
    case REPETITION:
        p->repetition_penalty = (float)value;
        break;
    case PRESENCE:
        p->presence_penalty = (float)value;
        break;
    case FREQUENCY:
        p->frequency_penalty = (float)value;
        break;
    case BIAS:
        bias = (logit_bias){1, (float)value};
        p->biases = &bias;
        p->n_biases = 1;
        break;
    case FIELDS:
        break;
    }
}

/* ---- logits ---------------------------------------------------------------------------------- */

typedef enum shape {
    EQUAL,
    ALL_ZERO,
    WAVES,
    DENORMAL,
    HUGE_VALUES,
    HUGE_NEGATIVE,
    FARTHEST_APART,
    ONE_INFINITE,
    ONE_NEGATIVE_INFINITE,
    ALL_NEGATIVE_INFINITE,
    ONE_NAN,
    FIRST_NAN,
    ALL_NAN,
    INFINITE_AND_NAN,
    SHAPES
} shape;

static const size_t lengths[] = {1, 2, 63, 64, 65, MOST_LOGITS};

static float logit_of(shape which, size_t i, size_t n)
{
    float wave = sinf((float)i * 1.7f);
    bool middle = i == n / 2;
    switch (which) {
    case EQUAL:
        return 3;
    case ALL_ZERO:
        return i % 2 == 0 ? 0.0f : -0.0f;
    case DENORMAL:
        return (float)(i % 7) * 1e-45f;
    case HUGE_VALUES:
        return wave * FLT_MAX;
    case HUGE_NEGATIVE:
        return -FLT_MAX + (float)i * 1e32f;
    case FARTHEST_APART:
        return middle ? FLT_MAX : -FLT_MAX;
    case ONE_INFINITE:
        return middle ? INFINITY : wave;
    case ONE_NEGATIVE_INFINITE:
        return middle ? -INFINITY : wave;
    case ALL_NEGATIVE_INFINITE:
        return -INFINITY;
    case ONE_NAN:
        return middle ? NAN : wave;
    case FIRST_NAN:
        return i == 0 ? NAN : wave;
    case ALL_NAN:
        return NAN;
    case INFINITE_AND_NAN:
        return middle ? INFINITY : i == 0 ? NAN : wave;
    case WAVES:
    case SHAPES:
        break;
    }
    return wave * 3;
}

static size_t n_tried, n_refused;

/* Below this nothing but the largest logit can be meant: others differ from it by 1e-6 or more. */
#define COLD 1e-7f

static bool is_plain(const sampling_params *p)
{
    return p->repetition_penalty == 1 && p->presence_penalty == 0 && p->frequency_penalty == 0 &&
           p->n_biases == 0;
}

static void try_shape(sampler *s, const sampling_params *p, shape which, size_t n)
{
    float logits[MOST_LOGITS], copy[MOST_LOGITS];
    for (size_t i = 0; i < n; i++)
        logits[i] = logit_of(which, i, n);
    size_t best = vector_argmax(logits, n);
    for (uint64_t position = 0; position < POSITIONS; position++) {
        memcpy(copy, logits, n * sizeof *copy);
        int32_t token = sampler_sample(s, copy, position);
        if (token < 0 || (size_t)token >= n)
            fail_msg("shape %d, %zu logits: token %d", which, n, token);
        bool only_one = p->temperature < COLD || p->top_k == 1 || p->min_p == 1;
        bool apart = which != DENORMAL && which != EQUAL && which != ALL_ZERO;
        if (only_one && apart && is_plain(p) && (size_t)token != best)
            fail_msg("shape %d, %zu logits, temperature %g, top_k %u, top_p %g, min_p %g: token %d "
                     "instead of %zu",
                     which, n, (double)p->temperature, p->top_k, (double)p->top_p, (double)p->min_p,
                     token, best);
        n_tried++;
    }
}

static void try_settings(const sampling_params *p)
{
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        failure why = {0};
        sampler *s;
        if (sampling_check(p, lengths[i] > 1 ? lengths[i] : 2, &why) != OK) {
            assert_int_equal(why.code, ERR_INVALID);
            n_refused++;
            return;
        }
        size_t n = lengths[i];
        if (n == 1 && p->n_biases > 0)
            continue; /* its token is not in this vocabulary */
        assert_int_equal(sampler_create(&s, p, n, &why), OK);
        for (int32_t token = 0; token < (int32_t)n && token < 3; token++) {
            sampler_see_prompt(s, token);
            sampler_accept(s, token);
        }
        for (int which = 0; which < SHAPES; which++)
            try_shape(s, p, (shape)which, n);
        sampler_destroy(s);
    }
}

/* A field beside itself is that field alone; temperatures above 1 flatten everything. */
static void try_pair(field a, field b)
{
    for (size_t i = 0; i < EXTREMES; i++)
        for (size_t k = 0; k < (a == b ? 1 : EXTREMES); k++) {
            sampling_params p = sampling_defaults();
            if (a != b)
                set_field(&p, b, extremes[b][k]);
            set_field(&p, a, extremes[a][i]);
            try_settings(&p);
        }
}

static void test_extremes_in_pairs(void **state)
{
    (void)state;
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        n_tried = n_refused = 0;
        assert_int_equal(kernel_init(*name, NULL), OK);
        for (int a = 0; a < FIELDS; a++)
            for (int b = a; b < FIELDS; b++)
                try_pair((field)a, (field)b);
        printf("  %s: %zu samples, %zu settings refused\n", *name, n_tried, n_refused);
        assert_true(n_tried > 100000 && n_refused > 1000);
    }
    assert_int_equal(kernel_init(NULL, NULL), OK);
}

/* Not numbers, and beyond what a float or a distribution can say. */
static void test_refused_at_entry(void **state)
{
    (void)state;
    static const struct {
        field which;
        double value;
    } wrong[] = {{TEMPERATURE, NAN},  {TEMPERATURE, INFINITY},
                 {TEMPERATURE, 1e30}, {TEMPERATURE, -1},
                 {TOP_P, 0},          {TOP_P, 1e-9},
                 {TOP_P, NAN},        {MIN_P, -1e-9},
                 {MIN_P, INFINITY},   {MIN_P, NAN},
                 {REPETITION, 0},     {REPETITION, NAN},
                 {PRESENCE, NAN},     {FREQUENCY, INFINITY},
                 {BIAS, NAN},         {BIAS, -INFINITY}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        failure why = {0};
        sampling_params p = sampling_defaults();
        set_field(&p, wrong[i].which, wrong[i].value);
        if (sampling_check(&p, 8, &why) != ERR_INVALID)
            fail_msg("setting %d: %g passed", wrong[i].which, wrong[i].value);
        assert_true(strlen(why.text) > 0);
    }
}

/* What a message says is allowed is allowed. */
static void test_limits_are_taken(void **state)
{
    (void)state;
    static const double limits[FIELDS][2] = {
        [TEMPERATURE] = {0, 100}, [TOP_K] = {0, 4294967295.0}, [TOP_P] = {1e-6, 1},
        [MIN_P] = {0, 1},         [REPETITION] = {0.01, 100},  [PRESENCE] = {-2, 2},
        [FREQUENCY] = {-2, 2},    [BIAS] = {-100, 100}};
    for (int which = 0; which < FIELDS; which++)
        for (int end = 0; end < 2; end++) {
            failure why = {0};
            sampling_params p = sampling_defaults();
            set_field(&p, (field)which, limits[which][end]);
            if (sampling_check(&p, 8, &why) != OK)
                fail_msg("%s", why.text);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_extremes_in_pairs),
        cmocka_unit_test(test_refused_at_entry),
        cmocka_unit_test(test_limits_are_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
