/* Six real vocabularies against another engine's ids for 220 hard texts (../shared/tokenizers). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "model/tokenizer.h"

#define FOLDER "../shared/tokenizers/"

static const char *const names[] = {"gpt-2",          "llama-bpe", "qwen2",
                                    "deepseek-coder", "llama-spm", "phi-3"};

static json_t *read_json(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, FOLDER "%s", name);
    json_error_t error;
    json_t *value = json_load_file(path, JSON_ALLOW_NUL, &error);
    if (value == NULL)
        fail_msg("%s: %s", path, error.text);
    return value;
}

static bool same_ids(const token_list *got, const json_t *want)
{
    bool same = got->length == json_array_size(want);
    for (size_t i = 0; same && i < got->length; i++)
        same = got->ids[i] == json_integer_value(json_array_get(want, i));
    return same;
}

static bool decodes_to(const tokenizer *t, const token_list *ids, const char *text, size_t length)
{
    text_decoder d;
    text_decoder_init(&d, t, true);
    buffer out;
    buffer_init(&out, length + 64);
    error_code code = OK;
    for (size_t i = 0; code == OK && i < ids->length; i++)
        code = text_decoder_push(&d, ids->ids[i], &out);
    if (code == OK)
        code = text_decoder_finish(&d, &out);
    bool same =
        code == OK && out.length == length && (length == 0 || memcmp(out.data, text, length) == 0);
    buffer_free(&out);
    return same;
}

static void check(const char *name, const json_t *cases)
{
    char path[128];
    snprintf(path, sizeof path, FOLDER "%s.gguf", name);
    failure fail = {0};
    gguf *file;
    tokenizer *t;
    if (gguf_open(&file, path, &fail) != OK || tokenizer_load(&t, file, &fail) != OK)
        fail_msg("%s: %s", path, fail.text);
    gguf_close(file);
    snprintf(path, sizeof path, "%s.ids.json", name);
    json_t *want = read_json(path);
    size_t n = json_array_size(cases), equal = 0, back = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *text = json_array_get(cases, i);
        token_list ids = {0};
        assert_int_equal(tokenizer_encode(t, json_string_value(text), json_string_length(text),
                                          false, true, &ids, &fail),
                         OK);
        if (same_ids(&ids, json_array_get(want, i)))
            equal++;
        else
            print_message("%s: case %zu differs: %.60s\n", name, i, json_string_value(text));
        back += decodes_to(t, &ids, json_string_value(text), json_string_length(text));
        token_list_free(&ids);
    }
    print_message("%-14s %zu of %zu equal, %zu decode to the text\n", name, equal, n, back);
    json_decref(want);
    tokenizer_destroy(t);
    assert_int_equal(equal, n);
    assert_int_equal(back, n);
}

static void test_vocabularies(void **state)
{
    (void)state;
    if (access(FOLDER "cases.json", R_OK) != 0) {
        print_message("skipped: " FOLDER " is not here\n");
        skip();
    }
    json_t *cases = read_json("cases.json");
    assert_true(json_array_size(cases) > 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check(names[i], cases);
    json_decref(cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vocabularies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
