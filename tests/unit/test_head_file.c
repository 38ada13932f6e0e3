/* Heads in a calibration file: the same bits again, and whatever does not fit is refused by name.
 */
#include <math.h>
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
    head_record kind, success;
    char path[64];
} house;

static void fill(head_record *r, size_t n_labels, size_t width)
{
    assert_int_equal(head_create(&r->head, n_labels, width, NULL), OK);
    r->head.layer = 1;
    for (size_t i = 0; i < n_labels * width; i++)
        r->head.weights[i] = (float)(sin((double)i) / 3);
    for (size_t k = 0; k < n_labels; k++)
        r->head.bias[k] = 1.0 / (double)(k + 3);
    r->strength = 0.1;
    r->n_fitted = 321;
}

static int open_house(void **state)
{
    static house h;
    failure fail;
    *state = &h;
    kernel_init(NULL, &fail);
    snprintf(h.path, sizeof h.path, "/tmp/a-io-heads-XXXXXX");
    close(mkstemp(h.path));
    const model_options options = {.chat_template = NULL};
    if (config_load(&h.config, "config/demo.yaml", &fail) != OK ||
        model_load(&h.small, "models/demo/small.gguf", &options, &fail) != OK ||
        model_load(&h.large, "models/demo/large.gguf", &options, &fail) != OK)
        return 1;
    fill(&h.kind, h.config->probe.n_labels, h.small->config.n_embd);
    fill(&h.success, SUCCESS_LABELS, h.small->config.n_embd);
    h.success.limits =
        (chosen_limits){.goal = LIMIT_LOSS,
                        .n = 1,
                        .targets = {0.02},
                        .effects = {{.limit = 0.1 + 0.7, .n = 1000, .n_small = 300}}};
    return 0;
}

static int close_house(void **state)
{
    house *h = *state;
    unlink(h->path);
    head_record_free(&h->kind);
    head_record_free(&h->success);
    model_destroy(h->small);
    model_destroy(h->large);
    config_free(h->config);
    return 0;
}

static void write_file(const house *h)
{
    failure fail;
    const calibration_parts parts = {.kind = &h->kind, .success = &h->success};
    if (calibration_file_write(h->path, &parts, h->config, h->small, &fail) != OK)
        fail_msg("%s", fail.text);
}

static void assert_same(const head_record *a, const head_record *b)
{
    assert_int_equal(a->head.n_labels, b->head.n_labels);
    assert_int_equal(a->head.width, b->head.width);
    assert_int_equal(a->head.layer, b->head.layer);
    assert_memory_equal(a->head.weights, b->head.weights,
                        a->head.n_labels * a->head.width * sizeof *a->head.weights);
    assert_memory_equal(a->head.bias, b->head.bias, sizeof a->head.bias);
    assert_int_equal(a->n_fitted, b->n_fitted);
    assert_true(a->strength == b->strength);
    assert_int_equal(a->limits.goal, b->limits.goal);
    assert_int_equal(a->limits.n, b->limits.n);
    for (size_t i = 0; i < a->limits.n; i++)
        assert_true(a->limits.effects[i].limit == b->limits.effects[i].limit);
}

static void test_again(void **state)
{
    const house *h = *state;
    head_record r;
    failure fail;
    write_file(h);
    if (calibration_file_read_head(&r, "kind", h->path, h->config, h->small, &fail) != OK)
        fail_msg("%s", fail.text);
    assert_same(&r, &h->kind);
    head_record_free(&r);
    if (calibration_file_read_head(&r, "success", h->path, h->config, h->small, &fail) != OK)
        fail_msg("%s", fail.text);
    assert_same(&r, &h->success);
    head_record_free(&r);
}

static void refused(const house *h, const model *small, const char *part, const char *what)
{
    head_record r;
    failure fail;
    assert_int_equal(calibration_file_read_head(&r, part, h->path, h->config, small, &fail),
                     ERR_CONFIG);
    if (strstr(fail.text, what) == NULL || strstr(fail.text, h->path) == NULL)
        fail_msg("\"%s\" lacks \"%s\" or the file's name", fail.text, what);
    assert_null(r.head.weights);
}

