/* The prefix cache in the engine: an answer is the same from every kind of prefix, for every type
 * of KV (promise 1), and memory follows the tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/engine.h"

#define MODEL "tests/golden/data/pangu.Q8_0.gguf"
#define WIDE_MODEL "tests/golden/data/qwen3.Q4_0.gguf" /* heads of 64 */

enum { PROMPT = 60, MOST_PROMPT = 150, REPLY = 200, SHORT_REPLY = 24, CONTEXT = 600 };
enum { SLOTS = 1 + 1 + 4 }; /* of an engine with one place: for a parked reply, classifications */

typedef struct house {
    model *m;
    conductor *c;
    engine *e;
    kv_type kv;
} house;

static model *load_model(const char *path)
{
    failure fail = {0};
    model *m;
    const model_options options = {.chat_template = "none"};
    if (model_load(&m, path, &options, &fail) != OK)
        fail_msg("%s", fail.text);
    return m;
}

static int load(void **state)
{
    static house h;
    failure fail;
    assert_int_equal(kernel_init(NULL, &fail), OK);
    h.m = load_model(MODEL);
    *state = &h;
    return 0;
}

static int unload(void **state)
{
    house *h = *state;
    model_destroy(h->m);
    return 0;
}

static void open_house(house *h, kv_type kv, size_t slots)
{
    failure fail;
    engine_options o = engine_defaults();
    o.slots = slots;
    o.context = CONTEXT;
    o.prefill_chunk = 16;
    o.kv = kv;
    assert_int_equal(conductor_create(&h->c, 2, &fail), OK);
    if (conductor_add(h->c, h->m, &o, &h->e, &fail) != OK)
        fail_msg("%s", fail.text);
    assert_int_equal(conductor_start(h->c, &fail), OK);
}

static void make_prompt(int32_t *out, size_t n, size_t common, int32_t who)
{
    for (size_t i = 0; i < n; i++)
        out[i] = 10 + (int32_t)(i * 7 % 50) + (i < common ? 0 : who);
}

static sequence *submit(house *h, const int32_t *prompt, size_t n, size_t max_tokens)
{
    failure fail;
    sequence *s;
    const logit_bias no_end = {tokenizer_eos(h->m->tokenizer), -100};
    sequence_request r = {.prompt = prompt, .n_prompt = n, .max_tokens = max_tokens};
    r.sampling = sampling_defaults();
    r.sampling.seed = 5;
    r.sampling.biases = &no_end;
    r.sampling.n_biases = no_end.token >= 0 ? 1 : 0;
    if (engine_submit(h->e, &r, &s, &fail) != OK)
        fail_msg("%s", fail.text);
    return s;
}

/* Polls every millisecond: these tests need no wake-ups. */
static sequence_stats finish(sequence *s, token_list *tokens)
{
    sequence_poll_result result;
    do {
        usleep(1000);
        assert_int_equal(sequence_poll(s, &result, NULL, tokens), OK);
    } while (result.state == SEQUENCE_RUNNING);
    if (result.state != SEQUENCE_FINISHED)
        fail_msg("%s", result.failure.text);
    sequence_release(s);
    return result.stats;
}

/* Runs a request and compares its answer; returns how many tokens came from the cache. */
static size_t check(house *h, const int32_t *prompt, size_t n, const token_list *expected)
{
    token_list got = {0};
    sequence_stats stats = finish(submit(h, prompt, n, expected->length), &got);
    assert_int_equal(got.length, expected->length);
    assert_memory_equal(got.ids, expected->ids, got.length * sizeof *got.ids);
    token_list_free(&got);
    return stats.cached_tokens;
}

static void answer_alone(house *h, const int32_t *prompt, size_t n, size_t max_tokens,
                         token_list *out)
{
    open_house(h, h->kv, 1);
    assert_int_equal(finish(submit(h, prompt, n, max_tokens), out).cached_tokens, 0);
    conductor_destroy(h->c);
}

static bool fits(const house *h, kv_type kv)
{
    return h->m->config.head_dim % kv_block_values(kv) == 0;
}

/* A conversation (a), another one with the same beginning (b), and the next turn of the first:
 * their prompts have n tokens, of which the first `common` are everyone's and `cached` of these are
 * taken from a long reply's slot. */
static void check_conversations(house *h, size_t n, size_t common, size_t cached)
{
    int32_t a[MOST_PROMPT], b[MOST_PROMPT], turn[MOST_PROMPT + REPLY];
    token_list first = {0}, other = {0}, next = {0};
    make_prompt(a, n, common, 1);
    make_prompt(b, n, common, 2);
    answer_alone(h, a, n, REPLY, &first);
    answer_alone(h, b, n, SHORT_REPLY, &other);
    memcpy(turn, a, n * sizeof *turn);
    size_t all = n + first.length;
    memcpy(turn + n, first.ids, first.length * sizeof *turn);
    answer_alone(h, turn, all, SHORT_REPLY, &next);

    open_house(h, h->kv, 3);
    assert_int_equal(check(h, a, n, &first), 0);
    /* Copied: the first conversation is not touched by the second. */
    assert_int_equal(check(h, b, n, &other), cached);
    /* In place. The last sampled token was never computed. */
    assert_int_equal(check(h, turn, all, &next), all - 1);
    /* Again, with what followed the prompt thrown away. */
    assert_int_equal(check(h, b, n, &other), n - 1);
    conductor_destroy(h->c);
    token_list_free(&first);
    token_list_free(&other);
    token_list_free(&next);
}

