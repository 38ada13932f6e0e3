/* The policies: what every built-in one decides at its boundaries, and which decisions need no
 * probe. */
#include <math.h>

#include "policy_fixture.h"

static void test_adaptive(void **state)
{
    (void)state;
    fixture f = open_policy("{entropy_limit: 0.45, prompt_limit: 500}");
    check(decide(f, CODE, 0.45, 500), SMALL, WISH_AUTO, "code",
          "intent code, entropy 0.45 ≤ 0.45 nats, 500 prompt tokens ≤ 500");
    check(decide(f, CODE, 0.61, 500), LARGE, WISH_AUTO, "entropy", "entropy 0.61 > 0.45 nats");
    check(decide(f, CODE, 0.4500001, 500), LARGE, WISH_AUTO, "entropy",
          "entropy 0.4500001 > 0.4500000 nats");
    check(decide(f, CODE, 0.1, 501), LARGE, WISH_AUTO, "long_context", "501 prompt tokens > 500");
    check(decide(f, QA, 0.1, 5), LARGE, WISH_AUTO, "qa", "intent qa");
    check(decide(f, MATH, 0.1, 5), LARGE, WISH_AUTO, "math", "intent math");
    assert_int_equal(decide(f, MATH, 0.1, 5).lookup.prior, MATH);
    plan p;
    assert_false(decides_alone(f, 500, &p));
    assert_true(decides_alone(f, 501, &p)); /* too long for the small model whatever the intent */
    check(p, LARGE, WISH_AUTO, "long_context", "501 prompt tokens > 500");
    assert_int_equal(p.lookup.prior, WISH_CLASSES - 1);
    assert_true(policy_reads_intent(f.policy));
    close_policy(f);
}

static void test_small_context_limits(void **state)
{
    (void)state;
    fixture f = open_policy("{prompt_limit: 2048}");
    assert_int_equal(decide(f, CODE, 0, SMALL_CONTEXT - 1).level, SMALL);
    check(decide(f, CODE, 0, SMALL_CONTEXT), LARGE, WISH_AUTO, "long_context",
          "1000 prompt tokens do not fit the small model's context of 1000"); /* nor any reply */
    assert_int_equal(decide(f, CODE, 0, SMALL_CONTEXT + 1).level, LARGE);
    close_policy(f);
}

static void test_paper(void **state)
{
    (void)state;
    fixture f = open_policy("{name: paper, entropy_limit: 0.45, prompt_limit: 500}");
    check(decide(f, CODE, 0.45, 500), SMALL, WISH_OFF, "code",
          "intent code, entropy 0.45 ≤ 0.45 nats, 500 prompt tokens ≤ 500");
    check(decide(f, CODE, 0.46, 500), LARGE, WISH_OFF, "entropy",
          "intent code, entropy 0.46 > 0.45 nats");
    check(decide(f, CODE, 0.1, 501), LARGE, WISH_OFF, "long_context",
          "intent code, 501 prompt tokens > 500");
    check(decide(f, QA, 0.1, 501), LARGE, WISH_FIXED, "long_context", "501 prompt tokens > 500");
    check(decide(f, MATH, 0.5, 5), LARGE, WISH_FIXED, "entropy", "entropy 0.50 > 0.45 nats");
    check(decide(f, MATH, 0.1, 5), LARGE, WISH_FIXED, "math", "intent math");
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
        size_t level;
    } cases[] = {{"{name: small}", SMALL}, {"{name: large}", LARGE}};
    for (size_t i = 0; i < 2; i++) {
        fixture f = open_policy(cases[i].yaml);
        plan p;
        assert_true(decides_alone(f, 1, &p));
        assert_int_equal(p.level, cases[i].level);
        assert_int_equal(p.lookup.mode, WISH_AUTO);
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
    check(p, SMALL, WISH_AUTO, "random", "coin 0.50 ≤ 0.50");
    assert_true(policy_decide(f.policy, &(policy_facts){.coin = 0.75}, &p));
    check(p, LARGE, WISH_AUTO, "random", "coin 0.75 > 0.50");
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
    check(p, LARGE, WISH_OFF, "huge", "801 prompt tokens > 800");
    assert_false(decides_alone(f, 300, &p)); /* sure may hold */
    assert_false(decides_alone(f, 301, &p)); /* sure cannot, vague may */
    p = decide(f, MATH, 0.1, 300);
    check(p, SMALL, WISH_FIXED, "sure", "intent math, margin 0.90 > 0.50, 300 prompt tokens ≤ 300");
    assert_int_equal(p.lookup.length, 7);
    assert_string_equal(decide(f, MATH, 1.05, 301).rule, "vague");
    check(decide(f, QA, 0.1, 300), LARGE, WISH_AUTO, "no_rule", "no earlier rule held (no_rule)");
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
    check(p, LARGE, WISH_AUTO, "probe_error", "the probe failed: the queue is full");
    assert_int_equal(p.prompt_tokens, 12);
    assert_int_equal(p.fallback, FALLBACK_PROBE_ERROR);
    failure_set(&why, ERR_TIMEOUT, "5 ms are over");
    assert_true(policy_decide(f.policy, &facts, &p));
    check(p, LARGE, WISH_AUTO, "probe_timeout", "the probe took too long: 5 ms are over");
    assert_int_equal(p.fallback, FALLBACK_PROBE_TIMEOUT);
    close_policy(f);
}

