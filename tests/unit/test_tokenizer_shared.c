/* Seventeen real vocabularies against another engine's ids for 220 hard texts: fourteen of
 * ../shared/tokenizers, and those of the real models where $A_IO_REAL_MODELS or the cache directory
 * holds their files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/tokenizer.h"

#define FOLDER "../shared/tokenizers/"

static const char *const names[] = {
    "baichuan", "command-r", "deepseek-coder", "deepseek-llm", "falcon", "gemma-4", "gpt-2",
    "gpt-neox", "llama-bpe", "llama-spm",      "phi-3",        "qwen2",  "qwen35",  "starcoder",
};

static const struct {
    const char *ids, *file;
} real[] = {
    {"smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"},
    {"gemma-3", "gemma-3-270m-q4_k_m.gguf"},
    {"qwen2.5-coder", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"},
    {"qwen2.5-coder", "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"},
};

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

static void check(const char *path, const char *name, const json_t *cases)
{
    failure fail = {0};
    gguf *file;
    tokenizer *t;
    if (gguf_open(&file, path, &fail) != OK || tokenizer_load(&t, file, &fail) != OK)
        fail_msg("%s: %s", path, fail.text);
    gguf_close(file);
    char ids_name[64];
    snprintf(ids_name, sizeof ids_name, "%s.ids.json", name);
    json_t *want = read_json(ids_name);
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

/* The cases, or NULL after a word that they are not here. */
static json_t *read_cases(void)
{
    if (access(FOLDER "cases.json", R_OK) != 0) {
        print_message("skipped: " FOLDER " is not here\n");
        return NULL;
    }
    json_t *cases = read_json("cases.json");
    assert_true(json_array_size(cases) > 0);
    return cases;
}

static void test_vocabularies(void **state)
{
    (void)state;
    json_t *cases = read_cases();
    if (cases == NULL)
        skip();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[128];
        snprintf(path, sizeof path, FOLDER "%s.gguf", names[i]);
        check(path, names[i], cases);
    }
    json_decref(cases);
}

static void real_path(const char *name, char *path, size_t size)
{
    const char *folder = getenv("A_IO_REAL_MODELS");
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (folder != NULL)
        snprintf(path, size, "%s/%s", folder, name);
    else if (cache != NULL && cache[0] != '\0')
        snprintf(path, size, "%s/a-io/real/%s", cache, name);
    else
        snprintf(path, size, "%s/.cache/a-io/real/%s", home == NULL ? "" : home, name);
}

static void test_real_models(void **state)
{
    (void)state;
    json_t *cases = read_cases();
    if (cases == NULL)
        skip();
    size_t found = 0;
    for (size_t i = 0; i < sizeof real / sizeof *real; i++) {
        char path[4096];
        real_path(real[i].file, path, sizeof path);
        if (access(path, R_OK) != 0) {
            print_message("skipped: %s is not here\n", path);
            continue;
        }
        check(path, real[i].ids, cases);
        found++;
    }
    json_decref(cases);
    if (found == 0)
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vocabularies),
        cmocka_unit_test(test_real_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
