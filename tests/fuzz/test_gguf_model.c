/* Broken models: loading must succeed or say why not, and a model that was loaded must run. */
#include "fuzz/mutations.h"

#include "base/log.h"
#include "fuzz/model_step.h"

static team *workers;

static void try_model(sample *s)
{
    model *m;
    failure fail = {0};
    model_options options = {0};
    error_code code = model_load(&m, s->path, &options, &fail);
    if (code == OK) {
        assert_true(model_step(m, workers));
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