/* Whether a fallback of these facts is one that changed the model or its lookup. */
static bool matters(fixture f, size_t label, double entropy, size_t prompt_tokens)
{
    intent known = {.known = true,
                    .n_labels = 3,
                    .best = label,
                    .entropy = entropy,
                    .labels = {"code", "qa", "math"}};
    policy_facts facts = {.intent = &known, .prompt_tokens = prompt_tokens, .coin = 0.5, .turn = 1};
    plan p = decide_facts(f, &facts);
    return policy_fallback_matters(f.policy, &facts, &p);
}

static void test_fallbacks_that_change_nothing(void **state)
{
    (void)state;
    fixture f = open_policy("{name: adaptive}");
    assert_true(matters(f, CODE, 0.9, 5));
    assert_false(matters(f, QA, 0.9, 5)); /* the large model's anyway */
    assert_false(matters(f, CODE, 0.1, 5));
    assert_true(matters(f, CODE, 0.1, 5000));
    assert_false(matters(f, QA, 0.1, 5000));
    failure why = {.code = ERR_BUSY};
    policy_facts unknown = {.probe_failure = &why};
    plan p = decide_facts(f, &unknown);
    assert_true(policy_fallback_matters(f.policy, &unknown, &p));
    p.fallback = FALLBACK_PINNED;
    assert_false(policy_fallback_matters(NULL, &unknown, &p));
    close_policy(f);
    f = open_policy("{name: rules, rules: ["
                    "{name: vague, above_entropy: 0.5, model: large, lookup: off},"
                    "{name: rest, model: large, lookup: 4}]}");
    assert_true(matters(f, QA, 0.9, 5)); /* the same model, without its lookup */
    close_policy(f);
}

