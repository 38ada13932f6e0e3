/* Calibration: what is fitted against results known in closed form, scores by hand, and limits that
 * hold what they promise on fresh samples. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/sample.h"
#include "orchestra/calibration_score.h"

static const double even[] = {0.25, 0.25, 0.25, 0.25};

static void assert_near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance))
        fail_msg("%.12g is not %.12g", a, b);
}

static calibration fitted(calibration_form form, const calibration_sample *samples, size_t n,
                          size_t n_labels, const double *content_free)
{
    calibration c;
    failure fail;
    if (calibration_fit(&c, form, samples, n, n_labels, content_free, &fail) != OK)
        fail_msg("%s", fail.text);
    return c;
}

/* ---- applying ------------------------------------------------------------------------------- */

static void test_identity_is_softmax(void **state)
{
    (void)state;
    calibration c = calibration_identity(3);
    double p[3];
    calibration_apply(&c, (double[]){log(2) + 70, log(7) + 70, 70}, p);
    assert_near(p[0], 0.2, 1e-12);
    assert_near(p[1], 0.7, 1e-12);
    assert_near(p[2], 0.1, 1e-12);
}

static void test_scale_and_bias(void **state)
{
    (void)state;
    calibration c = {.n_labels = 2, .scale = {0.5, 0.5}, .bias = {0, log(3)}};
    double p[2];
    calibration_apply(&c, (double[]){log(0.8), log(0.2)}, p);
    assert_near(p[0] / p[1], sqrt(0.8 / 0.2) / 3, 1e-12);
    /* Far apart: no overflow, no NaN. */
    calibration_apply(&c, (double[]){1e4, -1e4}, p);
    assert_near(p[0], 1, 1e-12);
    assert_near(p[1], 0, 1e-12);
}

/* ---- fitting -------------------------------------------------------------------------------- */

#define MANY 10000

static calibration_sample samples[MANY];

/* Two labels, the probe always says label i mod 2 with log-odds 4 and is right in `right` of 20. */
static void make_overconfident(size_t right)
{
    for (size_t i = 0; i < MANY; i++) {
        size_t said = i % 2;
        samples[i] = (calibration_sample){.label = i / 2 % 20 < right ? said : 1 - said};
        samples[i].logits[said] = 4;
    }
}

static void test_temperature_in_closed_form(void **state)
{
    (void)state;
    make_overconfident(15);
    calibration c = fitted(CALIBRATION_TEMPERATURE, samples, MANY, 2, even);
    /* Right in three of four: the best log-odds are ln 3. */
    assert_near(c.scale[0], log(3) / 4, 1e-3);
    assert_near(c.scale[1], c.scale[0], 0);
    assert_near(c.bias[0] - c.bias[1], 0, 1e-9);
    assert_near(calibration_nll(&c, samples, MANY), -0.75 * log(0.75) - 0.25 * log(0.25), 1e-6);
}

static void test_never_wrong_stays_finite(void **state)
{
    (void)state;
    make_overconfident(20);
    for (calibration_form form = 0; form < CALIBRATION_FORMS; form++) {
        calibration c = fitted(form, samples, 200, 2, even);
        assert_true(c.scale[0] > 0 && c.scale[0] < 100);
    }
}

static void test_worse_than_chance_is_refused(void **state)
{
    (void)state;
    make_overconfident(5);
    calibration c;
    failure fail;
    assert_int_equal(calibration_fit(&c, CALIBRATION_TEMPERATURE, samples, MANY, 2, even, &fail),
                     ERR_INVALID);
    assert_true(isinf(calibration_held_out(CALIBRATION_TEMPERATURE, samples, MANY, 2, even)));
}

