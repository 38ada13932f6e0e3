/* Perplexity: what is counted, and that it is what the model's logits say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/sample.h"
#include "measure/measure.h"
#include "measure/perplexity.h"
#include "model/synthetic_internal.h"
#include "unit/small_shape.h"

#define SMALL_MODEL "models/demo/small.gguf"

static failure fail;
static model *demo;
static team *teams[2];

static void expect_ok(error_code code)
{
    if (code != OK)
        fail_msg("%s", fail.text);
}

static int open_all(void **state)
{
    (void)state;
    const model_options options = {.chat_template = "none"};
    expect_ok(kernel_init(NULL, &fail));
    expect_ok(model_load(&demo, SMALL_MODEL, &options, &fail));
    for (int i = 0; i < 2; i++)
        expect_ok(team_create(&teams[i], i + 1, &fail));
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++)
        team_destroy(teams[i]);
    model_destroy(demo);
    return 0;
}

static token_list random_text(const model *m, size_t n)
{
    token_list text = {0};
    for (size_t i = 0; i < n; i++)
        expect_ok(
            token_list_add(&text, (int32_t)(random_uniform(7, 0, i) * (double)m->config.n_vocab)));
    return text;
}

static perplexity_result measured(const model *m, const int32_t *ids, size_t n, size_t window,
                                  size_t chunk, int n_threads)
{
    token_list text = {0};
    perplexity_result r;
    const perplexity_options o = {
        .threads = teams[n_threads - 1], .kv = KV_F16, .window = window, .chunk = chunk};
    expect_ok(token_list_append(&text, ids, n));
    expect_ok(measure_perplexity(m, &text, &o, &r, &fail));
    token_list_free(&text);
    return r;
}

static void chunks_and_threads_change_nothing(void **state)
{
    (void)state;
    token_list text = random_text(demo, 150);
    const perplexity_result first = measured(demo, text.ids, 150, 60, 64, 1);
    const size_t chunks[] = {1, 7, 59, 60};
    for (size_t i = 0; i < 4; i++)
        for (int n_threads = 1; n_threads <= 2; n_threads++) {
            perplexity_result r = measured(demo, text.ids, 150, 60, chunks[i], n_threads);
            assert_true(r.nats == first.nats && r.standard_error == first.standard_error);
        }
    token_list_free(&text);
}

/* Windows share one token, which the later one is given; each begins with an empty KV. */
static void every_token_is_counted_once(void **state)
{
    (void)state;
    assert_false(tokenizer_adds_bos(demo->tokenizer));
    token_list text = random_text(demo, 41);
    perplexity_result all = measured(demo, text.ids, 41, 21, 64, 1);
    assert_int_equal(all.tokens, 40);
    assert_int_equal(all.windows, 2);
    perplexity_result a = measured(demo, text.ids, 21, 21, 64, 1);
    perplexity_result b = measured(demo, text.ids + 20, 21, 21, 64, 1);
    assert_int_equal(a.tokens + b.tokens, 40);
    assert_true(fabs(all.nats - (a.nats + b.nats) / 2) < 1e-12);
    assert_true(all.perplexity == exp(all.nats));
    /* two tokens: half their distance is the mean's standard error */
    perplexity_result two = measured(demo, text.ids, 3, 21, 64, 1);
    double first = measured(demo, text.ids, 2, 21, 64, 1).nats, second = 2 * two.nats - first;
    assert_true(fabs(two.standard_error - fabs(first - second) / 2) < 1e-9);
    token_list_free(&text);
}

/* What the model itself says greedily after a token is what it finds likely. */
static void own_words_are_likely(void **state)
{
    (void)state;
    const int32_t start = tokenizer_find(demo->tokenizer, "def", 3);
    assert_true(start >= 0);
    const subject_options o = {
        .threads = teams[0], .kv = KV_F16, .positions = 101, .prompt = &start, .n_prompt = 1};
    const speed_test test = {SPEED_DECODE, 100, 0};
    subject *s;
    token_list text = {0};
    expect_ok(subject_create(&s, demo, &o, &fail));
    subject_run(s, &test);
    expect_ok(token_list_add(&text, start));
    token_list answer = {0};
    expect_ok(subject_answer(s, &test, &answer));
    expect_ok(token_list_append(&text, answer.ids, answer.length));
    perplexity_result own = measured(demo, text.ids, text.length, 200, 64, 1);
    assert_int_equal(own.tokens, 100);
    assert_true(own.perplexity >= 1 && own.perplexity < 4);
    token_list other = random_text(demo, 101);
    assert_true(measured(demo, other.ids, 101, 200, 64, 1).perplexity > 100 * own.perplexity);
    token_list_free(&other);
    token_list_free(&answer);
    token_list_free(&text);
    subject_destroy(s);
}

