/* Drafting from the history, and how much of a draft a step carries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "engine/lookup.h"
#include "engine/speculate.h"

/* ---- lookup --------------------------------------------------------------------------------- */

static lookup *make_lookup(size_t max_tokens)
{
    lookup *l;
    failure fail;
    assert_int_equal(lookup_create(&l, max_tokens, &fail), OK);
    return l;
}

static void test_lookup_finds_the_longest(void **state)
{
    (void)state;
    /* 7 8 9 was followed by 1, later by 2; 4 5 6 7 8 9 by 1. */
    const int32_t text[] = {4, 5, 6, 7, 8, 9, 1, 0, 7, 8, 9, 2, 0, 4, 5, 6, 7, 8, 9};
    const size_t n = sizeof text / sizeof text[0];
    int32_t found[8];
    size_t match;
    lookup *l = make_lookup(100);
    lookup_update(l, text, 11);
    assert_int_equal(lookup_draft(l, text, 11, 1, found, &match), 1);
    assert_int_equal(match, 3);
    assert_int_equal(found[0], 1);
    lookup_update(l, text, n);
    assert_int_equal(lookup_draft(l, text, n, 2, found, &match), 2);
    assert_int_equal(match, 6);
    assert_int_equal(found[0], 1);
    assert_int_equal(found[1], 0);
    lookup_destroy(l);
}

/* Among matches of one length the latest wins, unless the text is already being copied elsewhere.
 */
static void test_lookup_follows_its_source(void **state)
{
    (void)state;
    const int32_t text[] = {1, 2, 3, 4, 50, 0, 3, 4, 60, 0, 9, 1, 2, 3, 4};
    const size_t n = sizeof text / sizeof text[0];
    int32_t found[1];
    size_t match;
    lookup *l = make_lookup(100);
    for (size_t i = 1; i <= n; i++) {
        lookup_update(l, text, i);
        lookup_draft(l, text, i, 1, found, &match);
    }
    assert_int_equal(match, 4);
    assert_int_equal(found[0], 50);
    lookup_destroy(l);
}

static void test_lookup_continues_a_repetition(void **state)
{
    (void)state;
    const int32_t text[] = {1, 2, 1, 2, 1};
    int32_t found[6];
    size_t match;
    lookup *l = make_lookup(5);
    lookup_update(l, text, 5);
    assert_int_equal(lookup_draft(l, text, 5, 6, found, &match), 6);
    for (int i = 0; i < 6; i++)
        assert_int_equal(found[i], i % 2 == 0 ? 2 : 1);
    lookup_destroy(l);
    const int32_t news[] = {1, 2, 3};
    l = make_lookup(3);
    lookup_update(l, news, 3);
    assert_int_equal(lookup_draft(l, news, 3, 6, found, &match), 0);
    lookup_destroy(l);
}

/* ---- lengths -------------------------------------------------------------------------------- */

static draft make_draft(size_t found, size_t match)
{
    return (draft){.setting = {.mode = LOOKUP_AUTO}, .n_found = found, .match = match};
}

/* So many of 100 tokens after a match of any length were as drafted. */
static acceptance accepted_of_100(double accepted)
{
    acceptance a;
    for (size_t i = 0; i < ACCEPTANCE_CLASSES; i++) {
        a.tried[i] = 100;
        a.accepted[i] = accepted;
    }
    return a;
}

static size_t choose_one(const step_cost *c, double accepted, size_t max_rows)
{
    draft d = make_draft(LOOKUP_MAX_DRAFT, 3), *drafts[] = {&d};
    d.own = accepted_of_100(accepted);
    drafts_choose(drafts, 1, c, 1, max_rows);
    return d.n_sent;
}

