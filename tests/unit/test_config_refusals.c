/* The configuration: what is refused, and that every refusal names the key. */
#include "config_texts.h"

static const struct {
    const char *text;
    const char *says[3]; /* what the message must hold */
} refused[] = {
    {"", {"dir/x.yaml", "empty"}},
    {"version: 2\n" MODELS, {"version: 2", "version 1"}},
    {"version: 1\n", {"models"}},
    {MODELS, {"version"}},
    {HEAD "\nextra: 1\n", {"dir/x.yaml:6:", "\"extra\"", "probe"}},
    {HEAD "server:\n  host: a\n  prot: 1\n", {"dir/x.yaml:7:", "\"prot\" in server", "port"}},
    {HEAD "server:\n  port: 70000\n", {"dir/x.yaml:6:", "port", "70000"}},
    {HEAD "server:\n  port: -1\n", {"port", "-1"}},
    {HEAD "server: {host: ''}\n", {"server.host"}},
    {HEAD "engine: {threads: two}\n", {"threads", "two"}},
    {HEAD "engine: {threads: 1, threads: 2}\n", {"threads", "already"}},
    {HEAD "engine: {prefill_chunk: 0}\n", {"engine.prefill_chunk", "1 to"}},
    {HEAD "engine: {step_budget_ms: 0}\n", {"engine.step_budget_ms", "1 to"}},
    {HEAD "engine: {memory_limit_mb: -1}\n", {"memory_limit_mb"}},
    {HEAD "---\nversion: 1\n", {"documents"}},
    {HEAD "engine: {threads: 1\n", {"dir/x.yaml:"}},
    {"version: 1\nmodels:\n  - {name: s, role: small, path: s, siez: 3}\n",
     {"\"siez\" in models", "context"}},
    {"version: 1\nmodels:\n  - {name: s, role: small}\n", {"path"}},
    {"version: 1\nmodels:\n  - {name: s, role: tiny, path: s}\n", {"tiny", "small, large"}},
    {"version: 1\nmodels:\n  - {name: s, role: small, path: s, kv: q4_0}\n",
     {"kv", "f16, f32, q8_0, q4"}},
    {"version: 1\nmodels:\n  - {name: s, role: small, path: s}\npolicy: {name: small}\n",
     {"policy", "with one model nothing is routed"}},
    {"version: 1\nmodels:\n  - {name: s, role: small, path: s}\nprobe: {cache: 3}\n", {"probe"}},
    {HEAD "  - {name: t, role: small, path: s}\n", {"models", "2 and 1"}},
    {"version: 1\nmodels:\n  - {name: s, role: small, path: s}\n  - {name: s, role: large, path: "
     "l}",
     {"models[1].name", "taken"}},
    {"version: 1\nmodels:\n  - {name: auto, role: small, path: s}\n", {"auto"}},
    {"version: 1\nmodels:\n  - {name: 'a b', role: small, path: s}\n", {"models[0].name"}},
    {"version: 1\nmodels:\n  - {name: s, role: small, path: s, slots: 0}\n", {"slots"}},
    {HEAD "server: {priority_default: urgent}\n",
     {"server.priority_default", "urgent", "interactive, batch"}},
    {HEAD "server: {deadline_ms_default: 2147483648}\n", {"server.deadline_ms_default"}},
    {HEAD "probe: {template: hello}\n", {"probe.template", "{query}"}},
    {HEAD "probe: {template: '{query}{query}'}\n", {"probe.template"}},
    {HEAD "probe: {template: '{query}{conversation}'}\n", {"probe.template"}},
    {HEAD "probe: {window_tail: 0}\n", {"probe.window_tail", "1 to"}},
    {HEAD "probe: {labels: [{name: code}]}\n", {"labels", "2"}},
    {HEAD "probe: {labels: [{name: code}, {name: code, token: x}]}\n", {"labels[1].name", "twice"}},
    {HEAD "probe: {labels: [{name: code, token: x}, {name: b, token: x}]}\n", {"labels[1].token"}},
    {HEAD "probe: {labels: [{name: a}, {name: b}]}\n", {"probe.labels", "\"code\"", "rules"}},
    {HEAD "policy: {name: best}\n", {"policy.name", "best", "adaptive, paper"}},
    {HEAD "policy: {entropy_limit: -0.1}\n", {"policy.entropy_limit"}},
    {HEAD "policy: {entropy_limit: nan}\n", {"policy.entropy_limit"}},
    {HEAD "policy: {entropy_limit: 0,45}\n", {"45"}},
    {HEAD "policy: {prompt_limit: 0}\n", {"policy.prompt_limit"}},
    {HEAD "policy: {name: large, entropy_limit: 1}\n", {"policy.entropy_limit", "\"large\""}},
    {HEAD "policy: {name: small, prompt_limit: 1}\n", {"policy.prompt_limit", "\"small\""}},
    {HEAD "policy: {seed: 1}\n", {"policy.seed", "\"adaptive\""}},
    {HEAD "policy: {name: rules}\n", {"policy.rules", "at least one"}},
    {HEAD "policy: {rules: [{name: a, model: small}]}\n", {"policy.rules", "\"adaptive\""}},
    {HEAD "policy: {name: rules, rules: [{name: a, model: huge}]}\n", {"huge", "small, large"}},
    {HEAD "policy: {name: rules, rules: [{name: a, model: small, lookup: 17}]}\n",
     {"17", "1 to 16"}},
    {HEAD "policy: {name: rules, rules: [{name: a, model: small, lookup: draft}]}\n",
     {"draft", "large"}},
    {HEAD "policy: {name: rules, rules: [{name: a, model: small, lookup: on}]}\n",
     {"lookup", "on"}},
    {HEAD "policy: {name: rules, rules: [{name: a, model: small, intent: chat}]}\n",
     {"rules[0]", "chat"}},
    {HEAD "policy: {name: rules, rules: [{name: a, model: small, max_entropy: -1}]}\n",
     {"rules[0]", "max_entropy"}},
    {HEAD "policy: {name: rules, rules: [{name: a, model: small, above_margin: .nan}]}\n",
     {"margin"}},
    {RULE "intent: chat}]\n", {"x.yaml:8:", "rules[0].intent", "code, qa, math"}},
    {RULE "intents: [code, chat]}]\n", {"x.yaml:8:", "rules[0].intents", "\"chat\""}},
    {RULE "intents: []}]\n", {"intents"}},
    {RULE "intent: code, intents: [qa]}]\n", {"rules[0].intents", "beside intent"}},
    {RULE "max_entropy: 1, above_entropy: 1}]\n", {"x.yaml:8:", "max_entropy", "above_entropy"}},
    {RULE "max_turn: 0}]\n", {"max_turn", "at least 1"}},
    {RULE "above_turn: 3, max_turn: 2}]\n", {"max_turn", "above_turn"}},
    {RULE "max_coin: .nan}]\n", {"max_coin"}},
    {RULE "session: maybe}]\n", {"session", "maybe"}},
    {RULE "certain: perhaps}]\n", {"policy.rules[0].certain", "perhaps"}},
    {RULE "certain: true}]\n", {"policy.rules[0].certain", "probe.calibration names none"}},
    {RULE "certain: true, max_entropy: 1}]\n", {"policy.rules[0].certain", "beside a bound"}},
    {RULE "min_success: 0.8}]\n", {"policy.rules[0].min_success", "success.calibration"}},
    {RULE "likely: true}]\n", {"policy.rules[0].likely", "success.calibration"}},
    {SUCCESS_RULE "likely: perhaps}]\n", {"policy.rules[0].likely", "perhaps"}},
    {SUCCESS_RULE "likely: true, min_success: 1}]\n", {"rules[0].likely", "beside a bound"}},
    {SUCCESS_RULE "min_success: 1.1}]\n", {"rules[0].min_success", "0 to 1"}},
    {SUCCESS_RULE "min_success: .nan}]\n", {"min_success", ".nan"}},
    {SUCCESS_RULE "below_success: 0}]\n", {"rules[0].below_success", "above 0"}},
    {SUCCESS_RULE "min_success: 0.8, below_success: 0.8}]\n", {"below_success", "min_success"}},
    {SUCCESS_RULE "max_success: 0.8}]\n", {"\"max_success\" in rules", "below_success"}},
    {HEAD "success: {}\n", {"calibration"}},
    {HEAD "success: {calibration: f, online: {step: 0}}\n", {"success.online.step", "above 0"}},
    {HEAD "success: {calibration: f, colour: 1}\n", {"\"colour\" in success", "online"}},
    {HEAD "probe: {kind: learnt}\n", {"probe.kind", "learnt", "tokens, learned"}},
    {HEAD "probe: {kind: learned}\n", {"probe.kind", "probe.calibration"}},
    {HEAD "probe: {kind: learned, calibration: f, template: x}\n", {"probe.template", "remove"}},
    {HEAD "probe: {kind: learned, calibration: f, window_tail: 9}\n", {"probe.window_tail"}},
    {HEAD "probe: {kind: learned, calibration: f, labels: [{name: a, token: b}, {name: c}]}\n",
     {"probe.labels.token"}},
    {RULE "headers: [{name: 'x y'}]}]\n", {"x.yaml:8:", "headers", "x y"}},
    {RULE "headers: [{value: 1}]}]\n", {"name"}},
    {RULE "headers: [{name: a, valeu: 1}]}]\n", {"\"valeu\" in headers", "value"}},
    {RULE "headers: [{name: Cookie}]}]\n", {"headers", "Cookie", "secrets"}},
    {RULE "headers: [{name: x-a}, {name: X-A}]}]\n", {"headers", "twice"}},
    {RULE "load: [{model: medium, max_waiting: 1}]}]\n", {"load", "medium", "small, large"}},
    {RULE "load: [{model: small}]}]\n", {"load", "max_waiting"}},
    {RULE "load: [{model: small, max_wating: 1}]}]\n", {"\"max_wating\" in load", "max_waiting"}},
    {RULE "load: [{model: small, max_waiting: 1}, {model: small, max_running: 1}]}]\n",
     {"load", "twice"}},
    {RULE "load: [{model: large, above_running: 2, max_running: 2}]}]\n", {"load.max_running"}},
    {RULE "kv: q8_0}]\n", {"x.yaml:8:", "rules[0].kv", "models: kv"}},
    {RULE "max_tokens: 0}]\n", {"max_tokens", "1 to"}},
    {RULE "sampling: {}}]\n", {"sampling", "empty"}},
    {RULE "sampling: {temprature: 1}}]\n", {"\"temprature\" in sampling", "temperature"}},
    {RULE "sampling: {temperature: -1}}]\n", {"sampling.temperature", "at least 0"}},
    {RULE "sampling: {top_p: 0}}]\n", {"sampling.top_p", "at least 1e-06"}},
    {RULE "sampling: {repetition_penalty: 0}}]\n", {"repetition_penalty"}},
    {RULE "sampling: {presence_penalty: 3}}]\n", {"presence_penalty", "2"}},
    {RULE "sampling: {frequency_penalty: .nan}}]\n", {"frequency_penalty"}},
    {RULE "sampling: {min_p: 2}}]\n", {"min_p"}},
    {RULE "sampling: {top_k: -1}}]\n", {"top_k"}},
    {HEAD "policy: {sticky: sometimes}\n", {"sticky", "sometimes"}},
    {HEAD "server: {aliases: [{name: gpt, modell: small}]}\n", {"modell", "known: name, model"}},
    {HEAD "probe: {timeout_ms: 3600001}\n", {"x.yaml:5:", "probe.timeout_ms", "0 to"}},
    {HEAD "probe: {online: {step: 0.01}}\n", {"probe.online", "probe.calibration names none"}},
    {HEAD "probe: {calibration: f, online: {step: 0}}\n", {"probe.online.step", "above 0"}},
    {HEAD "probe: {calibration: f, online: {step: 1.5}}\n", {"probe.online.step", "at most 1"}},
    {HEAD "probe: {calibration: f, online: {}}\n", {"step"}},
    {HEAD "probe: {calibration: f, online: {step: 1, target: 1}}\n",
     {"\"target\" in online", "known: step"}},
    {HEAD "probe: {calibration: f, online: {step: 1}}\npolicy: {entropy_limit: 1}\n",
     {"probe.online", "policy.entropy_limit"}},
    {HEAD "probe: {cache: 100001}\n", {"probe.cache", "0 to"}},
    {HEAD "decisions: {}\n", {"file"}},
    {HEAD "decisions: {file: ''}\n", {"decisions.file"}},
    {HEAD "decisions: {file: x, prompts: all}\n", {"decisions.prompts", "hash, text"}},
    {HEAD "decisions: {file: x, max_mb: 0}\n", {"decisions.max_mb"}},
    {HEAD "decisions: {file: x, keep: 101}\n", {"decisions.keep"}},
    {HEAD "decisions: {file: x, size: 1}\n", {"\"size\" in decisions", "max_mb"}},
    {"version: 1\nmodels: [{name: a, path: a}, {name: next, path: b}]\n", {"models[1].name"}},
    {"version: 1\nmodels: [{name: a, path: a}, {name: small, path: b}, {name: c, path: c}]\n",
     {"models[1].name", "the first of all"}},
    {"version: 1\nmodels: [{name: large, path: a}, {name: b, path: b}, {name: c, path: c}]\n",
     {"models[0].name", "the last of all"}},
    {"version: 1\nmodels: [{name: a, path: a}, {name: b, role: small, path: b}]\n",
     {"models[0].role", "missing"}},
    {RULE "cheapest_within_ms: 5}]\n", {"rules[0].model", "cheapest_within_ms"}},
    {THREE "policy: {name: rules, rules: [{name: a}]}\n", {"rules[0].model", "one of"}},
    {THREE "policy: {name: rules, rules: [{name: a, cheapest_within_ms: 5}]}\n",
     {"rules[0].cheapest_within_ms", "price"}},
    {"version: 1\nmodels: [{name: a, path: a, price: {input: -1}}]\n", {"models[0].price"}},
    {"version: 1\nmodels: [{name: a, path: a, price: {output: nan}}]\n", {"models[0].price"}},
    {"version: 1\nmodels: [{name: a, path: a, price: {in: 1}}]\n", {"\"in\" in price", "output"}},
    {THREE "probe: {model: d}\n", {"probe.model", "\"d\""}},
    {THREE "policy: {name: rules, rules: [{name: a, model: d}]}\n", {"\"d\"", "next"}},
    {THREE "policy: {name: rules, rules: [{name: a, model: next, lookup: draft}]}\n",
     {"rules[0].lookup", "named"}},
    {"version: 1\nmodels:\n  - {name: large, role: small, path: s}\n"
     "  - {name: b, role: large, path: l}\n"
     "policy: {name: rules, rules: [{name: a, model: large}]}\n",
     {"rules[0].model", "rename"}},
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        config *c = NULL;
        failure fail = {.code = OK};
        error_code code = parse(&c, refused[i].text, &fail);
        if (code != ERR_CONFIG)
            fail_msg("accepted (%d): %s", (int)code, refused[i].text);
        assert_null(c);
        for (size_t k = 0; k < 3 && refused[i].says[k] != NULL; k++)
            if (strstr(fail.text, refused[i].says[k]) == NULL)
                fail_msg("\"%s\" does not name \"%s\" for: %s", fail.text, refused[i].says[k],
                         refused[i].text);
    }
}

/* Whatever is cut off or flipped, there is an answer and nothing leaks (run with sanitizers). */
static void test_mutilated_text(void **state)
{
    (void)state;
    const char *whole = THREE "probe:\n  labels: [{name: code}, {name: b, token: c}]\n"
                              "policy: {name: rules, rules: [{name: a, model: next, intent: b}]}\n";
    char text[512];
    size_t length = strlen(whole);
    assert_true(length < sizeof text);
    for (size_t i = 0; i < length; i++) {
        config *c = NULL;
        if (config_parse(&c, whole, i, "x", NULL) == OK)
            config_free(c);
        memcpy(text, whole, length);
        text[i] = (char)(text[i] ^ 0x15);
        if (config_parse(&c, text, length, "x", NULL) == OK)
            config_free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_mutilated_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