static void test_request_conditions(void **state)
{
    (void)state;
    fixture f = open_policy(
        "{name: rules, rules: ["
        "{name: gold, headers: [{name: X-Tier, value: gold}, {name: x-any}], model: small},"
        "{name: busy, load: [{model: large, above_waiting: 2}], model: small},"
        "{name: idle, load: [{model: small, max_running: 0}], session: true, model: large},"
        "{name: later, above_turn: 2, max_turn: 4, session: false, model: small,"
        " max_tokens: 9, sampling: {temperature: 0.5}},"
        "{name: share, max_coin: 0.25, model: small, lookup: off}]}");
    assert_false(policy_reads_intent(f.policy));
    assert_int_equal(policy_header_count(f.policy), 2);
    assert_string_equal(policy_header(f.policy, 0), "X-Tier");
    const char *headers[] = {"gold", ""};
    policy_facts facts = {.headers = headers, .coin = 0.5, .load = {{.running = 1}, {0}}};
    check(decide_facts(f, &facts), SMALL, WISH_AUTO, "gold", "header X-Tier: gold, header x-any");
    headers[0] = "Gold";
    assert_string_equal(decide_facts(f, &facts).rule, "no_rule");
    headers[0] = "gold";
    headers[1] = NULL;
    assert_string_equal(decide_facts(f, &facts).rule, "no_rule");
    facts.load[LARGE].waiting = 3;
    check(decide_facts(f, &facts), SMALL, WISH_AUTO, "busy", "large model: 3 waiting > 2");
    assert_int_equal(decide_facts(f, &facts).fallback, FALLBACK_LOAD);
    facts.load[LARGE].waiting = 2;
    facts.load[SMALL].running = 0;
    assert_string_equal(decide_facts(f, &facts).rule, "no_rule"); /* idle asks for a session */
    facts.has_session = true;
    check(decide_facts(f, &facts), LARGE, WISH_AUTO, "idle",
          "small model: 0 running ≤ 0, a session is named");
    facts = (policy_facts){.turn = 3, .coin = 0.5, .load = {{.running = 1}, {0}}};
    plan p = decide_facts(f, &facts);
    check(p, SMALL, WISH_AUTO, "later", "turn 3 > 2, turn 3 ≤ 4, no session is named");
    assert_int_equal(p.max_tokens, 9);
    assert_int_equal(p.sampling->set, CONFIG_TEMPERATURE);
    facts.turn = 5;
    facts.coin = 0.25;
    p = decide_facts(f, &facts);
    check(p, SMALL, WISH_OFF, "share", "coin 0.25 ≤ 0.25");
    assert_null(p.sampling);
    close_policy(f);
}

/* What a rule falls back from is seen from its own conditions. */
static void test_fallbacks(void **state)
{
    (void)state;
    fixture f = open_policy("{name: rules, rules: ["
                            "{name: a, above_prompt_tokens: 500, above_entropy: 0.5, model: large},"
                            "{name: b, intents: [code, qa], above_entropy: 0.5, model: large},"
                            "{name: c, max_margin: 0.3, model: large},"
                            "{name: d, max_margin: 0.95, model: small},"
                            "{name: e, load: [{model: small, above_running: 1}], model: large}]}");
    const struct {
        double entropy, margin;
        size_t best, tokens;
        const char *rule;
        fallback fallback;
    } cases[] = {
        {0.6, 0.9, CODE, 501, "a", FALLBACK_LONG_CONTEXT}, {0.6, 0.9, QA, 5, "b", FALLBACK_ENTROPY},
        {0.6, 0.2, MATH, 5, "c", FALLBACK_MARGIN},         {0.6, 0.9, MATH, 5, "d", FALLBACK_NONE},
        {0.1, 0.99, CODE, 5, "e", FALLBACK_LOAD},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        intent n = {.known = true,
                    .best = cases[i].best,
                    .entropy = cases[i].entropy,
                    .margin = cases[i].margin};
        memcpy(n.labels, labels, sizeof labels);
        policy_facts facts = {.intent = &n, .prompt_tokens = cases[i].tokens};
        facts.load[SMALL].running = 2;
        plan p = decide_facts(f, &facts);
        assert_string_equal(p.rule, cases[i].rule);
        assert_int_equal(p.fallback, cases[i].fallback);
    }
    close_policy(f);
    f = open_policy("{name: adaptive, prompt_limit: 500}");
    assert_int_equal(decide(f, CODE, 0.9, 5).fallback, FALLBACK_ENTROPY);
    assert_int_equal(decide(f, CODE, 0.1, 501).fallback, FALLBACK_LONG_CONTEXT);
    assert_int_equal(decide(f, CODE, 0.1, 5).fallback, FALLBACK_NONE);
    assert_int_equal(decide(f, QA, 0.1, 5).fallback, FALLBACK_NONE);
    close_policy(f);
    assert_null(fallback_name(FALLBACK_NONE));
    assert_string_equal(fallback_name(FALLBACK_PROBE_TIMEOUT), "probe_timeout");
}