/* The same prompt again while its first answer is still being given. */
static void check_beside_itself(house *h)
{
    int32_t a[PROMPT];
    token_list expected = {0}, first = {0};
    sequence_poll_result result;
    make_prompt(a, PROMPT, PROMPT, 0);
    answer_alone(h, a, PROMPT, CONTEXT - PROMPT, &expected);
    open_house(h, h->kv, 2);
    sequence *running = submit(h, a, PROMPT, CONTEXT - PROMPT);
    do {
        usleep(200);
        assert_int_equal(sequence_poll(running, &result, NULL, &first), OK);
    } while (first.length == 0);
    size_t all = expected.length;
    expected.length = SHORT_REPLY;
    size_t cached = check(h, a, PROMPT, &expected);
    if (!kv_groups_keys(h->kv) || cached > 0) /* the running one may be beyond its first groups */
        assert_int_equal(cached, PROMPT - 1);
    expected.length = all;
    finish(running, &first);
    assert_int_equal(first.length, all);
    assert_memory_equal(first.ids, expected.ids, all * sizeof *first.ids);
    conductor_destroy(h->c);
    token_list_free(&expected);
    token_list_free(&first);
}

static void test_same_answer_from_every_prefix(void **state)
{
    house *h = *state;
    for (int kv = 0; kv < KV_TYPES; kv++) {
        if (!fits(h, (kv_type)kv)) {
            printf("  %s does not fit heads of %zu\n", kv_type_name((kv_type)kv),
                   h->m->config.head_dim);
            continue;
        }
        h->kv = (kv_type)kv;
        check_conversations(h, PROMPT, 50, 50);
        check_beside_itself(h);
        printf("  %s\n", kv_type_name((kv_type)kv));
    }
}

/* Keys in groups: of a prefix far back only whole groups are taken. */
static void test_same_answer_from_groups(void **state)
{
    (void)state;
    house h = {.m = load_model(WIDE_MODEL), .kv = KV_Q4};
    check_conversations(&h, MOST_PROMPT, 140, 128);
    check_conversations(&h, MOST_PROMPT, 128, 128);
    check_conversations(&h, PROMPT, 50, 0);
    check_beside_itself(&h);
    model_destroy(h.m);
}

/* What the engine says of its memory while nothing runs any more. */
static size_t settled_bytes(house *h, size_t expected)
{
    engine_status status;
    for (int i = 0; i < 2000; i++) {
        engine_read_status(h->e, &status);
        if (status.running + status.waiting == 0 && status.kv_bytes == expected)
            break;
        usleep(1000);
    }
    return status.kv_bytes;
}

static size_t bytes_of(const house *h, size_t positions)
{
    const model_config *c = &h->m->config;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t region = positions * kv_value_bytes(h->kv, c->head_dim), ids = positions * 4;
    return 2 * c->n_layers * c->n_kv_heads * ((region + page - 1) / page * page) +
           (ids + page - 1) / page * page;
}

static void test_memory_follows_the_tokens(void **state)
{
    house *h = *state;
    int32_t a[PROMPT], b[PROMPT];
    make_prompt(a, PROMPT, 0, 1);
    h->kv = KV_F32;
    open_house(h, h->kv, 1);
    assert_int_equal(settled_bytes(h, 0), 0); /* measuring the steps' cost left nothing */
    token_list tokens = {0};
    finish(submit(h, a, PROMPT, 500), &tokens);
    size_t held = PROMPT + tokens.length - 1;
    assert_int_equal(settled_bytes(h, bytes_of(h, held)), bytes_of(h, held));
    /* When all slots have been used, its own goes to another, shorter sequence: the rest goes back.
     */
    for (int32_t who = 2; who < 2 + SLOTS; who++) {
        make_prompt(b, PROMPT, 0, who);
        finish(submit(h, b, PROMPT, 1), &tokens);
    }
    size_t all = SLOTS * bytes_of(h, PROMPT);
    assert_int_equal(settled_bytes(h, all), all);
    assert_true(bytes_of(h, PROMPT) < bytes_of(h, held));
    /* A request that is dropped leaves its beginning, or nothing. */
    sequence_release(submit(h, a, PROMPT, 500));
    engine_status status;
    do {
        engine_read_status(h->e, &status);
    } while (status.running + status.waiting > 0);
    assert_true(status.kv_bytes <= all + bytes_of(h, held));
    conductor_destroy(h->c);
    token_list_free(&tokens);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_answer_from_every_prefix),
        cmocka_unit_test(test_same_answer_from_groups),
        cmocka_unit_test(test_memory_follows_the_tokens),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