static void test_length_follows_cost_and_acceptance(void **state)
{
    (void)state;
    step_cost flat = {.fixed = false}, steep = {.fixed = false};
    step_cost_learn(&flat, 1, 10);
    step_cost_learn(&flat, 17, 10.5);
    step_cost_learn(&steep, 1, 10);
    step_cost_learn(&steep, 2, 20);
    step_cost_learn(&steep, 17, 170);
    assert_int_equal(choose_one(&flat, 99, 16), 16);
    assert_int_equal(choose_one(&flat, 99, 5), 5);
    assert_int_equal(choose_one(&steep, 99, 16), 0);
    assert_true(choose_one(&flat, 5, 16) <= 2);
    assert_true(fabs(step_cost_of(&flat, 9) - 10.25) < 1e-9);
}

static void test_step_cost_follows_the_machine(void **state)
{
    (void)state;
    step_cost c = {.fixed = false};
    assert_true(step_cost_of(&c, 3) > 0);
    step_cost_learn(&c, 1, 10);
    assert_true(fabs(step_cost_of(&c, 9) - 10) < 1e-9);
    step_cost_learn(&c, 8, 24);
    assert_true(fabs(step_cost_of(&c, 10) - 28) < 1e-9);
    step_cost_learn(&c, 4, 12);
    step_cost_learn(&c, 4, 12e3); /* held up once: no more than a tenth */
    assert_true(step_cost_of(&c, 4) < 13.3);
    for (int i = 0; i < 100; i++)
        step_cost_learn(&c, 4, 18);
    assert_true(fabs(step_cost_of(&c, 4) - 18) < 0.1);
    assert_true(step_cost_of(&c, 1) > 10.5 && step_cost_of(&c, 8) > 27);
}

/* Rows go where they bring most: T(n) allows few of them. */
static void test_streams_share_rows(void **state)
{
    (void)state;
    step_cost c = {.fixed = false};
    step_cost_learn(&c, 1, 10);
    step_cost_learn(&c, 2, 10);
    step_cost_learn(&c, 8, 10.6);
    step_cost_learn(&c, 9, 30);
    step_cost_learn(&c, 17, 60);
    draft good = make_draft(16, 3), bad = make_draft(16, 3), fixed = make_draft(2, 3);
    good.own = accepted_of_100(95);
    bad.own = accepted_of_100(10);
    fixed.setting = (lookup_setting){LOOKUP_FIXED, 2, 0};
    draft *drafts[] = {&bad, &good, &fixed};
    drafts_choose(drafts, 3, &c, 3, 30);
    assert_int_equal(fixed.n_sent, 2);
    assert_int_equal(good.n_sent, 3);
    assert_int_equal(bad.n_sent, 0);
}

static void test_a_whole_draft_counts_no_refusal(void **state)
{
    (void)state;
    draft d = make_draft(4, 3);
    acceptance pool = {{0}, {0}};
    d.pool = &pool;
    draft_learn(&d, 4, 4);
    double tried = 0, accepted = 0;
    for (size_t i = 0; i < ACCEPTANCE_CLASSES; i++) {
        tried += pool.tried[i];
        accepted += pool.accepted[i];
    }
    assert_true(fabs(tried - 4) < 1e-9 && fabs(accepted - 4) < 1e-9);
    /* After a match of three the first token was right, the second not: the others say nothing. */
    d.own = pool = (acceptance){{0}, {0}};
    draft_learn(&d, 4, 1);
    assert_true(fabs(d.own.tried[2] - 1) < 1e-9 && fabs(d.own.accepted[2] - 1) < 1e-9);
    assert_true(fabs(d.own.tried[3] - 1) < 1e-9 && fabs(d.own.accepted[3]) < 1e-9);
    assert_true(fabs(d.own.tried[4]) < 1e-9);
}

/* ---- a static-graph accelerator -------------------------------------------------------------- */

/* A step of one row is what its graph was built for; any other number builds a new one. */
static double rebuilt_step_ms(size_t rows)
{
    return rows == 1 ? 10 : 400;
}

/* A text that repeats itself, so that every draft would be accepted; nothing is known of T but
 * T(1). Returns the last step that carried a draft. */
