/* The text of a reply, parted into what is said, thought and called: whole and in pieces of any
 * size the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "server/reply_parser.h"

/* What was told, as one text: said, (thought), NAME[arguments]. */
typedef struct told {
    buffer text;
    reply_part last;
    bool is_begun;
} told;

static bool take(void *context, const reply_piece *piece)
{
    told *t = context;
    bool goes_on = t->is_begun && piece->part == t->last;
    if (t->is_begun && (!goes_on || piece->part == REPLY_CALL)) {
        if (t->last == REPLY_THOUGHT)
            buffer_add_text(&t->text, ")");
        if (t->last == REPLY_ARGUMENTS)
            buffer_add_text(&t->text, "]");
    }
    if (!goes_on && piece->part == REPLY_THOUGHT)
        buffer_add_text(&t->text, "(");
    if (piece->part == REPLY_CALL)
        buffer_add_format(&t->text, "%zu:", piece->call);
    if (!goes_on && piece->part == REPLY_ARGUMENTS)
        buffer_add_text(&t->text, "[");
    t->is_begun = true;
    t->last = piece->part;
    return buffer_add(&t->text, piece->text, piece->length) == OK;
}

enum { NO_CALLS = 1, THINKS = 2, IN_THOUGHT_AT_FIRST = 4, BOUND = 8, ONLY_CALLS = 16 };

typedef struct parse_case {
    const char *form, *text, *expected;
    unsigned manner;
} parse_case;

static const chat_thoughts think = {"<think>", "</think>"};

static void check(const parse_case *c, size_t piece)
{
    json_t *texts = json_pack("{s:{s:b}, s:{}, s:{}}", "write", "content", 1, "f", "g");
    const reply_options options = {
        .style = {.form = chat_form_find(c->form), .thoughts = &think},
        .takes_calls = (c->manner & NO_CALLS) == 0,
        .binds_calls = (c->manner & BOUND) != 0,
        .only_calls = (c->manner & ONLY_CALLS) != 0,
        .takes_thoughts = (c->manner & (THINKS | IN_THOUGHT_AT_FIRST)) != 0,
        .is_in_thought = (c->manner & IN_THOUGHT_AT_FIRST) != 0,
        .texts = texts,
    };
    assert_true(texts != NULL && options.style.form != NULL);
    reply_parser *p;
    told t = {.is_begun = false};
    buffer_init(&t.text, 1 << 16);
    assert_int_equal(reply_parser_create(&p, &options), OK);
    size_t length = strlen(c->text);
    for (size_t at = 0; at < length; at += piece) {
        size_t n = length - at < piece ? length - at : piece;
        assert_true(reply_parser_feed(p, c->text + at, n, false, take, &t));
    }
    assert_true(reply_parser_feed(p, "", 0, true, take, &t));
    reply_parser_destroy(p);
    if (t.is_begun && t.last == REPLY_THOUGHT)
        buffer_add_text(&t.text, ")");
    if (t.is_begun && t.last == REPLY_ARGUMENTS)
        buffer_add_text(&t.text, "]");
    const char *text = t.text.length > 0 ? t.text.data : "";
    if (strcmp(text, c->expected) != 0)
        fail_msg("%s, by %zu:\n%s\nexpected: %s\n     got: %s", c->form, piece, c->text,
                 c->expected, text);
    buffer_free(&t.text);
    json_decref(texts);
}

