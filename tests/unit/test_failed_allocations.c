/* Every allocation fails in turn, once alone and once with all that follow: what comes of it is
 * what came without, or ERR_MEMORY (503): never another error, another text, a crash or a leak. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/remote.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/log.h"
#include "evidence/redecide.h"
#include "kernel/kernel.h"
#include "orchestra/calibration_file.h"
#include "orchestra/orchestra.h"
#include "orchestra/policy.h"
#include "sanitized.h"
#include "server/budget_file.h"
#include "server/exchange.h"
#include "server/keys.h"

#if !IS_SANITIZED

#include "failing_allocations.h"

/* ---- JSON ------------------------------------------------------------------------------------ */

static error_code write_json(buffer *out, failure *fail)
{
    static const char broken[] = "caf\xC3 \xFF";
    json_t *list = json_array(), *o = json_object();
    for (int i = 0; i < 20; i++)
        json_array_append_new(list, json_pack("{s:i, s:f}", "n", i, "x", i / 3.0));
    json_object_set_new(o, "list", list);
    json_object_set_new(o, "text", json_text(broken, sizeof broken - 1));
    error_code code = json_write(out, o);
    return code == OK ? OK : failure_set(fail, code, "not written");
}

static error_code read_json(buffer *out, failure *fail)
{
    static const char text[] =
        "{\"a\": [1, 2.5, {\"b\": \"a text\", \"c\": null}], \"d\": \"\\u00e9\"}";
    json_error_t error;
    error_code code;
    json_t *value = json_read(text, sizeof text - 1, JSON_REJECT_DUPLICATES, &error, &code);
    return code == OK ? json_write(out, value) : failure_set(fail, code, "%s", error.text);
}

static error_code print_json(buffer *out, failure *fail)
{
    json_t *value = json_pack("{s:[i,f,s], s:{}}", "list", 1, 0.5, "a text that has to grow", "o");
    char *text = json_print(value, JSON_INDENT(2));
    json_decref(value);
    error_code code = text != NULL ? buffer_add_text(out, text) : ERR_MEMORY;
    free(text);
    return code == OK ? OK : failure_set(fail, code, "not printed");
}

static void test_json(void **state)
{
    (void)state;
    try_all("writing", write_json, 100000);
    try_all("reading", read_json, 100000);
    try_all("printing", print_json, 100000);
}

/* ---- requests -------------------------------------------------------------------------------- */

#define BODY                                                                                       \
    "{\"model\": \"small\", \"messages\": [{\"role\": \"system\", \"content\": \"Be brief.\"}, "   \
    "{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"Who \"}, "                \
    "{\"type\": \"text\", \"text\": \"wrote it?\"}]}], \"stop\": [\"END\", \"\\n\\n\"], "          \
    "\"logit_bias\": {\"5\": -100, \"7\": 1.5}, \"n\": 1, \"tools\": [], \"temperature\": 0.5, "   \
    "\"seed\": 3, \"max_tokens\": 12, \"stream\": true, \"user\": \"somebody\"}"

static error_code parse_request(buffer *out, failure *fail)
{
    static const request_text text = {.body = BODY, .length = sizeof BODY - 1};
    static const request_defaults defaults = {.max_tokens = 77};
    api_error error = {0};
    chat_request r;
    if (!chat_request_parse(&r, &text, &defaults, &error))
        return failure_set(fail, error.status == 503 ? ERR_MEMORY : ERR_INVALID, "%d: %s",
                           error.status, error.message);
    buffer_add_format(out, "%s %zu %.*s %s %zu %g", r.model, r.request.n_messages,
                      (int)r.request.messages[1].content_length, r.request.messages[1].content,
                      r.stops[1], r.request.sampling.n_biases,
                      (double)r.request.sampling.temperature);
    chat_request_free(&r);
    return OK;
}

#define CALLS                                                                                      \
    "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", "         \
    "\"tool_calls\": [{\"id\": \"1\", \"function\": {\"name\": \"f\", \"arguments\": "             \
    "\"{\\\"x\\\": 1}\"}}]}, {\"role\": \"tool\", \"tool_call_id\": \"1\", \"content\": \"b\"}], " \
    "\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\"}}], \"seed\": 1, "        \
    "\"chat_template_kwargs\": {\"k\": 1}}"
