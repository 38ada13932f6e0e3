/* The prefix cache: what a new sequence finds, where it is put for it, and who has to go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "engine/kv.h"

enum { CONTEXT = 600 };

static const model_config shape = {.n_layers = 2, .n_kv_heads = 2, .head_dim = 64};
static const size_t n_regions = 8;

/* What a position's KV depends on: all tokens up to there. */
static unsigned char mark_of(const int32_t *tokens, size_t region, size_t position)
{
    uint32_t hash = (uint32_t)region * 17u;
    for (size_t i = 0; i <= position; i++)
        hash = hash * 31u + (uint32_t)tokens[i];
    return (unsigned char)(hash ^ hash >> 8 ^ hash >> 16);
}

static char *position_at(const kv_slot *s, size_t region, size_t position)
{
    size_t bytes = kv_value_bytes(s->view.type, shape.head_dim);
    return s->view.keys + (region * s->view.capacity + position) * bytes;
}

static void prefill(kv_cache *kv, kv_slot *s, const int32_t *tokens, size_t n)
{
    size_t bytes = kv_value_bytes(s->view.type, shape.head_dim);
    kv_commit(kv, s, n);
    for (size_t p = s->tokens.length; p < n; p++)
        for (size_t r = 0; r < n_regions; r++)
            memset(position_at(s, r, p), mark_of(tokens, r, p), bytes);
    memcpy(s->tokens.ids, tokens, n * sizeof *tokens);
    s->tokens.length = n;
}

/* The slot holds exactly the first n tokens, and their KV. */
static void assert_holds(const kv_slot *s, const int32_t *tokens, size_t n)
{
    size_t bytes = kv_value_bytes(s->view.type, shape.head_dim);
    assert_int_equal(s->tokens.length, n);
    if (n > 0)
        assert_memory_equal(s->tokens.ids, tokens, n * sizeof *tokens);
    for (size_t p = 0; p < n; p++) {
        for (size_t r = 0; r < n_regions; r++) {
            const char *at = position_at(s, r, p);
            unsigned char mark = mark_of(tokens, r, p);
            for (size_t i = 0; i < bytes; i++)
                if ((unsigned char)at[i] != mark)
                    fail_msg("region %zu, position %zu, byte %zu", r, p, i);
        }
    }
}

static kv_cache *create(kv_type type, size_t slots)
{
    kv_cache *kv;
    failure fail;
    if (kv_create(&kv, &shape, type, CONTEXT, CONTEXT, slots, &fail) != OK)
        fail_msg("%s", fail.text);
    return kv;
}

/* n tokens: the first `common` are everyone's, the others this one's. */
static const int32_t *make_tokens(int32_t *out, size_t common, size_t n, int32_t who)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (int32_t)i + (i < common ? 0 : 1000 * who);
    return out;
}

static void finish_work(kv_cache *kv)
{
    while (kv_work(kv, 1))
        ;
}

static kv_slot *run(kv_cache *kv, const int32_t *tokens, size_t n)
{
    kv_slot *s = kv_acquire(kv, tokens, n);
    assert_non_null(s);
    finish_work(kv);
    prefill(kv, s, tokens, n);
    return s;
}

static kv_slot *run_and_release(kv_cache *kv, const int32_t *tokens, size_t n)
{
    kv_slot *s = run(kv, tokens, n);
    kv_release(kv, s);
    return s;
}

static void test_next_turn_goes_on_in_place(void **state)
{
    (void)state;
    int32_t a[CONTEXT], b[CONTEXT];
    make_tokens(a, CONTEXT, 400, 0);
    make_tokens(b, 0, 50, 7);
    kv_cache *kv = create(KV_F16, 4);
    run_and_release(kv, b, 50);
    kv_slot *first = run_and_release(kv, a, 300);
    run_and_release(kv, b, 40);
    kv_slot *s = kv_acquire(kv, a, 400);
    assert_ptr_equal(s, first);
    assert_false(kv_is_copying(s));
    assert_holds(s, a, 300);
    kv_destroy(kv);
}

