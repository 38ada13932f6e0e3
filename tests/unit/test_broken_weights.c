/* Models whose numbers are none. A weight that is NaN or infinite, in any tensor of any type, is
 * refused at load with tensor and block; finite weights that make logits overflow end the request
 * with an error, and a probe with the other model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "engine/engine.h"
#include "model_copy.h"
#include "orchestra/orchestra.h"

#define SMALL "models/demo/small.gguf"
#define LARGE "models/demo/large.gguf"

static void must(error_code code, const failure *fail)
{
    if (code != OK)
        fail_msg("%s", fail->text);
}

/* ---- weights --------------------------------------------------------------------------------- */

/* Makes a block no number; returns its bytes at `at` as they were. */
static void spoil(const gguf_tensor *t, uint8_t *block)
{
    static const uint8_t half[] = {0x00, 0x7E}, single[] = {0x00, 0x00, 0x80, 0xFF};
    switch (t->type->type) {
    case TENSOR_F32:
        memcpy(block, single, sizeof single);
        break;
    case TENSOR_BF16:
        memcpy(block, single + 2, 2);
        break;
    case TENSOR_Q6_K:
        memcpy(block + 208, half, sizeof half);
        break;
    default: /* those in the files below begin with their scale */
        memcpy(block, half, sizeof half);
    }
}

static void expect_refusal(const char *path, const char *name, size_t block)
{
    failure fail = {0};
    model *m;
    char expected[128];
    const model_options options = {.chat_template = "none"};
    snprintf(expected, sizeof expected, "tensor '%s': block %zu is not a number", name, block);
    error_code code = model_load(&m, path, &options, &fail);
    if (code == OK)
        fail_msg("%s block %zu: loaded", name, block);
    if (code != ERR_FORMAT || strstr(fail.text, expected) == NULL)
        fail_msg("\"%s\" instead of \"%s\"", fail.text, expected);
}

static void try_block(const model_copy *c, const gguf_tensor *t, off_t begin, size_t block)
{
    uint8_t sound[512], broken[512];
    char name[96];
    size_t bytes = t->type->block_bytes;
    off_t at = begin + (off_t)(block * bytes);
    snprintf(name, sizeof name, "%.*s", (int)t->name.length, t->name.data);
    assert_int_equal(pread(c->fd, sound, bytes, at), bytes);
    memcpy(broken, sound, bytes);
    spoil(t, broken);
    change_bytes(c, at, broken, bytes);
    expect_refusal(c->path, name, block);
    change_bytes(c, at, sound, bytes);
}

static void try_every_tensor(const char *path)
{
    model_copy c;
    gguf *file;
    copy_model(&c, path);
    assert_int_equal(gguf_open(&file, path, NULL), OK);
    for (size_t i = 0; i < gguf_tensor_count(file); i++) {
        const gguf_tensor *t = gguf_tensor_at(file, i);
        size_t n = t->bytes / t->type->block_bytes;
        try_block(&c, t, tensor_offset(file, t), 0);
        try_block(&c, t, tensor_offset(file, t), n / 2);
        try_block(&c, t, tensor_offset(file, t), n - 1);
    }
    printf("  %s: %zu tensors\n", path, gguf_tensor_count(file));
    gguf_close(file);
    remove_copy(&c);
}

static void test_every_tensor(void **state)
{
    (void)state;
    static const char *const files[] = {
        "pangu.F32",  "qwen2.F16",  "llama.BF16", "pangu.Q8_0",
        "qwen3.Q4_0", "qwen2.Q4_K", "llama.Q6_K", "llama-linear-tied.F32"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[64];
        snprintf(path, sizeof path, "tests/golden/data/%s.gguf", files[i]);
        try_every_tensor(path);
    }
}

/* The one from the field, where it is. */
static void test_field_file(void **state)
{
    (void)state;
    static const char path[] = "../shared/field/nan-scale.gguf";
    if (access(path, R_OK) != 0) {
        printf("  skipped: no %s\n", path);
        skip();
    }
    expect_refusal(path, "blk.1.ffn_down.weight", 0);
}