#define BLOCKS                                                                                     \
    "{\"system\": \"s\", \"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": "     \
    "\"assistant\", \"content\": [{\"type\": \"text\", \"text\": \"t\"}, {\"type\": "              \
    "\"tool_use\", "                                                                               \
    "\"id\": \"1\", \"name\": \"f\", \"input\": {\"x\": 1}}]}, {\"role\": \"user\", \"content\": " \
    "[{\"type\": \"tool_result\", \"tool_use_id\": \"1\", \"content\": \"b\"}]}], \"tools\": "     \
    "[{\"name\": \"f\", \"input_schema\": {}}], \"seed\": 1, \"max_tokens\": 5}"
#define ITEMS                                                                                      \
    "{\"instructions\": \"s\", \"input\": [{\"role\": \"user\", \"content\": \"a\"}, {\"type\": "  \
    "\"function_call\", \"call_id\": \"1\", \"name\": \"f\", \"arguments\": \"{}\"}, {\"type\": "  \
    "\"function_call_output\", \"call_id\": \"1\", \"output\": \"b\"}], \"tools\": [{\"type\": "   \
    "\"function\", \"name\": \"f\"}], \"seed\": 1}"

/* What templates read of conversations that are more than texts. */
static error_code parse_calls(buffer *out, failure *fail)
{
    static const request_text texts[] = {
        {.body = CALLS, .length = sizeof CALLS - 1},
        {.body = BLOCKS, .length = sizeof BLOCKS - 1, .form = &anthropic_form},
        {.body = ITEMS, .length = sizeof ITEMS - 1, .form = &responses_form},
    };
    static const request_defaults defaults = {.max_tokens = 77};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        api_error error = {0};
        chat_request r;
        if (!chat_request_parse(&r, &texts[i], &defaults, &error))
            return failure_set(fail, error.status == 503 ? ERR_MEMORY : ERR_INVALID, "%d: %s",
                               error.status, error.message);
        buffer_add_format(out, "%s %s\n", r.request.chat.messages_json, r.request.chat.tools_json);
        chat_request_free(&r);
    }
    return OK;
}

/* What is asked of another server: a call's arguments as text, whatever has no memory. */
static error_code ask_server(buffer *out, failure *fail)
{
    static const config_model theirs = {.remote = {.model = "theirs"}};
    static const remote_backend b = {.base = {.name = "ours"}, .config = &theirs};
    static const request r = {
        .chat = {.messages_json = "[{\"role\": \"user\", \"content\": \"a\"}, {\"role\": "
                                  "\"assistant\", \"tool_calls\": [{\"id\": \"1\", \"function\": "
                                  "{\"name\": \"f\", \"arguments\": {\"x\": [1, \"two\"]}}}]}]",
                 .tools_json = "[{\"type\": \"function\", \"function\": {\"name\": \"f\"}}]"},
        .sampling = {.temperature = 1, .top_p = 0.5f},
        .max_tokens = 7};
    buffer body;
    error_code code = remote_request_write(&b, &r, 0, &body, fail);
    if (code != OK)
        return code;
    code = buffer_add(out, body.data, body.length);
    buffer_free(&body);
    return code;
}

static error_code write_error(buffer *out, failure *fail)
{
    api_error e = {0};
    api_error_set(&e, 400, "bad", "messages", "what is \"wrong\" with it: %d", 7);
    error_code code = json_write(out, api_error_json(&e));
    return code == OK ? OK : failure_set(fail, code, "not written");
}

static void test_requests(void **state)
{
    (void)state;
    try_all("a request's body", parse_request, 100000);
    try_all("conversations with calls", parse_calls, 100000);
    try_all("what another server is asked", ask_server, 100000);
    try_all("an error's body", write_error, 100000);
}

/* ---- files ----------------------------------------------------------------------------------- */

/* Without its chat template: where that is compiled, at start-up, Rust's threads and glibc end the
 * process themselves when there are no 48 bytes (docs/reliability.md). */
static error_code load_model(buffer *out, failure *fail)
{
    model *m;
    const model_options options = {.chat_template = "none"};
    error_code code = model_load(&m, "tests/golden/data/qwen2.Q4_K.gguf", &options, fail);
    if (code != OK)
        return code;
    float row[1024];
    model_embed(m, 50, row);
    code = buffer_add(out, row, m->config.n_embd * sizeof *row);
    if (code == OK)
        code = buffer_add_format(out, "%zu %d", tokenizer_size(m->tokenizer), m->chat != NULL);
    model_destroy(m);
    return code;
}

