/* KV of layers with an attention window: memory stays that of the window, and what a sequence finds
 * in its slot, taken over or copied, is always all that its next row sees. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/kv.h"

enum { CONTEXT = 4096, WINDOW = 48, AHEAD = 200, SLOTS = 6, HEAD_DIM = 16, ROUNDS = 12000 };

/* Every third layer sees all. */
static model_config alternating(void)
{
    model_config c = {.n_layers = 6, .n_kv_heads = 2, .head_dim = HEAD_DIM};
    c.kinds[1].window = WINDOW;
    for (size_t i = 0; i < c.n_layers; i++)
        c.kind_of_layer[i] = i % 3 != 2;
    return c;
}

static kv_cache *create(const model_config *c, size_t slots)
{
    kv_cache *kv;
    failure fail;
    if (kv_create(&kv, c, KV_F32, CONTEXT, AHEAD, slots, &fail) != OK)
        fail_msg("%s", fail.text);
    return kv;
}

static float *values_at(const kv_slot *s, size_t region, size_t position)
{
    return (float *)(void *)s->view.keys + (region * s->view.capacity + position) * HEAD_DIM;
}

/* What stands at a position depends on all tokens before it, as true keys and values do. */
static float value_of(size_t region, uint32_t history)
{
    return (float)((history ^ (uint32_t)region * 2654435761u) >> 8);
}

static uint32_t history_after(uint32_t history, int32_t token)
{
    return (history ^ (uint32_t)token) * 16777619u + 1;
}

/* Computes the sequence's tokens from what the slot holds on, a few rows at a time. */
static void compute(kv_cache *kv, kv_slot *s, const model_config *c, const int32_t *tokens,
                    size_t n)
{
    uint32_t history = 7;
    size_t have = s->tokens.length;
    for (size_t i = 0; i < have; i++)
        history = history_after(history, tokens[i]);
    while (have < n) {
        size_t rows = 1 + (have * 31 + n) % AHEAD;
        rows = rows < n - have ? rows : n - have;
        kv_commit(kv, s, have + rows);
        for (size_t i = have; i < have + rows; i++) {
            history = history_after(history, tokens[i]);
            for (size_t region = 0; region < 2 * c->n_layers * c->n_kv_heads; region++)
                values_at(s, region, i)[0] = value_of(region, history);
            s->tokens.ids[i] = tokens[i];
        }
        s->tokens.length = have += rows;
    }
}

/* All that a row after the slot's tokens sees is there and is these tokens'. */
static void check_sight(const kv_slot *s, const model_config *c, const int32_t *tokens)
{
    uint32_t history = 7;
    size_t n = s->tokens.length;
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(s->tokens.ids[i], tokens[i]);
        history = history_after(history, tokens[i]);
        for (size_t region = 0; region < 2 * c->n_layers * c->n_kv_heads; region++) {
            size_t layer = region % (c->n_layers * c->n_kv_heads) / c->n_kv_heads;
            size_t window = config_layer(c, layer)->window;
            if (window == 0 || i + window > n)
                assert_true(values_at(s, region, i)[0] == value_of(region, history));
        }
    }
}

static size_t resident_bytes(const char *begin, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (bytes + page - 1) / page, n = 0;
    unsigned char *there = malloc(pages);
    assert_non_null(there);
    assert_int_equal(mincore((void *)(uintptr_t)begin, bytes, there), 0);
    for (size_t i = 0; i < pages; i++)
        n += there[i] & 1;
    free(there);
    return n * page;
}

