/* KV memory: what is resident is what tokens use, it is given back, and neighbours keep theirs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/kv.h"
#include "sanitized.h"

static const model_config pangu_1b = {.n_layers = 26, .n_kv_heads = 6, .head_dim = 128};
static const model_config narrow = {.n_layers = 2, .n_kv_heads = 3, .head_dim = 64};

static size_t n_regions(const model_config *c)
{
    return 2 * c->n_layers * c->n_kv_heads;
}

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static size_t resident_bytes(char *begin, size_t bytes)
{
    size_t pages = (bytes + page_bytes() - 1) / page_bytes(), n = 0;
    unsigned char *there = malloc(pages);
    assert_non_null(there);
    assert_int_equal(mincore(begin, bytes, there), 0);
    for (size_t i = 0; i < pages; i++)
        n += there[i] & 1;
    free(there);
    return n * page_bytes();
}

static size_t open_position_bytes(const kv_slot *s, const model_config *c)
{
    return s->view.open_keys != NULL ? kv_value_bytes(KV_OPEN_TYPE, c->head_dim) : 0;
}

/* K, V, open keys and token ids of one slot. */
static size_t slot_resident(const kv_slot *s, const model_config *c)
{
    size_t region = s->view.capacity * kv_value_bytes(s->view.type, c->head_dim);
    size_t open = s->view.capacity * open_position_bytes(s, c);
    return resident_bytes(s->view.keys, n_regions(c) * region + n_regions(c) / 2 * open) +
           resident_bytes((char *)s->tokens.ids, s->tokens.capacity * sizeof(int32_t));
}

static char *position_at(const kv_slot *s, const model_config *c, size_t region, size_t position)
{
    size_t bytes = kv_value_bytes(s->view.type, c->head_dim);
    return s->view.keys + (region * s->view.capacity + position) * bytes;
}

static char *open_key_at(const kv_slot *s, const model_config *c, size_t region, size_t position)
{
    return s->view.open_keys + (region * s->view.capacity + position) * open_position_bytes(s, c);
}

static unsigned char mark_of(size_t region, size_t position)
{
    return (unsigned char)(1 + (region * 31 + position * 7) % 255);
}

/* As a step does: commits, writes every region, then the tokens are the slot's. */
static void write_tokens(kv_cache *kv, kv_slot *s, const model_config *c, size_t end)
{
    size_t bytes = kv_value_bytes(s->view.type, c->head_dim);
    kv_commit(kv, s, end);
    for (size_t p = s->tokens.length; p < end; p++) {
        for (size_t r = 0; r < n_regions(c); r++)
            memset(position_at(s, c, r, p), mark_of(r, p), bytes);
        for (size_t r = 0; s->view.open_keys != NULL && r < n_regions(c) / 2; r++)
            memset(open_key_at(s, c, r, p), mark_of(r, p), open_position_bytes(s, c));
        s->tokens.ids[p] = (int32_t)p;
    }
    s->tokens.length = end;
}

static void assert_written(const kv_slot *s, const model_config *c)
{
    size_t bytes = kv_value_bytes(s->view.type, c->head_dim);
    for (size_t p = 0; p < s->tokens.length; p++) {
        for (size_t r = 0; r < n_regions(c); r++) {
            const char *at = position_at(s, c, r, p);
            for (size_t i = 0; i < bytes; i++)
                if ((unsigned char)at[i] != mark_of(r, p))
                    fail_msg("region %zu, position %zu, byte %zu", r, p, i);
        }
    }
}

static kv_cache *create(const model_config *c, kv_type type, size_t context, size_t slots)
{
    kv_cache *kv;
    failure fail;
    if (kv_create(&kv, c, type, context, context, slots, &fail) != OK)
        fail_msg("%s", fail.text);
    return kv;
}

static kv_slot *acquire_empty(kv_cache *kv)
{
    const int32_t nobodys = -1;
    kv_slot *s = kv_acquire(kv, &nobodys, 1);
    assert_non_null(s);
    assert_int_equal(s->tokens.length, 0);
    return s;
}