/* Without requests only the prior and the content-free bias speak. */
static void test_contextual_makes_content_free_even(void **state)
{
    (void)state;
    const double said[] = {0.7, 0.2, 0.1};
    double p[3];
    calibration c = fitted(CALIBRATION_BIAS, samples, 0, 3, said);
    calibration_apply(&c, (double[]){log(0.7), log(0.2), log(0.1)}, p);
    for (size_t k = 0; k < 3; k++)
        assert_near(p[k], 1.0 / 3, 1e-12);
}

/* Three labels drawn from softmax(s_k ln q_k + b_k) of a q that is drawn, too. */
static void make_known(const calibration *truth, uint64_t seed)
{
    for (size_t i = 0; i < MANY; i++) {
        calibration_sample *s = &samples[i];
        double p[3], u = random_uniform(seed, 3, i);
        for (size_t k = 0; k < 3; k++)
            s->logits[k] = 6 * random_uniform(seed, k, i);
        calibration_apply(truth, s->logits, p);
        s->label = u < p[0] ? 0 : u < p[0] + p[1] ? 1 : 2;
    }
}

static void test_recovers_bias(void **state)
{
    (void)state;
    calibration truth = {.n_labels = 3, .scale = {0.6, 0.6, 0.6}, .bias = {1, 0, -1}};
    make_known(&truth, 11);
    calibration c = fitted(CALIBRATION_BIAS, samples, MANY, 3, even);
    for (size_t k = 0; k < 3; k++) {
        assert_near(c.scale[k], 0.6, 0.03);
        assert_near(c.bias[k] - c.bias[1], truth.bias[k], 0.08);
    }
    /* The likelihood is flat there: any small change makes it worse. */
    double best = calibration_nll(&c, samples, MANY);
    for (size_t k = 0; k < 3; k++) {
        calibration other = c;
        other.bias[k] += 0.05;
        assert_true(calibration_nll(&other, samples, MANY) > best);
    }
}

/* ---- scores --------------------------------------------------------------------------------- */

static void test_scores_by_hand(void **state)
{
    (void)state;
    calibration c = calibration_identity(2);
    calibration_sample four[] = {{{log(0.9), log(0.1)}, 0},
                                 {{log(0.9), log(0.1)}, 1},
                                 {{log(0.4), log(0.6)}, 1},
                                 {{log(0.4), log(0.6)}, 1}};
    calibration_score s;
    assert_int_equal(calibration_judge(&s, &c, four, 4, NULL), OK);
    assert_near(s.accuracy, 0.75, 1e-12);
    assert_near(s.nll, -(log(0.9) + log(0.1) + 2 * log(0.6)) / 4, 1e-12);
    assert_near(s.brier, (0.02 + 1.62 + 2 * 0.32) / 4, 1e-12);
    /* Two bins: 0.6 said, all right (2 · 0.4); 0.9 said, half right (2 · 0.4). */
    assert_near(s.ece_width, 0.4, 1e-12);
    assert_int_equal(s.confusion[0][0], 1);
    assert_int_equal(s.confusion[1][0], 1);
    assert_int_equal(s.confusion[1][1], 2);
    assert_int_equal(s.confusion[0][1], 0);
    /* Fifteen bins of four cases: at most one in each, 0.4, 0.4, 0.1, 0.9. */
    assert_near(s.ece_mass, (0.4 + 0.4 + 0.1 + 0.9) / 4, 1e-12);
}

static void test_gain_has_an_interval(void **state)
{
    (void)state;
    make_overconfident(15);
    calibration raw = calibration_identity(2);
    calibration c = fitted(CALIBRATION_TEMPERATURE, samples, MANY, 2, even);
    calibration_gain g;
    assert_int_equal(calibration_compare(&g, &raw, &c, samples, 2000, NULL), OK);
    assert_true(g.nll_gain.low > 0 && g.brier_gain.low > 0);
    double gain = calibration_nll(&raw, samples, 2000) - calibration_nll(&c, samples, 2000);
    assert_true(g.nll_gain.low < gain && gain < g.nll_gain.high);
    assert_int_equal(calibration_compare(&g, &c, &c, samples, 2000, NULL), OK);
    assert_near(g.nll_gain.low, 0, 0);
    assert_near(g.nll_gain.high, 0, 0);
}

