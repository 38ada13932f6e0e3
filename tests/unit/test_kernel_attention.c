/* test_kernel_attention.c: attention and the KV cache's types, by every kernel. */
#include "attention_scene.h"

static void test_attention(void **state)
{
    (void)state;
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        use_kernel(*name);
        check_scene(KV_Q8_0, 1, 64, 70);
        check_scene(KV_Q8_0, 3, 96, 131);
        check_scene(KV_Q8_0, 4, 32, 64);
        check_scene(KV_Q8_0, 7, 128, 90);
        check_scene(KV_Q8_0, 65, 32, 66);
        check_scene(KV_F16, 1, 8, ATTENTION_SPAN + 70);
        check_scene(KV_Q4, 1, 64, 64);
        check_scene(KV_Q4, 3, 64, 201);
        check_scene(KV_Q4, 7, 128, 150);
        check_scene(KV_Q4, 65, 192, 66);
        for (int type = KV_F32; type <= KV_F16; type++) {
            check_scene((kv_type)type, 1, 64, 70);
            check_scene((kv_type)type, 3, 40, 131);
            check_scene((kv_type)type, 4, 8, 64);
            check_scene((kv_type)type, 7, 128, 90);
            check_scene((kv_type)type, 65, 16, 66);
        }
    }
}

/* Histories that end just before, at and after the end of a span. */
static void check_spans(kv_type type, size_t group, size_t head_dim, size_t first, size_t rows)
{
    check_shape((attention_shape){.type = type, .group = group, .head_dim = head_dim}, first,
                first + rows);
}

static void test_spans(void **state)
{
    (void)state;
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        use_kernel(*name);
        check_spans(KV_F16, 2, 32, 0, 1);
        check_spans(KV_F16, 2, 32, ATTENTION_SPAN - 1, 1);
        check_spans(KV_F16, 2, 32, ATTENTION_SPAN, 1);
        check_spans(KV_F32, 3, 8, ATTENTION_SPAN - 3, 5); /* only the last rows see the next span */
        check_spans(KV_Q8_0, 7, 32, 3 * ATTENTION_SPAN - 11, 16); /* more than one chunk */
        check_spans(KV_Q4, 2, 64, 2 * ATTENTION_SPAN - 3, 5);
    }
}

/* Window, cap and sinks, alone and together, over every type, the head sizes and groups that models
 * have, and windows that end within blocks and at their ends. */
static void test_variants(void **state)
{
    (void)state;
    static const size_t windows[] = {1, 3, 16, 63, 64, 65, 100, 128};
    static const size_t head_dims[] = {64, 80, 96, 112, 128, 192, 256, 40};
    static const size_t groups[] = {1, 2, 3, 4, 6, 8, 16, 71};
    const float some = 0; /* not NULL: the scene's own are meant */
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        use_kernel(*name);
        for (size_t i = 0; i < 48; i++) {
            size_t head_dim = head_dims[(i / 8 + i) % 8];
            kv_type type = (kv_type)(i % KV_TYPES);
            attention_shape shape = {
                .type = head_dim % kv_block_values(type) == 0 ? type : KV_F16,
                .group = groups[(i / 3 + i) % 8],
                .head_dim = head_dim,
                .window = i % 4 == 3 ? 0 : windows[i % 8],
                .soft_cap = i % 3 == 1   ? 0
                            : i % 3 == 2 ? 2
                                         : 50,
                .sinks = i / 8 % 2 == 0 ? &some : NULL,
            };
            size_t positions = 33 + 40 * (i % 5);
            size_t rows = shape.group > 8 ? 12 : 33; /* more than one chunk of some groups */
            check_shape(shape, positions - rows, positions);
        }
    }
}

