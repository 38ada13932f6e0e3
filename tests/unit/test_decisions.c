/*
 * What decides besides the intent, above pretended backends: conversations, kept probes, time
 * limits, headers and load, what a plan sets in a reply; and the log, from which every decision can
 * be made again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "orchestra/record.h"
#include "run_house.h"

/* Runs a conversation to its end. */
static run *converse(stage *s, const char *const *turns, size_t n, run_options options)
{
    run *r = NULL;
    failure fail;
    buffer text;
    token_list tokens = {0};
    buffer_init(&text, 1000);
    if (submit_turns(s, turns, n, &options, &r, &fail) != OK)
        fail_msg("%s", fail.text);
    finish(r, &text, &tokens);
    buffer_free(&text);
    token_list_free(&tokens);
    return r;
}

static void check_turn(stage *s, const char *const *turns, size_t n, run_options options,
                       const char *name, const char *rule)
{
    run *r = converse(s, turns, n, options);
    check_plan(r, name, rule);
    run_release(r);
}

static void say(size_t label)
{
    memset(world.logits, 0, sizeof world.logits);
    world.logits[label] = 9;
}

enum { CODE, QA, MATH };

static const char *const turns[] = {"a", "b", "c", "d", "e"};

static void test_conversations(void **state)
{
    (void)state;
    reset_world();
    stage s;
    open_stage(&s, "{name: adaptive}");
    run_options none = {.model = NULL};
    check_turn(&s, turns, 1, none, "s", "code");
    say(MATH);
    check_turn(&s, turns, 3, none, "l", "math"); /* small → large */
    say(CODE);
    int probes = world.n_probes;
    check_turn(&s, turns, 5, none, "l", "session"); /* and there it stays, without a probe */
    assert_int_equal(world.n_probes, probes);
    const char *const other[] = {"x", "b", "c"};
    check_turn(&s, other, 3, none, "s", "code"); /* another conversation */
    check_turn(&s, turns, 1, none, "s", "code"); /* the first turn again is not its successor */
    orchestra_counts counts;
    orchestra_read_counts(s.orchestra, &counts);
    assert_int_equal(counts.kept, 1);
    assert_int_equal(counts.decisions[1], 2);
    assert_int_equal(routing_intent_count(orchestra_routing(s.orchestra), CODE), 3);
    assert_int_equal(counts.probes, probes + 2);

    /* By name: whatever the messages are. */
    run_options named = {.session = "one"};
    say(QA);
    check_turn(&s, other, 1, named, "l", "qa");
    say(CODE);
    check_turn(&s, turns, 1, named, "l", "session");
    check_turn(&s, turns, 1, (run_options){.session = "two"}, "s", "code");
    /* A decision alone leaves no trace. */
    say(QA);
    check_turn(&s, turns, 1, (run_options){.session = "three", .decide_only = true}, "l", "qa");
    say(CODE);
    check_turn(&s, turns, 1, (run_options){.session = "three"}, "s", "code");
    /* Nor does a moment's trouble. */
    world.classification_code = ERR_INTERNAL;
    check_turn(&s, turns, 1, (run_options){.session = "four"}, "l", "probe_error");
    world.classification_code = OK;
    check_turn(&s, turns, 1, (run_options){.session = "four"}, "s", "code");
    /* A pinned request is none of the conversation's. */
    check_turn(&s, turns, 1, (run_options){.session = "five", .model = "l"}, "l", "pinned");
    check_turn(&s, turns, 1, (run_options){.session = "five"}, "s", "code");
    close_stage(&s);

    open_stage(&s, "{name: adaptive, sticky: false}");
    say(QA);
    check_turn(&s, turns, 1, named, "l", "qa");
    say(CODE);
    check_turn(&s, turns, 1, named, "s", "code");
    close_stage(&s);
}

#define PRICED                                                                                     \
    "  - {name: l, role: large, path: l, price: {input: 2, output: 2}}\n"                          \
    "  - {name: s, role: small, path: s, price: {input: 1, output: 1}}\n"