/* Random weights; the file is gone when the test ends. */
static void write_random_model(char *path)
{
    const synthetic_shape shape = small_shape("qwen2", false);
    const synthetic_options options = {.mix = weight_mix_uniform(TENSOR_F32), .seed = 1};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    expect_ok(synthetic_write_shape(&shape, &options, path, &fail));
}

static model *load_raw(const char *path)
{
    const model_options raw = {.chat_template = "none"};
    model *m;
    expect_ok(model_load(&m, path, &raw, &fail));
    return m;
}

/* Logits with a deviation of about one give e^(1/2) × vocabulary. */
static void random_weights_know_nothing(void **state)
{
    (void)state;
    char path[] = "/tmp/a-io-perplexity-XXXXXX";
    write_random_model(path);
    model *m = load_raw(path);
    unlink(path);
    token_list text = random_text(m, 500);
    perplexity_result r = measured(m, text.ids, 500, 128, 64, 2);
    if (r.perplexity < 900 || r.perplexity > 2500)
        fail_msg("perplexity %.1f", r.perplexity);
    token_list_free(&text);
    model_destroy(m);
}

/* In the file: the key, its type (4 bytes), the value. */
static void make_it_add_bos(const char *path)
{
    static const char key[] = "tokenizer.ggml.add_bos_token";
    buffer file;
    buffer_init(&file, (size_t)64 << 20);
    expect_ok(buffer_read_file(&file, path, &fail));
    char *at = memmem(file.data, file.length, key, strlen(key));
    assert_non_null(at);
    at[strlen(key) + 4] = 1;
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_int_equal(fwrite(file.data, 1, file.length, out), file.length);
    fclose(out);
    buffer_free(&file);
}

/* Where the model adds bos, each window begins with it: even the first token is counted. */
static void bos_begins_every_window(void **state)
{
    (void)state;
    char path[] = "/tmp/a-io-perplexity-XXXXXX";
    write_random_model(path);
    model *plain = load_raw(path);
    unlink(path);
    write_random_model(strcpy(path, "/tmp/a-io-perplexity-XXXXXX"));
    make_it_add_bos(path);
    model *m = load_raw(path);
    unlink(path);
    assert_true(tokenizer_adds_bos(m->tokenizer) && !tokenizer_adds_bos(plain->tokenizer));
    token_list text = random_text(m, 40);
    perplexity_result all = measured(m, text.ids, 40, 21, 64, 1);
    assert_int_equal(all.tokens, 40);
    assert_int_equal(all.windows, 2);
    double sum = 0;
    for (size_t half = 0; half < 2; half++) {
        int32_t given[21] = {tokenizer_bos(m->tokenizer)};
        memcpy(given + 1, text.ids + 20 * half, 20 * sizeof given[0]);
        sum += measured(plain, given, 21, 21, 64, 1).nats;
    }
    assert_true(fabs(all.nats - sum / 2) < 1e-12);
    assert_int_equal(measured(m, text.ids, 1, 21, 64, 1).tokens, 1);
    token_list_free(&text);
    model_destroy(plain);
    model_destroy(m);
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    token_list text = random_text(demo, 1);
    perplexity_result r;
    perplexity_options o = {.threads = teams[0], .kv = KV_F16, .window = 20, .chunk = 8};
    assert_int_equal(measure_perplexity(demo, &text, &o, &r, &fail), ERR_INVALID);
    o.window = demo->config.context_length + 1;
    assert_int_equal(measure_perplexity(demo, &text, &o, &r, &fail), ERR_CONTEXT);
    o.window = 1;
    assert_int_equal(measure_perplexity(demo, &text, &o, &r, &fail), ERR_CONTEXT);
    token_list_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_and_threads_change_nothing),
        cmocka_unit_test(every_token_is_counted_once),
        cmocka_unit_test(own_words_are_likely),
        cmocka_unit_test(random_weights_know_nothing),
        cmocka_unit_test(bos_begins_every_window),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests_name("perplexity", tests, open_all, close_all);
}
