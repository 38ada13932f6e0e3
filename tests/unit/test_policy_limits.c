/* Conditions whose limits come from elsewhere: prices, and what calibrations say. */
#include <math.h>

#include "policy_fixture.h"

static config *configured_with_certain(double limit)
{
    config *c = NULL;
    failure fail;
    const char *text = "version: 1\nmodels:\n  - {name: s, role: small, path: s}\n"
                       "  - {name: l, role: large, path: l}\nprobe: {calibration: f}\n"
                       "policy:\n  name: rules\n  rules:\n"
                       "    - {name: doubt, certain: false, intents: [code, qa], model: large}\n"
                       "    - {name: sure, certain: true, model: small}\n";
    if (config_parse(&c, text, strlen(text), "x", &fail) != OK)
        fail_msg("%s", fail.text);
    c->policy.certain = (config_limits){.at = {limit}, .n = (size_t)!isnan(limit)};
    return c;
}

/* The cheapest of those that are soon there; where none is, the rule is passed over. */
static void test_cheapest(void **state)
{
    (void)state;
    failure fail;
    config *c = NULL;
    const char *text =
        "version: 1\nmodels: [{name: near, path: a, price: {input: 2, output: 2}},"
        " {name: own, path: b}, {name: far, path: c, price: {input: 1, output: 9}}]\n"
        "policy: {name: rules, rules: [{name: soon, cheapest_within_ms: 300},"
        " {name: slow, load: [{model: own, above_delay_ms: 900}], model: far},"
        " {name: rest, model: own}]}\n";
    if (config_parse(&c, text, strlen(text), "x", &fail) != OK)
        fail_msg("%s", fail.text);
    fixture f = {.config = c};
    assert_int_equal(policy_create(&f.policy, c, (size_t[]){100, 100, 1000}, &fail), OK);
    policy_facts facts = {.prompt_tokens = 9, .load = {{0}, {.delay_ms = 301}, {0}}};
    check(decide_facts(f, &facts), 0, WISH_AUTO, "soon",
          "the cheapest within 300 ms: 0 ms expected"); /* 530 of a million, far 2313 */
    facts.load[1].delay_ms = 300;
    check(decide_facts(f, &facts), 1, WISH_AUTO, "soon",
          "the cheapest within 300 ms: 300 ms expected"); /* nothing */
    facts.prompt_tokens =
        3000; /* which the first does not hold; it is long enough to turn it round */
    facts.load[1].delay_ms = 400;
    assert_int_equal(decide_facts(f, &facts).level, 2);
    facts.load[2].delay_ms = 1000;
    facts.prompt_tokens = 9;
    facts.load[0].delay_ms = 500;
    check(decide_facts(f, &facts), 1, WISH_AUTO, "rest", "no earlier rule held (rest)");
    facts.load[1].delay_ms = 1000;
    check(decide_facts(f, &facts), 2, WISH_AUTO, "slow", "own model: 1000 ms expected > 900");
    assert_int_equal(decide_facts(f, &facts).fallback, FALLBACK_LOAD);
    for (size_t i = 0; i < policy_rule_count(f.policy); i++)
        assert_true(policy_reachable(f.policy, i));
    close_policy(f);
}

/* What is certain, the calibration says: its limit stands for the word, on both sides. */
static void test_certain(void **state)
{
    (void)state;
    failure fail;
    fixture f = {.config = configured_with_certain(0.31)};
    assert_int_equal(policy_create(&f.policy, f.config, contexts, &fail), OK);
    plan at = decide(f, CODE, 0.31, 10), above = decide(f, CODE, 0.32, 10);
    plan math = decide(f, MATH, 0.32, 10);
    assert_string_equal(at.rule, "sure");
    assert_int_equal(at.level, SMALL);
    assert_int_equal(at.fallback, FALLBACK_NONE);
    assert_string_equal(above.rule, "doubt");
    assert_int_equal(above.fallback, FALLBACK_ENTROPY);
    assert_string_equal(above.reason, "intent code, entropy 0.32 > 0.31 nats");
    assert_string_equal(math.rule, "no_rule");
    /* A limit that has moved comes with the facts. */
    double moved = 0.3;
    intent i = {.known = true, .n_labels = 3, .best = CODE, .entropy = 0.31, .margin = 0.9};
    memcpy(i.labels, labels, sizeof labels);
    policy_facts facts = {.intent = &i, .prompt_tokens = 10, .entropy_limit = &moved};
    assert_true(policy_follows_limit(f.policy));
    assert_true(policy_decide(f.policy, &facts, &at));
    assert_string_equal(at.reason, "intent code, entropy 0.31 > 0.30 nats");
    moved = 0.32;
    assert_true(policy_decide(f.policy, &facts, &at));
    assert_string_equal(at.rule, "sure");
    json_t *table = table_json(f.policy); /* can be put into a configuration: numbers */
    assert_true(json_real_value(json_object_get(json_array_get(table, 1), "max_entropy")) == 0.31);
    json_decref(table);
    close_policy(f);
    /* A calibration without a limit is no answer. */
    f = (fixture){.config = configured_with_certain(NAN)};
    assert_int_equal(policy_create(&f.policy, f.config, contexts, &fail), ERR_CONFIG);
    assert_non_null(strstr(fail.text, "policy.rules[0].certain"));
    assert_null(f.policy);
    close_policy(f);
}

