/* KV of layers with an attention window, and of types that close keys in groups: memory stays that
 * of the window, open keys are few, and what a sequence finds in its slot, taken over or copied, is
 * always all that its next row sees. */
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

enum { CONTEXT = 4096, WINDOW = 48, AHEAD = 200, SLOTS = 6, HEAD_DIM = 64, ROUNDS = 12000 };

/* Every third layer sees all. */
static model_config alternating(void)
{
    model_config c = {.n_layers = 6, .n_kv_heads = 2, .head_dim = HEAD_DIM};
    c.kinds[1].window = WINDOW;
    for (size_t i = 0; i < c.n_layers; i++)
        c.kind_of_layer[i] = i % 3 != 2;
    return c;
}

static kv_cache *create(const model_config *c, kv_type type, size_t slots)
{
    kv_cache *kv;
    failure fail;
    if (kv_create(&kv, c, type, CONTEXT, AHEAD, slots, &fail) != OK)
        fail_msg("%s", fail.text);
    return kv;
}

/* What stands for the KV of a position: the first four bytes of it. */
static char *values_at(const kv_slot *s, size_t region, size_t position)
{
    size_t bytes = kv_value_bytes(s->view.type, HEAD_DIM);
    return s->view.keys + (region * s->view.capacity + position) * bytes;
}

static char *open_key_at(const kv_slot *s, size_t region, size_t position)
{
    size_t bytes = kv_value_bytes(KV_OPEN_TYPE, HEAD_DIM);
    return s->view.open_keys + (region * s->view.capacity + position) * bytes;
}