/* Who had time for one turn is not the conversation's model. */
static void test_a_busy_turn(void **state)
{
    (void)state;
    reset_world();
    world.slots = 1;
    stage s;
    failure fail;
    assert_int_equal(try_open_of(&s, PRICED,
                                 "{name: rules, rules: [{name: soon, cheapest_within_ms: 2000}, "
                                 "{name: rest, model: large}]}",
                                 &fail),
                     OK);
    run_options named = {.session = "one"};
    check_turn(&s, turns, 1, named, "s", "soon");
    world.running[0] = 1;
    check_turn(&s, turns, 3, named, "l", "soon");
    world.running[0] = 0;
    check_turn(&s, turns, 5, named, "s", "soon");
    close_stage(&s);
}

static void test_kept_probes(void **state)
{
    (void)state;
    reset_world();
    stage s;
    open_stage(&s, "{name: adaptive, sticky: false}\nprobe: {cache: 2}");
    run_options none = {.decide_only = true};
    check_turn(&s, turns, 1, none, "s", "code");
    say(MATH); /* were it asked again */
    run *r = converse(&s, turns, 1, none);
    check_plan(r, "s", "code");
    assert_true(run_intent(r)->known && run_intent(r)->cached);
    assert_true(run_receipt(r)->overhead.prefill_ms == 0);
    run_release(r);
    assert_int_equal(world.n_probes, 1);
    check_turn(&s, turns + 1, 1, none, "l", "math");
    check_turn(&s, turns + 2, 1, none, "l", "math"); /* the first is forgotten */
    check_turn(&s, turns, 1, none, "l", "math");
    assert_int_equal(world.n_probes, 4);
    world.tokens[0] = 101; /* only the intent is kept: the rest is decided anew */
    check_turn(&s, turns, 1, none, "l", "long_context");
    orchestra_counts counts;
    orchestra_read_counts(s.orchestra, &counts);
    assert_int_equal(counts.cached_probes, 1);
    assert_int_equal(counts.fallbacks[FALLBACK_LONG_CONTEXT], 1);
    close_stage(&s);

    reset_world(); /* off by default */
    open_stage(&s, "{name: adaptive}");
    check_turn(&s, turns, 1, none, "s", "code");
    check_turn(&s, turns, 1, none, "s", "code");
    assert_int_equal(world.n_probes, 2);
    close_stage(&s);
}

static void test_probe_timeout(void **state)
{
    (void)state;
    reset_world();
    world.classification_code = ERR_TIMEOUT;
    stage s;
    open_stage(&s, "{name: adaptive}\nprobe: {timeout_ms: 250}");
    run *r = converse(&s, turns, 1, (run_options){.model = NULL});
    check_plan(r, "l", "probe_timeout");
    assert_int_equal(run_plan(r)->fallback, FALLBACK_PROBE_TIMEOUT);
    assert_true(world.probe_left_ms == 250);
    assert_true(world.left_ms == 0); /* the probe's limit is not the reply's */
    run_release(r);
    orchestra_counts counts;
    orchestra_read_counts(s.orchestra, &counts);
    assert_int_equal(counts.fallbacks[FALLBACK_PROBE_TIMEOUT], 1);
    close_stage(&s);
}

static void test_what_a_plan_sets(void **state)
{
    (void)state;
    reset_world();
    stage s;
    open_stage(&s, "{name: rules, rules: [{name: a, model: small, max_tokens: 30,"
                   " sampling: {temperature: 0.25, top_k: 5, top_p: 0.5, min_p: 0.1,"
                   " repetition_penalty: 1.5, presence_penalty: 1, frequency_penalty: -1}}]}");
    run *r = converse(&s, turns, 1, (run_options){.model = NULL});
    assert_true(world.sampling.temperature == 0.25F && world.sampling.top_p == 0.5F);
    assert_true(world.sampling.min_p == 0.1F && world.sampling.repetition_penalty == 1.5F);
    assert_true(world.sampling.presence_penalty == 1 && world.sampling.frequency_penalty == -1);
    assert_int_equal(world.sampling.top_k, 5);
    assert_int_equal(world.max_tokens, 30); /* of 100 */
    run_release(r);
    r = converse(&s, turns, 1, (run_options){.sampling_given = CONFIG_TEMPERATURE});
    assert_true(world.sampling.temperature == 1 && world.sampling.top_k == 5);
    run_release(r);
    r = converse(&s, turns, 1, (run_options){.model = "s"}); /* pinned: no rule */
    assert_true(world.sampling.temperature == 1 && world.max_tokens == 100);
    run_release(r);
    close_stage(&s);
}

