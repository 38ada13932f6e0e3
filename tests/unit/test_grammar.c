/* Replies that must match a grammar: they do, and are the same whatever ran beside them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>

#include "engine/conductor.h"
#include "engine_house.h"

#define SCHEMA                                                                                     \
    "{\"type\":\"object\",\"properties\":{"                                                        \
    "\"kind\":{\"enum\":[\"cat\",\"dog\",\"a longer kind of animal\"]},"                           \
    "\"tags\":{\"type\":\"array\",\"items\":{\"type\":\"string\",\"maxLength\":6},"                \
    "\"maxItems\":3},"                                                                             \
    "\"count\":{\"type\":\"integer\",\"minimum\":-5,\"maximum\":120},"                             \
    "\"inner\":{\"type\":\"object\",\"properties\":{\"sure\":{\"type\":\"boolean\"}},"             \
    "\"required\":[\"sure\"],\"additionalProperties\":false}},"                                    \
    "\"required\":[\"kind\",\"count\",\"inner\"],\"additionalProperties\":false}"

static grammar *compile(int where, grammar_kind kind, const char *text)
{
    failure fail = {0};
    grammar *g = NULL;
    if (grammar_compile(&g, house_models[where], kind, text, strlen(text), &fail) != OK)
        fail_msg("%s", fail.text);
    return g;
}

/* The reply's text, which must have ended by itself; to be freed. */
static char *answer(house *h, const errand *e)
{
    sequence_poll_result last;
    buffer text;
    sequence *s = house_start(h, e);
    buffer_init(&text, 1 << 20);
    do {
        usleep(200);
        assert_int_equal(sequence_poll(s, &last, &text, NULL), OK);
    } while (last.state == SEQUENCE_RUNNING);
    sequence_release(s);
    if (last.state != SEQUENCE_FINISHED)
        fail_msg("seed %d: %s", (int)e->seed, last.failure.text);
    if (last.finish != FINISH_STOP)
        fail_msg("seed %d: unfinished: %.*s", (int)e->seed, (int)text.length, text.data);
    assert_int_equal(buffer_add(&text, "", 1), OK);
    return text.data;
}

static errand make_errand(int where, int seed, const grammar *g)
{
    return (errand){.where = where,
                    .n_prompt = 30 + (size_t)seed,
                    .max_tokens = 1500,
                    .seed = seed,
                    .grammar = g,
                    .greedy = seed % 4 == 3};
}

/* ---- what is said --------------------------------------------------------------------------- */

static void check_schema(const char *text)
{
    json_error_t error;
    json_t *kind, *count, *inner, *tags, *tag;
    size_t i;
    json_t *all = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (all == NULL)
        fail_msg("%s in %s", error.text, text);
    kind = json_object_get(all, "kind");
    count = json_object_get(all, "count");
    inner = json_object_get(all, "inner");
    tags = json_object_get(all, "tags");
    assert_true(json_is_string(kind) && json_string_length(kind) >= 3);
    assert_true(json_is_integer(count) && json_integer_value(count) >= -5 &&
                json_integer_value(count) <= 120);
    assert_true(json_is_boolean(json_object_get(inner, "sure")));
    assert_int_equal(json_object_size(inner), 1);
    assert_int_equal(json_object_size(all), tags != NULL ? 4 : 3);
    assert_true(json_array_size(tags) <= 3);
    json_array_foreach(tags, i, tag)
    {
        assert_true(json_is_string(tag));
    }
    json_decref(all);
}

static void test_schema(void **state)
{
    (void)state;
    for (int where = 0; where < 2; where++) {
        grammar *g = compile(where, GRAMMAR_JSON_SCHEMA, SCHEMA);
        for (int seed = 0; seed < 8; seed++) {
            errand e = make_errand(where, seed, g);
            char *text = answer(&solo_house, &e);
            check_schema(text);
            free(text);
        }
        grammar_destroy(g);
    }
}

static bool is_one_of(const char *text, const char *const *texts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(text, texts[i]) == 0)
            return true;
    return false;
}

