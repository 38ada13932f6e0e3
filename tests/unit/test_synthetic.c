/* Random-weight models: each loads, computes finite numbers, and encodes and decodes text; the
 * weights have the deviation they should; what cannot be made is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/kv.h"
#include "model/forward.h"
#include "model/synthetic_internal.h"
#include "partial_files.h"
#include "unit/small_shape.h"

static char output[64]; /* of this process, so that two test runs do not meet */

static void write_small(const synthetic_shape *shape, tensor_type type, uint64_t seed)
{
    failure fail = {0};
    const synthetic_options options = {.mix = weight_mix_uniform(type), .seed = seed};
    if (synthetic_write_shape(shape, &options, output, &fail) != OK)
        fail_msg("%s", fail.text);
}

static model *load(void)
{
    failure fail = {0};
    model *m;
    const model_options options = {.chat_template = "none"};
    if (model_load(&m, output, &options, &fail) != OK)
        fail_msg("%s", fail.text);
    return m;
}

/* ---- what a model computes ------------------------------------------------------------------ */

static void check_logits(const model *m)
{
    failure fail;
    forward *f;
    kv_cache *kv;
    team *one;
    int32_t tokens[8] = {'a', 'b', 300, 7, 999, 0, 255, 500};
    forward_row rows[8];
    assert_int_equal(team_create(&one, 1, &fail), OK);
    assert_int_equal(forward_create(&f, m, 1, 8, 8, &fail), OK);
    assert_int_equal(kv_create(&kv, &m->config, KV_F32, 8, 8, 1, &fail), OK);
    kv_slot *slot = kv_acquire(kv, tokens, 1);
    for (uint32_t i = 0; i < 8; i++)
        rows[i] = (forward_row){tokens[i], i, &slot->view, WANT_LOGITS};
    forward_step(f, one, rows, 8);
    double sum = 0, squares = 0;
    const float *logits = forward_logits(f, 0);
    for (size_t i = 0; i < (size_t)8 * SMALL_VOCAB; i++) {
        assert_true(isfinite(logits[i]));
        sum += (double)logits[i];
        squares += (double)logits[i] * (double)logits[i];
    }
    double mean = sum / (8 * SMALL_VOCAB), rms = sqrt(squares / (8 * SMALL_VOCAB));
    if (!(fabs(mean) < 0.2) || !(rms > 0.5 && rms < 2))
        fail_msg("logits have mean %g, root mean square %g", mean, rms);
    kv_destroy(kv);
    forward_destroy(f);
    team_destroy(one);
}

static void check_deviation(const model *m)
{
    double sum = 0, squares = 0;
    float row[SMALL_EMBD];
    for (int32_t id = 0; id < SMALL_VOCAB; id++) {
        model_embed(m, id, row);
        for (size_t i = 0; i < SMALL_EMBD; i++) {
            sum += (double)row[i];
            squares += (double)row[i] * (double)row[i];
        }
    }
    const double n = (double)SMALL_VOCAB * SMALL_EMBD;
    double deviation = sqrt(squares / n) * sqrt(SMALL_EMBD); /* in units of 1/sqrt(columns) */
    if (fabs(deviation - 1) > 0.03 || fabs(sum / n) * sqrt(SMALL_EMBD) > 0.03)
        fail_msg("embedding: deviation %g, mean %g", deviation, sum / n);
}

static void test_every_type(void **state)
{
    (void)state;
    size_t n = 0;
    for (uint32_t id = 0; id < 64; id++) {
        if (tensor_type_find(id) == NULL || !random_weights_known((tensor_type)id))
            continue;
        const synthetic_shape shape = small_shape("llama", id % 2 == 0);
        write_small(&shape, (tensor_type)id, id);
        model *m = load();
        assert_int_equal(gguf_tensor_find(m->file, "token_embd.weight")->type->type, id);
        assert_int_equal(m->config.tied_output, shape.tied);
        check_deviation(m);
        check_logits(m);
        model_destroy(m);
        n++;
    }
    assert_true(n >= 7);
}

static void test_every_architecture(void **state)
{
    (void)state;
    static const char *const names[] = {"llama", "qwen2", "pangu-embedded", "qwen3moe"};
    for (size_t i = 0; i < 4; i++) {
        const synthetic_shape shape = small_shape(names[i], true);
        write_small(&shape, TENSOR_Q8_0, 1);
        model *m = load();
        assert_string_equal(m->config.architecture, names[i]);
        assert_int_equal(m->config.context_length, 512);
        assert_float_equal(m->config.ropes[0].base, 1e4, 0);
        check_logits(m);
        model_destroy(m);
    }
}

