/* The policies: what every built-in one decides at its boundaries, and which decisions need no
 * probe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "orchestra/policy.h"

#define SMALL_CONTEXT 1000

static const char *const labels[] = {"code", "qa", "math"};
enum { CODE, QA, MATH };

static config *configured(const char *policy_yaml)
{
    char text[2048];
    snprintf(text, sizeof text,
             "version: 1\nmodels:\n  - {name: s, role: small, path: s}\n"
             "  - {name: l, role: large, path: l}\npolicy: %s\n",
             policy_yaml);
    config *c = NULL;
    failure fail;
    if (config_parse(&c, text, strlen(text), "x", &fail) != OK)
        fail_msg("%s", fail.text);
    return c;
}

typedef struct fixture {
    config *config;
    policy *policy;
} fixture;

static fixture open_policy(const char *yaml)
{
    fixture f = {.config = configured(yaml)};
    failure fail;
    assert_int_equal(policy_create(&f.policy, f.config, SMALL_CONTEXT, &fail), OK);
    return f;
}

static void close_policy(fixture f)
{
    policy_destroy(f.policy);
    config_free(f.config);
}

static plan decide(fixture f, size_t best, double entropy, size_t tokens)
{
    intent i = {.known = true, .n_labels = 3, .best = best, .entropy = entropy, .margin = 0.9};
    memcpy(i.labels, labels, sizeof labels);
    policy_facts facts = {.intent = &i, .prompt_tokens = tokens};
    plan p;
    assert_true(policy_decide(f.policy, &facts, &p));
    return p;
}

static bool decides_alone(fixture f, size_t tokens, plan *p)
{
    policy_facts facts = {.prompt_tokens = tokens};
    return policy_decide(f.policy, &facts, p);
}

static void check(plan p, config_role role, lookup_mode mode, const char *rule, const char *reason)
{
    assert_int_equal(p.role, role);
    assert_int_equal(p.lookup.mode, mode);
    assert_string_equal(p.rule, rule);
    assert_string_equal(p.reason, reason);
}

static void test_adaptive(void **state)
{
    (void)state;
    fixture f = open_policy("{entropy_limit: 0.45, prompt_limit: 500}");
    check(decide(f, CODE, 0.45, 500), ROLE_SMALL, LOOKUP_AUTO, "code",
          "intent code, entropy 0.45 ≤ 0.45 nats, 500 prompt tokens ≤ 500");
    check(decide(f, CODE, 0.61, 500), ROLE_LARGE, LOOKUP_AUTO, "entropy",
          "entropy 0.61 > 0.45 nats");
    check(decide(f, CODE, 0.4500001, 500), ROLE_LARGE, LOOKUP_AUTO, "entropy",
          "entropy 0.4500001 > 0.4500000 nats");
    check(decide(f, CODE, 0.1, 501), ROLE_LARGE, LOOKUP_AUTO, "long_context",
          "501 prompt tokens > 500");
    check(decide(f, QA, 0.1, 5), ROLE_LARGE, LOOKUP_AUTO, "qa", "intent qa");
    check(decide(f, MATH, 0.1, 5), ROLE_LARGE, LOOKUP_AUTO, "math", "intent math");
    assert_int_equal(decide(f, MATH, 0.1, 5).lookup.prior, MATH);
    plan p;
    assert_false(decides_alone(f, 500, &p));
    assert_true(decides_alone(f, 501, &p)); /* too long for the small model whatever the intent */
    check(p, ROLE_LARGE, LOOKUP_AUTO, "long_context", "501 prompt tokens > 500");
    assert_int_equal(p.lookup.prior, LOOKUP_CLASSES - 1);
    assert_true(policy_reads_intent(f.policy));
    close_policy(f);
}

static void test_small_context_limits(void **state)
{
    (void)state;
    fixture f = open_policy("{prompt_limit: 2048}");
    assert_int_equal(decide(f, CODE, 0, SMALL_CONTEXT - 1).role, ROLE_SMALL);
    check(decide(f, CODE, 0, SMALL_CONTEXT), ROLE_LARGE, LOOKUP_AUTO, "long_context",
          "1000 prompt tokens do not fit the small model's context of 1000"); /* nor any reply */
    assert_int_equal(decide(f, CODE, 0, SMALL_CONTEXT + 1).role, ROLE_LARGE);
    close_policy(f);
}

