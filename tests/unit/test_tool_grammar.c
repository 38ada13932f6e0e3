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
    "\"$defs\":{\"place\":{\"enum\":[\"north\",\"south\"]}}},\"strict\":true}}]"

static error_code write_demand(buffer *out, const char *form, const tool_demand *d, failure *fail)
{
    buffer_init(out, 1 << 20);
    error_code code =
        tool_grammar_write(out, house_models[LARGE]->tokenizer, chat_form_find(form), d, fail);
    return code == OK ? buffer_add(out, "", 1) : code;
}

static error_code write_grammar(buffer *out, const char *form, const char *name, bool is_one,
                                const char *thought_end, failure *fail)
{
    const chat_thoughts thoughts = {"<think>", thought_end};
    const tool_demand demand = {TOOLS, name, is_one, .thoughts = &thoughts,
                                .is_in_thought = thought_end != NULL};
    return write_demand(out, form, &demand, fail);
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

/* ---- replies that may call ------------------------------------------------------------------- */

/* What may be said: not this, as the beginning of a reply, or as one. */
enum { REFUSED, BEGUN, WHOLE };

static grammar *compile_free(const char *form, bool is_one, bool is_in_thought)
{
    static const chat_thoughts think = {"<think>", "</think>"};
    const tool_demand demand = {.tools_json = TOOLS,
                                .is_one = is_one,
                                .is_free = true,
                                .thoughts = &think,
                                .is_in_thought = is_in_thought};
    failure fail = {0};
    buffer text;
    grammar *g = NULL;
    if (write_demand(&text, form, &demand, &fail) != OK ||
        grammar_compile(&g, house_models[LARGE], GRAMMAR_CALLS, text.data, text.length - 1,
                        &fail) != OK)
        fail_msg("%s: %s", form, fail.text);
    buffer_free(&text);
    return g;
}

static int reads(const grammar *g, const char *text)
{
    const tokenizer *t = house_models[LARGE]->tokenizer;
    failure fail = {0};
    token_constraint *c;
    token_list tokens = {0};
    uint32_t mask[4096];
    int32_t end = tokenizer_eos(t);
    assert_int_equal(token_constraint_create(&c, g, &fail), OK);
    assert_true(token_constraint_words(c) <= sizeof mask / sizeof *mask);
    assert_int_equal(tokenizer_encode(t, text, strlen(text), false, false, &tokens, &fail), OK);
    bool is_read = true;
    for (size_t i = 0; i < tokens.length && is_read; i++) {
        is_read = token_constraint_count_valid(c, tokens.ids + i, 1) == 1;
        if (is_read)
            assert_int_equal(token_constraint_accept(c, tokens.ids[i], &fail), OK);
    }
    if (is_read)
        assert_int_equal(token_constraint_mask(c, mask, &fail), OK);
    bool may_end = is_read && (mask[end / 32] >> (end % 32) & 1) != 0;
    token_list_free(&tokens);
    token_constraint_destroy(c);
    return may_end ? WHOLE : is_read ? BEGUN : REFUSED;
}

#define MOVE(to, fast)                                                                             \
    "{\"name\": \"move\", \"arguments\": {\"to\": \"" to "\", \"fast\": " fast "}}"
#define TIME "{\"name\": \"get \\\"time\\\"\", \"arguments\": {\"zone\": [1]}}"
#define SPREAD(to)                                                                                 \
    "{\n  \"name\": \"move\",\n  \"arguments\": {\n    \"to\": \"" to                              \
    "\",\n    \"fast\": true\n  }\n}"
#define CALL(object) "<tool_call>\n" object "\n</tool_call>"

typedef struct free_case {
    const char *form, *text;
    int expected;
    bool is_one, is_in_thought;
} free_case;

static const free_case free_cases[] = {
    {"hermes", "", WHOLE, 0, 0},
    {"hermes", "Go < north.\n<tool", WHOLE, 0, 0},
    {"hermes", CALL(MOVE("north", "true")), WHOLE, 0, 0},
    {"hermes", "I shall.\n" CALL(MOVE("south", "false")), WHOLE, 0, 0},
    {"hermes", CALL(MOVE("south", "false")) "\n" CALL(TIME), WHOLE, 0, 0},
    {"hermes", CALL(MOVE("south", "false")) "\n" CALL(TIME), REFUSED, true, 0},
    {"hermes", CALL(MOVE("south", "false")) " Done.", REFUSED, 0, 0},
    {"hermes", "<tool_call>", BEGUN, 0, 0},
    {"hermes", "I shall: " CALL(MOVE("up", "true")), REFUSED, 0, 0},
    {"hermes", CALL(MOVE("north", "1")), REFUSED, 0, 0},
    {"hermes", "<tool_call>\n{\"name\": \"fly\"", REFUSED, 0, 0},
    {"hermes", "<tool_call>\nno object", REFUSED, 0, 0},
    {"hermes", "{\"to\": \"up\"}", WHOLE, 0, 0},
    {"hermes", " " MOVE("north", "true"), WHOLE, 0, 0},
    {"hermes", MOVE("up", "true"), REFUSED, 0, 0},
    {"hermes", "As " MOVE("up", "true"), WHOLE, 0, 0}, /* no call: text stands before it */
    {"hermes", "```json\n" MOVE("north", "true") "\n```", WHOLE, 0, 0},
    {"hermes", "```json\n" MOVE("up", "true"), REFUSED, 0, 0},
    {"hermes", "```json\n{\"to\": 1}\n```", WHOLE, 0, 0},
    {"hermes", "```json\n" SPREAD("north") "\n```", WHOLE, 0, 0},
    {"hermes", SPREAD("north"), WHOLE, 0, 0},
    {"hermes", SPREAD("up"), REFUSED, 0, 0},
    {"hermes", "{\"arguments\": {}, \"name\": \"move\"}", WHOLE, 0,
     0}, /* the reply parser knows none */
    {"hermes", "<think>North?</think>\n" MOVE("north", "true"), WHOLE, 0, 0},
    {"hermes", "<think>Up?</think>\n" MOVE("up", "true"), REFUSED, 0, 0},
    {"hermes", "Up?</think>\n" MOVE("up", "true"), REFUSED, 0, true},
    {"hermes", "Up, " CALL(MOVE("up", "true")) "?</think>No.", WHOLE, 0, true},
    {"hermes", "A thought without an end", WHOLE, 0, true},
    {"json", MOVE("north", "true"), WHOLE, 0, 0},
    {"json", MOVE("up", "true"), REFUSED, 0, 0},
    {"json", "Text, {\"name\": \"move\"}", WHOLE, 0, 0},
    {"mistral", "Yes. [TOOL_CALLS][" MOVE("north", "true") ", " TIME "]", WHOLE, 0, 0},
    {"mistral", "[TOOL_CALLS][" MOVE("up", "true"), REFUSED, 0, 0},
    {"llama3", "{\"name\": \"move\", \"parameters\": {\"to\": \"up\"", REFUSED, 0, 0},
    {"llama3", "<|python_tag|>{\"name\": \"move\", \"parameters\": {\"to\": \"north\"", BEGUN, 0,
     0},
    {"llama3", "<|python_tag|>print(1)", REFUSED, 0, 0},
};

/* Text is free, whatever it has in it; what begins as a call is one, and right. */
static void test_text_or_calls(void **state)
{
    static const char *const words[] = {"refused", "the beginning of a reply", "a reply"};
    (void)state;
    for (size_t i = 0; i < sizeof free_cases / sizeof *free_cases; i++) {
        const free_case *c = &free_cases[i];
        grammar *g = compile_free(c->form, c->is_one, c->is_in_thought);
        int is = reads(g, c->text);
        if (is != c->expected)
            fail_msg("%s: %s\nis %s, not %s", c->form, c->text, words[is], words[c->expected]);
        grammar_destroy(g);
    }
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
        cmocka_unit_test(test_text_or_calls),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, house_load_models, house_free_models);
}