/* ---- the log -------------------------------------------------------------------------------- */

typedef struct header {
    const char *tier;
} header;

static const char *header_value(void *context, const char *name)
{
    const header *h = context;
    return strcasecmp(name, "x-tier") == 0 ? h->tier : NULL;
}

static const char log_policy[] =
    "{name: rules, rules: ["
    "{name: tier, headers: [{name: X-Tier, value: gold}], model: large, lookup: 3},"
    "{name: busy, load: [{model: small, above_running: 2}], model: large},"
    "{name: sure, intents: [code, qa], max_entropy: 0.3, model: small, lookup: off},"
    "{name: even, above_entropy: 0.9, model: large},"
    "{name: vague, max_margin: 0.5, model: large},"
    "{name: late, above_turn: 1, max_coin: 0.5, model: small}]}\n"
    "decisions: {file: %s, prompts: %s, max_mb: 1, keep: %d}";

static double uniform(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return (double)(*state >> 8) / (1 << 24);
}

static void draw_world(uint32_t *random)
{
    for (size_t i = 0; i < 3; i++)
        world.logits[i] = (float)(6 * uniform(random));
    world.tokens[0] = uniform(random) < 0.3 ? 100 : 10;
    world.running[0] = uniform(random) < 0.2 ? 3 : 0;
    world.classification_code = uniform(random) < 0.1   ? ERR_TIMEOUT
                                : uniform(random) < 0.1 ? ERR_INTERNAL
                                                        : OK;
}

/* The lines of a file, as JSON. */
static json_t *read_lines(const char *path)
{
    json_t *lines = json_array();
    buffer text;
    buffer_init(&text, (size_t)1 << 26);
    if (buffer_read_file(&text, path, NULL) != OK)
        fail_msg("cannot read %s", path);
    for (char *line = text.data; line != NULL && *line != '\0';) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        json_t *value = json_loadb(line, (size_t)(end - line), 0, NULL);
        assert_non_null(value);
        json_array_append_new(lines, value);
        line = end + 1;
    }
    buffer_free(&text);
    return lines;
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text != NULL ? text : "";
}

/* Decides a line's facts again. */
static void check_line(const json_t *line, const policy *p)
{
    recorded_facts facts;
    failure fail;
    plan again;
    const json_t *then = json_object_get(line, "plan");
    if (json_is_null(json_object_get(line, "facts"))) {
        assert_string_equal(text_of(then, "rule"), "pinned");
        return;
    }
    if (record_read(&facts, json_object_get(line, "facts"), p, &fail) != OK)
        fail_msg("%s", fail.text);
    assert_true(policy_decide(p, &facts.facts, &again));
    assert_string_equal(text_of(then, "rule"), again.rule);
    assert_string_equal(text_of(then, "reason"), again.reason);
    assert_string_equal(text_of(then, "role"), again.level == 0 ? "small" : "large");
    const char *kind = fallback_name(again.fallback);
    assert_string_equal(text_of(then, "fallback"), kind != NULL ? kind : "");
    const json_t *number = json_object_get(then, "number");
    assert_int_equal(json_is_null(number) ? PLAN_NO_RULE : (size_t)json_integer_value(number),
                     again.number);
    assert_int_equal(json_integer_value(json_object_get(then, "prior")), again.lookup.prior);
}

static char *log_path(const char *name)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/a-io-test-%d-%s", (int)getpid(), name);
    return path;
}

