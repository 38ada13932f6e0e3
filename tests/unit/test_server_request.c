/* A chat request is read completely or refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "server/openai.h"

#define HELLO "\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]"

static void accept(const char *body, chat_request *r)
{
    api_error error = {0};
    request_text text = {.body = body, .length = strlen(body)};
    request_defaults defaults = {.max_tokens = 77};
    if (!chat_request_parse(r, &text, &defaults, &error))
        fail_msg("%s\nrefused: %s", body, error.message);
}

static void refuse_text(const request_text *text, const char *param, const char *part)
{
    chat_request r;
    api_error error = {0};
    request_defaults defaults = {.max_tokens = 0};
    if (chat_request_parse(&r, text, &defaults, &error))
        fail_msg("accepted: %s", text->body);
    assert_int_equal(error.status, 400);
    assert_string_equal(error.type, "invalid_request_error");
    assert_string_equal(error.param, param);
    if (strstr(error.message, part) == NULL)
        fail_msg("'%s' is not in: %s", part, error.message);
}

static void refuse(const char *body, const char *param, const char *part)
{
    refuse_text(&(request_text){.body = body, .length = strlen(body)}, param, part);
}

static void test_defaults(void **state)
{
    (void)state;
    chat_request r, again;
    accept("{" HELLO "}", &r);
    accept("{" HELLO "}", &again);
    assert_null(r.model);
    assert_false(r.manner.stream);
    assert_false(r.has_lookup);
    assert_int_equal(r.request.max_tokens, 77);
    assert_int_equal(r.request.n_messages, 1);
    assert_string_equal(r.request.messages[0].role, "user");
    assert_int_equal(r.request.messages[0].content_length, 5);
    assert_true(r.request.sampling.temperature == 1.0f);
    assert_int_equal(r.request.sampling.seed, (uint64_t)r.manner.seed);
    assert_true(r.manner.seed !=
                again.manner.seed); /* drawn: equal once in four thousand million runs */
    chat_request_free(&r);
    chat_request_free(&again);
}

static void test_every_field(void **state)
{
    (void)state;
    chat_request r;
    accept(
        "{" HELLO
        ",\"model\":\"small\",\"stream\":true,\"stream_options\":{\"include_usage\":true},"
        "\"temperature\":0.5,\"top_p\":0.9,\"top_k\":40,\"min_p\":0.05,\"max_tokens\":9,"
        "\"max_completion_tokens\":9,\"presence_penalty\":-1,\"frequency_penalty\":2,"
        "\"repetition_penalty\":1.1,\"logit_bias\":{\"7\":-100,\"12\":3.5},\"stop\":[\"a\",\"b\"],"
        "\"seed\":-3,\"prompt_lookup_num_tokens\":8,\"user\":\"a b\\n\",\"n\":1,\"tools\":[],"
        "\"store\":false,\"response_format\":{\"type\":\"text\"},\"logprobs\":null}",
        &r);
    const sampling_params *s = &r.request.sampling;
    assert_string_equal(r.model, "small");
    assert_true(r.manner.stream && r.manner.include_usage && r.has_lookup);
    assert_int_equal(r.lookup.mode, WISH_FIXED);
    assert_int_equal(r.lookup.length, 8);
    assert_true(s->temperature == 0.5f && s->top_p == 0.9f && s->min_p == 0.05f);
    assert_int_equal(s->top_k, 40);
    assert_int_equal(r.request.max_tokens, 9);
    assert_true(s->presence_penalty == -1 && s->frequency_penalty == 2);
    assert_true(s->repetition_penalty == 1.1f);
    assert_int_equal(s->n_biases, 2);
    assert_int_equal(s->biases[0].token, 7);
    assert_true(s->biases[1].bias == 3.5f);
    assert_int_equal(r.request.n_stops, 2);
    assert_string_equal(r.request.stops[1], "b");
    assert_int_equal(r.manner.seed, -3);
    assert_int_equal(s->seed, (uint64_t)-3);
    assert_string_equal(r.manner.user, "a_b_");
    chat_request_free(&r);
}