/* ---- limits --------------------------------------------------------------------------------- */

static void test_binomial_upper(void **state)
{
    (void)state;
    assert_near(binomial_upper(0, 10), 0.258866, 1e-6); /* 1 - 0.05^(1/10) */
    assert_near(binomial_upper(0, 100), 1 - pow(0.05, 0.01), 1e-9);
    assert_near(binomial_upper(5, 100), 0.102253, 1e-6);
    assert_near(binomial_upper(10, 50), 0.315596, 1e-6);
    assert_near(binomial_upper(7, 7), 1, 0);
}

#define CASES 1000

static limit_case cases[CASES];

/* A population: code in half of the requests; entropy uniform in [0, 1); wrong with probability
 * entropy / 5 where the small model would answer. */
static void draw_cases(uint64_t seed)
{
    for (size_t i = 0; i < CASES; i++) {
        cases[i].entropy = random_uniform(seed, 0, i);
        cases[i].small = random_uniform(seed, 1, i) < 0.5;
        cases[i].wrong = random_uniform(seed, 2, i) < cases[i].entropy / 5;
    }
}

/* The misroutes of the whole population at a limit: ∫ 0.5 h/5 dh. */
static double true_share(double limit)
{
    return limit * limit / 20;
}

static void test_misroute_limit_keeps_its_promise(void **state)
{
    (void)state;
    const double targets[] = {0.01, 0.02, 0.04};
    for (size_t t = 0; t < 3; t++) {
        size_t broken = 0;
        double used = 0;
        for (uint64_t seed = 0; seed < 400; seed++) {
            limit_effect e;
            draw_cases(seed);
            assert_int_equal(limit_for_misroute(targets[t], 1.0, cases, CASES, &e, NULL), OK);
            assert_true(e.misroute_upper <= targets[t]);
            broken += true_share(e.limit) > targets[t];
            used += true_share(e.limit) / 400;
        }
        /* One in twenty is the promise: 20 of 400; 3.7 standard deviations more are not chance. */
        if (broken > 36)
            fail_msg("the target %g was missed by %zu of 400 limits", targets[t], broken);
        if (used < 0.45 * targets[t])
            fail_msg("only %g of the target %g is used", used, targets[t]);
    }
}

static void test_misroute_limit_is_the_largest(void **state)
{
    (void)state;
    limit_effect e;
    draw_cases(5);
    assert_int_equal(limit_for_misroute(0.02, 1.0, cases, CASES, &e, NULL), OK);
    for (size_t i = 0; i < CASES; i++) /* in order of entropy by now */
        if (cases[i].entropy > e.limit && cases[i].small && cases[i].wrong) {
            limit_effect more = limit_judge(cases[i].entropy, cases, CASES);
            assert_true(more.misroute_upper > 0.02);
            return;
        }
    fail();
}

static void test_all_right_needs_no_limit(void **state)
{
    (void)state;
    limit_effect e;
    draw_cases(5);
    for (size_t i = 0; i < CASES; i++)
        cases[i].wrong = false;
    assert_int_equal(limit_for_misroute(0.01, 1.0986, cases, CASES, &e, NULL), OK);
    assert_near(e.limit, 1.0986, 0);
}

static void test_too_few_are_refused(void **state)
{
    (void)state;
    failure fail;
    limit_effect e;
    draw_cases(5);
    assert_int_equal(limit_for_misroute(0.01, 1.0, cases, 298, &e, &fail), ERR_INVALID);
    assert_non_null(strstr(fail.text, "299 are needed"));
}

static void test_equal_entropies_stand_together(void **state)
{
    (void)state;
    limit_effect e;
    for (size_t i = 0; i < CASES; i++)
        cases[i] = (limit_case){.entropy = i < 500 ? 0.1 : 0.2, .small = true, .wrong = i >= 900};
    assert_int_equal(limit_for_misroute(0.05, 1.0, cases, CASES, &e, NULL), OK);
    assert_near(e.limit, 0.1, 0);
    assert_int_equal(e.n_misrouted, 0);
}

