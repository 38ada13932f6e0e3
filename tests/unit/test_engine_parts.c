/* The engine's small parts, each against what its header promises: sampling, stop
 * strings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "engine/output.h"
#include "engine/sample.h"

#define N_VOCAB 50

/* ---- sampling -------------------------------------------------------------------------------- */

static void fill_logits(float *logits)
{
    for (size_t i = 0; i < N_VOCAB; i++)
        logits[i] = sinf((float)i * 1.7f) * 3.0f;
}

/* Draws many positions and counts; the caller compares with what the parameters mean. */
static void count_draws(const sampling_params *p, size_t n, size_t *counts)
{
    sampler *s;
    failure fail;
    assert_int_equal(sampler_create(&s, p, N_VOCAB, &fail), OK);
    memset(counts, 0, N_VOCAB * sizeof *counts);
    for (uint64_t position = 0; position < n; position++) {
        float logits[N_VOCAB];
        fill_logits(logits);
        counts[sampler_sample(s, logits, position)]++;
    }
    sampler_destroy(s);
}

static size_t count_kinds(const size_t *counts)
{
    size_t kinds = 0;
    for (size_t i = 0; i < N_VOCAB; i++)
        kinds += counts[i] > 0;
    return kinds;
}

static void test_draws_follow_softmax(void **state)
{
    (void)state;
    sampling_params p = sampling_defaults();
    float logits[N_VOCAB];
    size_t counts[N_VOCAB];
    const size_t n = 200000;
    double total = 0;
    p.seed = 7;
    count_draws(&p, n, counts);
    fill_logits(logits);
    for (size_t i = 0; i < N_VOCAB; i++)
        total += exp((double)logits[i]);
    for (size_t i = 0; i < N_VOCAB; i++) {
        double expected = exp((double)logits[i]) / total;
        double deviation = sqrt(expected * (1 - expected) / (double)n);
        double difference = fabs((double)counts[i] / (double)n - expected);
        assert_true(difference < 5 * deviation + 1e-9);
    }
}

static void test_filters_keep_the_best(void **state)
{
    (void)state;
    sampling_params p = sampling_defaults();
    size_t counts[N_VOCAB];
    float logits[N_VOCAB];
    fill_logits(logits);
    p.top_k = 3;
    count_draws(&p, 20000, counts);
    assert_int_equal(count_kinds(counts), 3);
    for (size_t i = 0; i < N_VOCAB; i++) {
        size_t better = 0;
        for (size_t j = 0; j < N_VOCAB; j++)
            better += logits[j] > logits[i];
        assert_int_equal(counts[i] > 0, better < 3);
    }
    p = sampling_defaults();
    p.top_p = 1e-6f;
    count_draws(&p, 1000, counts);
    assert_int_equal(count_kinds(counts), 1);
    p = sampling_defaults();
    p.min_p = 0.5f;
    count_draws(&p, 20000, counts);
    for (size_t i = 0; i < N_VOCAB; i++) {
        if (counts[i] > 0)
            assert_true(exp((double)logits[i] - 3.0) > 0.49);
    }
}

static void test_argmax_and_exponentials(void **state)
{
    (void)state;
    static float x[10007];
    for (size_t i = 0; i < 10007; i++)
        x[i] = sinf((float)i) * 20.0f;
    x[5000] = x[9001] = 25.0f;
    assert_int_equal(vector_argmax(x, 10007), 5000);
    assert_int_equal(vector_argmax(x, 3), 2);
    const float none[] = {-INFINITY, -INFINITY};
    assert_int_equal(vector_argmax(none, 2), 0);
    double expected = 0;
    for (size_t i = 0; i < 10007; i++)
        expected += exp((double)x[i] - 25.0);
    float third = x[3];
    double total = vector_exponentials(x, 10007, 25.0f);
    assert_true(fabs(total / expected - 1) < 1e-5);
    assert_true(fabs((double)x[3] / exp((double)third - 25.0) - 1) < 1e-5);
}

static void test_random_depends_on_its_arguments_only(void **state)
{
    (void)state;
    double sum = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        double u = random_uniform(1, 0, i);
        assert_true(u >= 0 && u < 1);
        sum += u;
    }
    assert_true(fabs(sum / 100000 - 0.5) < 0.005);
    assert_true(random_uniform(1, 0, 5) == random_uniform(1, 0, 5));
    assert_true(random_uniform(1, 0, 5) != random_uniform(2, 0, 5));
    assert_true(random_uniform(1, 0, 5) != random_uniform(1, 1, 5));
}

static int32_t greedy_after(const sampling_params *p, const int32_t *accepted, size_t n)
{
    sampler *s;
    failure fail;
    float logits[4] = {1.0f, 0.9f, 0.5f, 0.0f};
    assert_int_equal(sampler_create(&s, p, 4, &fail), OK);
    for (size_t i = 0; i < n; i++)
        sampler_accept(s, accepted[i]);
    int32_t token = sampler_sample(s, logits, 0);
    sampler_destroy(s);
    return token;
}