static void test_forms_of_replies(void **state)
{
    static const struct {
        const char *field;
        grammar_kind kind;
        const char *text;
    } cases[] = {
        {"\"response_format\":{\"type\":\"json_object\"}", GRAMMAR_JSON_SCHEMA,
         "{\"type\":\"object\"}"},
        {"\"response_format\":{\"type\":\"json_object\",\"schema\":{\"const\":1}}",
         GRAMMAR_JSON_SCHEMA, "{\"const\":1}"},
        {"\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\",\"strict\":"
         "true,\"schema\":{\"const\":1}}}",
         GRAMMAR_JSON_SCHEMA, "{\"const\":1}"},
        {"\"json_schema\":{\"const\":1}", GRAMMAR_JSON_SCHEMA, "{\"const\":1}"},
        {"\"guided_json\":\"{}\"", GRAMMAR_JSON_SCHEMA, "{}"},
        {"\"guided_json\":{},\"json_schema\":{}", GRAMMAR_JSON_SCHEMA, "{}"},
        {"\"grammar\":\"root ::= [0-9]\"", GRAMMAR_GBNF, "root ::= [0-9]"},
        {"\"guided_grammar\":\"start: /a/\"", GRAMMAR_LARK, "start: /a/"},
        {"\"guided_regex\":\"a+\"", GRAMMAR_REGEX, "a+"},
        {"\"guided_choice\":[\"a\",\"b\"]", GRAMMAR_CHOICE, "[\"a\",\"b\"]"},
        {"\"structured_outputs\":{\"regex\":\"a+\",\"json\":null}", GRAMMAR_REGEX, "a+"},
        {"\"structured_outputs\":{\"json_object\":true}", GRAMMAR_JSON_SCHEMA,
         "{\"type\":\"object\"}"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char body[400];
        chat_request r;
        snprintf(body, sizeof body, "{" HELLO ",%s}", cases[i].field);
        accept(body, &r);
        assert_non_null(r.request.grammar.text);
        assert_string_equal(r.request.grammar.text, cases[i].text);
        assert_int_equal(r.request.grammar.kind, cases[i].kind);
        chat_request_free(&r);
    }
}

static void test_messages(void **state)
{
    (void)state;
    chat_request r;
    accept("{\"messages\":[{\"role\":\"developer\",\"content\":\"be brief\"},"
           "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"one \"},"
           "{\"type\":\"text\",\"text\":\"two\"}]},"
           "{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null,\"annotations\":[]},"
           "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"three\"}]}]}",
           &r);
    const chat_message *m = r.request.messages;
    assert_int_equal(r.request.n_messages, 4);
    assert_string_equal(m[0].role, "system");
    assert_int_equal(m[1].content_length, 7);
    assert_memory_equal(m[1].content, "one two", 7);
    assert_int_equal(m[2].content_length, 0);
    assert_int_equal(m[3].content_length, 5);
    assert_memory_equal(m[3].content, "three", 5);
    chat_request_free(&r);

    refuse("{}", "messages", "missing");
    refuse("{\"messages\":[]}", "messages", "at least one");
    refuse("{\"messages\":\"hi\"}", "messages", "at least one");
    refuse("{\"messages\":[\"hi\"]}", "messages[0]", "object");
    refuse("{\"messages\":[{\"role\":\"function\",\"content\":\"x\"}]}", "messages[0].role",
           "assistant");
    refuse("{\"messages\":[{\"content\":\"x\"}]}", "messages[0].role", "assistant");
    refuse("{\"messages\":[{\"role\":\"user\"}]}", "messages[0].content", "string");
    refuse("{\"messages\":[{\"role\":\"user\",\"content\":null}]}", "messages[0].content",
           "string");
    refuse("{\"messages\":[{\"role\":\"user\",\"content\":[]}]}", "messages[0].content", "parts");
    refuse("{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}",
           "messages[0].content", "text");
    refuse("{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\",\"x\":"
           "1}]}]}",
           "messages[0].content", "text");
    accept("{\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"name\":\"Bob\"}]}", &r);
    chat_request_free(&r);
    refuse("{\"messages\":[{\"role\":\"assistant\",\"content\":\"a\",\"tool_calls\":[{}]}]}",
           "messages[0].tool_calls", "must have calls");
    refuse("{\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"tool_calls\":[{}]}]}",
           "messages[0].tool_calls", "assistant's");
}

#define TOOLS "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}}]"

static void test_tools(void **state)
{
    (void)state;
    chat_request r;
    accept("{" HELLO "," TOOLS "}", &r);
    assert_true(r.manner.takes_calls);
    assert_string_equal(r.request.chat.tools_json, "[{\"type\":\"function\",\"function\":{"
                                                   "\"name\":\"f\",\"parameters\":{}}}]");
    assert_null(r.request.chat.messages_json);
    chat_request_free(&r);
    accept("{" HELLO "," TOOLS ",\"tool_choice\":\"none\"}", &r);
    assert_false(r.manner.takes_calls);
    assert_null(r.request.chat.tools_json);
    chat_request_free(&r);
    accept("{\"functions\":[{\"name\":\"f\"}]," HELLO "}", &r);
    assert_string_equal(r.request.chat.tools_json,
                        "[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]");
    chat_request_free(&r);
}

static void test_messages_with_calls(void **state)
{
    (void)state;
    chat_request r;
    accept("{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\","
           "\"content\":null,\"reasoning_content\":\"hm\",\"tool_calls\":[{\"id\":\"c1\",\"type\":"
           "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\": 1}\"}}]},"
           "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":[{\"type\":\"text\",\"text\":"
           "\"b\"}]}]}",
           &r);
    assert_int_equal(r.request.n_messages, 3);
    assert_string_equal(
        r.request.chat.messages_json,
        "[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"\","
        "\"reasoning_content\":\"hm\",\"tool_calls\":[{\"type\":\"function\","
        "\"id\":\"c1\","
        "\"function\":{\"name\":\"f\",\"arguments\":{\"x\":1}}}]},{\"role\":\"tool\",\"content\":"
        "\"b\",\"tool_call_id\":\"c1\",\"name\":\"f\"}]");
    chat_request_free(&r);
}

static void test_a_reply_that_is_begun(void **state)
{
    (void)state;
    static const char *const flags[] = {"\"continue_final_message\":true",
                                        "\"add_generation_prompt\":false"};
    for (size_t i = 0; i < 2; i++) {
        char body[256];
        snprintf(body, sizeof body,
                 "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\","
                 "\"content\":\"Once\"}],%s}",
                 flags[i]);
        chat_request r;
        accept(body, &r);
        assert_int_equal(r.request.n_messages, 1);
        assert_int_equal(r.request.chat.begun_length, 4);
        assert_memory_equal(r.request.chat.begun, "Once", 4);
        chat_request_free(&r);
    }
}

static void test_what_the_template_is_told(void **state)
{
    (void)state;
    chat_request r;
    accept("{" HELLO ",\"chat_template_kwargs\":{\"a\":[1]},\"reasoning_effort\":\"none\"}", &r);
    assert_string_equal(r.request.chat.variables_json,
                        "{\"a\":[1],\"reasoning_effort\":\"none\",\"enable_thinking\":false}");
    chat_request_free(&r);
}

static void test_refused_fields(void **state)
{
    (void)state;
    static const struct {
        const char *field, *param, *part;
    } cases[] = {
        {"\"temprature\":1", "temprature", "unknown field 'temprature'"},
        {"\"n\":0", "n", "from 1 to 128"},
        {"\"n\":129", "n", "from 1 to 128"},
        {"\"tools\":[{}]", "tools", "'tools[0]' must be"},
        {"\"tools\":{}", "tools", "list"},
        {"\"tools\":[{\"type\":\"web_search\"}]", "tools", "'tools[0]' must be"},
        {"\"tool_choice\":\"required\"", "tool_choice", "no tools"},
        {"\"tool_choice\":\"sometimes\"", "tool_choice", "required"},
        {TOOLS ",\"tool_choice\":\"required\",\"guided_regex\":\"a\"", "tool_choice", "differ"},
        {"\"continue_final_message\":true", "messages", "assistant's message"},
        {"\"continue_final_message\":true,\"add_generation_prompt\":true", "add_generation_prompt",
         "differ"},
        {"\"repeat_penalty\":1.1,\"repetition_penalty\":1.2", "repetition_penalty", "differ"},
        {"\"logprobs\":1", "logprobs", "true or false"},
        {"\"logprobs\":true,\"top_logprobs\":21", "top_logprobs", "from 0 to 20"},
        {"\"top_logprobs\":2", "top_logprobs", "'logprobs': true"},
        {"\"response_format\":{\"type\":\"xml\"}", "response_format", "json_schema"},
        {"\"response_format\":{\"type\":\"json_schema\"}", "response_format", "schema"},
        {"\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\"}}",
         "response_format", "schema"},
        {"\"response_format\":{\"type\":\"json_object\",\"depth\":3}", "response_format", "depth"},
        {"\"guided_regex\":3", "guided_regex", "string"},
        {"\"guided_choice\":[]", "guided_choice", "list"},
        {"\"grammar\":\"\"", "grammar", "empty"},
        {"\"structured_outputs\":{\"structural_tag\":{}}", "structured_outputs", "structural_tag"},
        {"\"guided_regex\":\"a\",\"guided_json\":{}", "guided_json", "differ"},
        {"\"reasoning_effort\":1", "reasoning_effort", "string"},
        {"\"reasoning_format\":\"x\"", "reasoning_format", "'auto'"},
        {"\"temperature\":-0.1", "temperature", "at least 0"},
        {"\"temperature\":\"1\"", "temperature", "number"},
        {"\"top_p\":0", "top_p", "at least 1e-06"},
        {"\"top_p\":1.01", "top_p", "at most 1"},
        {"\"top_k\":-2", "top_k", "from -1"},
        {"\"top_k\":1.5", "top_k", "integer"},
        {"\"max_tokens\":0", "max_tokens", "at least 1"},
        {"\"max_tokens\":5,\"max_completion_tokens\":6", "max_completion_tokens", "differ"},
        {"\"presence_penalty\":2.1", "presence_penalty", "at most 2"},
        {"\"repetition_penalty\":0", "repetition_penalty", "at least 0.01"},
        {"\"stop\":\"\"", "stop", "empty"},
        {"\"stop\":[1]", "stop", "strings"},
        {"\"logit_bias\":{\"\":1}", "logit_bias", "neither a token id nor a text"},
        {"\"logit_bias\":[[1]]", "logit_bias", "pairs"},
        {"\"logit_bias\":[[1.5,1]]", "logit_bias", "neither a token id nor a text"},
        {"\"min_tokens\":-1", "min_tokens", "from 0"},
        {"\"ignore_eos\":1", "ignore_eos", "true or false"},
        {"\"repeat_last_n\":64,\"repeat_penalty\":1.1", "repeat_last_n", "value -1"},
        {"\"samplers\":[\"top_k\"]", "samplers", "penalties"},
        {"\"typical_p\":0.9", "typical_p", "value 1"},
        {"\"min_keep\":2", "min_keep", "0 and 1"},
        {"\"logit_bias\":{\"1\":101}", "logit_bias", "at most 100"},
        {"\"logit_bias\":{\"99999999999\":1}", "logit_bias", "not a token id"},
        {"\"seed\":\"x\"", "seed", "integer"},
        {"\"model\":5", "model", "auto"},
        {"\"stream\":1", "stream", "true or false"},
        {"\"stream_options\":{\"include_usage\":true}", "stream_options", "'stream': true"},
        {"\"stream\":true,\"stream_options\":{\"x\":true}", "stream_options", "x"},
        {"\"prompt_lookup_num_tokens\":17", "prompt_lookup_num_tokens", "from 0 to 16"},
        {"\"prompt_lookup_num_tokens\":1,\"speculative.n_max\":0", "speculative.n_max", "differ"},
        {"\"user\":1", "user", "string"},
        {"\"priority\":\"high\"", "priority", "'interactive' or 'batch'"},
        {"\"priority\":2", "priority", "two classes"},
        {"\"priority\":true", "priority", "'interactive' or 'batch'"},
        {"\"service_tier\":\"scale\"", "service_tier", "'flex'"},
        {"\"service_tier\":1", "service_tier", "'flex'"},
        {"\"priority\":0,\"service_tier\":\"flex\"", "service_tier",
         "'service_tier' and 'priority' differ"},
        {"\"deadline_ms\":-1", "deadline_ms", "from 0"},
        {"\"deadline_ms\":1.5", "deadline_ms", "integer"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char body[256];
        snprintf(body, sizeof body, "{%s,%s}", HELLO, cases[i].field);
        refuse(body, cases[i].param, cases[i].part);
    }
}

static void test_priority_and_deadline(void **state)
{
    (void)state;
    static const struct {
        const char *field, *tier;
        request_priority priority;
    } cases[] = {
        {"\"priority\":\"interactive\"", NULL, PRIORITY_INTERACTIVE},
        {"\"priority\":\"batch\"", NULL, PRIORITY_BATCH},
        {"\"priority\":0", NULL, PRIORITY_INTERACTIVE},
        {"\"priority\":1", NULL, PRIORITY_BATCH},
        {"\"service_tier\":\"auto\"", "flex", PRIORITY_BATCH},
        {"\"service_tier\":\"default\"", "flex", PRIORITY_BATCH},
        {"\"service_tier\":\"default\",\"priority\":0", "default", PRIORITY_INTERACTIVE},
        {"\"service_tier\":\"priority\"", "priority", PRIORITY_INTERACTIVE},
        {"\"service_tier\":\"flex\",\"priority\":\"batch\"", "flex", PRIORITY_BATCH},
        {"\"service_tier\":null,\"priority\":null", NULL, PRIORITY_BATCH},
    };
    const request_defaults defaults = {.priority = PRIORITY_BATCH, .deadline_ms = 9};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        chat_request r;
        api_error error;
        char body[256];
        snprintf(body, sizeof body, "{%s,%s}", HELLO, cases[i].field);
        request_text text = {.body = body, .length = strlen(body)};
        assert_true(chat_request_parse(&r, &text, &defaults, &error));
        assert_int_equal(r.request.priority, cases[i].priority);
        assert_true(r.request.deadline_ms == 9);
        if (cases[i].tier == NULL)
            assert_null(r.manner.service_tier);
        else
            assert_string_equal(r.manner.service_tier, cases[i].tier);
        chat_request_free(&r);
    }
}

static void test_headers(void **state)
{
    (void)state;
    static const char body[] = "{" HELLO ",\"priority\":\"batch\",\"deadline_ms\":250}";
    request_text text = {body, sizeof body - 1, "batch", "250", NULL, NULL};
    chat_request r;
    api_error error;
    assert_true(chat_request_parse(&r, &text, &(request_defaults){.max_tokens = 0}, &error));
    assert_int_equal(r.request.priority, PRIORITY_BATCH);
    assert_true(r.request.deadline_ms == 250);
    chat_request_free(&r);

    text.priority = "interactive";
    refuse_text(&text, "priority", "'priority' and 'x-a-io-priority' differ");
    text.priority = "urgent";
    refuse_text(&text, "x-a-io-priority", "'interactive' or 'batch'");
    text.priority = NULL;
    text.deadline_ms = "251";
    refuse_text(&text, "deadline_ms", "'deadline_ms' and 'x-a-io-deadline-ms' differ");
    static const char *const bad[] = {"", "-1", "1.5", "10s", " 1", "2147483648", "9e9"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        text.deadline_ms = bad[i];
        refuse_text(&text, "x-a-io-deadline-ms", "integer from 0");
    }
}

static void test_bad_json(void **state)
{
    (void)state;
    refuse("", "", "not valid JSON");
    refuse("{\"messages\":\n  [}", "", "line 2, column 4");
    refuse("[1]", "", "object");
    refuse("{\"seed\":1,\"seed\":2," HELLO "}", "", "duplicate");
    refuse("{" HELLO "} x", "", "not valid JSON");
    refuse("{\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}", "",
           "unable to decode byte 0xff");
    char deep[10001];
    memset(deep, '[', 10000);
    deep[10000] = '\0';
    refuse(deep, "", "depth");
}

static void test_text_that_is_not_utf8(void **state)
{
    (void)state;
    json_t *text = json_text("a\xffz\xe4\xb8", 5);
    assert_string_equal(json_string_value(text), "a\xEF\xBF\xBDz\xEF\xBF\xBD");
    json_decref(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_every_field),
        cmocka_unit_test(test_forms_of_replies),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_tools),
        cmocka_unit_test(test_messages_with_calls),
        cmocka_unit_test(test_a_reply_that_is_begun),
        cmocka_unit_test(test_what_the_template_is_told),
        cmocka_unit_test(test_refused_fields),
        cmocka_unit_test(test_bad_json),
        cmocka_unit_test(test_text_that_is_not_utf8),
        cmocka_unit_test(test_priority_and_deadline),
        cmocka_unit_test(test_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