static void test_small_grammars(void **state)
{
    static const char *const choices[] = {"yes", "no", "I do not \"know\"\n", "yes, indeed"};
    static const char *const words[] = {"ab", "abab", "ababab", "ba", "baba", "bababa"};
    static const struct {
        grammar_kind kind;
        const char *text;
        const char *const *texts;
        size_t n;
    } cases[] = {
        {GRAMMAR_CHOICE, "[\"yes\",\"no\",\"I do not \\\"know\\\"\\n\",\"yes, indeed\"]", choices,
         4},
        {GRAMMAR_REGEX, "(ab|ba)|(ab){2,3}|(ba){2,3}", words, 6},
        {GRAMMAR_GBNF,
         "# a comment\nroot ::= first{1,3} | (\n  [b] \"a\"  # another\n){1,3}\nfirst ::= "
         "\"\\x61\" "
         "second\nsecond ::= [^\\x00-ac-\\U0010FFFF]\n",
         words, 6},
        {GRAMMAR_LARK, "start: x{1,3} | y{1,3}\nx: \"a\" \"b\"\ny: \"ba\"\n", words, 6},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        grammar *g = compile(LARGE, cases[i].kind, cases[i].text);
        for (int seed = 0; seed < 6; seed++) {
            errand e = make_errand(LARGE, seed, g);
            char *text = answer(&solo_house, &e);
            if (!is_one_of(text, cases[i].texts, cases[i].n))
                fail_msg("%s does not match %s", text, cases[i].text);
            free(text);
        }
        grammar_destroy(g);
    }
}

/* ---- what may be said ----------------------------------------------------------------------- */

static bool is_allowed(token_constraint *c, int32_t token)
{
    uint32_t mask[4096];
    failure fail = {0};
    assert_true(token_constraint_words(c) <= sizeof mask / sizeof *mask);
    assert_int_equal(token_constraint_mask(c, mask, &fail), OK);
    return (mask[token / 32] >> (token % 32) & 1) != 0;
}

/* The masks let the text pass, token by token. */
static bool may_begin(const grammar *g, const char *text)
{
    failure fail = {0};
    token_constraint *c;
    token_list tokens = {0};
    assert_int_equal(token_constraint_create(&c, g, &fail), OK);
    assert_int_equal(tokenizer_encode(house_models[LARGE]->tokenizer, text, strlen(text), false,
                                      false, &tokens, &fail),
                     OK);
    size_t n = 0;
    while (n < tokens.length && is_allowed(c, tokens.ids[n])) {
        assert_int_equal(token_constraint_accept(c, tokens.ids[n++], &fail), OK);
        /* As drafts do. */
        assert_int_equal(token_constraint_rollback(c, 1, &fail), OK);
        assert_int_equal(token_constraint_accept(c, tokens.ids[n - 1], &fail), OK);
    }
    bool may = n == tokens.length;
    token_list_free(&tokens);
    token_constraint_destroy(c);
    return may;
}