static void test_resident_is_what_tokens_use(void **state)
{
    (void)state;
    enum { SLOTS = 64, CONTEXT = 32768 };
    static const size_t lengths[] = {1, 15, 16, 17, 40, 3, 100, 2};
    for (int type = 0; type < KV_TYPES; type++) {
        const model_config *c = &pangu_1b;
        kv_cache *kv = create(c, (kv_type)type, CONTEXT, SLOTS);
        kv_slot *slots[SLOTS];
        size_t used = 0, resident = 0;
        size_t token_bytes = n_regions(c) * kv_value_bytes((kv_type)type, c->head_dim);
        if (kv_groups_keys((kv_type)type)) /* no more than two groups: all keys are open, too */
            token_bytes += n_regions(c) / 2 * kv_value_bytes(KV_OPEN_TYPE, c->head_dim);
        for (size_t i = 0; i < SLOTS; i++) {
            size_t n = lengths[i % 8];
            slots[i] = acquire_empty(kv);
            write_tokens(kv, slots[i], c, n);
            used += n * (token_bytes + sizeof(int32_t));
            size_t here = slot_resident(slots[i], c);
            assert_int_equal(here, kv_sequence_bytes(kv, n));
            resident += here;
        }
        kv_usage u = kv_read_usage(kv);
        printf("  %s: %.1f GB reserved, %.1f MB used by tokens, %.1f MB resident\n",
               kv_type_name((kv_type)type), (double)u.reserved_bytes / 1e9, (double)used / 1e6,
               (double)resident / 1e6);
        assert_int_equal(u.committed_bytes, resident);
        assert_true(u.reserved_bytes >= (size_t)SLOTS * CONTEXT * token_bytes);
        size_t regions = n_regions(c) * (kv_groups_keys((kv_type)type) ? 3 : 2) / 2;
        assert_true(resident <= used + SLOTS * (regions + 1) * page_bytes());
        for (size_t i = 0; i < SLOTS; i++)
            kv_release(kv, slots[i]);
        assert_int_equal(kv_read_usage(kv).idle_bytes, resident);
        assert_int_equal(kv_evict(kv, SIZE_MAX), resident);
        for (size_t i = 0; i < SLOTS; i++)
            assert_int_equal(slot_resident(slots[i], c), 0);
        kv_destroy(kv);
    }
}

/* A draft that was not accepted, or a prompt that was cancelled, leaves nothing behind. */
static void test_release_gives_back_what_no_token_uses(void **state)
{
    (void)state;
    kv_cache *kv = create(&narrow, KV_F16, 4000, 1);
    kv_slot *s = acquire_empty(kv);
    write_tokens(kv, s, &narrow, 3000);
    s->tokens.length = 70;
    kv_release(kv, s);
    while (kv_work(kv, 1))
        ;
    assert_int_equal(slot_resident(s, &narrow), kv_sequence_bytes(kv, 70));
    assert_int_equal(kv_read_usage(kv).committed_bytes, kv_sequence_bytes(kv, 70));
    assert_written(s, &narrow);
    kv_destroy(kv);
}

/* Regions next to each other, at every type and contexts that fill no whole page. */
static void test_neighbours_keep_theirs(void **state)
{
    (void)state;
    static const size_t contexts[] = {1, 16, 600, 1025};
    for (int type = 0; type < KV_TYPES; type++) {
        for (size_t i = 0; i < sizeof contexts / sizeof contexts[0]; i++) {
            size_t n = contexts[i];
            kv_cache *kv = create(&narrow, (kv_type)type, n, 3);
            kv_slot *a = acquire_empty(kv), *b = acquire_empty(kv), *c = acquire_empty(kv);
            write_tokens(kv, a, &narrow, n);
            write_tokens(kv, b, &narrow, n);
            write_tokens(kv, c, &narrow, n);
            b->tokens.length = n / 3;
            kv_release(kv, b);
            while (kv_work(kv, 1))
                ;
            assert_int_equal(slot_resident(b, &narrow), kv_sequence_bytes(kv, n / 3));
            assert_written(a, &narrow);
            assert_written(b, &narrow);
            assert_written(c, &narrow);
            kv_evict(kv, SIZE_MAX);
            assert_written(a, &narrow);
            assert_written(c, &narrow);
            kv_destroy(kv);
        }
    }
}