/* A group's query heads in two calls, as threads may share them, give the bits of one. */
static void test_parts_of_a_group(void **state)
{
    (void)state;
    enum { GROUP = 9, DIM = 64, WIDTH = GROUP * DIM, ROWS = 90 };
    for (int type = 0; type < KV_TYPES; type++) {
        scene s = make_scene((kv_type)type, GROUP, DIM, ROWS);
        attention_kv kv = kv_of(&s);
        float *whole = checked_alloc(ROWS * WIDTH, sizeof(float));
        float *parts = checked_alloc(ROWS * WIDTH, sizeof(float));
        s.shape.sinks = s.sinks;
        s.shape.window = 50;
        float *scratch = checked_alloc(attention_scratch_floats(&s.shape, ROWS), sizeof(float));
        for (const char *const *name = kernel_names(); *name != NULL; name++) {
            use_kernel(*name);
            attend(&s, 0, ROWS, whole);
            for (size_t head = 0; head < GROUP; head += 4) {
                attention_shape part = s.shape;
                part.group = GROUP - head < 4 ? GROUP - head : 4;
                part.sinks += head;
                attention_head(&part, s.q + head * DIM, WIDTH, &kv, 0, ROWS, scratch,
                               parts + head * DIM, WIDTH);
            }
            assert_memory_equal(parts, whole, ROWS * WIDTH * sizeof(float));
        }
        free(scratch);
        free(whole);
        free(parts);
        free_scene(&s);
    }
}

/* Asking for other memory meanwhile changes nothing, how much of it there may be. */
static void test_asking(void **state)
{
    (void)state;
    enum { GROUP = 7, DIM = 64, POSITIONS = 300, WIDTH = GROUP * DIM };
    static const size_t bytes[] = {1, 64, 5000, 1 << 20};
    static char other[1 << 20];
    float expected[WIDTH], out[WIDTH];
    for (int type = 0; type < KV_TYPES; type++) {
        scene s = make_scene((kv_type)type, GROUP, DIM, POSITIONS);
        float *scratch = checked_alloc(attention_scratch_floats(&s.shape, 1), sizeof(float));
        for (const char *const *name = kernel_names(); *name != NULL; name++) {
            use_kernel(*name);
            attention_kv kv = kv_of(&s);
            const float *q = s.q + (POSITIONS - 1) * WIDTH;
            attention_head(&s.shape, q, WIDTH, &kv, POSITIONS - 1, 1, scratch, expected, WIDTH);
            for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
                kv.later = other;
                kv.later_bytes = bytes[i];
                attention_head(&s.shape, q, WIDTH, &kv, POSITIONS - 1, 1, scratch, out, WIDTH);
                assert_memory_equal(out, expected, sizeof out);
            }
        }
        free(scratch);
        free_scene(&s);
    }
}

static void check_same_bits(attention_shape shape, size_t first, size_t positions)
{
    scene s = make_scene_of(shape, positions);
    if (shape.sinks != NULL)
        s.shape.sinks = s.sinks;
    size_t n = positions * shape.group * shape.head_dim;
    float *expected = checked_alloc(n, sizeof(float));
    float *out = checked_alloc(n, sizeof(float));
    use_kernel("reference");
    attend(&s, first, positions - first, expected);
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        use_kernel(*name);
        attend(&s, first, positions - first, out);
        assert_memory_equal(out, expected, n * sizeof(float));
    }
    free(expected);
    free(out);
    free_scene(&s);
}

/* Every kernel gives the reference's bits. */
static void test_same_bits(void **state)
{
    (void)state;
    const float some = 0;
    attention_shape shape = {.group = 5};
    for (int variant = 0; variant < 4; variant++) {
        for (int type = 0; type < KV_TYPES; type++) {
            shape.type = (kv_type)type;
            shape.head_dim = type == KV_Q8_0 ? 96 : type == KV_Q4 ? 128 : 72;
            check_same_bits(shape, variant == 0 ? 0 : 110, 150);
        }
        shape.window = variant == 0 ? 37 : 80;
        shape.soft_cap = variant == 1 ? 5 : 0;
        shape.sinks = variant == 2 ? &some : NULL;
    }
    shape = (attention_shape){.type = KV_F16, .group = 5, .head_dim = 24};
    check_same_bits(shape, 0, ATTENTION_SPAN + 9);
    shape.window = 900;
    check_same_bits(shape, ATTENTION_SPAN - 30, ATTENTION_SPAN + 9);
}

