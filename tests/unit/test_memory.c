/* What a model takes: at most its packed weights, the KV in use and 64 MB, while it loads too: the
 * file and its packed copy are never resident together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/engine.h"
#include "measure/measure.h"
#include "model/synthetic_internal.h"
#include "sanitized.h"

#define ALLOWANCE ((size_t)64 << 20)

enum { N_PROMPT = 200, N_REPLY = 8 };

static char output[64]; /* of this process, so that two test runs do not meet */

static void answer(engine *e)
{
    failure fail = {0};
    sequence *s;
    sequence_poll_result result;
    int32_t prompt[N_PROMPT];
    for (int32_t i = 0; i < N_PROMPT; i++)
        prompt[i] = 40 + i % 97;
    const sequence_request r = {.prompt = prompt,
                                .n_prompt = N_PROMPT,
                                .max_tokens = N_REPLY,
                                .sampling = sampling_defaults()};
    if (engine_submit(e, &r, &s, &fail) != OK)
        fail_msg("%s", fail.text);
    do {
        usleep(1000);
        assert_int_equal(sequence_poll(s, &result, NULL, NULL), OK);
    } while (result.state == SEQUENCE_RUNNING);
    sequence_release(s);
    assert_int_equal(result.state, SEQUENCE_FINISHED);
}

static void check_peak(const char *path)
{
    failure fail = {0};
    model *m;
    conductor *c;
    engine *e;
    engine_options o = engine_defaults();
    o.context = N_PROMPT + N_REPLY + LOOKUP_MAX_DRAFT;
    if (model_load(&m, path, &(model_options){.chat_template = "none"}, &fail) != OK)
        fail_msg("%s", fail.text);
    assert_int_equal(conductor_create(&c, 2, &fail), OK);
    assert_int_equal(conductor_add(c, m, &o, &e, &fail), OK);
    assert_int_equal(conductor_start(c, &fail), OK);
    answer(e);
    size_t peak = memory_peak_bytes();
    size_t kv = 2 * m->config.n_layers * m->config.n_kv_heads * o.context *
                kv_value_bytes(o.kv, m->config.head_dim);
    size_t most = model_resident_bytes(m) + kv + ALLOWANCE;
    printf("  %zu KB resident for %zu KB of weights and %zu KB of KV\n", peak >> 10,
           model_resident_bytes(m) >> 10, kv >> 10);
    conductor_destroy(c);
    model_destroy(m);
    if (peak > most)
        fail_msg("%s: %zu bytes, %zu too many", path, peak, peak - most);
}

/* A sanitizer's shadows are memory too. */
static void skip_where_unknown(void)
{
#if IS_SANITIZED
    printf("  skipped: a sanitizer's memory is counted too\n");
    skip();
#endif
    if (memory_peak_bytes() == 0) {
        printf("  skipped: the system does not say how much is resident\n");
        skip();
    }
}

static void test_demo(void **state)
{
    (void)state;
    skip_where_unknown();
    check_peak("models/demo/large.gguf");
}

/* Four layers of qwen2.5-0.5b. After the smaller model: the peak is the whole process's. */
static void test_half_billion(void **state)
{
    (void)state;
    skip_where_unknown();
    failure fail = {0};
    const synthetic_shape *whole = synthetic_shape_find("qwen2.5-0.5b", &fail);
    assert_non_null(whole);
    synthetic_shape shape = *whole;
    shape.n_layers = 4;
    shape.context = 1024;
    const synthetic_options options = {.mix = weight_mix_uniform(TENSOR_Q8_0), .seed = 1};
    if (synthetic_write_shape(&shape, &options, output, &fail) != OK)
        fail_msg("%s", fail.text);
    check_peak(output);
}

static int remove_output(void **state)
{
    (void)state;
    remove(output);
    return 0;
}

int main(void)
{
    snprintf(output, sizeof output, "build/test_memory.%d.gguf", (int)getpid());
    if (kernel_init(NULL, NULL) != OK)
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_demo),
                                       cmocka_unit_test_teardown(test_half_billion, remove_output)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