static size_t last_drafting_step(double (*step_ms)(size_t rows), size_t *drafts)
{
    enum { TEXT = 4000, PERIOD = 50, START = 100 };
    static int32_t text[TEXT];
    const lookup_setting setting = {.mode = LOOKUP_AUTO};
    step_cost c = {.fixed = false};
    draft d, *all[] = {&d};
    failure fail;
    size_t last = 0, steps = 0;
    for (size_t i = 0; i < TEXT; i++)
        text[i] = (int32_t)(i % PERIOD);
    assert_int_equal(draft_init(&d, &setting, NULL, TEXT, &fail), OK);
    step_cost_learn(&c, 1, step_ms(1));
    *drafts = 0;
    for (size_t at = START; at + LOOKUP_MAX_DRAFT < TEXT; steps++) {
        draft_find(&d, text, at, LOOKUP_MAX_DRAFT);
        drafts_choose(all, 1, &c, 1, LOOKUP_MAX_DRAFT);
        step_cost_learn(&c, 1 + d.n_sent, step_ms(1 + d.n_sent));
        *drafts += d.n_sent > 0 ? 1 : 0;
        last = d.n_sent > 0 ? steps : last;
        size_t told = d.n_sent < d.n_found ? d.n_sent + 1 : d.n_sent;
        draft_learn(&d, told, told);
        at += d.n_sent + 1;
    }
    draft_free(&d);
    return last;
}

static double flat_step_ms(size_t rows)
{
    return 10 + 0.1 * (double)rows;
}

/* Between measured points a line; beyond the last one the line from half as many rows: two
 * neighbours that noise moved do not decide. */
static void test_step_cost_of_many_rows(void **state)
{
    (void)state;
    step_cost c = {.fixed = false};
    for (size_t n = 1; n <= 17; n++)
        step_cost_learn(&c, n, 10 + (double)n);
    assert_true(fabs(step_cost_of(&c, 44) - 54) < 1e-9);
    c.ms[16] = 29; /* above the next */
    assert_true(fabs(step_cost_of(&c, 44) - 54) < 1e-9);
    c.ms[16] = 20; /* far below it */
    assert_true(fabs(step_cost_of(&c, 44) - 54) < 1e-9);
    c.ms[16] = 26;
    step_cost_learn(&c, 24, 41);
    step_cost_learn(&c, 32, 49);
    assert_true(fabs(step_cost_of(&c, 20) - 33) < 1e-9);
    assert_true(fabs(step_cost_of(&c, 28) - 45) < 1e-9);
    assert_true(fabs(step_cost_of(&c, 40) - (49 + 23.0 / 16 * 8)) < 1e-9);
    step_cost_learn(&c, 64, 113);
    assert_true(fabs(step_cost_of(&c, 48) - 81) < 1e-9);
    assert_true(fabs(step_cost_of(&c, 80) - 145) < 1e-9);
    c.ms[32] = 150; /* rows never cost less than nothing */
    assert_true(fabs(step_cost_of(&c, 80) - 113) < 1e-9);
}

static void test_auto_turns_off_where_rows_cost_a_graph(void **state)
{
    (void)state;
    size_t drafts;
    size_t last = last_drafting_step(rebuilt_step_ms, &drafts);
    assert_true(drafts >= 1 && drafts <= 5);
    assert_true(last <= 5);
    last_drafting_step(flat_step_ms, &drafts);
    assert_true(drafts > 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lookup_finds_the_longest),
        cmocka_unit_test(test_lookup_follows_its_source),
        cmocka_unit_test(test_lookup_continues_a_repetition),
        cmocka_unit_test(test_length_follows_cost_and_acceptance),
        cmocka_unit_test(test_step_cost_follows_the_machine),
        cmocka_unit_test(test_streams_share_rows),
        cmocka_unit_test(test_a_whole_draft_counts_no_refusal),
        cmocka_unit_test(test_step_cost_of_many_rows),
        cmocka_unit_test(test_auto_turns_off_where_rows_cost_a_graph),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
