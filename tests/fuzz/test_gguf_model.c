/* Broken models: loading must succeed or say why not, and a model that was loaded must run. */
#include "fuzz/mutations.h"
#include "base/log.h"
#include "model/forward.h"

#define ROWS 3

static team *workers;

/* Head counts and layers may have been changed into others that fit the tensors, so the KV is made
 * for what the model says. */
static void step(const model *m)
{
    const model_config *c = &m->config;
    size_t values = c->n_layers * c->n_kv_heads * ROWS * c->head_dim;
    kv_view kv = {.type = KV_F16, .capacity = ROWS};
    kv.keys = calloc(1, kv_value_bytes(KV_F16, values));
    kv.values = calloc(1, kv_value_bytes(KV_F16, values));
    assert_true(kv.keys != NULL && kv.values != NULL);
    forward *f;
    if (forward_create(&f, m, team_size(workers), ROWS, ROWS, NULL) == OK) {
        forward_row rows[ROWS];
        for (uint32_t i = 0; i < ROWS; i++)
            rows[i] = (forward_row){.token = (int32_t)(i * (c->n_vocab - 1) / (ROWS - 1)),
                                    .position = i,
                                    .kv = &kv,
                                    .want = WANT_LOGITS};
        forward_step(f, workers, rows, ROWS);
        forward_destroy(f);
    }
    free(kv.keys);
    free(kv.values);
}

static void try_model(sample *s)
{
    model *m;
    failure fail = {0};
    model_options options = {0};
    error_code code = model_load(&m, s->path, &options, &fail);
    if (code == OK) {
        step(m);
        model_destroy(m);
        s->opened++;
        return;
    }
    assert_int_equal(code, fail.code);
    assert_true(fail.text[0] != '\0');
    s->refused++;
}

static void break_golden(const char *path)
{
    sample s = {.try_file = try_model};
    buffer b;
    read_sample(&s, &b, path);
    break_in_every_way(&s);
    buffer_free(&b);
}

static void llama(void **state)
{
    (void)state;
    break_golden("tests/golden/data/llama-linear-tied.F32.gguf");
}

static void qwen3(void **state)
{
    (void)state;
    break_golden("tests/golden/data/qwen3.Q4_0.gguf");
}

int main(void)
{
    alarm(300);
    log_set_level(LOG_ERROR);
    failure fail;
    if (kernel_init(NULL, &fail) != OK || team_create(&workers, 1, &fail) != OK) {
        fprintf(stderr, "%s\n", fail.text);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama),
        cmocka_unit_test(qwen3),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    team_destroy(workers);
    return failed;
}
