/* test_kernel_attention.c: attention and the KV cache's types, by every kernel. */
#include "kernel_test.h"

typedef struct scene {
    attention_shape shape;
    size_t positions;
    float *q;             /* positions × group × head_dim */
    void *k, *v;          /* positions × head_dim of the type */
    float *k_f32, *v_f32; /* what k and v hold */
} scene;

static void fill_kv(const scene *s, void *values, float *f32, size_t n)
{
    random_floats(f32, n);
    kv_store(s->shape.type, values, f32, n);
    if (s->shape.type == KV_F16)
        for (size_t i = 0; i < n; i++)
            f32[i] = f16_to_f32(((uint16_t *)values)[i]);
    if (s->shape.type == KV_Q8_0) /* the same blocks as a tensor's */
        tensor_type_find(TENSOR_Q8_0)->decode(values, f32, n);
}

static scene make_scene(kv_type type, size_t group, size_t head_dim, size_t positions)
{
    scene s = {.positions = positions};
    s.shape = (attention_shape){
        .type = type, .group = group, .head_dim = head_dim, .scale = 1 / sqrtf((float)head_dim)};
    size_t n = positions * head_dim;
    s.q = checked_alloc(n * group, sizeof(float));
    s.k = checked_alloc(n, sizeof(float));
    s.v = checked_alloc(n, sizeof(float));
    s.k_f32 = checked_alloc(n, sizeof(float));
    s.v_f32 = checked_alloc(n, sizeof(float));
    random_floats(s.q, n * group);
    for (size_t i = 0; i < n * group; i++)
        s.q[i] *= 8; /* a softmax with peaks */
    fill_kv(&s, s.k, s.k_f32, n);
    fill_kv(&s, s.v, s.v_f32, n);
    return s;
}

static void free_scene(scene *s)
{
    free(s->q);
    free(s->k);
    free(s->v);
    free(s->k_f32);
    free(s->v_f32);
}

static void attend(const scene *s, size_t first, size_t rows, float *out)
{
    size_t width = s->shape.group * s->shape.head_dim;
    float *scratch = checked_alloc(attention_scratch_floats(&s->shape, rows), sizeof(float));
    attention_head(&s->shape, s->q + first * width, width, s->k, s->v, first, rows, scratch,
                   out + first * width, width);
    free(scratch);
}

/* One query by definition, in double. */
static void attend_double(const scene *s, size_t position, const float *q, double *out)
{
    size_t head_dim = s->shape.head_dim;
    double *scores = checked_alloc(position + 1, sizeof(double));
    double max = -INFINITY, sum = 0;
    for (size_t p = 0; p <= position; p++) {
        for (size_t d = 0; d < head_dim; d++)
            scores[p] += (double)q[d] * (double)s->k_f32[p * head_dim + d];
        scores[p] *= (double)s->shape.scale;
        max = fmax(max, scores[p]);
    }
    memset(out, 0, head_dim * sizeof *out);
    for (size_t p = 0; p <= position; p++) {
        double weight = exp(scores[p] - max);
        sum += weight;
        for (size_t d = 0; d < head_dim; d++)
            out[d] += weight * (double)s->v_f32[p * head_dim + d];
    }
    for (size_t d = 0; d < head_dim; d++)
        out[d] /= sum;
    free(scores);
}

static void check_scene(kv_type type, size_t group, size_t head_dim, size_t positions)
{
    scene s = make_scene(type, group, head_dim, positions);
    size_t width = group * head_dim;
    float *out = checked_alloc(positions * width, sizeof(float));
    float *again = checked_alloc(positions * width, sizeof(float));
    double *expected = checked_alloc(head_dim, sizeof(double));
    attend(&s, 0, positions, out);
    double error = 0, norm = 0;
    for (size_t p = 0; p < positions; p++)
        for (size_t g = 0; g < group; g++) {
            attend_double(&s, p, s.q + p * width + g * head_dim, expected);
            for (size_t d = 0; d < head_dim; d++) {
                double difference = (double)out[p * width + g * head_dim + d] - expected[d];
                error += difference * difference;
                norm += expected[d] * expected[d];
            }
        }
    if (!(sqrt(error / norm) < 1e-6))
        fail_msg("%s: group %zu, head_dim %zu, %zu positions: relative error %.3g", kernel_name(),
                 group, head_dim, positions, sqrt(error / norm));
    /* Any cut of the rows, the same bits. */
    for (size_t first = 0; first < positions;) {
        size_t rows = 1 + random_u32() % 9;
        rows = rows < positions - first ? rows : positions - first;
        attend(&s, first, rows, again);
        first += rows;
    }
    assert_memory_equal(out, again, positions * width * sizeof(float));
    free(out);
    free(again);
    free(expected);
    free_scene(&s);
}

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
    scene s = make_scene(type, group, head_dim, first + rows);
    size_t width = group * head_dim;
    float *out = checked_alloc((first + rows) * width, sizeof(float));
    double *expected = checked_alloc(head_dim, sizeof(double));
    attend(&s, first, rows, out);
    for (size_t i = first * group; i < (first + rows) * group; i++) {
        attend_double(&s, i / group, s.q + i * head_dim, expected);
        for (size_t d = 0; d < head_dim; d++)
            assert_true(fabs((double)out[i * head_dim + d] - expected[d]) < 1e-5);
    }
    free(out);
    free(expected);
    free_scene(&s);
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
        assert_true(attention_scratch_floats(&s.shape, 1) <= 2048);
        attention_head(&s.shape, s.q + 65 * 48, 48, s.k, s.v, 65, 1, scratch, out, 48);
        for (size_t i = 66 * 24; i < 100 * 24; i++)
            k[i] = v[i] = NAN;
        attention_head(&s.shape, s.q + 65 * 48, 48, s.k, s.v, 65, 1, scratch, again, 48);
        assert_memory_equal(out, again, sizeof out);
        float *rows = checked_alloc(100 * 48, sizeof(float));
        attend(&s, 62, 7, rows);
        assert_memory_equal(out, rows + 65 * 48, sizeof out);
        assert_true(isnan(rows[66 * 48]));
        free(rows);
        free_scene(&s);
    }
}

static void check_same_bits(kv_type type, size_t head_dim, size_t positions)
{
    size_t n = positions * 5 * head_dim;
    scene s = make_scene(type, 5, head_dim, positions);
    float *expected = checked_alloc(n, sizeof(float));
    float *out = checked_alloc(n, sizeof(float));
    use_kernel("reference");
    attend(&s, 0, positions, expected);
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        use_kernel(*name);
        attend(&s, 0, positions, out);
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
    for (int type = 0; type < KV_TYPES; type++)
        check_same_bits((kv_type)type, type == KV_Q8_0 ? 96 : 72, 150);
    check_same_bits(KV_F16, 24, ATTENTION_SPAN + 9);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention),        cmocka_unit_test(test_spans),
        cmocka_unit_test(test_future_is_unseen), cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_kv_q8_0),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
