/* The calibration file: what is written is read again, bit for bit; what it was not made for is
 * refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "orchestra/calibration_file.h"

typedef struct house {
    config *config;
    model *small, *large;
    char path[64];
} house;

static const probe_record probe = {
    .calibration = {.n_labels = 3, .scale = {0.1, 1.0 / 3, 2}, .bias = {-1.25, 0, 0.7}},
    .form = CALIBRATION_BIAS,
    .content_free = {0.5, 0.25, 0.25},
    .n_fitted = 1234,
    .limits = {.goal = LIMIT_MISROUTE,
               .n = 1,
               .targets = {0.02},
               .effects = {{.limit = 0.1 + 0.2,
                            .n = 1000,
                            .n_small = 300,
                            .n_misrouted = 10,
                            .misroute_upper = 0.0169,
                            .large_upper = 0.72}}}};

static int open_house(void **state)
{
    static house h;
    failure fail;
    *state = &h;
    kernel_init(NULL, &fail);
    snprintf(h.path, sizeof h.path, "/tmp/a-io-calibration-XXXXXX");
    close(mkstemp(h.path));
    const model_options options = {.chat_template = NULL};
    return config_load(&h.config, "config/demo.yaml", &fail) != OK ||
           model_load(&h.small, "models/demo/small.gguf", &options, &fail) != OK ||
           model_load(&h.large, "models/demo/large.gguf", &options, &fail) != OK;
}

static int close_house(void **state)
{
    house *h = *state;
    unlink(h->path);
    model_destroy(h->small);
    model_destroy(h->large);
    config_free(h->config);
    return 0;
}

static void write_file(const house *h, const machine_record *machine)
{
    failure fail;
    const calibration_parts parts = {.probe = &probe, .machine = machine};
    if (calibration_file_write(h->path, &parts, h->config, h->small, &fail) != OK)
        fail_msg("%s", fail.text);
}

static void test_probe_again(void **state)
{
    const house *h = *state;
    probe_record r;
    failure fail;
    write_file(h, NULL);
    if (calibration_file_read_probe(&r, h->path, h->config, h->small, &fail) != OK)
        fail_msg("%s", fail.text);
    for (size_t k = 0; k < 3; k++) {
        assert_true(r.calibration.scale[k] == probe.calibration.scale[k]);
        assert_true(r.calibration.bias[k] == probe.calibration.bias[k]);
    }
    assert_int_equal(r.form, CALIBRATION_BIAS);
    assert_int_equal(r.n_fitted, 1234);
    assert_int_equal(r.limits.goal, LIMIT_MISROUTE);
    assert_int_equal(r.limits.n, 1);
    assert_true(r.limits.effects[0].limit == 0.1 + 0.2);
    assert_int_equal(r.limits.effects[0].n_misrouted, 10);
    machine_record m;
    assert_int_equal(calibration_file_read_machine(&m, h->path, &fail), ERR_CONFIG);
    assert_non_null(strstr(fail.text, "\"machine\""));
}

static void test_machine_again(void **state)
{
    const house *h = *state;
    machine_record m = {.cpu = "A \"CPU\"", .kernel = "avx2", .threads = 2, .read_peak_gb_s = 40.5};
    m.n_models = 1;
    m.models[0] = (machine_model){.name = "small.gguf",
                                  .kv = KV_Q8_0,
                                  .prefill_row_ms = 0.1,
                                  .n_probes = 1,
                                  .probe_tokens = {64},
                                  .probe_ms = {3}};
    for (size_t n = 1; n < WISH_MAX_DRAFT + 2; n++)
        m.models[0].step_ms[n] = (double)n / 7;
    m.models[0].step_ms[24] = 1.0 / 3;
    m.models[0].step_ms[LOAD_STEP_ROWS] = 9.1;
    /* As the calibration names the small model. */
    json_t *part = probe_record_json(&probe, h->config, h->small);
    snprintf(m.models[0].fingerprint, sizeof m.models[0].fingerprint, "%s",
             json_string_value(json_object_get(json_object_get(part, "model"), "fingerprint")));
    json_decref(part);
    write_file(h, &m);
    machine_record r;
    failure fail;
    if (calibration_file_read_machine(&r, h->path, &fail) != OK)
        fail_msg("%s", fail.text);
    assert_string_equal(r.cpu, m.cpu);
    assert_int_equal(r.threads, 2);
    const machine_model *found = machine_find(&r, h->small, KV_Q8_0);
    assert_non_null(found);
    assert_memory_equal(found->step_ms, m.models[0].step_ms, sizeof found->step_ms);
    assert_int_equal(found->probe_tokens[0], 64);
    assert_null(machine_find(&r, h->small, KV_F16));
    assert_null(machine_find(&r, h->large, KV_Q8_0));
}