static void test_penalties_and_bias(void **state)
{
    (void)state;
    const int32_t once[] = {0}, often[] = {0, 0, 1};
    const logit_bias bias = {3, 5.0f};
    sampling_params p = sampling_defaults();
    p.temperature = 0;
    assert_int_equal(greedy_after(&p, once, 1), 0);
    p.presence_penalty = 0.2f;
    assert_int_equal(greedy_after(&p, once, 1), 1);
    p.presence_penalty = 0;
    p.frequency_penalty =
        0.08f; /* twice 0.08 is more than the lead of 0.1 over token 1 with its one */
    assert_int_equal(greedy_after(&p, once, 1), 0);
    p.frequency_penalty = 0.3f;
    assert_int_equal(greedy_after(&p, often, 3), 1);
    p = sampling_defaults();
    p.temperature = 0;
    p.repetition_penalty = 1.5f;
    assert_int_equal(greedy_after(&p, once, 1), 1);
    p = sampling_defaults();
    p.temperature = 0;
    p.biases = &bias;
    p.n_biases = 1;
    assert_int_equal(greedy_after(&p, NULL, 0), 3);
}

static void test_sampling_refuses(void **state)
{
    (void)state;
    failure fail;
    sampling_params p = sampling_defaults();
    assert_int_equal(sampling_check(&p, N_VOCAB, &fail), OK);
    p.temperature = -1;
    assert_int_equal(sampling_check(&p, N_VOCAB, &fail), ERR_INVALID);
    assert_non_null(strstr(fail.text, "temperature"));
    p = sampling_defaults();
    p.top_p = NAN;
    assert_int_equal(sampling_check(&p, N_VOCAB, &fail), ERR_INVALID);
    p = sampling_defaults();
    const logit_bias outside = {N_VOCAB, 1};
    p.biases = &outside;
    p.n_biases = 1;
    assert_int_equal(sampling_check(&p, N_VOCAB, &fail), ERR_INVALID);
}

/* ---- stop strings ---------------------------------------------------------------------------- */

static tokenizer *load_words(void)
{
    gguf *file;
    tokenizer *t;
    failure fail;
    if (gguf_open(&file, "tests/golden/data/qwen2.F32.gguf", &fail) != OK)
        fail_msg("%s", fail.text);
    assert_int_equal(tokenizer_load(&t, file, &fail), OK);
    gguf_close(file);
    return t;
}

/* What is shown after each token of `text`, one token a byte or so, must never show a stop's part.
 */
static void check_stop(const tokenizer *t, const char *text, const char *const *stops,
                       size_t n_stops, const char *expected, bool expect_stopped)
{
    output o;
    buffer shown;
    token_list ids = {0};
    failure fail;
    bool stopped = false;
    buffer_init(&shown, 4096);
    assert_int_equal(output_init(&o, t, stops, n_stops, &fail), OK);
    assert_int_equal(tokenizer_encode(t, text, strlen(text), false, false, &ids, &fail), OK);
    for (size_t i = 0; i < ids.length && !stopped; i++) {
        assert_int_equal(output_push(&o, ids.ids[i], &shown, &stopped), OK);
        assert_true(shown.length <= strlen(expected));
    }
    if (!stopped)
        assert_int_equal(output_finish(&o, &shown), OK);
    assert_int_equal(stopped, expect_stopped);
    assert_string_equal(shown.data != NULL ? shown.data : "", expected);
    token_list_free(&ids);
    buffer_free(&shown);
    output_free(&o);
}

static void test_stop_strings(void **state)
{
    (void)state;
    tokenizer *t = load_words();
    const char *const stops[] = {"END", "\n\nQ"};
    check_stop(t, "hello END more", stops, 2, "hello ", true);
    check_stop(t, "hello EN", stops, 2, "hello EN", false);
    check_stop(t, "EEND", stops, 2, "E", true);
    check_stop(t, "a\n\nb\n\nQ: x", stops, 2, "a\n\nb", true);
    check_stop(t, "plain \xe4\xbd\xa0\xe5\xa5\xbd", NULL, 0, "plain \xe4\xbd\xa0\xe5\xa5\xbd",
               false);
    /* A character that the end cuts off is not shown, nor what stands for it. */
    check_stop(t, "plain \xe4\xbd\xa0\xe5\xa5", NULL, 0, "plain \xe4\xbd\xa0", false);
    check_stop(t, "\xf0\x9f\x91", stops, 2, "", false);
    check_stop(t, "EN\xe4", stops, 2, "EN", false);
    tokenizer_destroy(t);
}

static void test_stop_strings_refused(void **state)
{
    (void)state;
    tokenizer *t = load_words();
    const char *const empty[] = {""};
    output o;
    failure fail;
    assert_int_equal(output_init(&o, t, empty, 1, &fail), ERR_INVALID);
    output_free(&o);
    tokenizer_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_draws_follow_softmax),
        cmocka_unit_test(test_filters_keep_the_best),
        cmocka_unit_test(test_argmax_and_exponentials),
        cmocka_unit_test(test_random_depends_on_its_arguments_only),
        cmocka_unit_test(test_penalties_and_bias),
        cmocka_unit_test(test_sampling_refuses),
        cmocka_unit_test(test_stop_strings),
        cmocka_unit_test(test_stop_strings_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
