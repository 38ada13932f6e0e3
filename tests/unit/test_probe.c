/* The probe's arithmetic: softmax over labels, entropy in nats, margin, mass outside. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "orchestra/probe.h"

static const char *const labels[] = {"code", "qa", "math", "chat"};

static void assert_near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance))
        fail_msg("%.12g is not %.12g", a, b);
}

static intent read_logits(size_t n, const float *logits, float log_sum_exp)
{
    classification_result c = {
        .state = WORK_FINISHED, .n_labels = n, .log_sum_exp = log_sum_exp, .windowed = true};
    for (size_t i = 0; i < n; i++)
        c.logits[i] = logits[i];
    intent out;
    failure fail;
    assert_int_equal(probe_read(&c, labels, NULL, &out, &fail), OK);
    assert_true(out.known);
    assert_true(out.windowed);
    return out;
}

static void test_even(void **state)
{
    (void)state;
    intent i = read_logits(4, (float[]){3, 3, 3, 3}, 3 + logf(8));
    assert_near(i.entropy, log(4), 1e-12);
    assert_near(i.margin, 0, 1e-12);
    assert_near(i.outside, 0.5, 1e-6);
    assert_int_equal(i.best, 0);
}

static void test_known_numbers(void **state)
{
    (void)state;
    /* p = 0.7, 0.2, 0.1: H = -(0.7 ln 0.7 + 0.2 ln 0.2 + 0.1 ln 0.1) = 0.801818553 nats */
    float logits[] = {logf(0.2f), logf(0.7f), logf(0.1f)};
    intent i = read_logits(3, logits, 0);
    assert_int_equal(i.best, 1);
    assert_string_equal(i.labels[i.best], "qa");
    assert_near(i.probabilities[1], 0.7, 1e-7);
    assert_near(i.entropy, 0.801818553, 1e-7);
    assert_near(i.margin, 0.5, 1e-7);
    assert_near(i.outside, 0, 1e-6);
}

static void test_extremes(void **state)
{
    (void)state;
    intent i = read_logits(2, (float[]){3e38f, -3e38f}, 3e38f);
    assert_true(i.entropy == 0 && !signbit(i.entropy));
    assert_near(i.probabilities[0], 1, 0);
    assert_near(i.margin, 1, 0);
    assert_near(i.outside, 0, 0);
    i = read_logits(2, (float[]){-500, -500}, 0);
    assert_near(i.entropy, log(2), 1e-12);
    assert_near(i.outside, 1, 0);
}

static void test_not_numbers(void **state)
{
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t k = 0; k < 3; k++) {
        classification_result c = {.n_labels = 2, .logits = {1, bad[k]}};
        intent out;
        failure fail;
        assert_int_equal(probe_read(&c, labels, NULL, &out, &fail), ERR_INTERNAL);
        assert_false(out.known);
    }
}

static void test_calibrated(void **state)
{
    (void)state;
    classification_result c = {.state = WORK_FINISHED, .n_labels = 2, .log_sum_exp = 5};
    c.logits[0] = 4;
    c.logits[1] = 0;
    const calibration half = {.n_labels = 2, .scale = {0.5, 0.5}, .bias = {0, 3}};
    intent raw, out;
    assert_int_equal(probe_read(&c, labels, NULL, &raw, NULL), OK);
    assert_int_equal(probe_read(&c, labels, &half, &out, NULL), OK);
    assert_false(raw.calibrated);
    assert_true(out.calibrated);
    /* Log-odds 4 · 0.5 - 3 = -1: another intent, and the rest follows it. */
    double p = 1 / (1 + exp(1));
    assert_int_equal(raw.best, 0);
    assert_int_equal(out.best, 1);
    assert_near(out.probabilities[0], p, 1e-12);
    assert_near(out.margin, 1 - 2 * p, 1e-12);
    assert_near(out.entropy, -p * log(p) - (1 - p) * log(1 - p), 1e-12);
    assert_near(out.outside, raw.outside, 0);
    assert_true(out.logits[0] == 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calibrated),    cmocka_unit_test(test_even),
        cmocka_unit_test(test_known_numbers), cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_not_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
