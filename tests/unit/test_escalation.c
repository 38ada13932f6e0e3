/* Three models: which one a conversation is with, how it goes up, and what the log says of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "orchestra/describe.h"
#include "orchestra/record.h"
#include "run_house.h"

#define THREE "  - {name: s, path: s}\n  - {name: m, path: m}\n  - {name: l, path: l}\n"
#define RULES                                                                                      \
    "{name: rules, rules: [{name: sure, max_entropy: 0.45, intent: code, model: s},"               \
    "{name: unsure, above_entropy: 0.45, model: next}, {name: math, intent: math, model: m},"      \
    "{name: rest, model: l}]}"

static void open_three(stage *s, const char *rules)
{
    failure fail;
    if (try_open_of(s, THREE, rules, &fail) != OK)
        fail_msg("%s", fail.text);
    assert_int_equal(s->progress_calls, 3);
}

/* One is 0.69 nats from two that are alike. */
static void say(const float logits[3])
{
    memcpy(world.logits, logits, sizeof world.logits);
}
static const float code[] = {9, 0, 0}, qa[] = {0, 9, 0}, math[] = {0, 0, 9}, unsure[] = {9, 9, 0};

static void check_turn(stage *s, const char *session, const char *name, const char *rule)
{
    run *r = perform(s, (run_options){.session = session}, RUN_FINISHED);
    check_plan(r, name, rule);
    run_release(r);
}

static void test_rules_name_models(void **state)
{
    (void)state;
    reset_world();
    stage s;
    open_three(&s, RULES);
    say(code);
    check_turn(&s, NULL, "s", "sure");
    say(math);
    check_turn(&s, NULL, "m", "math");
    say(qa);
    check_turn(&s, NULL, "l", "rest");
    say(unsure);
    check_turn(&s, NULL, "m", "unsure"); /* the next one up of the model that was asked */
    orchestra_counts counts;
    orchestra_read_counts(s.orchestra, &counts);
    assert_true(counts.decisions[0] == 1 && counts.decisions[1] == 2 && counts.decisions[2] == 1);
    json_t *told = counts_json(s.orchestra, orchestra_routing(s.orchestra));
    json_t *models = json_object_get(told, "models");
    assert_int_equal(json_integer_value(json_object_get(models, "m")), 2);
    json_decref(told);
    run *r = perform(&s, (run_options){.model = "m"}, RUN_FINISHED);
    check_plan(r, "m", "pinned");
    run_release(r);
    close_stage(&s);
}

/* Each unsure turn goes one further up, and no turn goes down. */
static void test_three_steps(void **state)
{
    (void)state;
    reset_world();
    stage s;
    open_three(&s, RULES);
    say(code);
    check_turn(&s, "one", "s", "sure");
    say(unsure);
    check_turn(&s, "one", "m", "unsure");
    say(code);
    check_turn(&s, "one", "m", "session");
    say(math);
    check_turn(&s, "one", "m", "session"); /* another rule's plan for the same model */
    say(unsure);
    check_turn(&s, "one", "l", "unsure");
    int probes = world.n_probes;
    say(code);
    check_turn(&s, "one", "l", "session");
    assert_int_equal(world.n_probes, probes); /* nothing is above it: nobody is asked */
    say(unsure);
    check_turn(&s, "two", "m", "unsure");
    close_stage(&s);
}

/* Each model counts for itself; what it does not hold goes up, once more if need be. */
static void test_length_by_own_count(void **state)
{
    (void)state;
    reset_world();
    stage s;
    open_three(&s, RULES);
    world.tokens[0] = 100; /* full: no room for a reply */
    say(code);
    run *r = perform(&s, (run_options){.model = NULL}, RUN_FINISHED);
    check_plan(r, "m", "long_context");
    assert_non_null(strstr(run_plan(r)->reason, "100 prompt tokens do not fit the s model's"));
    run_release(r);
    world.tokens[2] = 200;
    check_turn(&s, NULL, "l", "long_context");
    world.tokens[0] = 10; /* the small model holds it, the one that is to answer does not */
    say(math);
    r = perform(&s, (run_options){.model = NULL}, RUN_FINISHED);
    check_plan(r, "l", "long_context");
    assert_non_null(strstr(run_plan(r)->reason, "200 prompt tokens do not fit the m model's"));
    run_release(r);
    world.tokens[1] = 1000;
    failure fail;
    assert_int_equal(submit(&s, &(run_options){.model = NULL}, &r, &fail), OK);
    assert_int_equal(finish(r, NULL, NULL), RUN_FAILED);
    assert_int_equal(run_failure(r)->code, ERR_CONTEXT);
    assert_non_null(strstr(run_failure(r)->text, "the l one's 1000"));
    run_release(r);
    close_stage(&s);
}