/* Taken over by a short sequence, a slot shrinks piece by piece; by a long one, it keeps its pages
 * for what is to come. */
static void test_taken_over_slot_shrinks(void **state)
{
    (void)state;
    static int32_t other[3000];
    kv_cache *kv = create(&narrow, KV_F32, 4000, 1);
    kv_slot *s = acquire_empty(kv);
    write_tokens(kv, s, &narrow, 3000);
    kv_release(kv, s);
    memset(other, 0xff, sizeof other);
    assert_ptr_equal(kv_acquire(kv, other, 2000), s);
    assert_true(kv_work(kv, 0));
    assert_int_equal(kv_read_usage(kv).committed_bytes, kv_sequence_bytes(kv, 3000));
    while (kv_work(kv, 1))
        ;
    assert_int_equal(kv_read_usage(kv).committed_bytes, kv_sequence_bytes(kv, 2000));
    assert_int_equal(slot_resident(s, &narrow), kv_sequence_bytes(kv, 2000));
    assert_int_equal(kv_read_usage(kv).idle_bytes, 0);
    assert_int_equal(kv_evict(kv, 1), 0);
    kv_destroy(kv);
}

static void test_blocks_must_be_whole(void **state)
{
    (void)state;
    const model_config c = {.n_layers = 1, .n_kv_heads = 1, .head_dim = 48};
    kv_cache *kv;
    failure fail;
    assert_int_equal(kv_create(&kv, &c, KV_Q8_0, 16, 16, 2, &fail), ERR_UNSUPPORTED);
    assert_non_null(strstr(fail.text, "q8_0"));
    assert_non_null(strstr(fail.text, "48"));
}

static void test_too_much_is_refused(void **state)
{
    (void)state;
    static const size_t contexts[] = {SIZE_MAX, SIZE_MAX / 2, SIZE_MAX / 700, (size_t)1 << 40};
    kv_cache *kv;
    failure fail;
    for (size_t i = 0; i < sizeof contexts / sizeof contexts[0]; i++) {
        assert_int_equal(kv_create(&kv, &pangu_1b, KV_F16, contexts[i], contexts[i], 64, &fail),
                         ERR_MEMORY);
        assert_non_null(strstr(fail.text, "fewer slots or a smaller context"));
        printf("  %s\n", fail.text);
    }
}

static void test_limit_of_addresses_is_named(void **state)
{
    (void)state;
#if IS_SANITIZED
    printf("  skipped: the sanitizer itself needs more addresses than that\n");
    skip();
#else
    struct rlimit old, small;
    kv_cache *kv;
    failure fail;
    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    small = old;
    small.rlim_cur = (rlim_t)4 << 30;
    assert_int_equal(setrlimit(RLIMIT_AS, &small), 0);
    error_code code = kv_create(&kv, &pangu_1b, KV_F16, 32768, 32768, 64, &fail);
    assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
    assert_int_equal(code, ERR_MEMORY);
    printf("  %s\n", fail.text);
    assert_ptr_equal(strstr(fail.text, "no memory"),
                     fail.text); /* addresses say nothing to users */
    assert_non_null(strstr(fail.text, "64 sequences of 32768 tokens"));
    assert_non_null(strstr(fail.text, "ulimit -v"));
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resident_is_what_tokens_use),
        cmocka_unit_test(test_release_gives_back_what_no_token_uses),
        cmocka_unit_test(test_neighbours_keep_theirs),
        cmocka_unit_test(test_taken_over_slot_shrinks),
        cmocka_unit_test(test_blocks_must_be_whole),
        cmocka_unit_test(test_too_much_is_refused),
        cmocka_unit_test(test_limit_of_addresses_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
