/* Replies that have to call a tool: in each form that a grammar is known for, the arguments valid.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>

#include "engine_house.h"
#include "model/tool_grammar.h"

#define TOOLS                                                                                      \
    "[{\"type\":\"function\",\"function\":{\"name\":\"get \\\"time\\\"\",\"description\":\"x\"}}," \
    "{\"type\":\"function\",\"function\":{\"name\":\"move\",\"parameters\":{\"type\":\"object\","  \
    "\"properties\":{\"to\":{\"$ref\":\"#/$defs/place\"},\"fast\":{\"type\":\"boolean\"}},"        \
    "\"required\":[\"to\",\"fast\"],\"additionalProperties\":false,"                               \
    "\"$defs\":{\"place\":{\"enum\":[\"north\",\"south\"]}}}}}]"

static error_code write_grammar(buffer *out, const char *form, const char *name, bool is_one,
                                const char *thought_end, failure *fail)
{
    const tool_demand demand = {TOOLS, name, is_one, thought_end};
    buffer_init(out, 1 << 20);
    error_code code = tool_grammar_write(out, house_models[LARGE]->tokenizer, chat_form_find(form),
                                         &demand, fail);
    return code == OK ? buffer_add(out, "", 1) : code;
}

/* What the model says when it has to; to be freed. */
static char *say(const char *form, const char *name, const char *thought_end, int seed)
{
    failure fail = {0};
    buffer text, said;
    grammar *g = NULL;
    sequence_poll_result last;
    if (write_grammar(&text, form, name, true, thought_end, &fail) != OK ||
        grammar_compile(&g, house_models[LARGE], GRAMMAR_CALLS, text.data, text.length - 1,
                        &fail) != OK)
        fail_msg("%s", fail.text);
    buffer_free(&text);
    buffer_init(&said, 1 << 20);
    errand e = {.where = LARGE, .n_prompt = 30, .max_tokens = 900, .seed = seed, .grammar = g};
    sequence *s = house_start(&solo_house, &e);
    do {
        usleep(200);
        assert_int_equal(sequence_poll(s, &last, &said, NULL), OK);
    } while (last.state == SEQUENCE_RUNNING);
    sequence_release(s);
    grammar_destroy(g);
    assert_int_equal(last.state, SEQUENCE_FINISHED);
    assert_int_equal(last.finish, FINISH_STOP);
    assert_int_equal(buffer_add(&said, "", 1), OK);
    return said.data;
}

static void check_move(const char *text, size_t length, const char *key)
{
    json_error_t error;
    json_t *call = json_loadb(text, length, 0, &error), *arguments = json_object_get(call, key);
    if (call == NULL)
        fail_msg("%s: %.*s", error.text, (int)length, text);
    const char *to = json_string_value(json_object_get(arguments, "to"));
    assert_string_equal(json_string_value(json_object_get(call, "name")), "move");
    assert_true(to != NULL && (strcmp(to, "north") == 0 || strcmp(to, "south") == 0));
    assert_true(json_is_boolean(json_object_get(arguments, "fast")));
    assert_int_equal(json_object_size(arguments), 2);
    json_decref(call);
}

static void test_forms(void **state)
{
    static const struct {
        const char *form, *begin, *end, *key;
    } cases[] = {
        {"hermes", "<tool_call>\n", "\n</tool_call>", "arguments"},
        {"json", "", "", "arguments"},
        {"llama3", "", "", "parameters"},
        {"mistral", "[TOOL_CALLS][", "]", "arguments"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int seed = 0; seed < 3; seed++) {
            char *said = say(cases[i].form, "move", NULL, seed);
            size_t begin = strlen(cases[i].begin), end = strlen(cases[i].end), n = strlen(said);
            assert_true(n > begin + end);
            assert_memory_equal(said, cases[i].begin, begin);
            assert_string_equal(said + n - end, cases[i].end);
            check_move(said + begin, n - begin - end, cases[i].key);
            free(said);
        }
    }
}

/* Some function, of which one has no parameters and an awkward name. */
static void test_any_function(void **state)
{
    (void)state;
    bool seen[2] = {false, false};
    for (int seed = 0; seed < 12 && !(seen[0] && seen[1]); seed++) {
        char *said = say("hermes", NULL, NULL, seed);
        bool is_move = strstr(said, "\"name\": \"move\"") != NULL;
        assert_true(is_move || strstr(said, "\"name\": \"get \\\"time\\\"\"") != NULL);
        seen[is_move] = true;
        free(said);
    }
    assert_true(seen[0] || seen[1]);
}

static void test_refusals(void **state)
{
    (void)state;
    failure fail = {0};
    buffer out;
    assert_int_equal(write_grammar(&out, "hermes", "fly", true, NULL, &fail), ERR_INVALID);
    assert_non_null(strstr(fail.text, "'fly'"));
    assert_int_equal(write_grammar(&out, "gpt-oss", NULL, true, NULL, &fail), ERR_UNSUPPORTED);
    assert_non_null(strstr(fail.text, "'gpt-oss'"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_any_function),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, house_load_models, house_free_models);
}