static void test_paper(void **state)
{
    (void)state;
    fixture f = open_policy("{name: paper, entropy_limit: 0.45, prompt_limit: 500}");
    check(decide(f, CODE, 0.45, 500), ROLE_SMALL, LOOKUP_OFF, "code",
          "intent code, entropy 0.45 ≤ 0.45 nats, 500 prompt tokens ≤ 500");
    check(decide(f, CODE, 0.46, 500), ROLE_LARGE, LOOKUP_OFF, "entropy",
          "intent code, entropy 0.46 > 0.45 nats");
    check(decide(f, CODE, 0.1, 501), ROLE_LARGE, LOOKUP_OFF, "long_context",
          "intent code, 501 prompt tokens > 500");
    check(decide(f, QA, 0.1, 501), ROLE_LARGE, LOOKUP_FIXED, "long_context",
          "501 prompt tokens > 500");
    check(decide(f, MATH, 0.5, 5), ROLE_LARGE, LOOKUP_FIXED, "entropy", "entropy 0.50 > 0.45 nats");
    check(decide(f, MATH, 0.1, 5), ROLE_LARGE, LOOKUP_FIXED, "math", "intent math");
    assert_int_equal(decide(f, QA, 0.1, 5).lookup.length, 2);
    plan p;
    assert_false(decides_alone(f, 501, &p)); /* the lookup depends on the intent */
    close_policy(f);
}

static void test_static(void **state)
{
    (void)state;
    const struct {
        const char *yaml;
        config_role role;
    } cases[] = {{"{name: small}", ROLE_SMALL}, {"{name: large}", ROLE_LARGE}};
    for (size_t i = 0; i < 2; i++) {
        fixture f = open_policy(cases[i].yaml);
        plan p;
        assert_true(decides_alone(f, 1, &p));
        assert_int_equal(p.role, cases[i].role);
        assert_int_equal(p.lookup.mode, LOOKUP_AUTO);
        assert_false(policy_reads_intent(f.policy));
        close_policy(f);
    }
}

static void test_random(void **state)
{
    (void)state;
    fixture f = open_policy("{name: random, seed: 3}");
    plan p;
    assert_true(policy_decide(f.policy, &(policy_facts){.coin = 0.5}, &p));
    check(p, ROLE_SMALL, LOOKUP_AUTO, "random", "coin 0.50 ≤ 0.50");
    assert_true(policy_decide(f.policy, &(policy_facts){.coin = 0.75}, &p));
    check(p, ROLE_LARGE, LOOKUP_AUTO, "random", "coin 0.75 > 0.50");
    close_policy(f);
}

static void test_rules(void **state)
{
    (void)state;
    fixture f = open_policy("{name: rules, rules: ["
                            "{name: huge, above_prompt_tokens: 800, model: large, lookup: off},"
                            "{name: sure, intent: math, above_margin: 0.5, max_prompt_tokens: 300,"
                            " model: small, lookup: 7},"
                            "{name: vague, above_entropy: 1, model: large}]}");
    plan p;
    assert_true(decides_alone(f, 801, &p));
    check(p, ROLE_LARGE, LOOKUP_OFF, "huge", "801 prompt tokens > 800");
    assert_false(decides_alone(f, 300, &p)); /* sure may hold */
    assert_false(decides_alone(f, 301, &p)); /* sure cannot, vague may */
    p = decide(f, MATH, 0.1, 300);
    check(p, ROLE_SMALL, LOOKUP_FIXED, "sure",
          "intent math, margin 0.90 > 0.50, 300 prompt tokens ≤ 300");
    assert_int_equal(p.lookup.length, 7);
    assert_string_equal(decide(f, MATH, 1.05, 301).rule, "vague");
    check(decide(f, QA, 0.1, 300), ROLE_LARGE, LOOKUP_AUTO, "no_rule",
          "no earlier rule held (no_rule)");
    close_policy(f);
}

static void test_probe_error(void **state)
{
    (void)state;
    failure why;
    failure_set(&why, ERR_BUSY, "the queue is full");
    fixture f = open_policy("{name: adaptive}");
    plan p;
    policy_facts facts = {.probe_failure = &why, .prompt_tokens = 12};
    assert_true(policy_decide(f.policy, &facts, &p));
    check(p, ROLE_LARGE, LOOKUP_AUTO, "probe_error", "the probe failed: the queue is full");
    assert_int_equal(p.prompt_tokens, 12);
    assert_int_equal(p.fallback, FALLBACK_PROBE_ERROR);
    failure_set(&why, ERR_TIMEOUT, "5 ms are over");
    assert_true(policy_decide(f.policy, &facts, &p));
    check(p, ROLE_LARGE, LOOKUP_AUTO, "probe_timeout", "the probe took too long: 5 ms are over");
    assert_int_equal(p.fallback, FALLBACK_PROBE_TIMEOUT);
    close_policy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adaptive),    cmocka_unit_test(test_small_context_limits),
        cmocka_unit_test(test_paper),       cmocka_unit_test(test_static),
        cmocka_unit_test(test_random),      cmocka_unit_test(test_rules),
        cmocka_unit_test(test_probe_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