/* Where names are not listed, an object has none twice, unless there is no other. */
static void test_names(void **state)
{
    static const struct {
        const char *schema, *text;
        bool may_begin;
    } cases[] = {
        {"{}", "{\"h14\": 1, \"h15\": 2}", true},
        {"{}", "{\"h14\": 1, \"h14\": 2}", false},
        {"{}", "{\"h14\": \"h14\", \"h1\": [\"h14\", \"h14\"], \"h141\": {\"h14\": 1}}", true},
        {"{}", "{\"a\": {\"b\": [{\"c\": 1}, {\"c\": 2}], \"d\": {}}, \"b\": 1, \"a\"", false},
        {"{}", "{\"a\": 1, \"\\u0061\"", false},
        {"{}", "{\"\\\"\": 1, \"b\": \"\\\\\", \"\\\"\"", false},
        {"{\"patternProperties\":{\"^[ab]$\":{}},\"additionalProperties\":false}",
         "{\"a\": 1, \"b\": 2}", true},
        {"{\"patternProperties\":{\"^[ab]$\":{}},\"additionalProperties\":false}",
         "{\"a\": 1, \"a\"", false},
        {"{\"patternProperties\":{\"^only$\":{}},\"additionalProperties\":false}",
         "{\"only\": 1, \"only\": 2}", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        grammar *g = compile(LARGE, GRAMMAR_JSON_SCHEMA, cases[i].schema);
        if (may_begin(g, cases[i].text) != cases[i].may_begin)
            fail_msg("%s: %s", cases[i].schema, cases[i].text);
        grammar_destroy(g);
    }
}

/* So many lists within one another. */
static bool may_nest(const char *schema, size_t depth)
{
    buffer text;
    buffer_init(&text, 1 << 16);
    grammar *g = compile(LARGE, GRAMMAR_JSON_SCHEMA, schema);
    for (size_t i = 0; i < depth; i++)
        assert_int_equal(buffer_add_text(&text, "{\"next\": "), OK);
    assert_int_equal(buffer_add_text(&text, "null"), OK);
    bool may = may_begin(g, text.data);
    buffer_free(&text);
    grammar_destroy(g);
    return may;
}

static void test_recursive_schema(void **state)
{
    static const char *const schemas[] = {
        "{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"object\",\"properties\":{\"next\":{\"$ref\":"
        "\"#\"}},\"required\":[\"next\"]}]}",
        "{\"$ref\":\"#/$defs/node\",\"$defs\":{\"node\":{\"properties\":{\"next\":{\"$ref\":"
        "\"#/$defs/"
        "rest\"}},\"required\":[\"next\"],\"type\":\"object\"},\"rest\":{\"anyOf\":[{\"type\":"
        "\"null\"},{\"$ref\":\"#/$defs/node\"}]}}}",
    };
    (void)state;
    assert_true(may_nest(schemas[0], 60));
    assert_false(may_nest(schemas[0], 70));
    assert_true(may_nest(schemas[1], 30));
    assert_false(may_nest(schemas[1], 40));
    /* Without an end there is no bound that leaves anything. */
    grammar *g =
        compile(LARGE, GRAMMAR_JSON_SCHEMA,
                "{\"type\":\"object\",\"properties\":{\"next\":{\"$ref\":\"#\"}},\"required\":["
                "\"next\"]}");
    grammar_destroy(g);
}

/* A grammar that is not regular, whose replies this model may never end. */
static void test_recursive_grammar(void **state)
{
    (void)state;
    grammar *g = compile(LARGE, GRAMMAR_GBNF,
                         "root ::= pair | list\n"
                         "list ::= \"[\" items? \"]\"\n"
                         "items ::= root\n  | root \",\" items\n"
                         "pair ::= \"<\" [a-c] \">\"\n");
    for (int seed = 0; seed < 6; seed++) {
        errand e = make_errand(LARGE, seed, g);
        outcome got = {0};
        size_t open = 0;
        e.max_tokens = 60;
        house_run(&solo_house, &e, &got);
        assert_int_equal(got.last.state, SEQUENCE_FINISHED);
        for (size_t i = 0; i < got.tokens.length; i++) {
            size_t n;
            const char *text =
                tokenizer_bytes(house_models[LARGE]->tokenizer, got.tokens.ids[i], false, &n);
            for (size_t k = 0; k < n; k++) {
                assert_non_null(strchr("[],<>abc", text[k]));
                open += text[k] == '[' ? 1 : 0;
                assert_true(text[k] != ']' || open > 0);
                open -= text[k] == ']' ? 1 : 0;
            }
        }
        assert_true(got.last.finish == FINISH_LENGTH || open == 0);
        token_list_free(&got.tokens);
    }
    grammar_destroy(g);
}

/* ---- one answer ----------------------------------------------------------------------------- */

/* Steps of more rows are said to cost less, so that drafts are always worth it. */
static engine_options drafting_options(void)
{
    engine_options o = house_options();
    o.slots = 3;
    for (size_t n = 1; n < LOOKUP_MAX_DRAFT + 2; n++)
        o.step_ms[n] = 1000.0 / (double)(n * n);
    o.prefill_row_ms = 0.01;
    return o;
}

static void test_same_answer_in_company(void **state)
{
    enum { ERRANDS = 9 };
    static const lookup_setting lookups[] = {
        {LOOKUP_DRAFT, 0, 0}, {LOOKUP_AUTO, 0, 0}, {LOOKUP_FIXED, 7, 0}, {LOOKUP_OFF, 0, 0}};
    (void)state;
    house h;
    failure fail = {0};
    errand e[ERRANDS];
    sequence *s[ERRANDS];
    size_t accepted = 0;
    engine_options o = drafting_options();
    grammar *g = compile(LARGE, GRAMMAR_JSON_SCHEMA, SCHEMA);
    assert_int_equal(conductor_create(&h.c, 2, &fail), OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(conductor_add(h.c, house_models[i], &o, &h.engines[i], &fail), OK);
    assert_int_equal(engine_set_draft_model(h.engines[LARGE], house_models[SMALL], &fail), OK);
    assert_int_equal(conductor_start(h.c, &fail), OK);
    for (int i = 0; i < ERRANDS; i++) {
        e[i] = make_errand(LARGE, i, i == 5 ? NULL : g);
        e[i].max_tokens = i == 5 ? 60 : i == 6 ? 7 : 1500;
        e[i].priority = i % 2 == 0 ? PRIORITY_INTERACTIVE : PRIORITY_BATCH;
        e[i].lookup = lookups[i % 4];
        s[i] = house_start(&h, &e[i]);
    }
    for (int i = 0; i < ERRANDS; i++) {
        outcome got = {0};
        house_end(s[i], &got);
        accepted += got.last.stats.accepted;
        check_solo(&e[i], &got);
    }
    assert_true(accepted > 0);
    grammar_destroy(g);
    house_close(&h);
}

/* What the grammar makes certain needs no lookup, and no guess is wrong. */
static void test_forced_tokens_are_drafted(void **state)
{
    (void)state;
    house h;
    engine_options o = drafting_options();
    house_open(&h, &o, 0);
    grammar *g = compile(LARGE, GRAMMAR_REGEX, "this text is certain but for (yes|no) in it");
    errand e = make_errand(LARGE, 1, g);
    outcome got = {0};
    house_run(&h, &e, &got);
    assert_int_equal(got.last.state, SEQUENCE_FINISHED);
    assert_int_equal(got.last.finish, FINISH_STOP);
    assert_true(got.last.stats.drafted > 3);
    assert_int_equal(got.last.stats.drafted, got.last.stats.accepted);
    check_solo(&e, &got);
    grammar_destroy(g);
    house_close(&h);
}

/* Where little may follow little of the output matrix is read, and the answer is that of all of it:
 * scores of the model's own distribution need all rows. */
static void test_rows_of_the_output(void **state)
{
    (void)state;
    size_t fewer = 0;
    for (int where = 0; where < 2; where++) {
        grammar *g = compile(where, GRAMMAR_JSON_SCHEMA, SCHEMA);
        uint64_t whole = house_models[where]->weight_bytes;
        for (int seed = 0; seed < 8; seed++) {
            errand e = make_errand(where, seed, g);
            outcome masked = {0}, scored = {0};
            house_run(&solo_house, &e, &masked);
            e.is_scored = true;
            house_run(&solo_house, &e, &scored);
            assert_int_equal(masked.tokens.length, scored.tokens.length);
            assert_memory_equal(masked.tokens.ids, scored.tokens.ids,
                                scored.tokens.length * sizeof(int32_t));
            assert_int_equal(scored.last.stats.weight_bytes % whole, 0);
            fewer += masked.last.stats.weight_bytes % whole != 0 ? 1 : 0;
            token_list_free(&masked.tokens);
            token_list_free(&scored.tokens);
        }
        grammar_destroy(g);
    }
    assert_true(fewer > 0);
}

/* ---- what is refused ------------------------------------------------------------------------ */

static void test_refusals(void **state)
{
    static const struct {
        grammar_kind kind;
        const char *text, *words;
    } cases[] = {
        {GRAMMAR_JSON_SCHEMA, "{\"type\":", "not valid JSON"},
        {GRAMMAR_JSON_SCHEMA, "{\"not\":{\"type\":\"string\"}}", "\"not\""},
        {GRAMMAR_JSON_SCHEMA, "{\"type\":\"array\",\"uniqueItems\":true}", "uniqueItems"},
        {GRAMMAR_JSON_SCHEMA, "{\"if\":{},\"then\":{}}", "\"if\""},
        {GRAMMAR_JSON_SCHEMA, "{\"type\":\"string\",\"format\":\"iri\"}", "iri"},
        {GRAMMAR_JSON_SCHEMA, "{\"type\":\"text\"}", "text"},
        {GRAMMAR_JSON_SCHEMA, "{\"$ref\":\"http://127.0.0.1/x\"}", "http://127.0.0.1/x"},
        {GRAMMAR_JSON_SCHEMA, "{\"$ref\":\"#/$defs/none\"}", "none"},
        {GRAMMAR_JSON_SCHEMA, "{\"x-guidance\":{\"lenient\":true}}", "x-guidance"},
        {GRAMMAR_JSON_SCHEMA, "false", "object"},
        {GRAMMAR_JSON_SCHEMA,
         "{\"type\":\"object\",\"properties\":{\"a\":false},\"required\":[\"a\"]}", "'a'"},
        {GRAMMAR_LARK, "start: undefined_rule", "undefined_rule"},
        {GRAMMAR_LARK, "", ""},
        {GRAMMAR_LARK, "start: x\nx[max_tokens=3, temperature=0.5]: /[a-c]+/", "'temperature'"},
        {GRAMMAR_LARK, "start: x\nx[stop=\"b\"]: /[a-c]+/", "'stop'"},
        {GRAMMAR_GBNF, "rot ::= \"a\"", "root"},
        {GRAMMAR_GBNF, "root ::= \"a\" other", "other"},
        {GRAMMAR_GBNF, "root ::= \"a\"\nroot ::= \"b\"", "twice"},
        {GRAMMAR_GBNF, "root ::= (\"a\"", "')'"},
        {GRAMMAR_GBNF, "root ::= \"a", "ends"},
        {GRAMMAR_GBNF, "root ::= [a", "ends"},
        {GRAMMAR_GBNF, "root ::= \"a\"{2,x}", "repetition"},
        {GRAMMAR_GBNF, "root ::= \"\\q\"", "escape"},
        {GRAMMAR_REGEX, "(unclosed", ""},
        {GRAMMAR_REGEX, "(?=ahead)a", ""},
        {GRAMMAR_JSON_SCHEMA, "{\"$ref\":\"#\"}", "no text"},
        {GRAMMAR_LARK, "start: start", "no text"},
        {GRAMMAR_CHOICE, "[]", "array"},
        {GRAMMAR_CHOICE, "[\"a\",\"\"]", "array"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        failure fail = {0};
        grammar *g = NULL;
        error_code code = grammar_compile(&g, house_models[SMALL], cases[i].kind, cases[i].text,
                                          strlen(cases[i].text), &fail);
        assert_int_equal(code, ERR_INVALID);
        if (strstr(fail.text, cases[i].words) == NULL)
            fail_msg("%s does not say %s", fail.text, cases[i].words);
    }
}

/* What no grammar may do: take all of the memory, the stack or the time. */
static void test_too_large(void **state)
{
    enum { LARGE_TEXT = 60000 };
    static const struct {
        grammar_kind kind;
        const char *begin, *again;
    } cases[] = {
        {GRAMMAR_REGEX, "", "("},
        {GRAMMAR_LARK, "start: ", "("},
        {GRAMMAR_GBNF, "root ::= ", "("},
        {GRAMMAR_GBNF, "root ::= ", "\"a\"|"},
        {GRAMMAR_JSON_SCHEMA, "", "{\"items\":"},
        {GRAMMAR_JSON_SCHEMA, "", "["},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        failure fail = {0};
        grammar *g = NULL;
        buffer text;
        buffer_init(&text, 2 * LARGE_TEXT);
        assert_int_equal(buffer_add_text(&text, cases[i].begin), OK);
        while (text.length < LARGE_TEXT)
            assert_int_equal(buffer_add_text(&text, cases[i].again), OK);
        error_code code =
            grammar_compile(&g, house_models[SMALL], cases[i].kind, text.data, text.length, &fail);
        assert_true(code == ERR_INVALID || code == OK);
        grammar_destroy(g);
        while (text.length < LARGE_TEXT + 10000)
            assert_int_equal(buffer_add_text(&text, " "), OK);
        code =
            grammar_compile(&g, house_models[SMALL], cases[i].kind, text.data, text.length, &fail);
        assert_int_equal(code, ERR_INVALID);
        assert_non_null(strstr(fail.text, "bytes"));
        buffer_free(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schema),
        cmocka_unit_test(test_small_grammars),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_recursive_schema),
        cmocka_unit_test(test_recursive_grammar),
        cmocka_unit_test(test_same_answer_in_company),
        cmocka_unit_test(test_forced_tokens_are_drafted),
        cmocka_unit_test(test_rows_of_the_output),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_too_large),
    };
    return cmocka_run_group_tests(tests, house_load_models, house_free_models);
}