static error_code parse_config(buffer *out, failure *fail)
{
    static const char text[] = "version: 1\nmodels:\n  - {name: l, role: large, path: l}\n"
                               "  - {name: s, role: small, path: s}\n"
                               "policy: {name: rules, rules: [{name: a, model: small, "
                               "intents: [code], max_entropy: 0.3, headers: [{name: x, value: y}]}"
                               "]}\n";
    const size_t contexts[] = {100, 1000};
    config *c;
    policy *p;
    error_code code = config_parse(&c, text, sizeof text - 1, "x", fail);
    if (code != OK)
        return code;
    code = policy_create(&p, c, contexts, fail);
    if (code == OK) {
        code = buffer_add_format(out, "%u %s %zu", c->n_models, c->models[0].name,
                                 policy_label_count(p));
        policy_destroy(p);
    }
    config_free(c);
    return code;
}

static error_code decide_log_again(buffer *out, failure *fail)
{
    redecided r;
    error_code code = redecide_log("../shared/field/decisions-diskfull-then-space.jsonl", &r, fail);
    return code == OK ? buffer_add_format(out, "%zu %zu %zu", r.decisions, r.same, r.torn) : code;
}

/* A restart: the keys, and what they have spent, written again as it was read. What an attempt
 * without memory forgot would be missing from all that follow. */
static char keys_path[] = "/tmp/a-io-keys-XXXXXX", budget_path[] = "/tmp/a-io-budget-XXXXXX";

static error_code restart_budgets(buffer *out, failure *fail)
{
    keys *k;
    budget_file *f;
    error_code code = keys_create(&k, NULL, keys_path, NULL, fail);
    if (code != OK)
        return code;
    code = budget_file_open(&f, budget_path, k, fail);
    if (code == OK)
        budget_file_close(f, k);
    keys_release(k);
    return code == OK ? buffer_read_file(out, budget_path, fail) : code;
}