static void test_memory(void **state)
{
    (void)state;
    const model_config c = alternating();
    static int32_t tokens[CONTEXT];
    kv_cache *kv = create(&c, 1);
    kv_slot *s = kv_acquire(kv, tokens, 1);
    size_t region = s->view.capacity * kv_value_bytes(KV_F32, HEAD_DIM), largest = 0;
    for (size_t n = 100; n <= CONTEXT; n += 37) {
        compute(kv, s, &c, tokens, n);
        size_t there = resident_bytes(s->view.keys, region), counted = 0;
        for (size_t i = 0; i < 2 * c.n_layers * c.n_kv_heads; i++)
            counted += resident_bytes(s->view.keys + i * region, region);
        largest = there > largest ? there : largest;
        assert_true(counted <= kv_read_usage(kv).committed_bytes);
        assert_true(kv_read_usage(kv).committed_bytes <= kv_sequence_bytes(kv, n));
    }
    size_t all = resident_bytes(s->view.keys + 4 * region, region);
    printf("  %d positions: %zu KB in a layer with a window of %d, %zu KB without\n", CONTEXT,
           largest >> 10, WINDOW, all >> 10);
    assert_true(4 * largest < all);
    assert_true(kv_sequence_bytes(kv, CONTEXT) <
                kv_sequence_bytes(kv, CONTEXT / 2) * 3 / 2 + all * 8);
    kv_destroy(kv);
}

static void test_short_prefix_is_not_taken(void **state)
{
    (void)state;
    const model_config c = alternating();
    static int32_t tokens[CONTEXT];
    kv_cache *kv = create(&c, 1);
    kv_slot *s = kv_acquire(kv, tokens, 1);
    compute(kv, s, &c, tokens, 3000);
    kv_release(kv, s);
    assert_ptr_equal(kv_acquire(kv, tokens, 2990), s);
    assert_int_equal(s->tokens.length, 2989);
    check_sight(s, &c, tokens);
    kv_release(kv, s);
    assert_ptr_equal(kv_acquire(kv, tokens, 1000), s);
    assert_int_equal(s->tokens.length, 0);
    compute(kv, s, &c, tokens, 1000);
    check_sight(s, &c, tokens);
    kv_destroy(kv);
}

typedef struct scene {
    kv_cache *kv;
    model_config c;
    kv_slot *running[SLOTS]; /* or NULL */
    int32_t tokens[SLOTS][CONTEXT];
    size_t n_tokens[SLOTS];
    size_t taken;
} scene;

static unsigned random_below(unsigned n)
{
    static uint64_t x = 88172645463325252u;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return (unsigned)(x >> 33) % n;
}

/* A conversation that shares much with others: one of few stems, cut anywhere, and some words. */
static void write_prompt(scene *x, size_t i)
{
    size_t stem = random_below(3), length = 1 + random_below(CONTEXT - 400);
    for (size_t p = 0; p < length; p++)
        x->tokens[i][p] = (int32_t)(p / 500 * 7 + stem * (p > 600));
    size_t words = 1 + random_below(200);
    for (size_t p = length; p < length + words; p++)
        x->tokens[i][p] = (int32_t)random_below(3);
    x->n_tokens[i] = length + words;
}

static void start(scene *x, size_t i)
{
    write_prompt(x, i);
    kv_slot *s = kv_acquire(x->kv, x->tokens[i], x->n_tokens[i]);
    x->running[i] = s;
}

static void go_on(scene *x, size_t i)
{
    kv_slot *s = x->running[i];
    if (kv_is_copying(s))
        return;
    check_sight(s, &x->c, x->tokens[i]);
    x->taken += s->tokens.length;
    size_t n = s->tokens.length + 1 + random_below(700);
    compute(x->kv, s, &x->c, x->tokens[i], n < x->n_tokens[i] ? n : x->n_tokens[i]);
    check_sight(s, &x->c, x->tokens[i]);
}

static void test_any_order(void **state)
{
    (void)state;
    static scene x;
    x.c = alternating();
    x.kv = create(&x.c, SLOTS);
    for (size_t round = 0; round < ROUNDS; round++) {
        size_t i = random_below(SLOTS);
        unsigned what = random_below(12);
        if (what == 0)
            kv_evict(x.kv, 1 + random_below(1 << 20));
        else if (what < 3)
            kv_work(x.kv, 0.004);
        else if (x.running[i] == NULL)
            start(&x, i);
        else if (what < 10)
            go_on(&x, i);
        else {
            kv_release(x.kv, x.running[i]);
            x.running[i] = NULL;
        }
    }
    assert_true(x.taken > 0);
    kv_destroy(x.kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_short_prefix_is_not_taken),
        cmocka_unit_test(test_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
