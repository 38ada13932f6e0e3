/* The learned head: what it finds in made states whose truth is known, beside another solver, and
 * where there is nothing to find. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/sample.h"
#include "head_reference.h"
#include "orchestra/head_internal.h"

#define MOST 600
#define MOST_WIDE 700

static float states[MOST * MOST_WIDE];
static const float *rows[MOST];
static size_t labels[MOST];
static uint64_t groups[MOST];

static void assert_near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance))
        fail_msg("%.12g is not %.12g", a, b);
}

/* About 0, of deviation 1. */
static double noise(uint64_t seed, size_t i, size_t j)
{
    double sum = -6;
    for (size_t k = 0; k < 12; k++)
        sum += random_uniform(seed, i, 12 * j + k);
    return sum;
}

/* Label i mod n_labels moves one feature in 20 by `apart`; the rest is noise about a place of its
 * own, one feature far out as in real states. */
static head_samples make(size_t n, size_t width, size_t n_labels, double apart)
{
    for (size_t i = 0; i < n; i++) {
        labels[i] = i % n_labels;
        groups[i] = i;
        rows[i] = states + i * width;
        for (size_t j = 0; j < width; j++)
            states[i * width + j] =
                (float)(noise(5, i, j) + (double)(j % 7) + (j % 20 == 3 + labels[i] ? apart : 0) +
                        (j == 1 ? 4000 : 0));
    }
    return (head_samples){.n = n,
                          .n_labels = n_labels,
                          .width = width,
                          .n_layers = 1,
                          .layers = {9},
                          .states = rows,
                          .labels = labels,
                          .groups = groups};
}

static linear_head fitted(const head_samples *s, head_report *report)
{
    linear_head h;
    failure fail;
    if (head_fit(&h, report, s, &fail) != OK)
        fail_msg("%s", fail.text);
    return h;
}

static double share_right(const linear_head *h, const head_samples *s)
{
    size_t right = 0;
    for (size_t i = 0; i < s->n; i++) {
        double z[PROBE_MAX_LABELS];
        size_t best = 0;
        assert_int_equal(head_apply(h, s->states[i], z, NULL), OK);
        for (size_t k = 1; k < h->n_labels; k++)
            best = z[k] > z[best] ? k : best;
        right += best == s->labels[i];
    }
    return (double)right / (double)s->n;
}

static double held_out_nll(const head_report *r, const head_samples *s)
{
    calibration plain = calibration_identity(s->n_labels);
    return calibration_nll(&plain, r->held_out, s->n);
}

/* ---- beside another solver ------------------------------------------------------------------- */

static void make_reference(size_t width)
{
    for (size_t i = 0; i < REFERENCE_SAMPLES; i++) {
        labels[i] = i % REFERENCE_LABELS;
        rows[i] = states + i * width;
        for (size_t j = 0; j < width; j++)
            states[i * width + j] =
                (float)(random_uniform(7, i, j) + 0.5 * random_uniform(8, labels[i], j));
    }
}

static void solve_reference(const struct reference *r, const head_features *f, double *parameters)
{
    size_t all[REFERENCE_SAMPLES];
    for (size_t i = 0; i < REFERENCE_SAMPLES; i++)
        all[i] = i;
    const head_problem p = {.features = f,
                            .labels = labels,
                            .n_labels = REFERENCE_LABELS,
                            .chosen = all,
                            .n_chosen = REFERENCE_SAMPLES,
                            .strength = r->strength,
                            .tolerance = 1e-9};
    assert_int_equal(head_solve(&p, parameters, NULL), OK);
}

static void test_same_as_newton(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof references / sizeof references[0]; c++) {
        const struct reference *r = &references[c];
        make_reference(r->width);
        const head_samples s = {.n = REFERENCE_SAMPLES,
                                .n_labels = REFERENCE_LABELS,
                                .width = r->width,
                                .n_layers = 1,
                                .states = rows,
                                .labels = labels};
        head_features f;
        linear_head h;
        assert_int_equal(head_features_create(&f, &s, 0, NULL), OK);
        assert_int_equal(f.pivots != NULL, r->width > REFERENCE_SAMPLES);
        double *parameters = calloc(head_parameter_count(&f, REFERENCE_LABELS), sizeof *parameters);
        solve_reference(r, &f, parameters);
        assert_int_equal(head_create(&h, REFERENCE_LABELS, r->width, NULL), OK);
        assert_int_equal(head_features_unfold(&f, parameters, &h, NULL), OK);
        for (size_t i = 0; i < REFERENCE_SAMPLES; i++) {
            double z[REFERENCE_LABELS];
            assert_int_equal(head_apply(&h, states + i * r->width, z, NULL), OK);
            for (size_t k = 0; k < REFERENCE_LABELS; k++)
                assert_near(z[k], r->logits[i][k], 3e-3);
        }
        free(parameters);
        head_free(&h);
        head_features_free(&f);
    }
}

