/* policy_fixture.h: what the tests of policies share: a policy of a text, and what it decides. */
#ifndef TESTS_POLICY_FIXTURE_H
#define TESTS_POLICY_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "orchestra/policy.h"
#include "orchestra/table.h"

#define SMALL_CONTEXT 1000
static const size_t contexts[] = {SMALL_CONTEXT, SIZE_MAX};
enum { SMALL, LARGE };

static const char *const labels[] = {"code", "qa", "math"};
enum { CODE, QA, MATH };

static inline config *configured(const char *policy_yaml)
{
    char text[16384];
    snprintf(text, sizeof text,
             "version: 1\nmodels:\n  - {name: s, role: small, path: s}\n"
             "  - {name: l, role: large, path: l, price: {input: 1, output: 2}}\n"
             "success: {calibration: f}\npolicy: %s\n",
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

static inline fixture open_policy(const char *yaml)
{
    fixture f = {.config = configured(yaml)};
    failure fail;
    assert_int_equal(policy_create(&f.policy, f.config, contexts, &fail), OK);
    return f;
}

static inline void close_policy(fixture f)
{
    policy_destroy(f.policy);
    config_free(f.config);
}

static inline plan decide(fixture f, size_t best, double entropy, size_t tokens)
{
    intent i = {.known = true, .n_labels = 3, .best = best, .entropy = entropy, .margin = 0.9};
    memcpy(i.labels, labels, sizeof labels);
    policy_facts facts = {.intent = &i, .prompt_tokens = tokens};
    plan p;
    assert_true(policy_decide(f.policy, &facts, &p));
    return p;
}

static inline bool decides_alone(fixture f, size_t tokens, plan *p)
{
    policy_facts facts = {.prompt_tokens = tokens};
    return policy_decide(f.policy, &facts, p);
}

static inline void check(plan p, size_t level, wish_mode mode, const char *rule, const char *reason)
{
    assert_int_equal(p.level, level);
    assert_int_equal(p.lookup.mode, mode);
    assert_string_equal(p.rule, rule);
    assert_string_equal(p.reason, reason);
}

static inline plan decide_facts(fixture f, const policy_facts *facts)
{
    plan p;
    assert_true(policy_decide(f.policy, facts, &p));
    return p;
}

#endif
