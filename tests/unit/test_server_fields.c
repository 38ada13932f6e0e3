/* The fields of a request: the page that users read says what the table says, and each kind is what
 * it is called. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "server/openai.h"

#define HELLO "\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]"

/* Whose fields are said under which heading of docs/http.md; what the first page says of chats is
 * said once for all. */
#define PAGE_FORMS 5
static const struct {
    const char *heading;
    const request_form *forms[PAGE_FORMS]; /* up to the first NULL */
} pages[] = {
    {"## Fields of a request", {&openai_chat_form}},
    {"## Completions", {&openai_text_form}},
    {"## llama-server's", {&native_form, &infill_form}},
    {"## Embeddings", {&embeddings_form}},
    {"## Responses", {&responses_form}},
    {"## Messages", {&anthropic_form}},
    {"## Scores", {&score_form}},
    {"## Ollama",
     {&ollama_chat_form, &ollama_generate_form, &ollama_embed_form, &ollama_embeddings_form}},
};
#define N_PAGES (sizeof pages / sizeof *pages)

static char *section_of(const char *heading)
{
    buffer page;
    failure fail;
    buffer_init(&page, 1 << 20);
    if (buffer_read_file(&page, "docs/http.md", &fail) != OK)
        fail_msg("%s (run from the repository's root)", fail.text);
    const char *begin = strstr(page.data, heading);
    if (begin == NULL) {
        fail_msg("docs/http.md has no '%s'", heading);
        return NULL; /* not reached, which gcc does not see under sanitizers */
    }
    const char *end = strstr(begin + 3, "\n## ");
    assert_non_null(end);
    char *section = strndup(begin, (size_t)(end - begin));
    buffer_free(&page);
    assert_non_null(section);
    return section;
}

static bool is_in(const request_form *form, const char *name)
{
    for (size_t i = 0; form != NULL && i < request_field_count(form); i++)
        if (strcmp(request_field_name(form, i), name) == 0)
            return true;
    return false;
}

static bool is_known(size_t page, const char *name)
{
    for (size_t i = 0; i < PAGE_FORMS; i++)
        if (is_in(pages[page].forms[i], name))
            return true;
    return false;
}

static void check_names(const request_form *form, const char *section, const char *first)
{
    for (size_t i = 0; form != NULL && i < request_field_count(form); i++) {
        char quoted[80];
        snprintf(quoted, sizeof quoted, "`%s`", request_field_name(form, i));
        bool is_raw = form == &openai_text_form || form == &native_form || form == &infill_form;
        bool is_common = is_raw && strstr(first, quoted) != NULL;
        if (strstr(section, quoted) == NULL && !is_common)
            fail_msg("docs/http.md does not name the field %s where it should", quoted);
    }
}

static void test_every_field_is_on_the_page(void **state)
{
    (void)state;
    char *first = section_of(pages[0].heading);
    for (size_t i = 0; i < N_PAGES; i++) {
        char *section = section_of(pages[i].heading);
        for (size_t k = 0; k < PAGE_FORMS; k++)
            check_names(pages[i].forms[k], section, first);
        free(section);
    }
    char *ollama = section_of("## Ollama");
    check_names(&ollama_options_form, ollama, first);
    free(ollama);
    free(first);
}

/* Of a table's line, what stands in `…` before the second '|'. */
static void check_line(size_t page, char *line)
{
    char *end = strchr(line + 1, '|');
    assert_non_null(end);
    *end = '\0';
    for (char *at = strchr(line, '`'); at != NULL;) {
        char *after = strchr(at + 1, '`');
        assert_non_null(after);
        *after = '\0';
        bool is_part = strncmp(at + 1, "stream_options.", 15) == 0 || strncmp(at + 1, "x-", 2) == 0;
        if (!is_part && !is_known(page, at + 1))
            fail_msg("docs/http.md names the field '%s', which is refused", at + 1);
        at = strchr(after + 1, '`');
    }
}

static void test_the_page_names_no_other(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_PAGES; i++) {
        char *page = section_of(pages[i].heading);
        size_t lines = 0;
        for (char *line = strtok(page, "\n"); line != NULL; line = strtok(NULL, "\n")) {
            if (line[0] != '|')
                continue;
            check_line(i, line);
            lines++;
        }
        assert_true(lines > 4);
        free(page);
    }
}

static bool is_accepted(const char *field, api_error *error)
{
    char body[512];
    snprintf(body, sizeof body, "{" HELLO ",%s}", field);
    chat_request r;
    request_text text = {.body = body, .length = strlen(body)};
    if (!chat_request_parse(&r, &text, &(request_defaults){.max_tokens = 77}, error))
        return false;
    chat_request_free(&r);
    return true;
}

