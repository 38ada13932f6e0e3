/* Mutated request bodies are read or refused, never anything else (run it with a sanitizer). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#include "fuzz/texts.h"
#include "server/openai.h"

#define MAX_BODY 2048

static const char *const seeds[] = {
    "{\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}",
    "{\"messages\":[{\"role\":\"system\",\"content\":\"a\"},{\"role\":\"user\",\"content\":[{"
    "\"type\":\"text\",\"text\":\"b\"},{\"type\":\"text\",\"text\":\"\\u00e9\"}]}],\"stream\":true,"
    "\"stream_options\":{\"include_usage\":true},\"stop\":[\"x\",\"y\"],\"seed\":12345}",
    "{\"model\":\"auto\",\"temperature\":0.7,\"top_p\":0.9,\"top_k\":40,\"min_p\":0.1,\"max_"
    "tokens\":"
    "100,\"logit_bias\":{\"1\":2,\"3\":-4.5},\"user\":\"u\",\"n\":1,\"tools\":[],\"messages\":[{"
    "\"role\":\"assistant\",\"content\":\"z\",\"refusal\":null}],\"prompt_lookup_num_tokens\":8,"
    "\"priority\":\"batch\",\"service_tier\":\"flex\",\"deadline_ms\":1000}",
};

static const char *const pieces[] = {
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "-1",
    "1e999",
    "99999999999999999999",
    "\"n\":",
    ",",
    "\"stop\":",
    "\"text\"",
    "\"content\"",
    "\\ud800",
    "\xff",
    "[[[[[[[[",
    "{\"role\":\"user\",\"content\":",
};

/* What a field may be given: of every kind, and numbers at the ends of what types hold. */
static const char *const values[] = {
    "null",
    "true",
    "false",
    "\"\"",
    "\"auto\"",
    "\"none\"",
    "\"batch\"",
    "\"default\"",
    "[]",
    "{}",
    "[\"x\",\"\"]",
    "[null]",
    "{\"a\":1}",
    "{\"1\":1e38}",
    "{\"-1\":0}",
    "{\"4294967296\":1}",
    "{\"type\":\"text\"}",
    "0",
    "-0.0",
    "1",
    "-1",
    "100.0",
    "1e1",
    "0.5",
    "1e-45",
    "1e-320",
    "3.5e38",
    "-2",
    "2.0000001",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "1e308",
    "1e999",
    "-1e999",
    "\"\\u0000\"",
    "\"\\ud83d\"",
    "\"1\"",
};

static long rounds;

/* An API's fields, and what makes a body of it whole. */
static const struct {
    const request_form *form;
    const char *begin;
} forms[] = {
    {&openai_chat_form, "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"},
    {&openai_text_form, "\"prompt\":\"x\""},
    {&responses_form, "\"input\":\"x\""},
    {&anthropic_form, "\"max_tokens\":4,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"},
    {&ollama_chat_form, "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"},
    {&ollama_generate_form, "\"prompt\":\"x\""},
};

/* Fields of the table, with a value each that may be theirs. */
static size_t name_fields(char *body, size_t form)
{
    const request_form *f = forms[form].form;
    int n = snprintf(body, MAX_BODY, "{%s", forms[form].begin);
    for (uint32_t i = draw(4); i > 0; i--)
        n += snprintf(body + n, MAX_BODY - (size_t)n, ",\"%s\":%s",
                      request_field_name(f, draw((uint32_t)request_field_count(f))),
                      values[draw(sizeof values / sizeof *values)]);
    return (size_t)(n + snprintf(body + n, MAX_BODY - (size_t)n, "}"));
}

static size_t make_body(char *body, size_t form)
{
    if (form != 0 || draw(3) == 0)
        return name_fields(body, form);
    const char *seed = seeds[draw(sizeof seeds / sizeof *seeds)];
    size_t length = strlen(seed), n = sizeof pieces / sizeof *pieces;
    memcpy(body, seed, length);
    for (uint32_t i = 1 + draw(3); i > 0; i--)
        length = draw(2) == 0 ? break_text(body, length, MAX_BODY, pieces, n)
                              : replace_value(body, length, MAX_BODY, values,
                                              sizeof values / sizeof *values);
    return length;
}

/* What a model would be given: its check refuses it, or every number is one. */
static void check_sampling(const sampling_params *p)
{
    if (sampling_check(p, 1000, NULL) != OK)
        return;
    assert_true(p->temperature >= 0 && p->temperature < INFINITY);
    assert_true(p->top_p > 0 && p->top_p <= 1 && p->min_p >= 0 && p->min_p <= 1);
    for (size_t i = 0; i < p->n_biases; i++)
        assert_true(isfinite(p->biases[i].bias) && p->biases[i].token >= 0);
}

static void test_mutated_bodies(void **context)
{
    (void)context;
    long accepted = 0;
    for (long round = 0; round < rounds; round++) {
        char body[MAX_BODY];
        size_t form = draw(2) == 0 ? 0 : draw(sizeof forms / sizeof *forms);
        size_t length = make_body(body, form);
        char *exact = exact_copy(body, length);
        chat_request r;
        api_error error = {0};
        request_text text = {.body = exact, .length = length, .form = forms[form].form};
        if (chat_request_parse(&r, &text, &(request_defaults){.max_tokens = 16}, &error)) {
            accepted++;
            assert_true(form != 0 || r.request.n_messages > 0);
            assert_true(r.request.n_stops <= REQUEST_MAX_STOPS);
            check_sampling(&r.request.sampling);
            chat_request_free(&r);
        } else {
            assert_in_range(error.status, 400, 404);
            assert_true(error.message[0] != '\0');
            json_t *told = api_error_json(&error);
            assert_non_null(told);
            json_decref(told);
        }
        free(exact);
    }
    printf("%ld bodies: %ld accepted\n", rounds, accepted);
    assert_true(accepted > rounds / 300); /* the mutations are not all rubbish */
}

int main(int argc, char **argv)
{
    rounds = rounds_asked(argc, argv, 60000);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mutated_bodies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
