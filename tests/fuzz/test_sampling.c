/* Sampling with numbers at random, most of them bit patterns: settings are refused, or a token of
 * the vocabulary comes of any logits, the same one again (run it with a sanitizer). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#include "engine/sample.h"
#include "fuzz/texts.h"
#include "kernel/kernel.h"

enum { MOST_LOGITS = 300, MOST_BIASES = 4 };

static long rounds;
static size_t n_refused, n_sampled;

static float any_float(void)
{
    uint32_t bits = draw(UINT32_MAX);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Of a range, at one of its ends, or anything. */
static float number(float low, float high)
{
    switch (draw(8)) {
    case 0:
        return any_float();
    case 1:
        return low;
    case 2:
        return nextafterf(low, INFINITY);
    case 3:
        return nextafterf(high, -INFINITY);
    case 4:
        return high;
    default:
        return low + (high - low) * ((float)draw(1 << 20) / (1 << 20));
    }
}

static void draw_settings(sampling_params *p, logit_bias biases[MOST_BIASES], size_t n)
{
    *p = sampling_defaults();
    p->temperature = draw(4) == 0 ? ldexpf(1, -(int)draw(150)) : number(0, 2);
    if (draw(2) == 0)
        p->top_k = draw(3) == 0 ? draw(UINT32_MAX) : draw((uint32_t)n + 2);
    if (draw(2) == 0)
        p->top_p = number(0, 1);
    if (draw(2) == 0)
        p->min_p = number(0, 1);
    if (draw(4) == 0)
        p->repetition_penalty = number(0, 2);
    if (draw(4) == 0)
        p->presence_penalty = number(-2, 2);
    if (draw(4) == 0)
        p->frequency_penalty = number(-2, 2);
    p->seed = draw(UINT32_MAX);
    p->n_biases = draw(4) == 0 ? draw(MOST_BIASES + 1) : 0;
    p->biases = biases;
    for (size_t i = 0; i < p->n_biases; i++)
        biases[i] = (logit_bias){(int32_t)draw((uint32_t)n + 1), number(-100, 100)};
}

/* Of one size, a few sizes, or nothing that a sound model computes. */
static void draw_logits(float *logits, size_t n)
{
    uint32_t kind = draw(5);
    float scale = draw(4) == 0 ? any_float() : ldexpf(1, (int)draw(20) - 10);
    for (size_t i = 0; i < n; i++)
        logits[i] = kind == 0   ? any_float()
                    : kind == 1 ? scale
                    : kind == 2 ? scale * (float)draw(4)
                                : scale * ((float)draw(1 << 20) / (1 << 19) - 1);
    if (kind == 4)
        logits[draw((uint32_t)n)] = any_float();
}

static void sample_once(void)
{
    float logits[MOST_LOGITS], again[MOST_LOGITS];
    logit_bias biases[MOST_BIASES];
    sampling_params p;
    sampler *s;
    failure why = {0};
    size_t n = 2 + draw(draw(4) == 0 ? MOST_LOGITS - 1 : 70);
    draw_settings(&p, biases, n);
    if (sampling_check(&p, n, &why) != OK) {
        assert_int_equal(why.code, ERR_INVALID);
        assert_true(why.text[0] != '\0');
        n_refused++;
        return;
    }
    assert_int_equal(sampler_create(&s, &p, n, &why), OK);
    for (uint32_t i = draw(6); i > 0; i--) {
        sampler_see_prompt(s, (int32_t)draw((uint32_t)n));
        sampler_accept(s, (int32_t)draw((uint32_t)n));
    }
    draw_logits(logits, n);
    memcpy(again, logits, n * sizeof *again);
    uint64_t position = draw(1 << 20);
    int32_t token = sampler_sample(s, logits, position);
    assert_true(token >= 0 && (size_t)token < n);
    assert_int_equal(sampler_sample(s, again, position), token);
    sampler_destroy(s);
    n_sampled++;
}

static void test_random_settings(void **state)
{
    (void)state;
    for (long round = 0; round < rounds; round++)
        sample_once();
    printf("%ld settings: %zu sampled, %zu refused\n", rounds, n_sampled, n_refused);
    assert_true(rounds < 1000 || (n_sampled > 100 && n_refused > 100));
}

int main(int argc, char **argv)
{
    rounds = rounds_asked(argc, argv, 100000);
    if (kernel_init(NULL, NULL) != OK)
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_settings)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