/* ---- what is found --------------------------------------------------------------------------- */

static void test_separable(void **state)
{
    (void)state;
    head_samples s = make(300, 40, 3, 12);
    head_report r;
    linear_head h = fitted(&s, &r);
    assert_int_equal(h.layer, 9);
    assert_near(share_right(&h, &s), 1, 0);
    assert_true(held_out_nll(&r, &s) < 0.05);
    head_report_free(&r);
    head_free(&h);
}

/* More numbers than samples, and samples that the fit has not seen. */
static void test_wide_and_unseen(void **state)
{
    (void)state;
    head_samples s = make(400, 650, 3, 2);
    s.n = 200;
    head_report r;
    linear_head h = fitted(&s, &r);
    s.states += 200;
    s.labels += 200;
    assert_true(share_right(&h, &s) > 0.9);
    head_report_free(&r);
    head_free(&h);
}

/* Labels that the states say nothing about: even odds, and no more confidence than that. */
static void test_noise(void **state)
{
    (void)state;
    for (size_t width = 20; width <= 300; width += 280) {
        head_samples s = make(200, width, 2, 0);
        head_report r;
        linear_head h = fitted(&s, &r);
        assert_true(held_out_nll(&r, &s) < log(2) + 0.03);
        head_report_free(&r);
        head_free(&h);
    }
}

static void test_layer_is_chosen(void **state)
{
    (void)state;
    head_samples told = make(150, 30, 2, 4);
    float *both = malloc(2 * told.n * told.width * sizeof *both);
    for (size_t i = 0; i < told.n; i++)
        for (size_t j = 0; j < told.width; j++) {
            both[(2 * i) * told.width + j] = (float)noise(6, i, j);
            both[(2 * i + 1) * told.width + j] = states[i * told.width + j];
        }
    head_samples s = told;
    s.n_layers = 2;
    s.layers[0] = 4;
    s.layers[1] = 8;
    for (size_t i = 0; i < told.n; i++)
        rows[i] = both + 2 * i * told.width;
    head_report r;
    linear_head h = fitted(&s, &r);
    assert_int_equal(h.layer, 8);
    assert_int_equal(r.layer, 1);
    head_report_free(&r);
    head_free(&h);
    free(both);
}

/* ---- the odd ones ---------------------------------------------------------------------------- */

static void test_missing_label(void **state)
{
    (void)state;
    head_samples s = make(120, 20, 2, 6);
    s.n_labels = 4; /* two of them never seen */
    head_report r;
    linear_head h = fitted(&s, &r);
    assert_near(share_right(&h, &s), 1, 0.02);
    double z[4];
    assert_int_equal(head_apply(&h, states, z, NULL), OK);
    assert_true(z[2] < z[0] && z[3] < z[0]);
    head_report_free(&r);
    head_free(&h);
}

static void test_constant_features(void **state)
{
    (void)state;
    head_samples s = make(100, 20, 2, 6);
    for (size_t i = 0; i < s.n; i++) {
        states[i * s.width + 10] = 12345.678f;
        states[i * s.width + 11] = 0;
    }
    head_report r;
    linear_head h = fitted(&s, &r);
    for (size_t k = 0; k < 2; k++) {
        assert_true(h.weights[k * s.width + 10] == 0);
        assert_true(h.weights[k * s.width + 11] == 0);
    }
    assert_near(share_right(&h, &s), 1, 0.02);
    head_report_free(&r);
    head_free(&h);
}