static void test_conversations(void **state)
{
    (void)state;
    fixture f = open_policy("{name: rules, rules: ["
                            "{name: code, intent: code, model: small, lookup: off},"
                            "{name: short, intent: qa, max_prompt_tokens: 9, model: small},"
                            "{name: math, intent: math, model: large, lookup: 3}]}");
    intent n = {.known = true, .best = QA};
    memcpy(n.labels, labels, sizeof labels);
    policy_kept kept = {.rule = 0, .prior = 7};
    policy_facts facts = {.prompt_tokens = 9, .kept = &kept};
    plan p;
    assert_false(policy_decide(f.policy, &facts, &p)); /* small may escalate */
    facts.intent = &n;
    check(decide_facts(f, &facts), SMALL, WISH_OFF, "session",
          "the conversation stays with the small model (code)");
    assert_int_equal(decide_facts(f, &facts).number, 0);
    assert_int_equal(decide_facts(f, &facts).lookup.prior, 7);
    n.best = CODE;
    assert_string_equal(decide_facts(f, &facts).rule, "code"); /* its own rule holds again */
    n.best = MATH;
    check(decide_facts(f, &facts), LARGE, WISH_FIXED, "math", "intent math");
    assert_false(decide_facts(f, &facts).is_kept);
    kept.rule = 2, kept.level = LARGE; /* with the large model: no probe, whatever else there is */
    facts.intent = NULL;
    p = decide_facts(f, &facts);
    check(p, LARGE, WISH_FIXED, "session", "the conversation stays with the large model (math)");
    assert_true(p.is_kept && p.number == 2 && p.lookup.prior == 7);
    kept.rule = PLAN_NO_RULE;
    check(decide_facts(f, &facts), LARGE, WISH_AUTO, "session",
          "the conversation stays with the large model (long_context)");
    kept.rule = 0, kept.level = SMALL; /* a small conversation outgrows its model */
    facts.prompt_tokens = SMALL_CONTEXT;
    facts.intent = &n;
    n.best = CODE;
    assert_string_equal(decide_facts(f, &facts).rule, "long_context");
    assert_int_equal(decide_facts(f, &facts).number, PLAN_NO_RULE);
    close_policy(f);
}

/* ---- rules that nothing reaches ------------------------------------------------------------- */

static const struct {
    const char *rules;
    size_t reachable; /* the first so many */
} tables[] = {
    {"{name: a, model: large}, {name: b, model: small}", 1},
    {"{name: a, intent: qa, model: large}, {name: b, model: small},"
     "{name: c, intent: code, model: large}",
     2},
    {"{name: a, max_entropy: 0.3, model: large}, {name: b, model: small}", 2},
    {"{name: a, session: true, model: large}, {name: b, model: small}", 2},
    {"{name: a, headers: [{name: x}], model: large}, {name: b, model: small}", 2},
    {"{name: a, cheapest_within_ms: 900}, {name: b, model: small}, {name: c, model: large}", 2},
};

static void test_reachable(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        char yaml[1024];
        snprintf(yaml, sizeof yaml, "{name: rules, rules: [%s]}", tables[i].rules);
        fixture f = open_policy(yaml);
        for (size_t k = 0; k < f.config->policy.n_rules; k++)
            if (policy_reachable(f.policy, k) != (k < tables[i].reachable))
                fail_msg("rule %zu of %s", k, tables[i].rules);
        close_policy(f);
    }
}

/* ---- the table as a configuration, and decisions from a log ---------------------------------- */

static uint32_t random_state = 1;

static double uniform(void)
{
    random_state = random_state * 1664525 + 1013904223;
    return (double)(random_state >> 8) / (1 << 24);
}

typedef struct random_facts {
    policy_facts facts;
    intent intent;
    policy_kept kept;
    double success;
    failure trouble;
    const char *headers[4];
} random_facts;

static void draw_facts(random_facts *r, size_t n_rules)
{
    r->intent = (intent){.known = true,
                         .n_labels = 3,
                         .best = (size_t)(3 * uniform()),
                         .entropy = 1.0986 * uniform(),
                         .margin = uniform()};
    memcpy(r->intent.labels, labels, sizeof labels);
    failure_set(&r->trouble, uniform() < 0.5 ? ERR_TIMEOUT : ERR_BUSY, "trouble");
    r->kept = (policy_kept){.rule = (size_t)((double)(n_rules + 1) * uniform()),
                            .level = (size_t)(2 * uniform()),
                            .prior = 2};
    if (r->kept.rule == n_rules)
        r->kept.rule = PLAN_NO_RULE;
    r->headers[0] = uniform() < 0.5 ? "gold" : NULL;
    r->success = floor(10 * uniform()) / 10; /* often the very bound */
    r->facts = (policy_facts){.intent = &r->intent,
                              .success = &r->success,
                              .prompt_tokens = (size_t)(1200 * uniform()),
                              .turn = 1 + (size_t)(5 * uniform()),
                              .has_session = uniform() < 0.5,
                              .coin = uniform(),
                              .headers = r->headers,
                              .kept = uniform() < 0.2 ? &r->kept : NULL};
    if (uniform() < 0.1) {
        r->facts.intent = NULL;
        r->facts.probe_failure = &r->trouble;
    }
    for (size_t i = 0; i < 2; i++)
        r->facts.load[i] = (policy_load){(uint32_t)(4 * uniform()), (uint32_t)(4 * uniform()),
                                         floor(10 * uniform()) * 100};
}

