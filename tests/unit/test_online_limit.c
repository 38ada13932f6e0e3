/* The limit that moves: a stream whose probe becomes worse halfway, and what may be told. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/sample.h"
#include "orchestra/online_limit.h"

#define HALF 20000
#define TARGET 0.05
#define STEP 0.01

static online_limit *opened(double start)
{
    const online_limit_options options = {
        .start = start, .highest = log(3), .target = TARGET, .step = STEP};
    online_limit *l;
    assert_int_equal(online_limit_create(&l, &options, NULL), OK);
    return l;
}

/* A decision for the small model, or not, and at once whether its intent was wrong. */
static void learn(online_limit *l, bool sent_small, bool wrong)
{
    online_limit_lesson lesson;
    failure fail;
    online_limit_note(l, "latest", sent_small, 0);
    assert_int_equal(online_limit_tell(l, "latest", wrong, &lesson, &fail), OK);
    assert_true(lesson.wrong == wrong && lesson.misrouted == (wrong && sent_small));
}

/* The share of one half of the stream that goes to the small model with a wrong intent. Entropies
 * are even in [0, ln 3); an intent is wrong with the probability entropy/ln 3 · `badness`. */
static double misrouted(online_limit *l, bool moves, size_t half, double badness)
{
    double limit = online_limit_now(l);
    size_t n = 0;
    for (size_t i = half * HALF; i < (half + 1) * HALF; i++) {
        double part = random_uniform(7, 0, i);
        bool small = part * log(3) <= (moves ? online_limit_now(l) : limit);
        bool wrong = random_uniform(7, 1, i) < fmin(1, part * badness);
        n += small && wrong;
        if (moves)
            learn(l, small, wrong);
    }
    return (double)n / HALF;
}

/* With the limit x · ln 3 the share is x²/2 · badness: at badness 0.4 a half gives the target. */
static void test_drift(void **state)
{
    (void)state;
    double start = 0.5 * log(3);
    online_limit *l = opened(start);
    double before = misrouted(l, false, 0, 0.4), fixed = misrouted(l, false, 1, 2);
    double first = misrouted(l, true, 0, 0.4), second = misrouted(l, true, 1, 2);
    print_message("misrouted: fixed %.4f, then %.4f; moving %.4f, then %.4f\n", before, fixed,
                  first, second);
    assert_true(fabs(before - TARGET) < 0.01);
    assert_true(fixed > 4 * TARGET);
    assert_true(fabs(first - TARGET) < 0.01);
    assert_true(fabs(second - TARGET) < 0.01);
    online_limit_destroy(l);
}

/* What the header promises, whatever comes: here every intent is wrong. */
static void test_promise(void **state)
{
    (void)state;
    double start = log(3);
    online_limit *l = opened(start);
    online_limit_counts c;
    for (size_t i = 0; i < 5000; i++) {
        learn(l, random_uniform(3, 0, i) * log(3) <= online_limit_now(l), true);
        online_limit_read(l, &c);
        assert_true(c.limit > -STEP);
        assert_true((double)c.misrouted <= TARGET * (double)(i + 1) + (start + STEP) / STEP);
    }
    assert_int_equal(c.wrong, 5000);
    online_limit_destroy(l);
}

/* Where nothing is ever wrong the limit rises to the highest entropy and no further. */
static void test_highest(void **state)
{
    (void)state;
    online_limit *l = opened(0.1);
    for (size_t i = 0; i < 5000; i++)
        learn(l, true, false);
    assert_true(online_limit_now(l) == log(3));
    learn(l, false, true); /* wrong, but with the large model */
    assert_true(online_limit_now(l) == log(3));
    learn(l, true, true);
    assert_true(fabs(online_limit_now(l) - (log(3) - STEP * (1 - TARGET))) < 1e-12);
    online_limit_destroy(l);
}

static void test_told(void **state)
{
    (void)state;
    online_limit *l = opened(0.5);
    online_limit_lesson lesson;
    failure fail;
    online_limit_note(l, "a", true, 0);
    online_limit_note(l, "b", false, 1);
    assert_int_equal(online_limit_tell(l, "c", 0, &lesson, &fail), ERR_NOT_FOUND);
    assert_non_null(strstr(fail.text, "'c'"));
    assert_int_equal(online_limit_tell(l, "a", 2, &lesson, &fail), OK);
    assert_true(lesson.wrong && lesson.misrouted && lesson.said == 0);
    assert_true(fabs(lesson.limit - (0.5 - STEP * (1 - TARGET))) < 1e-12);
    assert_int_equal(online_limit_tell(l, "a", 2, &lesson, &fail), ERR_INVALID);
    assert_int_equal(online_limit_tell(l, "b", 2, &lesson, &fail), OK);
    assert_true(lesson.wrong && !lesson.misrouted);
    online_limit_note(l, "a", true, 0); /* an id again: the latest decision counts */
    assert_int_equal(online_limit_tell(l, "a", 0, &lesson, &fail), OK);
    assert_false(lesson.wrong);
    online_limit_destroy(l);
}

static void test_forgotten(void **state)
{
    (void)state;
    online_limit *l = opened(0.5);
    online_limit_lesson lesson;
    char id[32];
    for (size_t i = 0; i <= ONLINE_LIMIT_MEMORY; i++) {
        snprintf(id, sizeof id, "%zu", i);
        online_limit_note(l, id, true, 0);
    }
    assert_int_equal(online_limit_tell(l, "0", 0, &lesson, NULL), ERR_NOT_FOUND);
    assert_int_equal(online_limit_tell(l, "1", 0, &lesson, NULL), OK);
    assert_int_equal(online_limit_tell(l, id, 0, &lesson, NULL), OK);
    online_limit_destroy(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_drift),     cmocka_unit_test(test_promise),
        cmocka_unit_test(test_highest),   cmocka_unit_test(test_told),
        cmocka_unit_test(test_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
