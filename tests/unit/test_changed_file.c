/* A model's file that changes under the program: overwritten, truncated or gone while the engine
 * answers, it changes no token and stops nothing; written to while it is loaded, it is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/stat.h>
#include <time.h>

#include "engine/engine.h"
#include "model/requantise.h"
#include "model_copy.h"

enum { N_PROMPT = 40, N_REPLY = 60, MOST_VALUES = 4096 };

static void must(error_code code, const failure *fail)
{
    if (code != OK)
        fail_msg("%s", fail->text);
}

static void answer(engine *e, token_list *reply)
{
    failure fail = {0};
    sequence *s;
    sequence_poll_result result;
    int32_t prompt[N_PROMPT];
    for (int32_t i = 0; i < N_PROMPT; i++)
        prompt[i] = 40 + i * 7 % 97;
    const sequence_request r = {.prompt = prompt,
                                .n_prompt = N_PROMPT,
                                .max_tokens = N_REPLY,
                                .is_alone = true,
                                .sampling = sampling_defaults()};
    reply->length = 0;
    must(engine_submit(e, &r, &s, &fail), &fail);
    do {
        usleep(200);
        assert_int_equal(sequence_poll(s, &result, NULL, reply), OK);
    } while (result.state == SEQUENCE_RUNNING);
    sequence_release(s);
    assert_int_equal(result.state, SEQUENCE_FINISHED);
}

/* Every byte but the header's first, so that only what was read before can be right. */
static void overwrite(const model_copy *c)
{
    char block[1 << 16];
    memset(block, 0x5A, sizeof block);
    for (size_t at = 0; at < c->length; at += sizeof block)
        change_bytes(c, (off_t)at, block,
                     c->length - at < sizeof block ? c->length - at : sizeof block);
}

static void truncate_to_nothing(const model_copy *c)
{
    assert_int_equal(ftruncate(c->fd, 0), 0);
}

static void delete_file(const model_copy *c)
{
    unlink(c->path);
}

static void check_embedding(const model *m, const float *before)
{
    float row[MOST_VALUES];
    for (int32_t token = 0; token < 256; token++) {
        model_embed(m, token, row);
        assert_memory_equal(row, before + (size_t)token * m->config.n_embd,
                            m->config.n_embd * sizeof *row);
    }
}

static void change_while_serving(const char *path, void (*change)(const model_copy *c))
{
    failure fail = {0};
    model_copy c;
    model *m;
    conductor *house;
    engine *e;
    engine_options options = engine_defaults();
    token_list before = {0}, after = {0};
    options.context = 256;
    copy_model(&c, path);
    must(model_load(&m, c.path, &(model_options){.chat_template = "none"}, &fail), &fail);
    must(conductor_create(&house, 2, &fail), &fail);
    must(conductor_add(house, m, &options, &e, &fail), &fail);
    must(conductor_start(house, &fail), &fail);
    float *rows = malloc(256 * m->config.n_embd * sizeof *rows);
    for (int32_t token = 0; token < 256; token++)
        model_embed(m, token, rows + (size_t)token * m->config.n_embd);
    uint64_t fingerprint = m->fingerprint;
    answer(e, &before);
    change(&c);
    answer(e, &after);
    check_embedding(m, rows);
    assert_int_equal(before.length, after.length);
    assert_memory_equal(before.ids, after.ids, before.length * sizeof *before.ids);
    assert_true(m->fingerprint == fingerprint && gguf_file_bytes(m->file) == c.length);
    assert_true(gguf_has(m->file, "general.architecture"));
    conductor_destroy(house);
    model_destroy(m);
    token_list_free(&before);
    token_list_free(&after);
    free(rows);
    remove_copy(&c);
}

/* With an output matrix of its own, and one that is the embedding. */
static void test_while_serving(void **state)
{
    (void)state;
    static const char *const paths[] = {"models/demo/small.gguf",
                                        "tests/golden/data/qwen2.Q4_K.gguf",
                                        "tests/golden/data/llama-linear-tied.F32.gguf"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        change_while_serving(paths[i], overwrite);
        change_while_serving(paths[i], truncate_to_nothing);
        change_while_serving(paths[i], delete_file);
    }
}

/* ---- while it is loaded ---------------------------------------------------------------------- */

static void touch(const model_copy *c)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1, .tv_nsec = 1}};
    char first = 'G';
    change_bytes(c, 0, &first, 1);
    assert_int_equal(futimens(c->fd, times), 0);
}

static void shorten(const model_copy *c)
{
    assert_int_equal(ftruncate(c->fd, (off_t)c->length - 1), 0);
}

static void lengthen(const model_copy *c)
{
    assert_int_equal(ftruncate(c->fd, (off_t)c->length + 1), 0);
}

typedef struct change_once {
    const model_copy *c;
    void (*change)(const model_copy *c);
} change_once;

static void change_at_progress(void *context, double fraction)
{
    change_once *once = context;
    (void)fraction;
    if (once->change != NULL)
        once->change(once->c);
    once->change = NULL;
}

/* Rows are read by threads of their own. */
static void test_while_requantised(void **state)
{
    (void)state;
    model_copy c;
    gguf *file;
    requantised made;
    failure fail = {0};
    copy_model(&c, "models/demo/small.gguf");
    assert_int_equal(gguf_open(&file, c.path, &fail), OK);
    const gguf_tensor *t = gguf_tensor_find(file, "token_embd.weight");
    truncate_to_nothing(&c);
    assert_int_equal(requantise(&made, file, t, tensor_type_find_name("q4_0"), &fail), ERR_IO);
    assert_non_null(strstr(fail.text, "while it was read"));
    gguf_close(file);
    remove_copy(&c);
}

static void test_while_loading(void **state)
{
    (void)state;
    void (*const changes[])(const model_copy *c) = {touch, shorten, lengthen, truncate_to_nothing};
    for (size_t i = 0; i < 4; i++) {
        failure fail = {0};
        model_copy c;
        model *m;
        copy_model(&c, "models/demo/small.gguf");
        change_once once = {&c, changes[i]};
        const model_options options = {
            .chat_template = "none", .progress = change_at_progress, .progress_context = &once};
        assert_int_equal(model_load(&m, c.path, &options, &fail), ERR_IO);
        assert_non_null(strstr(fail.text, "while it was read"));
        remove_copy(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_while_serving),
        cmocka_unit_test(test_while_loading),
        cmocka_unit_test(test_while_requantised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