static void test_nothing_to_tell_apart(void **state)
{
    (void)state;
    head_samples s = make(50, 10, 2, 1);
    memset(labels, 0, sizeof labels);
    linear_head h;
    head_report r;
    failure fail;
    assert_int_equal(head_fit(&h, &r, &s, &fail), ERR_INVALID);
    assert_non_null(strstr(fail.text, "the same label"));
    s.n = 4;
    assert_int_equal(head_fit(&h, &r, &s, &fail), ERR_INVALID);
}

/* The same request ten times, with labels drawn for each request: who has it on both sides of a
 * fold could know the label. */
static void test_groups_share_a_fold(void **state)
{
    (void)state;
    head_samples s = make(200, 250, 2, 0);
    for (size_t i = 0; i < s.n; i++) {
        size_t first = i / 10 * 10;
        memmove(states + i * s.width, states + first * s.width, s.width * sizeof *states);
        labels[i] = random_uniform(3, 0, first) < 0.5;
        groups[i] = first;
    }
    head_report r;
    linear_head h = fitted(&s, &r);
    assert_true(held_out_nll(&r, &s) > 0.6);
    head_report_free(&r);
    head_free(&h);
    for (size_t i = 0; i < s.n; i++)
        groups[i] = i;
    h = fitted(&s, &r);
    assert_true(held_out_nll(&r, &s) < 0.2);
    head_report_free(&r);
    head_free(&h);
}

static void test_same_bits_again(void **state)
{
    (void)state;
    head_samples s = make(80, 120, 3, 2);
    head_report r;
    linear_head a = fitted(&s, &r);
    head_report_free(&r);
    linear_head b = fitted(&s, &r);
    head_report_free(&r);
    assert_memory_equal(a.weights, b.weights, 3 * s.width * sizeof *a.weights);
    assert_memory_equal(a.bias, b.bias, sizeof a.bias);
    head_free(&a);
    head_free(&b);
}

/* Probabilities of a label that no state can be sure of: as often right as they say. */
static void test_calibrated(void **state)
{
    (void)state;
    head_samples s = make(600, 60, 2, 0);
    for (size_t i = 0; i < s.n; i++) {
        double odds = 2 * noise(5, i, 12);
        labels[i] = random_uniform(4, 0, i) < 1 / (1 + exp(-odds));
    }
    head_report r;
    calibration_score score;
    calibration plain = calibration_identity(2);
    s.n = 600;
    linear_head h = fitted(&s, &r);
    assert_int_equal(calibration_judge(&score, &plain, r.held_out, s.n, NULL), OK);
    assert_true(score.ece_mass < 0.06);
    assert_true(score.accuracy > 0.7);
    head_report_free(&r);
    head_free(&h);
}

static void test_bad_states(void **state)
{
    (void)state;
    linear_head h;
    failure fail;
    double z[2];
    float hidden[4] = {1, 2, NAN, 4};
    assert_int_equal(head_create(&h, 1, 4, &fail), ERR_INVALID);
    assert_int_equal(head_create(&h, 2, HEAD_MAX_WIDTH + 1, &fail), ERR_INVALID);
    assert_int_equal(head_create(&h, 2, 4, &fail), OK);
    assert_int_equal(head_apply(&h, hidden, z, &fail), ERR_INTERNAL);
    hidden[2] = 3;
    h.weights[1] = 2;
    h.bias[1] = -1;
    assert_int_equal(head_apply(&h, hidden, z, &fail), OK);
    assert_near(z[0], 4, 0);
    assert_near(z[1], -1, 0);
    const calibration c = {.n_labels = 2, .scale = {0.5, 0.5}, .bias = {1, 0}};
    head_calibrate(&h, &c);
    assert_int_equal(head_apply(&h, hidden, z, &fail), OK);
    assert_near(z[0], 3, 0);
    assert_near(z[1], -0.5, 0);
    head_free(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_newton),      cmocka_unit_test(test_separable),
        cmocka_unit_test(test_wide_and_unseen),     cmocka_unit_test(test_noise),
        cmocka_unit_test(test_layer_is_chosen),     cmocka_unit_test(test_missing_label),
        cmocka_unit_test(test_constant_features),   cmocka_unit_test(test_nothing_to_tell_apart),
        cmocka_unit_test(test_groups_share_a_fold), cmocka_unit_test(test_same_bits_again),
        cmocka_unit_test(test_calibrated),          cmocka_unit_test(test_bad_states),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
