/* The bench's plans: what `a-io bench --tests` and `--synthetic` name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/bench.h"

static failure fail;

static void expect_ok(error_code code)
{
    if (code != OK)
        fail_msg("%s", fail.text);
}

static void expect_plan(const char *tests, const char *depths, const speed_test *expected, size_t n)
{
    bench_plan plan;
    expect_ok(bench_plan_parse(&plan, tests, depths, &fail));
    assert_int_equal(plan.n, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(plan.tests[i].kind, expected[i].kind);
        assert_int_equal(plan.tests[i].n, expected[i].n);
        assert_int_equal(plan.tests[i].depth, expected[i].depth);
    }
}

static void plans_are_read(void **state)
{
    (void)state;
    const speed_test given[] = {{SPEED_DECODE, 64, 0},
                                {SPEED_STEP, 1, 0},
                                {SPEED_STEP, 2, 0},
                                {SPEED_STEP, 3, 0},
                                {SPEED_PREFILL, 512, 0}};
    expect_plan("decode:64,step:1-3,prefill:512", NULL, given, 5);
    const speed_test joined[] = {
        {SPEED_STEP, 1, 0}, {SPEED_STEP, 2, 0}, {SPEED_STEP, 16, 0}, {SPEED_PROBE, 64, 0}};
    expect_plan("step:1-2,probe:64,step:16", NULL, joined, 4);
    expect_plan("step:1,2,2,16,probe:64", "0", joined, 4);
    const speed_test deep[] = {{SPEED_PREFILL, 8, 0},
                               {SPEED_DECODE, 4, 0},
                               {SPEED_STEP, 2, 0},
                               {SPEED_DECODE, 4, 2048},
                               {SPEED_STEP, 2, 2048}};
    expect_plan("prefill:8,decode:4,step:2", "0,2048", deep, 5);
    bench_plan plan;
    expect_ok(bench_plan_parse(&plan, "step:1-3,decode:64", "0,100", &fail));
    assert_int_equal(bench_plan_positions(&plan), 164);
    assert_int_equal(bench_plan_group_end(&plan, 0), 3);
    assert_int_equal(bench_plan_group_end(&plan, 3), 4);
    assert_int_equal(bench_plan_cut(&plan, 64), 4);
    assert_int_equal(plan.n, 4);
}

static void wrong_plans_are_refused(void **state)
{
    (void)state;
    const char *const wrong[] = {"",
                                 "64",
                                 "decode",
                                 "decode:",
                                 "decode:0",
                                 "decode:x",
                                 "decode:1-",
                                 "decode:5-3",
                                 "decode:1,",
                                 "decode:64 ",
                                 "walk:3",
                                 "step:65",
                                 "step:1-65",
                                 "decode:-1",
                                 "step:1;2",
                                 "decode:1,,2",
                                 "prefill:99999999999999999999",
                                 "decodes:1",
                                 ",decode:1",
                                 "decode:1-2-3"};
    bench_plan plan;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        if (bench_plan_parse(&plan, wrong[i], NULL, &fail) != ERR_INVALID)
            fail_msg("'%s' was taken", wrong[i]);
    }
    assert_int_equal(bench_plan_parse(&plan, "decode:1", "", &fail), ERR_INVALID);
    assert_int_equal(bench_plan_parse(&plan, "decode:1", "5,x", &fail), ERR_INVALID);
    /* a depth that nothing would use */
    assert_int_equal(bench_plan_parse(&plan, "prefill:64", "2048", &fail), ERR_INVALID);
    assert_int_equal(
        bench_plan_parse(&plan, "step:1-64,decode:1-64,prefill:1-64,probe:1-64", "1,2", &fail),
        ERR_INVALID);
}

static void synthetic_models_are_named(void **state)
{
    (void)state;
    bench_synthetic s;
    expect_ok(bench_synthetic_parse("pangu-1b:q4_0", &s, &fail));
    assert_string_equal(s.shape, "pangu-1b");
    assert_int_equal(s.mix.type->type, TENSOR_Q4_0);
    const char *const wrong[] = {
        "",      ":",          "pangu-1b",          "pangu-1b:", "pangu-1b:q9_9",
        ":q4_0", "pangu:q4_0", "pangu-1b:q4_0:q8_0"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(bench_synthetic_parse(wrong[i], &s, &fail), ERR_INVALID);
        assert_non_null(strstr(fail.text, "pangu-7b"));
    }
    char path[BENCH_PATH_SIZE];
    expect_ok(bench_synthetic_parse("pangu-1b:q4_0", &s, &fail));
    assert_int_equal(bench_synthetic_file(&s, "/proc/nowhere", path, &fail), ERR_IO);
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_are_read),
        cmocka_unit_test(wrong_plans_are_refused),
        cmocka_unit_test(synthetic_models_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