/* Quantised KV stays within half a step of its block's largest value, whatever the kernel; and it
 * says what it is. */
static void test_kv_q8_0(void **state)
{
    (void)state;
    enum { N = 8 * KV_BLOCK };
    float x[N], back[N];
    uint8_t expected[N / KV_BLOCK * 34], stored[sizeof expected];
    assert_int_equal(kv_value_bytes(KV_Q8_0, N), sizeof stored);
    random_floats(x, N);
    for (size_t i = 0; i < N; i++)
        x[i] *= i < KV_BLOCK ? 0 : i < 2 * KV_BLOCK ? 1e9f : (float)i;
    use_kernel("reference");
    kv_store(KV_Q8_0, expected, x, N);
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        use_kernel(*name);
        kv_store(KV_Q8_0, stored, x, N);
        assert_memory_equal(stored, expected, sizeof stored);
    }
    tensor_type_find(TENSOR_Q8_0)->decode(stored, back, N);
    for (size_t i = 0; i < N; i++) {
        float largest = 0;
        for (size_t k = 0; k < KV_BLOCK; k++)
            largest = fmaxf(largest, fabsf(x[i / KV_BLOCK * KV_BLOCK + k]));
        if (i / KV_BLOCK == 1) /* beyond the scale's range: finite */
            assert_true(isfinite(back[i]));
        else
            assert_true(fabsf(back[i] - x[i]) <= largest / 254 + largest / 4000);
    }
    kv_type type;
    for (int i = 0; i < KV_TYPES; i++) {
        assert_true(kv_type_find(kv_type_name((kv_type)i), &type));
        assert_int_equal(type, i);
    }
    assert_false(kv_type_find("q8_1", &type));
}

/* Four bits: within half a step of what they stand for (and what f16 takes from scale and minimum),
 * by channel for keys, by position for values; broken numbers do no harm beyond their own. */
static void test_kv_q4(void **state)
{
    (void)state;
    enum { DIM = 128, N = KV_GROUP * DIM };
    scene s = make_scene(KV_Q4, 1, DIM, KV_GROUP);
    float x[DIM], back[DIM];
    for (size_t c = 0; c < DIM; c++) {
        float low = INFINITY, high = -INFINITY;
        for (size_t p = 0; p < KV_GROUP; p++) {
            low = fminf(low, s.open_f32[p * DIM + c]);
            high = fmaxf(high, s.open_f32[p * DIM + c]);
        }
        for (size_t p = 0; p < KV_GROUP; p++)
            assert_true(fabsf(s.k_f32[p * DIM + c] - s.open_f32[p * DIM + c]) <=
                        (high - low) / 30 + fmaxf(-low, high) / 1000);
    }
    free_scene(&s);
    uint8_t stored[DIM / KV_Q4_BLOCK * 36];
    assert_int_equal(kv_value_bytes(KV_Q4, DIM), sizeof stored);
    random_floats(x, DIM);
    for (size_t i = 0; i < KV_Q4_BLOCK; i++)
        x[i] = -2.5f; /* no steps at all */
    kv_store(KV_Q4, stored, x, DIM);
    decode_q4(stored, back, DIM);
    for (size_t i = 0; i < DIM; i++)
        assert_true(fabsf(back[i] - x[i]) <= (i < KV_Q4_BLOCK ? 0 : 2.0f / 30 + 0.002f));
    x[70] = NAN;
    x[71] = INFINITY;
    kv_store(KV_Q4, stored, x, DIM);
    decode_q4(stored, back, DIM);
    assert_true(back[3] == -2.5f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention), cmocka_unit_test(test_spans),
        cmocka_unit_test(test_variants),  cmocka_unit_test(test_parts_of_a_group),
        cmocka_unit_test(test_asking),    cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_kv_q8_0),   cmocka_unit_test(test_kv_q4),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
