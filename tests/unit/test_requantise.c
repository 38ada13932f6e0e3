/* The output matrix in fewer bits: what becomes of it, of the rest, and of who the model is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernel/quantize.h"
#include "model/model.h"
#include "model/requantise.h"

#define TIED "models/demo/small.gguf" /* Q8_0, rows of 128 */
#define UNTIED "../shared/golden/llama.F32.gguf"

static const tensor_type_info *type_of(const char *name)
{
    return tensor_type_find_name(name);
}

static error_code try_load(model **out, const char *path, const char *head, failure *fail)
{
    const model_options options = {.chat_template = "none",
                                   .head = head != NULL ? type_of(head) : NULL};
    return model_load(out, path, &options, fail);
}

static model *load(const char *path, const char *head)
{
    failure fail;
    model *m = NULL;
    if (try_load(&m, path, head, &fail) != OK)
        fail_msg("%s", fail.text);
    return m;
}

static void test_parse(void **state)
{
    (void)state;
    static const char *const bad[] = {"",         "head",      "head=",     "head=q4",
                                      "head=f16", "head=q5_k", "tail=q4_k", "head=q4_k,"};
    const tensor_type_info *type;
    failure fail;
    assert_int_equal(requant_parse("head=q4_k", &type, &fail), OK);
    assert_int_equal(type->type, TENSOR_Q4_K);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(requant_parse(bad[i], &type, &fail), ERR_INVALID);
        assert_null(type);
    }
}

/* Row by row what encoding the file's values gives; the embedding stays, bit for bit. */
static void compare(const char *path, const char *head)
{
    model *plain = load(path, NULL), *m = load(path, head);
    const tensor_type_info *type = type_of(head);
    size_t columns = plain->config.n_embd, bytes = columns / type->block_values * type->block_bytes;
    float *x = malloc(columns * sizeof *x), *wanted = malloc(columns * sizeof *x);
    void *blocks = malloc(bytes);
    for (size_t row = 0; row < plain->config.n_vocab; row++) {
        matrix_read_row(plain->output, row, x);
        assert_true(tensor_encode(type->type, x, blocks, columns));
        type->decode(blocks, wanted, columns);
        matrix_read_row(m->output, row, x);
        assert_memory_equal(x, wanted, columns * sizeof *x);
        model_embed(plain, (int32_t)row, wanted);
        model_embed(m, (int32_t)row, x);
        assert_memory_equal(x, wanted, columns * sizeof *x);
    }
    assert_true(m->weight_bytes < plain->weight_bytes);
    assert_true(m->fingerprint != plain->fingerprint);
    free(x);
    free(wanted);
    free(blocks);
    model_destroy(plain);
    model_destroy(m);
}

static void test_tied(void **state)
{
    (void)state;
    compare(TIED, "q4_0");
}

static void test_untied(void **state)
{
    (void)state;
    if (access(UNTIED, R_OK) != 0)
        skip();
    compare(UNTIED, "q8_0");
}

static void test_refused(void **state)
{
    (void)state;
    model *m = NULL;
    failure fail;
    assert_int_equal(try_load(&m, TIED, "q4_k", &fail), ERR_UNSUPPORTED);
    assert_non_null(strstr(fail.text, "rows of 128 values are not whole blocks of 256; q8_0"));
    assert_int_equal(try_load(&m, TIED, "q8_0", &fail), ERR_UNSUPPORTED);
    assert_non_null(strstr(fail.text, "takes no more bytes"));
    assert_null(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_tied),
        cmocka_unit_test(test_untied),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