static void test_hints(void **state)
{
    (void)state;
    static const char *const accepted[] = {
        "\"store\":true",
        "\"metadata\":{\"trace\":\"7\"}",
        "\"prompt_cache_key\":\"k\"",
        "\"prompt_cache_retention\":\"24h\"",
        "\"prompt_cache_options\":{}",
        "\"safety_identifier\":\"s\"",
        "\"parallel_tool_calls\":true",
        "\"verbosity\":\"low\"",
        "\"colour\":null",
        "\"audio\":null",
        "\"n\":1.0",
        "\"tool_choice\":\"auto\"",
        "\"cache_prompt\":false",
        "\"n\":2",
        ("\"stream\":true,\"stream_options\":"
         "{\"include_usage\":true,\"continuous_usage_stats\":true}"),
        "\"stream\":true,\"stream_options\":{\"continuous_usage_stats\":null}",
    };
    static const char *const refused[] = {
        "\"store\":1",
        "\"metadata\":\"x\"",
        "\"prompt_cache_key\":5",
        "\"safety_identifier\":[]",
        "\"parallel_tool_calls\":\"yes\"",
        "\"verbosity\":3",
        "\"audio\":{}",
        "\"colour\":\"red\"",
        "\"stream\":true,\"stream_options\":{\"continuous_usage_stats\":1}",
    };
    api_error error;
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++)
        if (!is_accepted(accepted[i], &error))
            fail_msg("%s: %s", accepted[i], error.message);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (is_accepted(refused[i], &error))
            fail_msg("accepted: %s", refused[i]);
    assert_false(is_accepted("\"tool_choice\":\"required\"", &error));
    assert_string_equal(error.message, "'tool_choice' asks for a call, but there are no tools");
}

static void parse(const char *body, size_t length, chat_request *r)
{
    api_error error;
    request_text text = {.body = body, .length = length};
    if (!chat_request_parse(r, &text, &(request_defaults){.max_tokens = 77}, &error))
        fail_msg("%s: %s", body, error.message);
}

static void test_whole_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *field;
        size_t max_tokens;
        uint32_t top_k;
    } cases[] = {
        {"\"max_tokens\":100.0,\"top_k\":1e1", 100, 10},
        {"\"max_tokens\":1e2,\"max_completion_tokens\":100", 100, 0},
        {"\"max_tokens\":-1,\"top_k\":-1", 0, 0},
        {"\"max_completion_tokens\":-1.0", 0, 0},
        {"\"max_tokens\":null", 77, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char body[256];
        snprintf(body, sizeof body, "{" HELLO ",%s}", cases[i].field);
        chat_request r;
        parse(body, strlen(body), &r);
        assert_int_equal(r.request.max_tokens, cases[i].max_tokens);
        assert_int_equal(r.request.sampling.top_k, cases[i].top_k);
        chat_request_free(&r);
    }
    api_error error;
    assert_false(is_accepted("\"max_tokens\":1.5", &error));
    assert_false(is_accepted("\"max_tokens\":1e300", &error));
    assert_false(is_accepted("\"max_tokens\":-2", &error));
    assert_false(is_accepted("\"seed\":1e19", &error));
}

static void test_texts_at_the_edge_of_json(void **state)
{
    (void)state;
    static const char nul[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"a\\u0000b\"},"
                              "{\"role\":\"user\",\"name\":\"n\",\"id\":\"i\",\"content\":[{"
                              "\"type\":\"text\",\"text\":\"\\u0000\",\"cache_control\":{}}]}]}";
    chat_request r;
    parse(nul, sizeof nul - 1, &r);
    assert_int_equal(r.request.messages[0].content_length, 3);
    assert_memory_equal(r.request.messages[0].content, "a\0b", 3);
    assert_int_equal(r.request.messages[1].content_length, 1);
    chat_request_free(&r);
    static const char marked[] = "\xEF\xBB\xBF{" HELLO "}";
    parse(marked, sizeof marked - 1, &r);
    chat_request_free(&r);
    api_error error;
    assert_false(is_accepted("\"stop\":\"a\\u0000b\"", &error));
    assert_string_equal(error.param, "stop");
    assert_false(is_accepted("\"model\":\"auto\\u0000b\"", &error));
    assert_string_equal(error.param, "model");
    assert_null(request_object("\xEF\xBB\xBF", 3, &error));
    assert_null(request_object("\xEF\xBB", 2, &error));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field_is_on_the_page),
        cmocka_unit_test(test_the_page_names_no_other),
        cmocka_unit_test(test_hints),
        cmocka_unit_test(test_whole_numbers),
        cmocka_unit_test(test_texts_at_the_edge_of_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