static void open_logged(stage *s, const char *path, const char *prompts, int keep)
{
    char yaml[2048];
    failure fail;
    snprintf(yaml, sizeof yaml, log_policy, path, prompts, keep);
    open_stage(s, yaml);
    if (orchestra_open_log(s->orchestra, &fail) != OK)
        fail_msg("%s", fail.text);
}

static void test_log(void **state)
{
    (void)state;
    enum { REQUESTS = 400 };
    reset_world();
    stage s;
    const char *path = log_path("log.jsonl");
    open_logged(&s, path, "hash", 0);
    uint32_t random = 5;
    for (size_t i = 0; i < REQUESTS; i++) {
        char session[16], first[16];
        draw_world(&random);
        header h = {uniform(&random) < 0.2 ? "gold" : "tin"};
        snprintf(session, sizeof session, "s%d", (int)(60 * uniform(&random)));
        snprintf(first, sizeof first, "m%d", (int)(60 * uniform(&random)));
        const char *const messages[] = {first, "x", "y"};
        run_options options = {.id = "req-7",
                               .model = uniform(&random) < 0.05 ? "l" : NULL,
                               .session = uniform(&random) < 0.3 ? session : NULL,
                               .header = uniform(&random) < 0.5 ? header_value : NULL,
                               .header_context = &h};
        run_release(converse(&s, messages, uniform(&random) < 0.5 ? 1 : 3, options));
    }
    orchestra_counts counts;
    orchestra_read_counts(s.orchestra, &counts);
    policy *p;
    assert_int_equal(policy_create(&p, s.config, world.context, NULL), OK);
    json_t *lines = read_lines(path);
    assert_int_equal(json_array_size(lines), 1 + REQUESTS);
    assert_string_equal(text_of(json_array_get(lines, 0), "type"), "policy");
    uint64_t fallbacks[N_FALLBACKS] = {0};
    for (size_t i = 1; i <= REQUESTS; i++) {
        const json_t *line = json_array_get(lines, i);
        check_line(line, p);
        assert_string_equal(text_of(line, "id"), "req-7");
        const char *kind = text_of(json_object_get(line, "plan"), "fallback");
        for (fallback f = FALLBACK_NONE + 1; f < N_FALLBACKS; f++)
            fallbacks[f] += strcmp(kind, fallback_name(f)) == 0;
        assert_null(json_object_get(json_object_get(line, "prompt"), "text"));
    }
    /* Each reason came up, and was counted where it changed something. Success needs real states:
     * test_heads. */
    for (fallback f = FALLBACK_NONE + 1; f < N_FALLBACKS; f++) {
        if (f == FALLBACK_SUCCESS)
            continue;
        assert_true(counts.fallbacks[f] <= fallbacks[f]);
        assert_true((counts.fallbacks[f] == 0) == (f == FALLBACK_PINNED));
        if (fallbacks[f] == 0)
            fail_msg("%s did not come up", fallback_name(f));
    }
    assert_true(counts.kept > 0);
    json_decref(lines);
    policy_destroy(p);
    close_stage(&s);
    unlink(path);
}

static void test_log_with_text(void **state)
{
    (void)state;
    reset_world();
    stage s;
    const char *path = log_path("text.jsonl");
    open_logged(&s, path, "text", 0);
    run_release(converse(&s, turns, 3, (run_options){.decide_only = true}));
    run_release(converse(&s, turns, 1, (run_options){.model = "s"}));
    world.submit_code = ERR_BUSY;
    run_release(converse(&s, turns, 1, (run_options){.model = NULL}));
    json_t *lines = read_lines(path);
    assert_int_equal(json_array_size(lines), 4);
    const json_t *prompt = json_object_get(json_array_get(lines, 1), "prompt");
    const json_t *text = json_object_get(prompt, "text");
    assert_int_equal(json_array_size(text), 3);
    assert_string_equal(text_of(json_array_get(text, 1), "role"), "assistant");
    assert_string_equal(text_of(json_array_get(text, 2), "content"), "c");
    const char *states[] = {"", "decided", "finished", "failed"};
    for (size_t i = 1; i < 4; i++)
        assert_string_equal(text_of(json_object_get(json_array_get(lines, i), "outcome"), "state"),
                            states[i]);
    json_decref(lines);
    close_stage(&s);
    unlink(path);
}