static const parse_case cases[] = {
    {"hermes", "Hello.\n", "Hello.\n", 0},
    {"hermes",
     "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"}\\\"{\", \"b\": [1, "
     "{}]}}\n</tool_call>",
     "0:f[{\"a\": \"}\\\"{\", \"b\": [1, {}]}]", 0},
    {"hermes",
     "Let me see.\n\n<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n"
     "{\"arguments\": {\"x\": 1}, \"name\": \"g\"}\n</tool_call>\n",
     "Let me see.0:f[{}]1:g[{\"x\": 1}]", 0},
    {"hermes", "{\"name\": \"f\", \"arguments\": {\"a\": 1}}", "0:f[{\"a\": 1}]", 0},
    {"hermes", "{\"name\": \"f\"}", "0:f[{}]", 0},
    {"json", "{\"name\": \"f\", \"arguments\": {}}; {\"name\": \"g\", \"arguments\": {}}",
     "0:f[{}]1:g[{}]", 0},
    {"hermes", "{\"name\": \"Alice\", \"age\": 3}", "{\"name\": \"Alice\", \"age\": 3}", 0},
    {"seed",
     "<seed:tool_call>\n<function=f>\n<parameter=a>1</parameter>\n</function>\n</seed:tool_call>",
     "0:f[{\"a\":1}]", 0},
    {"qwen-coder",
     "<tool_call>\n<function=write>\n<parameter=content>\n{\"a\": 1}\n</parameter>\n<parameter=n>\n"
     "2\n</parameter>\n</function>\n</tool_call>",
     "0:write[{\"content\":\"{\\\"a\\\": 1}\",\"n\":2}]", 0},
    {"hermes", "{{\"name\": \"f\"}}", "{{\"name\": \"f\"}}", 0},
    {"hermes", "{\"a\": 1}", "{\"a\": 1}", 0},
    {"hermes", "```json\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n```", "0:f[{\"a\": 1}]", 0},
    {"hermes", "```json\n{\"a\": 1}\n```", "```json\n{\"a\": 1}\n```", 0},
    {"hermes", "```json\n[1]\n```", "```json\n[1]\n```", 0},
    {"hermes", "```js", "```js", 0},
    {"hermes", " {\"name\": \"f\", \"arguments\": {\"a\": 1}}", "0:f[{\"a\": 1}]", BOUND},
    {"hermes", "```json\n{\"name\": \"f\", \"arguments\": {}}\n```", "0:f[{}]", BOUND},
    {"hermes", "{\"arguments\": {}, \"name\": \"f\"}", "{\"arguments\": {}, \"name\": \"f\"}",
     BOUND},
    {"hermes", "{\n \"name\":\"f\", \"arguments\": {}}", "0:f[{}]", BOUND},
    {"hermes", "{\"name\": 1, \"name\": \"f\"}", "{\"name\": 1, \"name\": \"f\"}", BOUND},
    {"hermes", "{\"function\": {\"name\": \"f\"}}", "{\"function\": {\"name\": \"f\"}}", BOUND},
    {"hermes", "{no json", "{no json", 0},
    {"hermes", "<tool_call>no json</tool_call>", "<tool_call>no json", 0},
    {"hermes", "a < b <tool", "a < b <tool", 0},
    {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1", "0:f[{\"a\": 1]", 0},
    {"hermes", "<tool_call>{\"name\": \"f", "<tool_call>{\"name\": \"f", 0},
    {"hermes", "<tool_c", "", ONLY_CALLS},
    {"hermes", "<tool_call>\n{\"name\": \"f", "", ONLY_CALLS},
    {"hermes", "<tool_call>\n{\"name\": \"f\", \"arg", "0:f", ONLY_CALLS},
    {"hermes",
     "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n{\"na",
     "0:f[{}]", ONLY_CALLS},
    {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1", "0:f[{\"a\": 1]",
     ONLY_CALLS},
    {"llama3", "{\"name\": \"f\"", "0:f", ONLY_CALLS},
    {"mistral", "[TOOL_CALLS][{\"name\": \"", "", ONLY_CALLS},
    {"hermes", "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>",
     "<tool_call>\n"
     "{\"name\": \"f\", \"arguments\": {}}\n</tool_call>",
     NO_CALLS},
    {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 1}\"}</tool_call>",
     "0:f[{\"a\": 1}]", 0},
    {"hermes", "<think>\nHm <b>.\n</think>\n\nYes", "(Hm <b>.)Yes", THINKS},
    {"hermes", "Hm.\n</think>\n\nYes", "(Hm.)Yes", IN_THOUGHT_AT_FIRST},
    {"hermes", "<think>\n\n</think>\n\n<tool_call>{\"name\": \"f\"}</tool_call>", "0:f[{}]",
     THINKS},
    {"hermes", "<think>cut", "(cut)", THINKS},
    {"hermes", "say <think>", "say <think>", THINKS},
    {"llama3", "{\"name\": \"f\", \"parameters\": {\"a\": 1}}", "0:f[{\"a\": 1}]", 0},
    {"llama3",
     "<|python_tag|>{\"type\": \"function\", \"name\": \"f\", \"parameters\": {\"a\": 1}}; "
     "{\"name\": \"g\", \"parameters\": {}}",
     "0:f[{\"a\": 1}]1:g[{}]", 0},
    {"json", "{\"tool_call\": {\"name\": \"f\", \"arguments\": {\"a\": 1}}}", "0:f[{\"a\": 1}]", 0},
    {"json", "{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {}}} ",
     "0:f[{}]", 0},
    {"mistral",
     "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": 1}, \"id\": \"x]\"}, "
     "{\"name\": \"g\", \"arguments\": {}}]",
     "0:f[{\"a\": 1}]1:g[{}]", 0},
    {"mistral", "Well: [TOOL_CALLS]f[ARGS]{\"a\": 1}[TOOL_CALLS]g{\"b\": 2}",
     "Well:0:f[{\"a\": 1}]1:g[{\"b\": 2}]", 0},
    {"deepseek",
     "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n"
     "{\"a\": 1}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>g<｜tool▁sep｜>{}<｜tool▁call▁end｜>"
     "<｜tool▁calls▁end｜>",
     "0:f[{\"a\": 1}]1:g[{}]", 0},
    {"kimi",
     "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>"
     "{\"a\": 1}<|tool_call_end|><|tool_calls_section_end|>",
     "0:f[{\"a\": 1}]", 0},
    {"functiongemma",
     "<start_function_call>call:f{a:<escape>x: {y}<escape>,n:5,b:true,l:[1,2]}"
     "<end_function_call>",
     "0:f[{\"a\":\"x: {y}\",\"n\":5,\"b\":true,\"l\":[1,2]}]", 0},
    {"gemma4", "<|tool_call>call:f{a:<|\"|>x<|\"|>,o:{k:-1.5}}<tool_call|>",
     "0:f[{\"a\":\"x\",\"o\":{\"k\":-1.5}}]", 0},
    {"qwen-coder",
     "Now.\n<tool_call>\n<function=f>\n<parameter=path>\n/a b\n</parameter>\n"
     "<parameter=n>\n3\n</parameter>\n</function>\n</tool_call>",
     "Now.0:f[{\"path\":\"/a b\",\"n\":3}]", 0},
    {"gpt-oss",
     "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final"
     "<|message|>Yes",
     "(Hm.)Yes", 0},
    {"gpt-oss",
     "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"a\": 1}<|call|>",
     "0:f[{\"a\": 1}]", 0},
    {"gpt-oss", "<|start|>assistant to=functions.f<|channel|>commentary json<|message|>{}",
     "0:f[{}]", 0},
};

static void test_every_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t piece = 1; piece <= 8; piece++)
            check(&cases[i], piece == 8 ? 4096 : piece);
}

static void test_forms_of_templates(void **state)
{
    (void)state;
    static const struct {
        const char *jinja, *form;
        bool thinks;
    } shown[] = {
        {"{{ messages[0].content }}", "json", false},
        {"{% if tools %}<tool_call>{% endif %}</think>", "hermes", true},
        {"<tool_call><function=", "qwen-coder", false},
        {"[TOOL_CALLS]", "mistral", false},
        {"<|python_tag|>", "llama3", false},
        {"<|channel|>", "gpt-oss", false},
        {"<｜tool▁call▁begin｜> </think>", "deepseek", true},
    };
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
        chat_style style = chat_style_of(shown[i].jinja, strlen(shown[i].jinja));
        assert_string_equal(style.form->name, shown[i].form);
        assert_int_equal(style.thoughts != NULL, shown[i].thinks);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_form),
        cmocka_unit_test(test_forms_of_templates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
