/* Limits for each step up between more than two models: targets, what is chosen for them, the file
 * that keeps them, and the rules that have them; the named policies with three models. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/calibrate.h"
#include "kernel/kernel.h"
#include "orchestra/calibration_file.h"
#include "orchestra/policy.h"

enum { CODE, QA, MATH };

static const size_t contexts[] = {4096, 4096, 8192};

typedef struct ladder {
    config *config;
    policy *policy;
} ladder;

static config *configured(const char *policy_text)
{
    config *c = NULL;
    failure fail;
    char text[1024];
    int n = snprintf(text, sizeof text,
                     "version: 1\nmodels:\n  - {name: 1b, path: s}\n  - {name: 7b, path: m}\n"
                     "  - {name: 70b, path: l}\nprobe: {calibration: f}\n"
                     "success: {calibration: f}\npolicy: %s\n",
                     policy_text);
    if (config_parse(&c, text, (size_t)n, "x", &fail) != OK)
        fail_msg("%s", fail.text);
    return c;
}

static ladder open_ladder(const char *policy_text, const config_limits *limits)
{
    ladder l = {.config = configured(policy_text)};
    failure fail;
    if (limits != NULL) {
        l.config->policy.certain = l.config->policy.likely = *limits;
        l.config->policy.entropy_limit = limits->at[0];
    }
    if (policy_create(&l.policy, l.config, contexts, &fail) != OK)
        fail_msg("%s", fail.text);
    return l;
}

static void close_ladder(ladder l)
{
    policy_destroy(l.policy);
    config_free(l.config);
}

typedef struct seen {
    size_t label, tokens;
    double entropy, success, coin;
    const policy_kept *kept;
} seen;

static plan decide(ladder l, seen s)
{
    intent i = {.known = true, .n_labels = 3, .best = s.label, .entropy = s.entropy, .margin = 0.5};
    i.labels[CODE] = "code", i.labels[QA] = "qa", i.labels[MATH] = "math";
    policy_facts f = {.intent = &i,
                      .success = &s.success,
                      .prompt_tokens = s.tokens > 0 ? s.tokens : 10,
                      .turn = 1,
                      .coin = s.coin,
                      .kept = s.kept};
    plan p;
    assert_true(policy_decide(l.policy, &f, &p));
    return p;
}

static void check(ladder l, seen s, size_t level, const char *rule)
{
    plan p = decide(l, s);
    assert_int_equal(p.level, level);
    assert_string_equal(p.rule, rule);
}

static void test_adaptive_goes_up_by_one(void **state)
{
    (void)state;
    ladder l = open_ladder("{name: adaptive}", NULL);
    check(l, (seen){.label = CODE, .entropy = 0.45}, 0, "code");
    check(l, (seen){.label = CODE, .entropy = 0.46}, 1, "entropy");
    assert_int_equal(decide(l, (seen){.label = CODE, .entropy = 0.46}).fallback, FALLBACK_ENTROPY);
    check(l, (seen){.label = CODE, .entropy = 0.1, .tokens = 2049}, 1, "long_context");
    check(l, (seen){.label = QA, .entropy = 0.1}, 2, "qa");
    check(l, (seen){.label = MATH, .entropy = 1.0}, 2, "math"); /* unsure, and no code at all */
    /* Once it is with the second model: one further up, and not down. */
    const policy_kept kept = {.rule = 1, .level = 1};
    check(l, (seen){.label = CODE, .entropy = 0.5, .kept = &kept}, 2, "entropy");
    check(l, (seen){.label = CODE, .entropy = 0.1, .kept = &kept}, 1, "session");
    close_ladder(l);
}