/* ---- success --------------------------------------------------------------------------------- */

static plan decide_success(fixture f, const double *success, const double *limit, size_t tokens)
{
    policy_facts facts = {.success = success, .success_limit = limit, .prompt_tokens = tokens};
    return decide_facts(f, &facts);
}

/* At least the number is likely, anything below is not: the same number splits all. */
static void test_success(void **state)
{
    (void)state;
    fixture f = open_policy("{name: rules, rules: [{name: likely, min_success: 0.8, model: small},"
                            " {name: even, min_success: 0.5, below_success: 0.8, model: large},"
                            " {name: poor, below_success: 0.5, model: large, lookup: off}]}");
    const double at = 0.8, below = nextafter(0.8, 0), half = 0.5, least = 0, most = 1;
    check(decide_success(f, &at, NULL, 10), SMALL, WISH_AUTO, "likely", "success 0.80 ≥ 0.80");
    assert_string_equal(decide_success(f, &most, NULL, 10).rule, "likely");
    assert_true(decide_success(f, &at, NULL, 10).success == 0.8);
    assert_string_equal(decide_success(f, &below, NULL, 10).rule, "even");
    check(decide_success(f, &half, NULL, 10), LARGE, WISH_AUTO, "even",
          "success 0.50 ≥ 0.50, success 0.50 < 0.80");
    plan p = decide_success(f, &least, NULL, 10);
    check(p, LARGE, WISH_OFF, "poor", "success 0.00 < 0.50");
    assert_int_equal(p.fallback, FALLBACK_SUCCESS);
    assert_string_equal(fallback_name(p.fallback), "success");
    assert_true(policy_reads_success(f.policy));
    assert_false(policy_reads_intent(f.policy));
    /* Not known: it waits, but not for what no pass of the small model can give. */
    assert_false(decides_alone(f, SMALL_CONTEXT - 1, &p));
    assert_true(decides_alone(f, SMALL_CONTEXT, &p));
    assert_string_equal(p.rule, "long_context");
    assert_true(isnan(p.success));
    close_policy(f);
    f = open_policy("{name: rules, rules: [{name: a, above_prompt_tokens: 5, model: large},"
                    " {name: b, min_success: 0.8, model: small}]}");
    assert_true(decides_alone(f, 6, &p));
    assert_false(decides_alone(f, 5, &p));
    close_policy(f);
}

static const char likely_rules[] =
    "{name: rules, rules: [{name: doubt, likely: false, model: large},"
    " {name: sure, likely: true, model: small}]}";

static void test_likely(void **state)
{
    (void)state;
    failure fail;
    const double at = 0.7, below = nextafter(0.7, 0), higher = 0.75, lower = 0.6;
    fixture f = {.config = configured(likely_rules)};
    assert_int_equal(policy_create(&f.policy, f.config, contexts, &fail), ERR_CONFIG);
    assert_non_null(strstr(fail.text, "policy.rules[0].likely"));
    f.config->policy.likely = (config_limits){.at = {0.7}, .n = 1};
    assert_int_equal(policy_create(&f.policy, f.config, contexts, &fail), OK);
    assert_true(policy_follows_success(f.policy) && !policy_follows_limit(f.policy));
    assert_string_equal(decide_success(f, &at, NULL, 10).rule, "sure");
    check(decide_success(f, &below, NULL, 10), LARGE, WISH_AUTO, "doubt",
          "success 0.700000000 < 0.700000000");
    /* A limit that has moved comes with the facts. */
    check(decide_success(f, &at, &higher, 10), LARGE, WISH_AUTO, "doubt", "success 0.70 < 0.75");
    check(decide_success(f, &below, &lower, 10), SMALL, WISH_AUTO, "sure", "success 0.70 ≥ 0.60");
    json_t *table = table_json(f.policy); /* can be put into a configuration: numbers */
    assert_true(json_real_value(json_object_get(json_array_get(table, 0), "below_success")) == 0.7);
    assert_true(json_real_value(json_object_get(json_array_get(table, 1), "min_success")) == 0.7);
    json_decref(table);
    close_policy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cheapest),
        cmocka_unit_test(test_certain),
        cmocka_unit_test(test_success),
        cmocka_unit_test(test_likely),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
