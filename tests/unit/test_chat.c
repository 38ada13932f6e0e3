/* Chat templates: what they render, and what they refuse. */
#include <jansson.h>
#include <stdbool.h>

#include "chat_templates.h"

/* ---- built-in templates --------------------------------------------------------------------- */

static void expect_text(const char *name, const chat_message *messages, size_t n, bool generation,
                        const char *want)
{
    chat_template *t = NULL;
    failure fail = {0};
    if (chat_template_choose(&t, name, few_words, &fail) != OK)
        fail_msg("%s", fail.text);
    const chat_input input = {
        .messages = messages, .n_messages = n, .generation_prompt = generation};
    char *got = NULL;
    if (render(t, &input, &got, &fail) != OK)
        fail_msg("%s: %s", name, fail.text);
    assert_string_equal(got, want);
    assert_string_equal(chat_template_name(t), name);
    free(got);
    chat_template_destroy(t);
}

static void test_names(void **state)
{
    (void)state;
    chat_template *t = NULL;
    failure fail = {0};
    assert_int_equal(chat_template_choose(&t, "alpaca", few_words, &fail), ERR_NOT_FOUND);
    assert_non_null(strstr(fail.text, "alpaca"));
    assert_non_null(strstr(fail.text, "chatml, "));
    assert_non_null(strstr(fail.text, "file:PATH"));
    assert_int_equal(chat_template_choose(&t, "file:/nowhere.jinja", few_words, &fail),
                     ERR_NOT_FOUND);
    assert_non_null(strstr(fail.text, "/nowhere.jinja"));
}