/* The probe may be any model's; what falls back goes above that one. */
static void test_asked_in_the_middle(void **state)
{
    (void)state;
    reset_world();
    world.asked = 2;
    stage s;
    open_three(&s, RULES "\nprobe: {model: m}");
    world.tokens[2] = 17;
    say(unsure);
    run *r = perform(&s, (run_options){.model = NULL}, RUN_FINISHED);
    check_plan(r, "l", "unsure");
    assert_int_equal(run_plan(r)->prompt_tokens, 17);
    assert_int_equal(run_plan(r)->fallback, FALLBACK_ENTROPY);
    run_release(r);
    say(code);
    check_turn(&s, NULL, "s", "sure");
    world.tokens[0] = 100; /* by its own count */
    check_turn(&s, NULL, "m", "long_context");
    close_stage(&s);
}

static void test_probe_failures(void **state)
{
    (void)state;
    reset_world();
    stage s;
    open_three(&s, RULES);
    world.classification_code = ERR_INTERNAL;
    check_turn(&s, NULL, "l", "probe_error");
    world.classification_code = ERR_FORMAT; /* it left labels out */
    check_turn(&s, NULL, "m", "probe_error");
    close_stage(&s);
}

static json_t *read_line(FILE *file)
{
    char *line = NULL;
    size_t room = 0;
    assert_true(getline(&line, &room, file) > 0);
    json_t *o = json_loads(line, 0, NULL);
    free(line);
    assert_non_null(o);
    return o;
}

/* What the log keeps decides the same again. */
static void test_decided_again(void **state)
{
    (void)state;
    static const float *const said[] = {code, unsure, math, unsure, qa};
    enum { TURNS = sizeof said / sizeof said[0] };
    char path[] = "/tmp/a-io-escalation-XXXXXX", rules[1024];
    close(mkstemp(path));
    reset_world();
    world.tokens[2] = 200; /* the middle one is too small for all of them */
    snprintf(rules, sizeof rules, RULES "\ndecisions: {file: %s}", path);
    stage s;
    failure fail;
    open_three(&s, rules);
    assert_int_equal(orchestra_open_log(s.orchestra, &fail), OK);
    for (size_t i = 0; i < TURNS; i++) {
        say(said[i]);
        run_release(perform(&s, (run_options){.session = i % 2 == 0 ? "a" : "b"}, RUN_FINISHED));
    }
    policy *p;
    assert_int_equal(policy_create(&p, s.config, (size_t[]){100, 200, 1000}, &fail), OK);
    orchestra_destroy(s.orchestra); /* its log is written */
    s.orchestra = NULL;
    FILE *file = fopen(path, "r");
    json_decref(read_line(file));
    for (size_t i = 0; i < TURNS; i++) {
        recorded_facts facts;
        plan again;
        json_t *line = read_line(file), *then = json_object_get(line, "plan");
        assert_int_equal(record_read(&facts, json_object_get(line, "facts"), p, &fail), OK);
        assert_true(policy_decide(p, &facts.facts, &again));
        assert_string_equal(json_string_value(json_object_get(then, "role")),
                            policy_model(p, again.level));
        assert_string_equal(json_string_value(json_object_get(then, "reason")), again.reason);
        json_decref(line);
    }
    fclose(file);
    unlink(path);
    policy_destroy(p);
    close_stage(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules_name_models),   cmocka_unit_test(test_three_steps),
        cmocka_unit_test(test_length_by_own_count), cmocka_unit_test(test_asked_in_the_middle),
        cmocka_unit_test(test_probe_failures),      cmocka_unit_test(test_decided_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