static void test_vocabulary(void **state)
{
    (void)state;
    const synthetic_shape shape = small_shape("qwen2", true);
    write_small(&shape, TENSOR_Q4_0, 1);
    model *m = load();
    const tokenizer *t = m->tokenizer;
    static const char text[] = "for i in 3: \xE7\xB3\xBB\n\x01\xFF the end";
    token_list ids = {0};
    buffer out;
    text_decoder decoder;
    buffer_init(&out, 1 << 12);
    assert_int_equal(tokenizer_encode(t, text, sizeof text, false, true, &ids, NULL), OK);
    text_decoder_init(&decoder, t, true);
    for (size_t i = 0; i < ids.length; i++)
        assert_int_equal(text_decoder_push(&decoder, ids.ids[i], &out), OK);
    static const char expected[] = "for i in 3: \xE7\xB3\xBB\n\x01\xEF\xBF\xBD the end";
    assert_int_equal(out.length, sizeof expected);
    assert_memory_equal(out.data, expected, sizeof expected);
    for (int32_t id = 0; id < 256; id++) {
        size_t length;
        const char *bytes = tokenizer_bytes(t, id, false, &length);
        assert_int_equal(length, 1);
        assert_int_equal((unsigned char)bytes[0], id);
    }
    size_t length;
    assert_memory_equal(tokenizer_bytes(t, 258, false, &length), " baaa", 5);
    assert_int_equal(tokenizer_eos(t), SMALL_VOCAB - 2);
    assert_true(tokenizer_is_end(t, SMALL_VOCAB - 1));
    token_list_free(&ids);
    buffer_free(&out);
    model_destroy(m);
}

/* ---- the file ------------------------------------------------------------------------------- */

static buffer written(uint64_t seed)
{
    buffer b;
    const synthetic_shape shape = small_shape("llama", true);
    write_small(&shape, TENSOR_Q6_K, seed);
    buffer_init(&b, 1 << 24);
    assert_int_equal(buffer_read_file(&b, output, NULL), OK);
    return b;
}

static void test_seed(void **state)
{
    (void)state;
    buffer a = written(7), b = written(7), c = written(8);
    assert_int_equal(a.length, b.length);
    assert_memory_equal(a.data, b.data, a.length);
    assert_int_equal(a.length, c.length);
    assert_memory_not_equal(a.data, c.data, a.length);
    buffer_free(&a);
    buffer_free(&b);
    buffer_free(&c);
}

static bool stop_at_half(void *context, double fraction)
{
    *(double *)context = fraction;
    return fraction < 0.5;
}

static void test_stopped(void **state)
{
    (void)state;
    failure fail = {0};
    double last = 0;
    const synthetic_shape shape = small_shape("llama", true);
    const synthetic_options options = {
        .mix = weight_mix_uniform(TENSOR_F32), .progress = stop_at_half, .progress_context = &last};
    unlink(output);
    assert_int_equal(synthetic_write_shape(&shape, &options, output, &fail), ERR_CANCELLED);
    assert_true(last >= 0.5 && last < 0.9);
    assert_int_not_equal(access(output, F_OK), 0);
    assert_int_equal(partial_files(output), 0);
}

static void test_refusals(void **state)
{
    (void)state;
    failure fail = {0};
    synthetic_options options = {.shape = "pangu-2b", .mix = weight_mix_uniform(TENSOR_Q8_0)};
    assert_int_equal(synthetic_write(&options, output, &fail), ERR_INVALID);
    assert_non_null(strstr(fail.text, "pangu-2b"));
    for (size_t i = 0; synthetic_shape_name(i) != NULL; i++)
        assert_non_null(strstr(fail.text, synthetic_shape_name(i)));
    options = (synthetic_options){.shape = "qwen2.5-0.5b", .mix = weight_mix_uniform(TENSOR_Q4_K)};
    assert_int_equal(synthetic_write(&options, output, &fail), ERR_INVALID);
    assert_non_null(strstr(fail.text, "rows of token_embd.weight have 896 values"));
    options.mix = weight_mix_uniform((tensor_type)29);
    assert_int_equal(synthetic_write(&options, output, &fail), ERR_UNSUPPORTED);
}

static int remove_output(void **state)
{
    (void)state;
    unlink(output);
    return 0;
}

int main(void)
{
    snprintf(output, sizeof output, "/tmp/a-io-test-synthetic-%d.gguf", (int)getpid());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_every_type, remove_output),
        cmocka_unit_test_teardown(test_every_architecture, remove_output),
        cmocka_unit_test_teardown(test_vocabulary, remove_output),
        cmocka_unit_test_teardown(test_seed, remove_output),
        cmocka_unit_test_teardown(test_stopped, remove_output),
        cmocka_unit_test_teardown(test_refusals, remove_output),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