/* The last token is always computed: its logits are what is wanted. */
static void test_last_token_is_computed(void **state)
{
    (void)state;
    int32_t a[CONTEXT];
    make_tokens(a, CONTEXT, 100, 0);
    kv_cache *kv = create(KV_F16, 2);
    kv_slot *first = run_and_release(kv, a, 100);
    kv_slot *s = kv_acquire(kv, a, 100);
    assert_ptr_equal(s, first);
    assert_holds(s, a, 99);
    kv_destroy(kv);
}

/* Little follows the prefix, as the probe's question follows the conversation: no second slot. */
static void test_short_tail_is_given_up(void **state)
{
    (void)state;
    int32_t probe[CONTEXT], answer[CONTEXT];
    make_tokens(probe, 200, 220, 1);
    make_tokens(answer, 200, 230, 2);
    kv_cache *kv = create(KV_F16, 3);
    kv_slot *first = run_and_release(kv, probe, 220);
    kv_slot *s = kv_acquire(kv, answer, 230);
    assert_ptr_equal(s, first);
    assert_holds(s, answer, 200);
    kv_destroy(kv);
}

static void test_long_tail_is_kept_by_copying(void **state)
{
    (void)state;
    int32_t a[CONTEXT], b[CONTEXT];
    make_tokens(a, 100, 300, 1);
    make_tokens(b, 100, 200, 2);
    for (int type = 0; type < KV_TYPES; type++) {
        kv_cache *kv = create((kv_type)type, 2);
        kv_slot *first = run_and_release(kv, a, 300);
        kv_slot *s = kv_acquire(kv, b, 200);
        assert_ptr_not_equal(s, first);
        assert_true(kv_is_copying(s));
        finish_work(kv);
        assert_false(kv_is_copying(s));
        assert_holds(s, b, 100);
        assert_holds(first, a, 300);
        prefill(kv, s, b, 200);
        kv_release(kv, s);
        /* Both go on where they were. */
        kv_slot *again = kv_acquire(kv, a, 300);
        assert_ptr_equal(again, first);
        assert_holds(again, a, 299);
        kv_destroy(kv);
    }
}

static void test_running_sequences_share_their_prefix(void **state)
{
    (void)state;
    int32_t a[CONTEXT], b[CONTEXT];
    make_tokens(a, 80, 300, 1);
    make_tokens(b, 80, 200, 2);
    for (int type = 0; type < KV_TYPES; type++) {
        kv_cache *kv = create((kv_type)type, 2);
        kv_slot *first = run(kv, a, 150);
        kv_slot *s = kv_acquire(kv, b, 200);
        assert_ptr_not_equal(s, first);
        assert_true(kv_is_copying(s));
        prefill(kv, first, a, 300); /* goes on meanwhile */
        finish_work(kv);
        assert_holds(s, b, 80);
        assert_holds(first, a, 300);
        kv_destroy(kv);
    }
}

/* A slot that holds a part of the prefix gets only the rest. */
static void test_copies_only_what_it_must(void **state)
{
    (void)state;
    int32_t a[CONTEXT], b[CONTEXT];
    make_tokens(a, 90, 300, 1);
    make_tokens(b, 60, 300, 2);
    kv_cache *kv = create(KV_F16, 2);
    kv_slot *part = run_and_release(kv, b, 300);
    kv_slot *running = run(kv, a, 300);
    int32_t c[CONTEXT];
    make_tokens(c, 90, 300, 3);
    kv_slot *s = kv_acquire(kv, c, 300);
    assert_ptr_equal(s, part);
    assert_holds(s, c, 60);
    assert_true(kv_is_copying(s));
    finish_work(kv);
    assert_holds(s, c, 90);
    assert_holds(running, a, 300);
    kv_destroy(kv);
}