static void check_same_plan(plan a, plan b)
{
    assert_int_equal(a.level, b.level);
    assert_int_equal(a.lookup.mode, b.lookup.mode);
    assert_int_equal(a.lookup.length, b.lookup.length);
    assert_int_equal(a.lookup.prior, b.lookup.prior);
    assert_string_equal(a.rule, b.rule);
    assert_int_equal(a.number, b.number);
    assert_int_equal(a.fallback, b.fallback);
    assert_int_equal(a.max_tokens, b.max_tokens);
    assert_int_equal(a.sampling != NULL ? a.sampling->set : 0,
                     b.sampling != NULL ? b.sampling->set : 0);
}

static const char all_conditions[] =
    "{name: rules, rules: ["
    "{name: a, intents: [code, math], max_entropy: 0.123456789012345678, max_turn: 3,"
    " headers: [{name: x-tier, value: gold}], model: small, lookup: 5, max_tokens: 7,"
    " sampling: {temperature: 0.2, top_p: 0.9, min_p: 0.1, top_k: 3, repetition_penalty: 1.1,"
    " presence_penalty: -1, frequency_penalty: 0.5}},"
    "{name: b, session: true, above_margin: 0.4, load: [{model: small, max_waiting: 2},"
    " {model: large, above_running: 1, max_delay_ms: 700}], model: large, lookup: off},"
    "{name: e, cheapest_within_ms: 300, above_coin: 0.8},"
    "{name: c, min_success: 0.3, below_success: 0.8, max_turn: 4, model: small, lookup: 2},"
    "{name: d, below_success: 0.1, model: large, lookup: 3},"
    "{name: b, session: false, above_coin: 0.5, above_prompt_tokens: 30, model: small},"
    "{name: a, headers: [{name: X-Tier}], max_margin: 0.9, model: small}]}";

/* Every policy's table, written into a configuration, decides as the policy does. */
static void test_table_is_a_configuration(void **state)
{
    (void)state;
    const char *const policies[] = {"{name: adaptive, prompt_limit: 500}",
                                    "{name: paper}",
                                    "{name: small}",
                                    "{name: large}",
                                    "{name: random}",
                                    all_conditions};
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++) {
        fixture f = open_policy(policies[i]);
        json_t *table = table_json(f.policy);
        char *text = json_dumps(table, JSON_REAL_PRECISION(17)), yaml[8192];
        snprintf(yaml, sizeof yaml, "{name: rules, rules: %s}", text);
        fixture g = open_policy(yaml);
        assert_int_equal(policy_rule_count(f.policy), policy_rule_count(g.policy));
        for (size_t n = 0; n < 3000; n++) {
            random_facts r;
            draw_facts(&r, policy_rule_count(f.policy));
            check_same_plan(decide_facts(f, &r.facts), decide_facts(g, &r.facts));
        }
        free(text);
        json_decref(table);
        close_policy(g);
        close_policy(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adaptive),
        cmocka_unit_test(test_small_context_limits),
        cmocka_unit_test(test_paper),
        cmocka_unit_test(test_static),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_probe_error),
        cmocka_unit_test(test_fallbacks_that_change_nothing),
        cmocka_unit_test(test_request_conditions),
        cmocka_unit_test(test_fallbacks),
        cmocka_unit_test(test_conversations),
        cmocka_unit_test(test_reachable),
        cmocka_unit_test(test_table_is_a_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