static void test_share_limit(void **state)
{
    (void)state;
    failure fail;
    limit_effect e;
    draw_cases(6);
    /* At limit h the large model has 1 - h/2. */
    assert_int_equal(limit_for_share(0.7, 1.0, cases, CASES, &e, &fail), OK);
    assert_true(e.large_upper <= 0.7);
    assert_near(e.limit, 0.65, 0.06); /* 0.6, and the caution of 1,000 requests */
    limit_effect less = limit_judge(e.limit - 0.01, cases, CASES);
    assert_true(less.large_upper > 0.7);
    assert_int_equal(limit_for_share(0.4, 1.0, cases, CASES, &e, &fail), ERR_INVALID);
    assert_non_null(strstr(fail.text, "cannot be held"));
}

/* ---- ranking --------------------------------------------------------------------------------- */

static void test_area(void **state)
{
    (void)state;
    ranking r;
    /* By hand: of the 2 × 3 pairs four are won and one is a tie. */
    ranked_case scores[] = {{0.9, true}, {0.8, false}, {0.5, true}, {0.5, false}, {0.1, false}};
    assert_int_equal(ranking_judge(&r, scores, 5, NULL), OK);
    assert_near(r.area, 4.5 / 6, 1e-12);
    ranked_case same[] = {{1, true}, {1, false}, {1, false}};
    assert_int_equal(ranking_judge(&r, same, 3, NULL), OK);
    assert_near(r.area, 0.5, 1e-12);
    ranked_case lone[] = {{1, true}, {2, true}};
    assert_int_equal(ranking_judge(&r, lone, 2, NULL), OK);
    assert_true(isnan(r.area));
    assert_int_equal(ranking_judge(&r, lone, 0, NULL), OK);
    assert_true(isnan(r.area));
}

/* Scores of deviation 1 whose means are 1 apart: Φ(1 / √2) = 0.7602. */
static void test_area_interval(void **state)
{
    (void)state;
    static ranked_case scores[1000];
    for (size_t i = 0; i < 1000; i++) {
        double sum = -6;
        for (size_t k = 0; k < 12; k++)
            sum += random_uniform(21, i, k);
        scores[i] = (ranked_case){sum + (i % 2 == 0 ? 1 : 0), i % 2 == 0};
    }
    ranking r;
    assert_int_equal(ranking_judge(&r, scores, 1000, NULL), OK);
    assert_near(r.area, 0.7602, 0.03);
    assert_true(r.interval_95.low < 0.7602 && r.interval_95.high > 0.7602);
    assert_near(r.interval_95.high - r.interval_95.low, 0.058, 0.012); /* Hanley and McNeil */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_area),
        cmocka_unit_test(test_area_interval),
        cmocka_unit_test(test_identity_is_softmax),
        cmocka_unit_test(test_scale_and_bias),
        cmocka_unit_test(test_temperature_in_closed_form),
        cmocka_unit_test(test_never_wrong_stays_finite),
        cmocka_unit_test(test_worse_than_chance_is_refused),
        cmocka_unit_test(test_contextual_makes_content_free_even),
        cmocka_unit_test(test_recovers_bias),
        cmocka_unit_test(test_scores_by_hand),
        cmocka_unit_test(test_gain_has_an_interval),
        cmocka_unit_test(test_binomial_upper),
        cmocka_unit_test(test_misroute_limit_keeps_its_promise),
        cmocka_unit_test(test_misroute_limit_is_the_largest),
        cmocka_unit_test(test_all_right_needs_no_limit),
        cmocka_unit_test(test_too_few_are_refused),
        cmocka_unit_test(test_equal_entropies_stand_together),
        cmocka_unit_test(test_share_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