static void test_adaptive_has_a_limit_a_step(void **state)
{
    (void)state;
    const config_limits limits = {.at = {0.2, 0.6}, .n = 2};
    ladder l = open_ladder("{name: adaptive}", &limits);
    check(l, (seen){.label = CODE, .entropy = 0.2}, 0, "code");
    check(l, (seen){.label = CODE, .entropy = 0.21}, 1, "code");
    check(l, (seen){.label = CODE, .entropy = 0.6}, 1, "code");
    check(l, (seen){.label = CODE, .entropy = 0.61}, 2, "entropy");
    check(l, (seen){.label = CODE, .entropy = 0.1, .tokens = 3000}, 1, "code");
    check(l, (seen){.label = QA, .entropy = 0.1}, 2, "qa");
    close_ladder(l);
    /* A limit of one's own is the first step's, and the calibration's do not count. */
    l.config = configured("{name: adaptive, entropy_limit: 0.3}");
    l.config->policy.certain = limits;
    failure fail;
    assert_int_equal(policy_create(&l.policy, l.config, contexts, &fail), OK);
    check(l, (seen){.label = CODE, .entropy = 0.3}, 0, "code");
    check(l, (seen){.label = CODE, .entropy = 0.61}, 1, "entropy");
    close_ladder(l);
}

static void test_other_names(void **state)
{
    (void)state;
    ladder l = open_ladder("{name: random}", NULL);
    check(l, (seen){.coin = 0.3333}, 0, "random");
    check(l, (seen){.coin = 0.3334}, 1, "random");
    check(l, (seen){.coin = 0.6666}, 1, "random");
    check(l, (seen){.coin = 0.6667}, 2, "random");
    close_ladder(l);
    config *c = NULL;
    failure fail;
    const char *text = "version: 1\nmodels:\n  - {name: a, path: s}\n  - {name: b, path: m}\n"
                       "  - {name: c, path: l}\npolicy: {name: paper}\n";
    assert_int_equal(config_parse(&c, text, strlen(text), "x", &fail), ERR_CONFIG);
    assert_non_null(strstr(fail.text, "two models; there are 3"));
    config_free(c);
}