static void test_rendering(void **state)
{
    (void)state;
    const chat_message two[] = {message("system", "Be terse."), message("user", " 2+2? ")};
    expect_text("chatml", two, 2, true,
                "<|im_start|>system\nBe terse.<|im_end|>\n<|im_start|>user\n 2+2? <|im_end|>\n"
                "<|im_start|>assistant\n");
    expect_text("chatml", two + 1, 1, false, "<|im_start|>user\n 2+2? <|im_end|>\n");
    expect_text("qwen2", two + 1, 1, false,
                "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
                "<|im_start|>user\n 2+2? <|im_end|>\n");
    expect_text("pangu", two, 2, true,
                "<s>[unused9]系统：Be terse.[unused10][unused9]用户： 2+2? [unused10]"
                "[unused9]助手：");
    expect_text("pangu", two + 1, 1, true,
                "<s>[unused9]系统：[unused10][unused9]用户： 2+2? [unused10][unused9]助手：");
    const chat_message wide[] = {message("user", " \n\xC2\xA0\xE3\x80\x80 a b\xE2\x80\x83\x1F\t")};
    expect_text("llama3", wide, 1, true,
                "<s><|start_header_id|>user<|end_header_id|>\n\na b<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

static void test_qwen3_thoughts(void **state)
{
    (void)state;
    const chat_message talk[] = {
        message("user", "a"),
        message("assistant", "<think>\nhm\n</think>\n\nb"),
        message("user", "c"),
        message("assistant", "<think>\n\nso\n</think>\n\nd"),
    };
    expect_text("qwen3", talk, 4, false,
                "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
                "<|im_start|>user\nc<|im_end|>\n"
                "<|im_start|>assistant\n<think>\nso\n</think>\n\nd<|im_end|>\n");
}

/* Without a question the last message counts as one: no answer comes after it. */
static void test_qwen3_without_question(void **state)
{
    (void)state;
    const chat_message talk[] = {message("assistant", "a"),
                                 message("assistant", "<think>hm</think>b")};
    expect_text("qwen3", talk, 2, false,
                "<|im_start|>assistant\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n");
}

/* ---- Jinja as Python has it ----------------------------------------------------------------- */

static const char variables_json[] =
    "{\"d\": {\"b\": 1, \"a\": [true, null, 1.0]}, \"n\": null, \"big\": 1e16, \"l\": [3, 1, 2]}";

static void test_python(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{{ d }}", "{'b': 1, 'a': [True, None, 1.0]}"},
        {"{{ d | tojson }}", "{\"b\": 1, \"a\": [true, null, 1.0]}"},
        {"{{ l | tojson(indent=2) }}", "[\n  3,\n  1,\n  2\n]"},
        {"{{ n }}{{ missing }}{{ big }}", "None1e+16"},
        {"{{ tools }}{{ tools is defined }}", "NoneTrue"},
        {"{{ bos_token }}{{ eos_token }}{{ unk_token is defined }}", "<s></s>False"},
        {"{{ d.items() | list }}", "[('b', 1), ('a', [True, None, 1.0])]"},
        {"{{ d.items is defined }}{{ d['keys'] is defined }}", "TrueTrue"},
        {"{{ l[1:] }}{{ 'abc'[::-1] }}{{ l[-1] }}", "[1, 2]cba2"},
        {"{{ '%s=%d' % ('a', 3) }}", "a=3"},
        {"{{ 'a b'.split()[1] ~ 1 ~ n }}", "b1None"},
        {"{{ ('<'|safe) + '<' }}", "<&lt;"},
        {"{{ strftime_now('%d %b %Y, %A') }}", "14 Mar 2026, Saturday"},
        {"{% generation %}{% set x = 1 %}y{% endgeneration %}{{ x is defined }}", "yFalse"},
        {"{% for i in l %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}", "32"},
        {"  {% if true %}\n a\n  {% endif %}\nb\n", " a\nb"},
        {"{{ messages | selectattr('role', 'equalto', 'user') | list | length }}", "1"},
        {"{{ l | sort }}{{ l | sum }}{{ l | map('string') | join('-') }}", "[1, 2, 3]63-1-2"},
        {"a\r\nb", "a\nb"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const chat_input input = {.messages_json = talk_json,
                                  .variables_json = variables_json,
                                  .now = "2026-03-14T09:26:53"};
        chat_template *t = compiled(cases[i][0]);
        failure fail = {0};
        char *got = NULL;
        if (render(t, &input, &got, &fail) != OK)
            fail_msg("%s: %s", cases[i][0], fail.text);
        assert_string_equal(got, cases[i][1]);
        free(got);
        chat_template_destroy(t);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *jinja;
        error_code code;
        const char *says;
    } cases[] = {
        {"{{ raise_exception('Only nice words') }}", ERR_TEMPLATE, "Only nice words"},
        {"{{ raise_exception('') }}", ERR_TEMPLATE, "without a word"},
        {"{{ missing.x }}", ERR_TEMPLATE, "line 1"},
        {"{% for x in none %}{% endfor %}", ERR_TEMPLATE, "not iterable"},
        {"{{ 'a' + 1 }}", ERR_TEMPLATE, "cannot be added"},
        {"{{ none < 1 }}", ERR_TEMPLATE, "no order"},
        {"{% include 'other' %}", ERR_TEMPLATE, "another template"},
        {"{{ [].append(1) }}", ERR_TEMPLATE, "append"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const chat_input input = {.messages_json = talk_json};
        chat_template *t = compiled(cases[i].jinja);
        failure fail = {0};
        char *got = NULL;
        assert_int_equal(render(t, &input, &got, &fail), cases[i].code);
        if (strstr(fail.text, cases[i].says) == NULL)
            fail_msg("%s: %s", cases[i].jinja, fail.text);
        chat_template_destroy(t);
    }
}

static void test_requests(void **state)
{
    (void)state;
    static const chat_input wrong[] = {
        {.n_messages = 0},
        {.messages_json = "[]"},
        {.messages_json = "{}"},
        {.messages_json = "[1]"},
        {.messages_json = "[{\"role\""},
        {.messages_json = talk_json, .tools_json = "nonsense"},
        {.messages_json = talk_json, .now = "noon"},
    };
    chat_template *t = compiled("x{{ messages[0].tool_calls[0].function.arguments.city }}");
    failure fail = {0};
    char *got = NULL;
    for (size_t i = 0; i < COUNT(wrong); i++)
        assert_int_equal(render(t, &wrong[i], &got, &fail), ERR_INVALID);
    /* arguments in a text, as OpenAI's API has them */
    const chat_input call = {
        .messages_json =
            "[{\"role\": \"assistant\", \"tool_calls\": [{\"function\": {\"arguments\": "
            "\"{\\\"city\\\": \\\"Bonn\\\"}\"}}]}]"};
    assert_int_equal(render(t, &call, &got, &fail), OK);
    assert_string_equal(got, "xBonn");
    free(got);
    chat_text text; /* no more than the caller takes */
    chat_text_init(&text, 3);
    assert_int_equal(chat_render(t, &call, &text, &fail), ERR_TOO_LARGE);
    chat_text_free(&text);
    chat_template_destroy(t);
}

/* ---- ../shared/chat -------------------------------------------------------------------------- */

static chat_template *load_template(const char *folder, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s%s.jinja", folder, name);
    char *jinja = read_file(path);
    chat_template *t = compiled(jinja);
    free(jinja);
    return t;
}

/* The JSON of one field, or NULL. */
static char *field(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return value != NULL && !json_is_null(value) ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
}

static void check_case(const chat_template *t, const json_t *item, const json_t *request,
                       const char *now)
{
    json_t *variables = json_copy((json_t *)request);
    for (size_t i = 0; i < 3; i++)
        json_object_del(variables,
                        (const char *[]){"messages", "tools", "add_generation_prompt"}[i]);
    char *messages = field(request, "messages"), *tools = field(request, "tools"),
         *more = json_dumps(variables, 0);
    const chat_input input = {
        .messages_json = messages,
        .tools_json = tools,
        .variables_json = more,
        .generation_prompt = !json_is_false(json_object_get(request, "add_generation_prompt")),
        .now = now,
    };
    failure fail = {0};
    char *got = NULL;
    error_code code = render(t, &input, &got, &fail);
    const char *want = json_string_value(json_object_get(item, "expected"));
    if (want == NULL ? code == OK : code != OK || strcmp(got, want) != 0)
        fail_msg("%s, %s: %s\ngot  %s\nwant %s",
                 json_string_value(json_object_get(item, "template")),
                 json_string_value(json_object_get(item, "case")), fail.text,
                 got != NULL ? got : "an error", want != NULL ? want : "an error");
    free(got);
    free(messages);
    free(tools);
    free(more);
    json_decref(variables);
}

/* Cases of one template stand together. */
static void check_file(const char *path, const char *folder, const char *now_name)
{
    json_t *all = json_load_file(path, 0, NULL);
    assert_non_null(all);
    chat_template *t = NULL;
    const char *of = "";
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(all, "cases"), i, item)
    {
        const char *name = json_string_value(json_object_get(item, "template"));
        const json_t *request = json_object_get(item, "input");
        if (request == NULL)
            request = json_object_get(json_object_get(all, "inputs"),
                                      json_string_value(json_object_get(item, "case")));
        if (strcmp(name, of) != 0) {
            chat_template_destroy(t);
            t = load_template(folder, name);
            of = name;
        }
        check_case(t, item, request, json_string_value(json_object_get(all, now_name)));
    }
    print_message("%s: %zu cases equal\n", path, i);
    chat_template_destroy(t);
    json_decref(all);
}

static void test_shared_cases(void **state)
{
    (void)state;
    skip_without_shared();
    check_file(SHARED_CHAT "cases.json", SHARED_CHAT, "date");
    check_file(SHARED_CHAT "more_cases.json", SHARED_TEMPLATES, "now");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),          cmocka_unit_test(test_rendering),
        cmocka_unit_test(test_qwen3_thoughts), cmocka_unit_test(test_qwen3_without_question),
        cmocka_unit_test(test_python),         cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_requests),       cmocka_unit_test(test_shared_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