static bool is_grouped(const kv_slot *s, const model_config *c, size_t region)
{
    return kv_groups_keys(s->view.type) && region < c->n_layers * c->n_kv_heads;
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

/* Of a group of keys that is closed, the first and the last bytes. */
static void write_group(const kv_slot *s, size_t region, size_t last, float value)
{
    size_t bytes = KV_GROUP * kv_value_bytes(s->view.type, HEAD_DIM);
    char *group = values_at(s, region, last + 1 - KV_GROUP);
    memcpy(group, &value, sizeof value);
    memcpy(group + bytes - sizeof value, &value, sizeof value);
}

static void write_position(const kv_slot *s, const model_config *c, size_t region, size_t position,
                           float value)
{
    if (!is_grouped(s, c, region)) {
        memcpy(values_at(s, region, position), &value, sizeof value);
        return;
    }
    memcpy(open_key_at(s, region, position), &value, sizeof value);
    if (position % KV_GROUP == KV_GROUP - 1)
        write_group(s, region, position, value);
}

static void check_value(const char *at, float value)
{
    assert_memory_equal(at, &value, sizeof value);
}

/* As a row at n sees the position: groups of keys as a whole, by their last position. */
static void check_position(const kv_slot *s, const model_config *c, size_t region, size_t position,
                           size_t n, float value)
{
    size_t bytes = KV_GROUP * kv_value_bytes(s->view.type, HEAD_DIM);
    if (!is_grouped(s, c, region)) {
        check_value(values_at(s, region, position), value);
    } else if (position / KV_GROUP == n / KV_GROUP) {
        check_value(open_key_at(s, region, position), value);
    } else if (position % KV_GROUP == KV_GROUP - 1) {
        const char *group = values_at(s, region, position + 1 - KV_GROUP);
        check_value(group, value);
        check_value(group + bytes - sizeof value, value);
    }
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
                write_position(s, c, region, i, value_of(region, history));
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
                check_position(s, c, region, i, n, value_of(region, history));
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
    kv_cache *kv = create(&c, KV_F32, 1);
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

/* Open keys of three groups and of what a step may add, whatever the length; counted as resident.
 */
static void test_memory_of_open_keys(void **state)
{
    (void)state;
    const model_config c = alternating();
    static int32_t tokens[CONTEXT];
    kv_cache *kv = create(&c, KV_Q4, 1);
    kv_slot *s = kv_acquire(kv, tokens, 1);
    size_t position = kv_value_bytes(KV_OPEN_TYPE, HEAD_DIM), regions = c.n_layers * c.n_kv_heads;
    size_t all = s->tokens.ids == NULL ? 0 : (size_t)((char *)s->tokens.ids - s->view.keys);
    for (size_t n = 100; n <= CONTEXT; n += 37) {
        compute(kv, s, &c, tokens, n);
        size_t open = resident_bytes(s->view.open_keys, s->view.capacity * position);
        assert_true(open <= (3 * KV_GROUP + AHEAD) * position + 4096);
        assert_true(resident_bytes(s->view.keys, all) <= kv_read_usage(kv).committed_bytes);
        assert_true(kv_read_usage(kv).committed_bytes <= kv_sequence_bytes(kv, n));
    }
    size_t most = regions * (3 * KV_GROUP + 2 * AHEAD) * position;
    assert_true(kv_sequence_bytes(kv, CONTEXT) < kv_sequence_bytes(kv, CONTEXT / 2) * 2 + most);
    kv_destroy(kv);
}

/* From within the last groups a sequence goes on where it is; from further back at the begin of the
 * group, because the open keys before it are gone. */
static void test_prefix_ends_at_a_group(void **state)
{
    (void)state;
    const model_config c = {.n_layers = 2, .n_kv_heads = 2, .head_dim = HEAD_DIM};
    static int32_t tokens[CONTEXT];
    kv_cache *kv = create(&c, KV_Q4, 2);
    kv_slot *s = kv_acquire(kv, tokens, 1);
    compute(kv, s, &c, tokens, 2990);
    compute(kv, s, &c, tokens, 3000);
    kv_release(kv, s);
    static const struct {
        size_t n, held;
    } cases[] = {{2995, 2994}, {2900, 2899}, {2800, 2752}, {2753, 2752}, {100, 64}, {65, 64}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        s = kv_acquire(kv, tokens, cases[i].n);
        while (kv_work(kv, 1))
            ;
        assert_int_equal(s->tokens.length, cases[i].held);
        check_sight(s, &c, tokens);
        compute(kv, s, &c, tokens, 3000);
        check_sight(s, &c, tokens);
        kv_release(kv, s);
    }
    kv_destroy(kv);
}

static void test_short_prefix_is_not_taken(void **state)
{
    (void)state;
    const model_config c = alternating();
    static int32_t tokens[CONTEXT];
    kv_cache *kv = create(&c, KV_F32, 1);
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
    const kv_slot *seen[SLOTS];
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

/* Of all slots that ever ran. */
static size_t all_resident_bytes(const scene *x)
{
    size_t slot_bytes = kv_read_usage(x->kv).reserved_bytes / SLOTS, bytes = 0;
    for (size_t i = 0; i < SLOTS && x->seen[i] != NULL; i++)
        bytes += resident_bytes(x->seen[i]->view.keys, slot_bytes);
    return bytes;
}

static void note_slot(scene *x, const kv_slot *s)
{
    size_t i = 0;
    while (x->seen[i] != NULL && x->seen[i] != s)
        i++;
    x->seen[i] = s;
}

static void start(scene *x, size_t i)
{
    write_prompt(x, i);
    kv_slot *s = kv_acquire(x->kv, x->tokens[i], x->n_tokens[i]);
    x->running[i] = s;
    note_slot(x, s);
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

static void check_any_order(kv_type type)
{
    static scene x;
    x = (scene){.c = alternating()};
    x.kv = create(&x.c, type, SLOTS);
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
        if (round % 500 == 0)
            assert_true(all_resident_bytes(&x) <= kv_read_usage(x.kv).committed_bytes);
    }
    assert_true(x.taken > 0);
    kv_destroy(x.kv);
}

static void test_any_order(void **state)
{
    (void)state;
    check_any_order(KV_F32);
    check_any_order(KV_Q4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_memory_of_open_keys),
        cmocka_unit_test(test_prefix_ends_at_a_group),
        cmocka_unit_test(test_short_prefix_is_not_taken),
        cmocka_unit_test(test_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
