/* The configuration: defaults, and what keys say. */
#include <math.h>

#include "config/difference.h"
#include "config_texts.h"

static void test_defaults(void **state)
{
    (void)state;
    config *c = NULL;
    failure fail = {.code = OK};
    assert_int_equal(parse(&c, HEAD, &fail), OK);
    assert_int_equal(c->n_models, 2);
    assert_string_equal(c->models[0].path, "dir/s.gguf");
    assert_string_equal(c->models[1].path, "/m/l.gguf");
    assert_int_equal(c->models[0].slots, 4);
    assert_int_equal(c->models[0].kv, CONFIG_KV_F16);
    assert_string_equal(c->policy.name, "adaptive");
    assert_true(c->policy.entropy_limit == 0.45);
    assert_int_equal(c->policy.prompt_limit, 2048);
    assert_string_equal(c->probe.template, "{conversation}Intent:");
    assert_int_equal(c->probe.n_labels, 3);
    assert_string_equal(c->probe.labels[2].name, "math");
    assert_string_equal(c->probe.labels[2].token, " math");
    assert_string_equal(c->server.host, "127.0.0.1");
    assert_int_equal(c->server.port, 8098);
    config_free(c);
}

/* Any number of models, in the order of the list; of a pair, roles and names may say another. */
static void test_order(void **state)
{
    (void)state;
    config *c = NULL;
    failure fail = {.code = OK};
    if (parse(&c,
              THREE "probe: {model: b}\npolicy:\n  name: rules\n  rules:\n"
                    "    - {name: a, model: b, load: [{model: c, max_waiting: 2}]}\n"
                    "    - {name: b, model: next}\n    - {name: c, model: small}\n"
                    "    - {name: d, model: large, lookup: draft}\n"
                    "server: {aliases: [{name: gpt, model: b}]}\n",
              &fail) != OK)
        fail_msg("%s", fail.text);
    assert_int_equal(c->n_models, 3);
    assert_int_equal(c->probe.model, 1);
    const config_rule *r = c->policy.rules;
    assert_true(r[0].choice == CONFIG_MODEL_NAMED && r[0].model == 1);
    assert_true(r[0].bounds[config_load_of(2, CONFIG_WAITING)].max == 2);
    assert_true(isinf(r[0].bounds[config_load_of(1, CONFIG_WAITING)].max));
    assert_int_equal(r[1].choice, CONFIG_MODEL_NEXT);
    assert_int_equal(r[2].model, 0);
    assert_int_equal(r[3].model, 2);
    assert_string_equal(config_role(c, 1), "b");
    config_free(c);
    static const struct {
        const char *models, *first;
    } pairs[] = {
        {"[{name: large, path: l}, {name: small, path: s}]", "small"},
        {"[{name: x, role: large, path: l}, {name: y, role: small, path: s}]", "y"},
        {"[{name: x, path: l}, {name: y, path: s}]", "x"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        char text[200];
        snprintf(text, sizeof text, "version: 1\nmodels: %s\n", pairs[i].models);
        if (parse(&c, text, &fail) != OK)
            fail_msg("%s", fail.text);
        assert_string_equal(c->models[0].name, pairs[i].first);
        assert_string_equal(config_role(c, 0), "small");
        assert_string_equal(config_role(c, 1), "large");
        config_free(c);
    }
}

static void test_values(void **state)
{
    (void)state;
    config *c = NULL;
    failure fail = {.code = OK};
    const char *text = HEAD
        "probe:\n  template: 'Q: {query} A:'\n  window_head: 0\n  reuse: false\n  labels:\n"
        "    - {name: chat}\n    - {name: tool, token: ' tool'}\n"
        "policy:\n  name: rules\n  rules:\n"
        "    - {name: sure, intent: tool, max_entropy: 0.2, model: small, lookup: off}\n"
        "    - {name: rest, above_prompt_tokens: 7, model: large, lookup: 4}\n"
        "engine: {threads: 2}\nserver: {port: 0, host: '::1', allowed_hosts: [a.lan, 'b.lan:9'],"
        " allowed_origins: ['https://c'], max_connections_per_address: 7,"
        " loops: 3}\n";
    assert_int_equal(parse(&c, text, &fail), OK);
    assert_int_equal(c->probe.window_head, 0);
    assert_int_equal(c->probe.window_tail, 48);
    assert_false(c->probe.reuse);
    assert_string_equal(c->probe.labels[0].token, "chat");
    const config_rule *r = c->policy.rules;
    assert_int_equal(c->policy.n_rules, 2);
    assert_int_equal(r[0].intents, 1 << 1);
    assert_true(r[0].bounds[CONFIG_ENTROPY].max == 0.2);
    assert_true(isinf(r[0].bounds[CONFIG_ENTROPY].above));
    assert_int_equal(r[0].lookup.mode, CONFIG_LOOKUP_OFF);
    assert_int_equal(r[0].model, 0);
    assert_true(r[1].intents == CONFIG_ANY_INTENT);
    assert_true(r[1].bounds[CONFIG_PROMPT_TOKENS].above == 7);
    assert_true(isinf(r[1].bounds[CONFIG_PROMPT_TOKENS].max));
    assert_int_equal(r[1].lookup.mode, CONFIG_LOOKUP_FIXED);
    assert_int_equal(r[1].lookup.length, 4);
    assert_int_equal(c->engine.threads, 2);
    assert_int_equal(c->server.port, 0);
    assert_int_equal(c->server.allowed_hosts.n, 2);
    assert_string_equal(c->server.allowed_hosts.texts[1], "b.lan:9");
    assert_int_equal(c->server.allowed_origins.n, 1);
    assert_string_equal(c->server.allowed_origins.texts[0], "https://c");
    assert_int_equal(c->server.max_connections_per_address, 7);
    assert_int_equal(c->server.loops, 3);
    config_free(c);
}

static void test_one_model(void **state)
{
    (void)state;
    config *c = NULL;
    failure fail = {.code = OK};
    assert_int_equal(
        parse(&c,
              "version: 1\nmodels:\n  - {name: s, role: large, path: s.gguf, slots: 2}\n"
              "server: {unknown_model: auto, seed_default: 42}\n",
              &fail),
        OK);
    assert_int_equal(c->n_models, 1);
    assert_int_equal(c->models[0].slots, 2);
    assert_true(c->server.has_seed);
    assert_int_equal(c->server.seed_default, 42);
    config_free(c);
    assert_int_equal(parse(&c, HEAD, &fail), OK);
    assert_false(c->server.has_seed);
    config_free(c);
}

static void test_rules(void **state)
{
    (void)state;
    config *c = NULL;
    failure fail = {.code = OK};
    const char *text = HEAD "policy:\n  name: rules\n  seed: 7\n  sticky: false\n  rules:\n"
                            "    - name: all\n      intents: [code, math]\n      above_turn: 1\n"
                            "      max_coin: 0.25\n      session: true\n"
                            "      headers: [{name: X-Tier, value: gold}, {name: x-batch}]\n"
                            "      load: [{model: large, above_waiting: 3, max_running: 8}]\n"
                            "      model: l\n      lookup: off\n      max_tokens: 512\n"
                            "      sampling: {temperature: 0.2, top_k: 40}\n"
                            "    - {name: all, session: false, model: s}\n"
                            "probe: {timeout_ms: 250, cache: 32}\n"
                            "decisions: {file: d.jsonl, prompts: text, max_mb: 1, keep: 0}\n";
    if (parse(&c, text, &fail) != OK)
        fail_msg("%s", fail.text);
    assert_false(c->policy.sticky);
    assert_int_equal(c->policy.seed, 7);
    const config_rule *r = c->policy.rules;
    assert_int_equal(r[0].intents, 1 | 4);
    assert_true(r[0].bounds[CONFIG_TURN].above == 1 && r[0].bounds[CONFIG_COIN].max == 0.25);
    assert_int_equal(r[0].session, CONFIG_SESSION_NAMED);
    assert_int_equal(r[0].n_headers, 2);
    assert_string_equal(r[0].headers[0].value, "gold");
    assert_null(r[0].headers[1].value);
    assert_true(r[0].bounds[config_load_of(1, CONFIG_WAITING)].above == 3);
    assert_true(r[0].bounds[config_load_of(1, CONFIG_RUNNING)].max == 8);
    assert_true(isinf(r[0].bounds[config_load_of(0, CONFIG_RUNNING)].max));
    assert_int_equal(r[0].model, 1); /* by the model's name */
    assert_int_equal(r[0].max_tokens, 512);
    assert_int_equal(r[0].sampling.set, CONFIG_TEMPERATURE | CONFIG_TOP_K);
    assert_int_equal(r[0].sampling.top_k, 40);
    assert_int_equal(r[1].session, CONFIG_SESSION_UNNAMED);
    assert_int_equal(r[1].model, 0);
    assert_int_equal(c->probe.timeout_ms, 250);
    assert_int_equal(c->probe.cache, 32);
    assert_string_equal(c->decisions.file, "dir/d.jsonl");
    assert_int_equal(c->decisions.prompts, CONFIG_PROMPTS_TEXT);
    config_free(c);
}

static void test_files(void **state)
{
    (void)state;
    config *c = NULL;
    failure fail = {.code = OK};
    assert_int_equal(config_load(&c, "/nowhere/x.yaml", &fail), ERR_NOT_FOUND);
    assert_non_null(strstr(fail.text, "/nowhere/x.yaml"));
    assert_int_equal(config_load(&c, "config", &fail), ERR_IO); /* a directory */
    assert_int_equal(config_load(&c, NULL, &fail), OK);
    assert_string_equal(c->models[0].path, "config/../models/demo/small.gguf");
    config_free(c);
}

static void test_for_model(void **state)
{
    (void)state;
    config *c = NULL;
    failure fail = {.code = OK};
    assert_int_equal(config_for_model(&c, "a/b.c.gguf", &fail), OK);
    assert_int_equal(c->n_models, 1);
    assert_string_equal(c->models[0].name, "b.c");
    assert_string_equal(c->models[0].path, "a/b.c.gguf");
    config_free(c);
}

/* "~" is the home, wherever the file is; what was written stays to be read as another kind of name.
 */
static void test_home(void **state)
{
    (void)state;
    static const char text[] = "version: 1\nmodels:\n"
                               "  - {name: s, role: small, path: ~/s.gguf}\n"
                               "  - {name: l, role: large, path: \"owner/repo:Q4_0\"}\n"
                               "probe: {calibration: ~/c.yaml}\nengine: {machine: \"~/m.yaml\"}\n"
                               "decisions: {file: ~/d.jsonl}\n";
    config *c = NULL;
    failure fail = {.code = OK};
    setenv("HOME", "/home/me", 1);
    if (config_parse(&c, text, strlen(text), "a/b.yaml", &fail) != OK)
        fail_msg("%s", fail.text);
    assert_string_equal(c->models[0].path, "/home/me/s.gguf");
    assert_string_equal(c->models[1].path, "a/owner/repo:Q4_0");
    assert_string_equal(c->models[1].given, "owner/repo:Q4_0");
    assert_string_equal(c->probe.calibration, "/home/me/c.yaml");
    assert_string_equal(c->engine.machine, "/home/me/m.yaml");
    assert_string_equal(c->decisions.file, "/home/me/d.jsonl");
    config_free(c);
    assert_int_equal(config_for_model(&c, "~/x.gguf", &fail), OK);
    assert_string_equal(c->models[0].path, "/home/me/x.gguf");
    config_free(c);
}

static void test_set_policy(void **state)
{
    (void)state;
    config *c = NULL;
    failure fail = {.code = OK};
    assert_int_equal(parse(&c, HEAD, &fail), OK);
    assert_int_equal(config_set_policy(c, "paper", &fail), OK);
    assert_string_equal(c->policy.name, "paper");
    assert_int_equal(config_set_policy(c, "rules", &fail), ERR_CONFIG);
    assert_int_equal(config_set_policy(c, "none", &fail), ERR_CONFIG);
    config_free(c);
}

static void test_lookup_texts(void **state)
{
    (void)state;
    config_lookup l;
    assert_true(config_lookup_parse("16", &l) && l.length == 16);
    assert_true(config_lookup_parse("off", &l) && l.mode == CONFIG_LOOKUP_OFF);
    assert_true(config_lookup_parse("draft", &l) && l.mode == CONFIG_LOOKUP_DRAFT);
    const char *wrong[] = {"", "0", "17", "-1", "1 ", " 1", "Auto", "1e", "00", "01"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(config_lookup_parse(wrong[i], &l));
}

/* What is read at start-up only, and was changed: told by section, whichever key it is. */
static void test_difference(void **state)
{
    (void)state;
#define TWO(small, rest)                                                                           \
    "version: 1\nmodels:\n  - {name: small, path: s.gguf" small "}\n"                              \
    "  - {name: large, url: 'http://a/v1', model: m" rest
    static const struct {
        const char *text, *changed;
    } others[] = {
        {TWO("", "}\n"), ""},
        {TWO(", requant: head=q4_0", "}\n"), "models"},
        {TWO("", ", idle_ms: 7}\n"), "models"},
        {TWO("", ", key_env: KEY}\n"), "models"},
        {TWO("", ", ca_file: own.pem}\n"), "models"},
        {TWO("", ", fields: '{}'}\n"), "models"},
        {TWO("", "}\nengine: {threads: 3}\nserver: {port: 7}\n"), "engine, server"},
    };
    config *first, *second;
    failure fail;
    char changed[CONFIG_SECTIONS_SIZE];
    assert_int_equal(parse(&first, others[0].text, &fail), OK);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (parse(&second, others[i].text, &fail) != OK)
            fail_msg("%zu: %s", i, fail.text);
        config_changed_sections(first, second, changed);
        assert_string_equal(changed, others[i].changed);
        config_free(second);
    }
    config_free(first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),   cmocka_unit_test(test_order),
        cmocka_unit_test(test_values),     cmocka_unit_test(test_one_model),
        cmocka_unit_test(test_rules),      cmocka_unit_test(test_files),
        cmocka_unit_test(test_for_model),  cmocka_unit_test(test_home),
        cmocka_unit_test(test_set_policy), cmocka_unit_test(test_lookup_texts),
        cmocka_unit_test(test_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