/* One model's wide_step_ms: NULL in `what`: is read. */
static void read_wide(const house *h, const char *wide, const char *what)
{
    machine_record r;
    failure fail;
    FILE *file = fopen(h->path, "we");
    assert_non_null(file);
    fputs("{\"version\": 1, \"machine\": {\"cpu\": \"c\", \"kernel\": \"k\", \"threads\": 1, "
          "\"read_peak_gb_s\": 1.5, \"models\": [{\"fingerprint\": \"0123456789abcdef\", "
          "\"name\": \"m\", \"kv\": \"f16\", \"step_ms\": [0.5",
          file);
    for (size_t n = 2; n < WISH_MAX_DRAFT + 2; n++)
        fprintf(file, ", %zu.5", n);
    fprintf(file, "], %s\"prefill_row_ms\": 0.1, \"probes\": []}]}}\n", wide);
    fclose(file);
    error_code code = calibration_file_read_machine(&r, h->path, &fail);
    if (what != NULL) {
        assert_int_equal(code, ERR_CONFIG);
        if (strstr(fail.text, what) == NULL)
            fail_msg("\"%s\" lacks \"%s\"", fail.text, what);
        return;
    }
    if (code != OK)
        fail_msg("%s", fail.text);
    assert_true(r.models[0].step_ms[17] == 17.5 && r.models[0].step_ms[18] == 0);
    assert_true(r.models[0].step_ms[32] == (*wide == '\0' ? 0 : 33));
}

static void test_wide_steps(void **state)
{
    const house *h = *state;
    read_wide(h, "", NULL); /* a file from before there were any */
    read_wide(h, "\"wide_step_ms\": [{\"rows\": 32, \"ms\": 33}, {\"rows\": 64, \"ms\": 70}], ",
              NULL);
    read_wide(h, "\"wide_step_ms\": 3, ", "wide_step_ms must be a list");
    read_wide(h, "\"wide_step_ms\": [{\"rows\": 17, \"ms\": 33}], ", "from 18 to 64");
    read_wide(h, "\"wide_step_ms\": [{\"rows\": 65, \"ms\": 33}], ", "from 18 to 64");
    read_wide(h, "\"wide_step_ms\": [{\"rows\": 32, \"ms\": 0}], ", "above 0");
    read_wide(h, "\"wide_step_ms\": [{\"rows\": 32, \"ms\": 1}, {\"rows\": 32, \"ms\": 1}], ",
              "growing rows");
    read_wide(h, "\"wide_step_ms\": [{\"rows\": 32}], ", "ms");
    read_wide(h, "\"wide_step_ms\": [{\"rows\": 32, \"ms\": 1, \"x\": 1}], ", "x");
}

static void refused(const house *h, const model *small, const char *what)
{
    probe_record r;
    failure fail;
    assert_int_equal(calibration_file_read_probe(&r, h->path, h->config, small, &fail), ERR_CONFIG);
    if (strstr(fail.text, what) == NULL || strstr(fail.text, h->path) == NULL)
        fail_msg("\"%s\" lacks \"%s\" or the file's name", fail.text, what);
}

static void test_not_made_for(void **state)
{
    const house *h = *state;
    config_probe *p = &h->config->probe;
    write_file(h, NULL);
    refused(h, h->large, "the small model is large.gguf");
    p->window_head++;
    refused(h, h->small, "window");
    p->window_head--;
    char *kept = p->template;
    p->template = (char[]){"{conversation}About:"};
    refused(h, h->small, "{conversation}About:");
    p->template = kept;
    kept = p->labels[1].token;
    p->labels[1].token = (char[]){" question"};
    refused(h, h->small, " question");
    p->labels[1].token = kept;
    p->n_labels--;
    refused(h, h->small, "3 labels");
    p->n_labels++;
    chat_template *chat = h->small->chat;
    const chat_vocabulary words = {.tokenizer = h->small->tokenizer};
    assert_int_equal(chat_template_choose(&h->small->chat, "llama3", words, NULL), OK);
    refused(h, h->small, "llama3");
    chat_template_destroy(h->small->chat);
    h->small->chat = chat;
}

/* The file with one text replaced by another. */
static void change_file(const house *h, const char *from, const char *to)
{
    buffer text;
    buffer_init(&text, 1 << 20);
    write_file(h, NULL);
    assert_int_equal(buffer_read_file(&text, h->path, NULL), OK);
    char *at = strstr(text.data, from);
    if (at == NULL)
        fail_msg("no %s", from);
    FILE *file = fopen(h->path, "we");
    assert_non_null(file);
    fprintf(file, "%.*s%s%s", (int)(at - text.data), text.data, to, at + strlen(from));
    fclose(file);
    buffer_free(&text);
}

static void test_malformed(void **state)
{
    static const struct {
        const char *from, *to, *what;
    } cases[] = {
        {"\"version\": 1", "\"version\": 2", "version"},
        {"\"version\": 1", "\"version\": 1, \"colour\": 3", "colour"},
        {"\"form\"", "\"shape\"", "form"},
        {"\"window_head\": ", "\"window_head\": \"9\", \"x\": ", "probe"},
        {"\"scale\": 2.0", "\"scale\": -2.0", "scale"},
        {"\"goal\": \"max_misroute\"", "\"goal\": \"most\"", "goal"},
        {"{", "{{", "not JSON"},
        {"\"probe\"", "\"machine\"", "no part \"probe\""},
    };
    const house *h = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        change_file(h, cases[i].from, cases[i].to);
        refused(h, h->small, cases[i].what);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_probe_again), cmocka_unit_test(test_machine_again),
        cmocka_unit_test(test_wide_steps),  cmocka_unit_test(test_not_made_for),
        cmocka_unit_test(test_malformed),
    };
    return cmocka_run_group_tests(tests, open_house, close_house);
}