static void test_not_made_for(void **state)
{
    const house *h = *state;
    config_probe *p = &h->config->probe;
    write_file(h);
    refused(h, h->large, "kind", "the small model is large.gguf");
    refused(h, h->large, "success", "the small model is large.gguf");
    p->n_labels--;
    refused(h, h->small, "kind", "for 3 labels, 2 are needed");
    p->n_labels++;
    char *kept = p->labels[1].name;
    p->labels[1].name = (char[]){"question"};
    refused(h, h->small, "kind", "label qa where the configuration has question");
    p->labels[1].name = kept;
    chat_template *chat = h->small->chat;
    const chat_vocabulary words = {.tokenizer = h->small->tokenizer};
    assert_int_equal(chat_template_choose(&h->small->chat, "llama3", words, NULL), OK);
    refused(h, h->small, "kind", "llama3");
    chat_template_destroy(h->small->chat);
    h->small->chat = chat;
}

/* The file, with what follows `key` up to the next `end` replaced. */
static void change_file(const house *h, const char *key, const char *end, const char *to)
{
    buffer text;
    buffer_init(&text, (size_t)1 << 24);
    write_file(h);
    assert_int_equal(buffer_read_file(&text, h->path, NULL), OK);
    char *at = strstr(text.data, key);
    if (at == NULL)
        fail_msg("no %s", key);
    at += strlen(key);
    FILE *file = fopen(h->path, "we");
    assert_non_null(file);
    fprintf(file, "%.*s%s%s", (int)(at - text.data), text.data, to, strstr(at, end));
    fclose(file);
    buffer_free(&text);
}

static void test_malformed(void **state)
{
    static const struct {
        const char *key, *end, *to, *what;
    } cases[] = {
        {"\"width\": ", ",", "63", "its width is 63"},
        {"\"width\": ", ",", "-1", "its width is -1"},
        {"\"width\": ", ",", "4611686018427387904", "its width is 46116"},
        {"\"layer\": ", ",", "0", "layer 0"},
        {"\"layer\": ", ",", "1000", "layer 1000"},
        {"\"layer\": ", ",", "\"1\"", "kind: "},
        {"\"weights\": \"", "\"", "", "finite numbers in base 64"},
        {"\"weights\": \"", "\"", "AAAA", "finite numbers in base 64"},
        {"\"weights\": \"AA", "\"", "?", "finite numbers in base 64"},
        {"\"bias\": ", ",", "\"x\"", "kind.labels[0]"},
        {"\"limit\": ", "\n", "{\"goal\": \"max_misroute\"}", "kind.limit"},
        {"\"goal\": \"", "\"", "max_misroute", "the goal \"max_misroute\" is unknown"},
        {"\"success\": 0.", ",", "9e3", "no number from 0 to 1"},
        {"\"name\": \"ri", "\"", "ch", "label rich where the configuration has right"},
    };
    const house *h = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool is_success = i + 3 >= sizeof cases / sizeof cases[0];
        change_file(h, cases[i].key, cases[i].end, cases[i].to);
        refused(h, h->small, is_success ? "success" : "kind", cases[i].what);
    }
    change_file(h, "\"kin", "\"", "g");
    refused(h, h->small, "success", "kin");
}

/* Not a number, in as many characters as a number. */
static void test_not_finite(void **state)
{
    const house *h = *state;
    float kept = h->kind.head.weights[5];
    h->kind.head.weights[5] = NAN;
    write_file(h);
    refused(h, h->small, "kind", "finite numbers");
    h->kind.head.weights[5] = kept;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_again),
        cmocka_unit_test(test_not_made_for),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_not_finite),
    };
    return cmocka_run_group_tests(tests, open_house, close_house);
}
