/* The token path allocates nothing: between a reply's tokens no memory is taken, with lookup,
 * sampling and stop strings on. malloc and its relatives are counted for the whole process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/engine.h"
#include "sanitized.h"

#if IS_SANITIZED
#define COUNTING 0 /* the sanitizers bring their own malloc */
#else
#define COUNTING 1

static atomic_size_t n_allocations;

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);

void *malloc(size_t size)
{
    atomic_fetch_add(&n_allocations, 1);
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    atomic_fetch_add(&n_allocations, 1);
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    atomic_fetch_add(&n_allocations, 1);
    return __libc_realloc(p, size);
}
#endif

static void test_token_path(void **state)
{
    (void)state;
#if !COUNTING
    printf("  skipped: a sanitizer counts for itself\n");
    skip();
#else
    failure fail = {0};
    model *m;
    conductor *c;
    engine *e;
    sequence *s;
    buffer text;
    token_list tokens = {0};
    int32_t prompt[64];
    static const char *const stops[] = {"never to be seen"};
    const model_options no_chat = {.chat_template = "none"};
    engine_options options = engine_defaults();
    options.context = 1024;
    for (int i = 0; i < 64; i++)
        prompt[i] = 40 + i % 9;
    assert_int_equal(kernel_init(NULL, &fail), OK);
    assert_int_equal(model_load(&m, "tests/golden/data/qwen2.Q4_K.gguf", &no_chat, &fail), OK);
    assert_int_equal(conductor_create(&c, 2, &fail), OK);
    assert_int_equal(conductor_add(c, m, &options, &e, &fail), OK);
    assert_int_equal(conductor_start(c, &fail), OK);
    const logit_bias no_end = {tokenizer_eos(m->tokenizer), -100};
    sequence_request r = {.prompt = prompt, .n_prompt = 64, .max_tokens = 400, .n_stops = 1};
    r.sampling = sampling_defaults();
    r.sampling.top_p = 0.9f;
    r.sampling.frequency_penalty = 0.1f;
    r.sampling.biases = &no_end;
    r.sampling.n_biases = no_end.token >= 0 ? 1 : 0;
    r.stops = stops;
    r.lookup = (lookup_setting){LOOKUP_FIXED, 4, 0};
    buffer_init(&text, 1 << 20);
    assert_int_equal(buffer_reserve(&text, 1 << 16), OK);
    assert_int_equal(token_list_reserve(&tokens, 1024), OK);
    assert_int_equal(engine_submit(e, &r, &s, &fail), OK);
    size_t before = 0, after = 0, first = 0;
    sequence_poll_result result;
    do {
        usleep(200);
        assert_int_equal(sequence_poll(s, &result, &text, &tokens), OK);
        if (first == 0 && tokens.length > 0) {
            first = tokens.length;
            before = atomic_load(&n_allocations);
        }
        after = atomic_load(&n_allocations);
    } while (result.state == SEQUENCE_RUNNING);
    printf("  %zu allocations between token %zu and token %zu\n", after - before, first,
           tokens.length);
    assert_int_equal(result.state, SEQUENCE_FINISHED);
    assert_true(tokens.length > first);
    assert_int_equal(after - before, 0);
    sequence_release(s);
    conductor_destroy(c);
    model_destroy(m);
    buffer_free(&text);
    token_list_free(&tokens);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_token_path)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