/* Old files are numbered, the oldest one goes; each begins with the policy. */
static void test_log_rotates(void **state)
{
    (void)state;
    reset_world();
    stage s;
    const char *path = log_path("rotated.jsonl");
    char name[128], *big = calloc(1, 400001);
    open_logged(&s, path, "text", 2);
    memset(big, 'x', 400000);
    const char *const messages[] = {big};
    for (size_t i = 0; i < 10; i++)
        run_release(converse(&s, messages, 1, (run_options){.decide_only = true}));
    size_t decisions = 0;
    for (int n = 0; n <= 2; n++) {
        snprintf(name, sizeof name, n > 0 ? "%s.%d" : "%s", path, n);
        json_t *lines = read_lines(name);
        assert_string_equal(text_of(json_array_get(lines, 0), "type"), "policy");
        decisions += json_array_size(lines) - 1;
        json_decref(lines);
        unlink(name);
    }
    assert_int_equal(decisions, 6); /* two a file */
    snprintf(name, sizeof name, "%s.3", path);
    assert_int_not_equal(access(name, F_OK), 0);
    free(big);
    close_stage(&s);
}

static void test_log_cannot_open(void **state)
{
    (void)state;
    reset_world();
    stage s;
    failure fail;
    open_stage(&s, "{name: small}\ndecisions: {file: /nowhere/d.jsonl}");
    assert_int_equal(orchestra_open_log(s.orchestra, &fail), ERR_IO);
    assert_non_null(strstr(fail.text, "decisions.file: cannot open /nowhere/d.jsonl"));
    close_stage(&s);
}

static void test_broken_records(void **state)
{
    (void)state;
    reset_world();
    stage s;
    open_stage(&s, "{name: adaptive}");
    policy *p;
    assert_int_equal(policy_create(&p, s.config, world.context, NULL), OK);
    static const char whole[] =
        "{\"prompt_tokens\":1,\"turn\":1,\"session\":false,\"coin\":0.5,\"headers\":{},"
        "\"load\":{\"small\":{\"running\":0,\"waiting\":0},\"large\":{\"running\":0,\"waiting\":0}}"
        ","
        "\"kept\":{\"rule\":null,\"prior\":1},\"probe_failure\":{\"timeout\":true,\"message\":"
        "\"m\"},"
        "\"intent\":null}";
    recorded_facts facts;
    failure fail;
    json_t *line = json_loads(whole, 0, NULL);
    assert_int_equal(record_read(&facts, line, p, &fail), OK);
    assert_true(facts.facts.kept->rule == PLAN_NO_RULE && facts.facts.probe_failure != NULL);
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(line, next, key, value)
    {
        json_t *cut = json_deep_copy(line);
        json_object_del(cut, key);
        assert_int_equal(record_read(&facts, cut, p, &fail), ERR_FORMAT);
        char quoted[64];
        snprintf(quoted, sizeof quoted, "\"%s\"", key);
        assert_non_null(strstr(fail.text, quoted));
        json_object_set_new(cut, key, json_string("?"));
        assert_int_equal(record_read(&facts, cut, p, &fail), ERR_FORMAT);
        json_decref(cut);
    }
    json_decref(line);
    policy_destroy(p);
    close_stage(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conversations),    cmocka_unit_test(test_a_busy_turn),
        cmocka_unit_test(test_kept_probes),      cmocka_unit_test(test_probe_timeout),
        cmocka_unit_test(test_what_a_plan_sets), cmocka_unit_test(test_log),
        cmocka_unit_test(test_log_with_text),    cmocka_unit_test(test_log_rotates),
        cmocka_unit_test(test_log_cannot_open),  cmocka_unit_test(test_broken_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