/* The source is taken by a third before the copy is complete: what was copied stays right. */
static void test_copy_ends_where_its_source_is_cut(void **state)
{
    (void)state;
    int32_t a[CONTEXT], b[CONTEXT], c[CONTEXT];
    make_tokens(a, 300, 500, 1);
    make_tokens(b, 300, 400, 2);
    make_tokens(c, 120, 400, 3);
    kv_cache *kv = create(KV_F16, 2);
    kv_slot *first = run_and_release(kv, a, 500);
    kv_slot *copy = kv_acquire(kv, b, 400);
    assert_true(kv_is_copying(copy));
    /* The only free slot is the copy's source. */
    kv_slot *third = kv_acquire(kv, c, 400);
    assert_ptr_equal(third, first);
    assert_holds(third, c, 120);
    prefill(kv, third, c, 400);
    finish_work(kv);
    assert_holds(copy, b, 120);
    prefill(kv, copy, b, 400);
    assert_holds(third, c, 400);
    assert_holds(copy, b, 400);
    kv_destroy(kv);
}

static void test_copy_is_dropped_with_its_sequence(void **state)
{
    (void)state;
    int32_t a[CONTEXT], b[CONTEXT];
    make_tokens(a, 300, 500, 1);
    make_tokens(b, 300, 400, 2);
    kv_cache *kv = create(KV_F16, 2);
    kv_slot *first = run_and_release(kv, a, 500);
    kv_slot *copy = kv_acquire(kv, b, 400);
    kv_release(kv, copy);
    finish_work(kv);
    assert_false(kv_is_copying(copy));
    assert_holds(copy, b, 0);
    assert_holds(first, a, 500);
    assert_int_equal(kv_read_usage(kv).committed_bytes, kv_sequence_bytes(kv, 500));
    kv_destroy(kv);
}

static void test_least_recently_used_goes_first(void **state)
{
    (void)state;
    int32_t tokens[6][CONTEXT];
    kv_slot *slots[4];
    kv_cache *kv = create(KV_F16, 3);
    for (int i = 0; i < 6; i++)
        make_tokens(tokens[i], 0, 200, i + 1);
    for (int i = 0; i < 3; i++)
        slots[i] = run_and_release(kv, tokens[i], 200);
    assert_ptr_equal(run_and_release(kv, tokens[0], 200), slots[0]); /* used again */
    assert_ptr_equal(run_and_release(kv, tokens[3], 200), slots[1]);
    assert_ptr_equal(run_and_release(kv, tokens[4], 200), slots[2]);
    /* The same order when memory is wanted: one slot for one byte. */
    assert_int_equal(kv_evict(kv, 1), kv_sequence_bytes(kv, 200));
    assert_int_equal(slots[0]->tokens.length, 0);
    assert_holds(slots[1], tokens[3], 200);
    assert_holds(slots[2], tokens[4], 200);
    /* An empty slot is taken before any that holds something. */
    assert_ptr_equal(run(kv, tokens[5], 200), slots[0]);
    /* A running one is never forgotten. */
    assert_int_equal(kv_evict(kv, SIZE_MAX), 2 * kv_sequence_bytes(kv, 200));
    assert_holds(slots[0], tokens[5], 200);
    kv_destroy(kv);
}

static void test_no_slot_is_free(void **state)
{
    (void)state;
    int32_t a[CONTEXT];
    make_tokens(a, CONTEXT, 100, 0);
    kv_cache *kv = create(KV_F16, 2);
    run(kv, a, 100);
    kv_slot *second = run(kv, a, 100);
    assert_holds(second, a, 100);
    assert_null(kv_acquire(kv, a, 100));
    kv_destroy(kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next_turn_goes_on_in_place),
        cmocka_unit_test(test_last_token_is_computed),
        cmocka_unit_test(test_short_tail_is_given_up),
        cmocka_unit_test(test_long_tail_is_kept_by_copying),
        cmocka_unit_test(test_running_sequences_share_their_prefix),
        cmocka_unit_test(test_copies_only_what_it_must),
        cmocka_unit_test(test_copy_ends_where_its_source_is_cut),
        cmocka_unit_test(test_copy_is_dropped_with_its_sequence),
        cmocka_unit_test(test_least_recently_used_goes_first),
        cmocka_unit_test(test_no_slot_is_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