/* ---- logits ---------------------------------------------------------------------------------- */

/* Finite, and yet no logit is. */
static void copy_overflowing(model_copy *c, const char *path)
{
    copy_model(c, path);
    fill_tensor(c, "output_norm.weight", 3e38f);
}

static void poll_to_end(sequence *s, sequence_poll_result *out)
{
    do {
        usleep(200);
        assert_int_equal(sequence_poll(s, out, NULL, NULL), OK);
    } while (out->state == SEQUENCE_RUNNING);
    sequence_release(s);
}

static void test_overflow_ends_requests(void **state)
{
    (void)state;
    failure fail = {0};
    model_copy c;
    model *m;
    conductor *house;
    engine *e;
    engine_options options = engine_defaults();
    options.context = 256;
    copy_overflowing(&c, SMALL);
    must(model_load(&m, c.path, &(model_options){.chat_template = "none"}, &fail), &fail);
    must(conductor_create(&house, 2, &fail), &fail);
    must(conductor_add(house, m, &options, &e, &fail), &fail);
    must(conductor_start(house, &fail), &fail);
    const int32_t prompt[] = {40, 41, 42}, labels[] = {50, 51};
    for (int i = 0; i < 4; i++) {
        sequence *s;
        sequence_poll_result result;
        sequence_request r = {.prompt = prompt, .n_prompt = 3, .max_tokens = 8};
        r.sampling = sampling_defaults();
        r.sampling.temperature = i % 2 == 0 ? 0 : 1;
        r.kind = i < 2 ? SEQUENCE_REPLY : SEQUENCE_CLASSIFICATION;
        r.labels = i < 2 ? NULL : labels;
        r.n_labels = i < 2 ? 0 : 2;
        must(engine_submit(e, &r, &s, &fail), &fail);
        poll_to_end(s, &result);
        assert_int_equal(result.state, SEQUENCE_FAILED);
        assert_int_equal(result.failure.code, ERR_INTERNAL);
        assert_non_null(strstr(result.failure.text, "a logit that is not a number"));
        assert_int_equal(result.stats.reply_tokens, 0);
    }
    conductor_destroy(house);
    model_destroy(m);
    remove_copy(&c);
}

/* A small model that cannot say what a request is leaves it to the large one. */
static void test_probe_goes_to_the_other(void **state)
{
    (void)state;
    failure fail = {0};
    model_copy c;
    char yaml[512];
    config *settings;
    orchestra *o;
    run *r;
    copy_overflowing(&c, SMALL);
    int n = snprintf(yaml, sizeof yaml,
                     "version: 1\nmodels:\n"
                     "  - {name: small, role: small, path: %s}\n"
                     "  - {name: large, role: large, path: %s/%s}\n",
                     c.path, getcwd((char[256]){0}, 256), LARGE);
    must(config_parse(&settings, yaml, (size_t)n, "test", &fail), &fail);
    must(orchestra_create(&o, settings, (house_progress){.call = NULL}, &fail), &fail);
    const chat_message question = {
        .role = "user", .content = "Who wrote it?", .content_length = 13};
    const request q = {
        .messages = &question, .n_messages = 1, .max_tokens = 4, .sampling = sampling_defaults()};
    buffer text;
    buffer_init(&text, 4096);
    must(orchestra_submit(o, &q, &(run_options){.model = NULL}, (wakeup){.call = NULL}, &r, &fail),
         &fail);
    run_state at;
    while ((at = run_poll(r, &text, NULL)) != RUN_FINISHED && at != RUN_FAILED)
        run_wait(r);
    if (at == RUN_FAILED)
        fail_msg("%s", run_failure(r)->text);
    assert_string_equal(run_plan(r)->model, "large");
    assert_string_equal(run_plan(r)->rule, "probe_error");
    assert_true(text.length > 0);
    run_release(r);
    buffer_free(&text);
    orchestra_destroy(o);
    config_free(settings);
    remove_copy(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_tensor),
        cmocka_unit_test(test_field_file),
        cmocka_unit_test(test_overflow_ends_requests),
        cmocka_unit_test(test_probe_goes_to_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