static void test_rules_have_their_step(void **state)
{
    (void)state;
    const config_limits limits = {.at = {0.8, 0.5}, .n = 2}, one = {.at = {0.8}, .n = 1};
    const char *rules = "{name: rules, rules: [{name: easy, likely: true, model: 1b},"
                        "{name: medium, likely: true, model: 7b},"
                        "{name: hard, likely: false, model: 70b}, {name: none, model: 1b}]}";
    ladder l = open_ladder(rules, &limits);
    check(l, (seen){.success = 0.8}, 0, "easy");
    check(l, (seen){.success = 0.79}, 1, "medium");
    check(l, (seen){.success = 0.5}, 1, "medium");
    check(l, (seen){.success = 0.49}, 2, "hard"); /* below what the model below it has */
    close_ladder(l);
    l = open_ladder(rules, &one); /* which is every step's */
    check(l, (seen){.success = 0.8}, 0, "easy");
    check(l, (seen){.success = 0.79}, 2, "hard");
    close_ladder(l);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void test_targets(void **state)
{
    (void)state;
    limit_targets t;
    failure fail;
    assert_int_equal(limit_targets_read(&t, "--x", "1%,5%", LIMIT_MISROUTE, &fail), OK);
    assert_int_equal(t.n, 2);
    assert_true(t.shares[0] == 0.01 && t.shares[1] == 0.05);
    assert_int_equal(limit_targets_read(&t, "--x", "70%,20%", LIMIT_SHARE, &fail), OK);
    static const char *const bad[] = {"",   "1",    "1%,", ",1%",   "5%,1%",
                                      "0%", "100%", "1%x", "1%,,2%"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(limit_targets_read(&t, "--x", bad[i], LIMIT_WRONG, &fail), ERR_INVALID);
    assert_int_equal(limit_targets_read(&t, "--x", "20%,70%", LIMIT_SHARE, &fail), ERR_INVALID);
    const config three = {.n_models = 3}, two = {.n_models = 2};
    assert_int_equal(limit_targets_read(&t, "--x", "1%,2%", LIMIT_WRONG, &fail), OK);
    assert_int_equal(limit_targets_check(&t, &three, &fail), OK);
    assert_int_equal(limit_targets_check(&t, &two, &fail), ERR_INVALID);
    assert_non_null(strstr(fail.text, "2 shares are for 3 models"));
}

/* 1,000 requests in order of doubt; the first model is wrong in the upper half of them, the second
 * in the uppermost tenth. */
static void test_a_limit_for_each_step(void **state)
{
    (void)state;
    enum { N = 1000 };
    static step_case cases[N];
    failure fail;
    chosen_limits l, again;
    for (size_t i = 0; i < N; i++)
        cases[i] = (step_case){.doubt = (double)((i * 7) % N) / N, .is_theirs = true};
    for (size_t i = 0; i < N; i++)
        cases[i].wrong = (uint32_t)(cases[i].doubt >= 0.5) | (uint32_t)(cases[i].doubt >= 0.9) << 1;
    const limit_targets t = {.goal = LIMIT_WRONG, .n = 2, .shares = {0.02, 0.05}};
    assert_int_equal(calibrate_limits(&l, &t, cases, N, 1, &fail), OK);
    assert_int_equal(l.n, 2);
    /* 12 of 1,000 are the most that show 2 %, 38 that show 5 %. */
    assert_int_equal(l.effects[0].n_misrouted, 12);
    assert_true(l.effects[0].limit == 0.511);
    assert_int_equal(l.effects[1].n_misrouted, 38);
    assert_true(l.effects[1].limit == 0.925); /* 12 of the first, 26 of the second */
    assert_int_equal(l.effects[1].n_small, 926);
    assert_int_equal(calibrate_judge_limits(&again, &l, cases, N, &fail), OK);
    assert_memory_equal(again.effects, l.effects, 2 * sizeof *l.effects);
    const limit_targets share = {.goal = LIMIT_SHARE, .n = 2, .shares = {0.6, 0.1}};
    assert_int_equal(calibrate_limits(&l, &share, cases, N, 1, &fail), OK);
    assert_true(l.effects[0].large_upper <= 0.6 && l.effects[0].large_upper > 0.59);
    assert_true(l.effects[1].large_upper <= 0.1 && l.effects[1].large_upper > 0.09);
}

/* ---- the file -------------------------------------------------------------------------------- */

static chosen_limits two_limits(double first, double second)
{
    return (chosen_limits){.goal = LIMIT_MISROUTE,
                           .n = 2,
                           .targets = {0.01, 0.05},
                           .effects = {{.limit = first, .n = 100}, {.limit = second, .n = 100}}};
}

static error_code write_and_read(const chosen_limits *l, size_t n_models, probe_record *out,
                                 failure *fail)
{
    char path[] = "/tmp/a-io-ladder-XXXXXX";
    model *small = NULL;
    config *c = NULL;
    const model_options options = {.chat_template = NULL};
    close(mkstemp(path));
    kernel_init(NULL, fail);
    if (config_load(&c, "config/demo.yaml", fail) != OK ||
        model_load(&small, "models/demo/small.gguf", &options, fail) != OK)
        fail_msg("%s", fail->text);
    probe_record r = {.calibration = calibration_identity(3), .limits = *l};
    const calibration_parts parts = {.probe = &r};
    assert_int_equal(calibration_file_write(path, &parts, c, small, fail), OK);
    uint32_t own = c->n_models;
    c->n_models = (uint32_t)n_models; /* nothing else is read of them */
    error_code code = calibration_file_read_probe(out, path, c, small, fail);
    c->n_models = own;
    unlink(path);
    model_destroy(small);
    config_free(c);
    return code;
}

static void test_limits_in_the_file(void **state)
{
    (void)state;
    probe_record r;
    failure fail;
    chosen_limits l = two_limits(0.1 + 0.2, 0.7);
    if (write_and_read(&l, 3, &r, &fail) != OK)
        fail_msg("%s", fail.text);
    assert_int_equal(r.limits.n, 2);
    assert_memory_equal(r.limits.effects, l.effects, 2 * sizeof *l.effects);
    assert_memory_equal(r.limits.targets, l.targets, 2 * sizeof *l.targets);
    assert_int_equal(write_and_read(&l, 2, &r, &fail), ERR_CONFIG);
    assert_non_null(strstr(fail.text, "2 limits, for 3 models; there are 2"));
    l = two_limits(0.7, 0.3);
    assert_int_equal(write_and_read(&l, 3, &r, &fail), ERR_CONFIG);
    assert_non_null(strstr(fail.text, "not in order"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adaptive_goes_up_by_one),
        cmocka_unit_test(test_adaptive_has_a_limit_a_step),
        cmocka_unit_test(test_other_names),
        cmocka_unit_test(test_rules_have_their_step),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_a_limit_for_each_step),
        cmocka_unit_test(test_limits_in_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