static void write_at(char *path, const char *text)
{
    int fd = mkstemp(path);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void test_budgets(void **state)
{
    (void)state;
    write_at(keys_path, "ann a budget=1/month\nbob b\ncarol c budget=2/day\ndan d budget=3/hour\n");
    write_at(budget_path, "{\"spent\": {\"ann\": {\"since\": 1, \"amount\": 0.5}, "
                          "\"carol\": {\"since\": 2, \"amount\": 1.5}}}");
    assert_int_equal(digest_prepare(NULL), OK);
    try_all("what keys have spent", restart_budgets, 100000);
    unlink(keys_path);
    unlink(budget_path);
}

static void test_files(void **state)
{
    (void)state;
    try_all("a model", load_model, 200);
    try_all("a configuration", parse_config, 300);
    if (access("../shared/field/decisions-diskfull-then-space.jsonl", R_OK) == 0)
        try_all("a decision log", decide_log_again, 300);
}

/* ---- a whole request ------------------------------------------------------------------------- */

static orchestra *stage;

/* From a body to the reply's body, by way of the probe. */
static error_code answer(buffer *out, failure *fail)
{
    static const char body[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"Who wrote the "
                               "first book of the northern library?\"}], \"temperature\": 0, "
                               "\"seed\": 1, \"max_tokens\": 6}";
    static const request_text text = {.body = body, .length = sizeof body - 1};
    static const request_defaults defaults = {.max_tokens = 6};
    api_error error = {0};
    chat_request q;
    run *r = NULL;
    buffer words;
    buffer_init(&words, 1 << 16);
    if (!chat_request_parse(&q, &text, &defaults, &error))
        return failure_set(fail, error.status == 503 ? ERR_MEMORY : ERR_INVALID, "%d: %s",
                           error.status, error.message);
    error_code code = orchestra_submit(stage, &q.request, &(run_options){.id = "x"},
                                       (wakeup){.call = NULL}, &r, fail);
    chat_request_free(&q);
    if (code != OK)
        return code;
    run_state at;
    while ((at = run_poll(r, &words, NULL)) != RUN_FINISHED && at != RUN_FAILED)
        run_wait(r);
    choice one = {.run = r, .text = words, .finish = run_finish_reason(r)};
    const exchange e = {
        .choices = &one, .n_choices = 1, .manner = {.n = 1, .seed = 1}, .reply_id = "x"};
    if (at == RUN_FAILED) {
        *fail = *run_failure(r);
        code = fail->code;
    } else {
        buffer told;
        buffer_init(&told, 1 << 16);
        json_out o = {.to = &told};
        openai_chat_api.write_whole(&e, &o);
        json_t *whole = json_out_read(&o);
        json_object_del(whole, "a_io"); /* times */
        json_object_del(whole, "timings");
        code = json_write(out, whole);
    }
    run_release(r);
    buffer_free(&words);
    return code == OK ? OK : failure_set(fail, code, "%s", error_code_text(code));
}

static error_code add_scores(const score_list *scores, buffer *out)
{
    error_code code = OK;
    for (size_t i = 0; code == OK && i < scores->length; i++)
        code = buffer_add_format(out, "%d %g %u\n", scores->items[i].token,
                                 (double)scores->items[i].logprob, scores->items[i].rank);
    return code;
}

/* Of a prompt and of the reply to it. */
static error_code score(buffer *out, failure *fail)
{
    static const chat_message message = {"user", "Who wrote it?", 13};
    request q = {.messages = &message,
                 .n_messages = 1,
                 .sampling = sampling_defaults(),
                 .max_tokens = 4,
                 .wants_scores = true,
                 .scores_prompt = true,
                 .n_top = 3};
    run *r = NULL;
    error_code code = orchestra_submit(stage, &q, &(run_options){.model = "small"},
                                       (wakeup){.call = NULL}, &r, fail);
    if (code != OK)
        return code;
    for (;;) {
        run_state at = run_poll(r, NULL, NULL);
        if (code == OK)
            code = add_scores(run_scores(r), out);
        if (at == RUN_FAILED)
            *fail = *run_failure(r);
        if (at == RUN_FAILED)
            code = fail->code;
        if (at == RUN_FAILED || at == RUN_FINISHED)
            break;
        run_wait(r);
    }
    run_release(r);
    return code;
}

static error_code embed(buffer *out, failure *fail)
{
    static const request q = {.prompt = "Who wrote it?", .prompt_length = 13};
    backend *b = orchestra_backend(stage, 0);
    const uint32_t layer = 2;
    const embedding_request wanted = {.layers = &layer, .n_layers = 1, .pooling = EMBEDDING_MEAN};
    prepared_prompt *p;
    embedding_job *job = NULL;
    embedding_result got = {.state = WORK_RUNNING};
    error_code code = backend_prepare(b, &q, &p, fail);
    if (code != OK)
        return code;
    code = backend_embed(b, p, &wanted, (wakeup){.call = NULL}, &job, fail);
    while (code == OK && got.state == WORK_RUNNING)
        code = embedding_poll(job, &got);
    if (code == OK && got.state == WORK_FAILED) {
        *fail = got.failure;
        code = fail->code;
    } else if (code == OK)
        code = buffer_add(out, got.states, backend_state_width(b) * sizeof *got.states);
    embedding_release(job);
    prompt_destroy(p);
    return code;
}

static void test_whole_request(void **state)
{
    (void)state;
    failure fail = {0};
    config *c;
    char folder[256], absolute[1024];
    assert_int_equal(kernel_init(NULL, &fail), OK);
    assert_non_null(getcwd(folder, sizeof folder));
    int n = snprintf(absolute, sizeof absolute,
                     "version: 1\nengine: {prefix_cache: false}\nmodels:\n"
                     "  - {name: small, role: small, path: %s/models/demo/small.gguf}\n"
                     "  - {name: large, role: large, path: %s/models/demo/large.gguf}\n",
                     folder, folder);
    if (config_parse(&c, absolute, (size_t)n, "test", &fail) != OK ||
        orchestra_create(&stage, c, (house_progress){.call = NULL}, &fail) != OK)
        fail_msg("%s", fail.text);
    try_all("a request's whole way", answer, 400);
    try_all("scores", score, 400);
    try_all("an embedding", embed, 400);
    orchestra_destroy(stage);
    config_free(c);
}

#else

static void skip_where_sanitized(void **state)
{
    (void)state;
    printf("  skipped: a sanitizer brings its own malloc\n");
    skip();
}

#endif

int main(void)
{
#if IS_SANITIZED
    const struct CMUnitTest tests[] = {cmocka_unit_test(skip_where_sanitized)};
#else
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),          cmocka_unit_test(test_requests),
        cmocka_unit_test(test_files),         cmocka_unit_test(test_budgets),
        cmocka_unit_test(test_whole_request),
    };
#endif
    return cmocka_run_group_tests(tests, NULL, NULL);
}
