/* Attention that does not see every position: what lies ahead, before a window, and sinks. */
#include "attention_scene.h"

/* Windows that begin in another span than the row's, whose rows begin in different ones. */
static void test_window_spans(void **state)
{
    (void)state;
    const float some = 0;
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        use_kernel(*name);
        attention_shape shape = {.type = KV_F16, .group = 2, .head_dim = 32, .window = 100};
        check_shape(shape, ATTENTION_SPAN - 3, ATTENTION_SPAN + 3);
        check_shape(shape, ATTENTION_SPAN + 97, ATTENTION_SPAN + 103);
        check_shape(shape, ATTENTION_SPAN + 60, ATTENTION_SPAN + 140);
        shape.window = ATTENTION_SPAN;
        check_shape(shape, ATTENTION_SPAN - 3, ATTENTION_SPAN + 3);
        check_shape(shape, 2 * ATTENTION_SPAN - 5, 2 * ATTENTION_SPAN + 5);
        shape.type = KV_Q4;
        shape.head_dim = 64;
        check_shape(shape, ATTENTION_SPAN + 60, ATTENTION_SPAN + 200);
        shape.type = KV_Q8_0;
        shape.sinks = &some;
        shape.window = ATTENTION_SPAN + 70;
        check_shape(shape, 2 * ATTENTION_SPAN + 50, 2 * ATTENTION_SPAN + 90);
    }
}

/* The KV after a row must not touch it, not even as a NaN, also that of a later row beside it. */
static void test_future_is_unseen(void **state)
{
    (void)state;
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        use_kernel(*name);
        scene s = make_scene(KV_F32, 2, 24, 100);
        float out[48], again[48], *k = s.k, *v = s.v, scratch[2048];
        attention_kv kv = kv_of(&s);
        assert_true(attention_scratch_floats(&s.shape, 1) <= 2048);
        attention_head(&s.shape, s.q + 65 * 48, 48, &kv, 65, 1, scratch, out, 48);
        for (size_t i = 66 * 24; i < 100 * 24; i++)
            k[i] = v[i] = NAN;
        attention_head(&s.shape, s.q + 65 * 48, 48, &kv, 65, 1, scratch, again, 48);
        assert_memory_equal(out, again, sizeof out);
        float *rows = checked_alloc(100 * 48, sizeof(float));
        attend(&s, 62, 7, rows);
        assert_memory_equal(out, rows + 65 * 48, sizeof out);
        assert_true(isnan(rows[66 * 48]));
        free(rows);
        free_scene(&s);
    }
}

/* Nor may the KV before a row's window, also where a row beside it sees it. */
static void test_past_is_unseen(void **state)
{
    (void)state;
    enum { WIDTH = 2 * 24, WINDOW = 70, FIRST = 150, ROWS = 9 };
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        use_kernel(*name);
        attention_shape shape = {.type = KV_F32, .group = 2, .head_dim = 24, .window = WINDOW};
        scene s = make_scene_of(shape, FIRST + ROWS);
        float *out = checked_alloc((FIRST + ROWS) * WIDTH, sizeof(float));
        float *again = checked_alloc((FIRST + ROWS) * WIDTH, sizeof(float));
        float *k = s.k, *v = s.v;
        attend(&s, FIRST, ROWS, out);
        memset(k, 0, (FIRST + 1 - WINDOW) * 24 * sizeof *k); /* given back */
        memset(v, 0, (FIRST + 1 - WINDOW) * 24 * sizeof *v);
        attend(&s, FIRST, ROWS, again);
        assert_memory_equal(out + FIRST * WIDTH, again + FIRST * WIDTH,
                            ROWS * WIDTH * sizeof(float));
        for (size_t i = 0; i < (FIRST + 5 - WINDOW) * 24; i++)
            k[i] = v[i] = NAN;
        attend(&s, FIRST, ROWS, again); /* four rows see some of it */
        assert_memory_equal(out + (FIRST + 4) * WIDTH, again + (FIRST + 4) * WIDTH,
                            (ROWS - 4) * WIDTH * sizeof(float));
        for (size_t i = FIRST * WIDTH; i < (FIRST + 4) * WIDTH; i++)
            assert_true(isnan(again[i]));
        free(out);
        free(again);
        free_scene(&s);
    }
}

/* Whole pages before the window are not read at all: a step costs its window. */
static void test_past_is_unread(void **state)
{
    (void)state;
    enum {
        DIM = 64,
        PAGE_POSITIONS = 4096 / (DIM * sizeof(float)),
        POSITIONS = 2600,
        WINDOW = 100
    };
    size_t bytes = POSITIONS * DIM * sizeof(float);
    float *kv = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(kv, MAP_FAILED);
    random_floats(kv, POSITIONS * DIM);
    const attention_kv both = {.keys = kv, .values = kv};
    const attention_shape shape = {
        .type = KV_F32, .group = 3, .head_dim = DIM, .scale = 0.125f, .window = WINDOW};
    float *scratch = checked_alloc(attention_scratch_floats(&shape, 8), sizeof(float));
    float q[8 * 3 * DIM], out[8 * 3 * DIM];
    random_floats(q, 8 * 3 * DIM);
    for (size_t first = 10; first + 8 < POSITIONS; first += 37) {
        size_t start = first + 1 > WINDOW ? first + 1 - WINDOW : 0;
        size_t unread = start / PAGE_POSITIONS * 4096;
        assert_int_equal(unread > 0 ? mprotect(kv, unread, PROT_NONE) : 0, 0);
        for (const char *const *name = kernel_names(); *name != NULL; name++) {
            use_kernel(*name);
            attention_head(&shape, q, 3 * DIM, &both, first, 8, scratch, out, 3 * DIM);
        }
    }
    munmap(kv, bytes);
    free(scratch);
}

/* A window that reaches to the beginning, or beyond, is none. */
static void test_wide_window(void **state)
{
    (void)state;
    static const size_t windows[] = {131, 132, 4096, SIZE_MAX};
    size_t n = 131 * 3 * 40;
    scene s = make_scene(KV_F16, 3, 40, 131);
    float *expected = checked_alloc(n, sizeof(float)), *out = checked_alloc(n, sizeof(float));
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        use_kernel(*name);
        s.shape.window = 0;
        attend(&s, 0, 131, expected);
        for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
            s.shape.window = windows[i];
            attend(&s, 0, 131, out);
            assert_memory_equal(out, expected, n * sizeof(float));
        }
    }
    free(expected);
    free(out);
    free_scene(&s);
}

/* A sink far below every score changes nothing, one far above leaves nothing. */
static void test_sinks(void **state)
{
    (void)state;
    enum { WIDTH = 2 * 32 };
    scene s = make_scene(KV_F32, 2, 32, 30);
    float out[30 * WIDTH], plain[30 * WIDTH];
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        use_kernel(*name);
        s.shape.sinks = NULL;
        attend(&s, 0, 30, plain);
        s.shape.sinks = (const float[]){-INFINITY, 1e30f};
        attend(&s, 0, 30, out);
        for (size_t i = 0; i < 30; i++) {
            assert_memory_equal(out + i * WIDTH, plain + i * WIDTH, 32 * sizeof(float));
            for (size_t d = 32; d < WIDTH; d++)
                assert_true(out[i * WIDTH + d] == 0);
        }
    }
    free_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_window_spans),   cmocka_unit_test(test_future_is_unseen),
        cmocka_unit_test(test_past_is_unseen), cmocka_unit_test(test_past_is_unread),
        cmocka_unit_test(test_wide_window),    cmocka_unit_test(test_sinks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
