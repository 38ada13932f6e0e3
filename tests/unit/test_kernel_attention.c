/* test_kernel_attention.c: attention and the KV cache's types, by every kernel. */
#include <sys/mman.h>

#include "kernel/internal.h"
#include "kernel_test.h"

typedef struct scene {
    attention_shape shape;
    size_t positions;
    float *q;             /* positions × group × head_dim */
    void *k, *v;          /* positions × head_dim of the type */
    void *open_k;         /* where keys are grouped: the same keys while they are open */
    float *k_f32, *v_f32; /* what k and v hold */
    float *open_f32;      /* what open_k holds */
    float *sinks;         /* group */
} scene;

/* Of nibbles in blocks of KV_Q4_BLOCK values, the one at `index`. */
static float nibble_at(const uint8_t *q, size_t index)
{
    size_t within = index % KV_Q4_BLOCK;
    unsigned both = q[index / KV_Q4_BLOCK * 32 + within % 32];
    return (float)(within < 32 ? both % 16 : both / 16);
}

static void decode_q4(const void *values, float *f32, size_t n)
{
    const kv_q4 *blocks = values;
    for (size_t i = 0; i < n; i++) {
        const kv_q4 *b = &blocks[i / KV_Q4_BLOCK];
        f32[i] = fmaf(f16_to_f32(b->d), nibble_at(b->q, i % KV_Q4_BLOCK), f16_to_f32(b->m));
    }
}

static void decode_group(const void *group, float *f32, size_t head_dim)
{
    kv_q4_group g = kv_q4_group_at(group, head_dim);
    for (size_t i = 0; i < KV_GROUP * head_dim; i++) {
        size_t c = i % head_dim;
        f32[i] = fmaf(f16_to_f32(g.d[c]), nibble_at(g.q + i / head_dim * head_dim / 2, c),
                      f16_to_f32(g.m[c]));
    }
}

static void fill_kv(const scene *s, void *values, float *f32, size_t n)
{
    random_floats(f32, n);
    kv_store(s->shape.type, values, f32, n);
    if (s->shape.type == KV_F16)
        for (size_t i = 0; i < n; i++)
            f32[i] = f16_to_f32(((uint16_t *)values)[i]);
    if (s->shape.type == KV_Q8_0) /* the same blocks as a tensor's */
        tensor_type_find(TENSOR_Q8_0)->decode(values, f32, n);
    if (s->shape.type == KV_Q4)
        decode_q4(values, f32, n);
}

/* Keys with what channels of true ones have, an offset of their own; whole groups are closed. */
static void fill_grouped_keys(scene *s, size_t n)
{
    size_t head_dim = s->shape.head_dim, group = KV_GROUP * head_dim;
    random_floats(s->open_f32, n);
    for (size_t i = 0; i < n; i++)
        s->open_f32[i] += (float)(i % head_dim % 7) - 3;
    kv_store(KV_OPEN_TYPE, s->open_k, s->open_f32, n);
    for (size_t i = 0; i < n; i++)
        s->open_f32[i] = f16_to_f32(((uint16_t *)s->open_k)[i]);
    for (size_t at = 0; at + group <= n; at += group) {
        char *closed = (char *)s->k + kv_value_bytes(s->shape.type, at);
        kv_close_group(s->shape.type, closed, (uint16_t *)s->open_k + at, head_dim);
        decode_group(closed, s->k_f32 + at, head_dim);
    }
}

static scene make_scene_of(attention_shape shape, size_t positions)
{
    scene s = {.shape = shape, .positions = positions};
    size_t n = positions * shape.head_dim;
    s.shape.scale = 1 / sqrtf((float)shape.head_dim);
    s.q = checked_alloc(n * shape.group, sizeof(float));
    s.k = checked_alloc(n, sizeof(float));
    s.v = checked_alloc(n, sizeof(float));
    s.k_f32 = checked_alloc(n, sizeof(float));
    s.v_f32 = checked_alloc(n, sizeof(float));
    s.sinks = checked_alloc(shape.group, sizeof(float));
    random_floats(s.q, n * shape.group);
    for (size_t i = 0; i < n * shape.group; i++)
        s.q[i] *= 8; /* a softmax with peaks */
    random_floats(s.sinks, shape.group);
    for (size_t i = 0; i < shape.group; i++)
        s.sinks[i] *= 4;
    if (kv_groups_keys(shape.type)) {
        s.open_k = checked_alloc(n, sizeof(float));
        s.open_f32 = checked_alloc(n, sizeof(float));
        fill_grouped_keys(&s, n);
    } else {
        fill_kv(&s, s.k, s.k_f32, n);
    }
    fill_kv(&s, s.v, s.v_f32, n);
    return s;
}

static scene make_scene(kv_type type, size_t group, size_t head_dim, size_t positions)
{
    const attention_shape shape = {.type = type, .group = group, .head_dim = head_dim};
    return make_scene_of(shape, positions);
}

static void free_scene(scene *s)
{
    free(s->q);
    free(s->k);
    free(s->v);
    free(s->open_k);
    free(s->open_f32);
    free(s->k_f32);
    free(s->v_f32);
    free(s->sinks);
}

static attention_kv kv_of(const scene *s)
{
    return (attention_kv){.keys = s->k, .values = s->v, .open_keys = s->open_k};
}

static void attend(const scene *s, size_t first, size_t rows, float *out)
{
    size_t width = s->shape.group * s->shape.head_dim;
    float *scratch = checked_alloc(attention_scratch_floats(&s->shape, rows), sizeof(float));
    attention_kv kv = kv_of(s);
    attention_head(&s->shape, s->q + first * width, width, &kv, first, rows, scratch,
                   out + first * width, width);
    free(scratch);
}

/* The key at p as the row at `position` sees it. */
static const float *key_of(const scene *s, size_t position, size_t p)
{
    bool is_open = kv_groups_keys(s->shape.type) && p / KV_GROUP == position / KV_GROUP;
    return (is_open ? s->open_f32 : s->k_f32) + p * s->shape.head_dim;
}

/* Query head g of the row at `position` by definition, in double. */
static void attend_double(const scene *s, size_t position, size_t g, double *out)
{
    size_t head_dim = s->shape.head_dim, window = s->shape.window;
    const float *q = s->q + (position * s->shape.group + g) * head_dim;
    size_t start = window > 0 && position + 1 > window ? position + 1 - window : 0;
    double *scores = checked_alloc(position + 1, sizeof(double)), cap = (double)s->shape.soft_cap;
    double sink = s->shape.sinks != NULL ? (double)s->shape.sinks[g] : -INFINITY, max = sink;
    for (size_t p = start; p <= position; p++) {
        for (size_t d = 0; d < head_dim; d++)
            scores[p] += (double)q[d] * (double)key_of(s, position, p)[d];
        scores[p] *= (double)s->shape.scale;
        if (cap > 0)
            scores[p] = cap * tanh(scores[p] / cap);
        max = fmax(max, scores[p]);
    }
    double sum = exp(sink - max);
    memset(out, 0, head_dim * sizeof *out);
    for (size_t p = start; p <= position; p++) {
        double weight = exp(scores[p] - max);
        sum += weight;
        for (size_t d = 0; d < head_dim; d++)
            out[d] += weight * (double)s->v_f32[p * head_dim + d];
    }
    for (size_t d = 0; d < head_dim; d++)
        out[d] /= sum;
    free(scores);
}

/* Rows [first, positions) of out. */
static double relative_error(const scene *s, size_t first, const float *out)
{
    size_t head_dim = s->shape.head_dim, group = s->shape.group;
    double *expected = checked_alloc(head_dim, sizeof(double)), error = 0, norm = 0;
    for (size_t i = first * group; i < s->positions * group; i++) {
        attend_double(s, i / group, i % group, expected);
        for (size_t d = 0; d < head_dim; d++) {
            double difference = (double)out[i * head_dim + d] - expected[d];
            error += difference * difference;
            norm += expected[d] * expected[d];
        }
    }
    free(expected);
    return sqrt(error / norm);
}

/* Rows from `first` on against the definition, and, however they are cut, the same bits. */
static void check_shape(attention_shape shape, size_t first, size_t positions)
{
    scene s = make_scene_of(shape, positions);
    if (shape.sinks != NULL)
        s.shape.sinks = s.sinks;
    size_t width = shape.group * shape.head_dim, n = (positions - first) * width;
    float *out = checked_alloc(positions * width, sizeof(float));
    float *again = checked_alloc(positions * width, sizeof(float));
    attend(&s, first, positions - first, out);
    double error = relative_error(&s, first, out);
    if (!(error < 1e-6))
        fail_msg("%s: %s, group %zu, head_dim %zu, window %zu, cap %g, %zu positions: error %.3g",
                 kernel_name(), kv_type_name(shape.type), shape.group, shape.head_dim, shape.window,
                 (double)shape.soft_cap, positions, error);
    for (int pass = 0; pass < 2; pass++) { /* in a few rows, and each alone */
        for (size_t at = first; at < positions;) {
            size_t rows = pass == 0 ? 1 + random_u32() % 9 : 1;
            rows = rows < positions - at ? rows : positions - at;
            attend(&s, at, rows, again);
            at += rows;
        }
        assert_memory_equal(out + first * width, again + first * width, n * sizeof(float));
    }
    free(out);
    free(again);
    free_scene(&s);
}

static void check_scene(kv_type type, size_t group, size_t head_dim, size_t positions)
{
    check_shape((attention_shape){.type = type, .group = group, .head_dim = head_dim}, 0,
                positions);
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
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_spans),
        cmocka_unit_test(test_variants),
        cmocka_unit_test(test_window_spans),
        cmocka_unit_test(test_future_is_unseen),
        cmocka_unit_test(test_past_is_unseen),
        cmocka_unit_test(test_past_is_unread),
        cmocka_unit_test(test_wide_window),
        cmocka_unit_test(test_sinks),
        cmocka_unit_test(test_parts_of_a_group),
        cmocka_unit_test(test_asking),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_kv_q8_0),
        cmocka_unit_test(test_kv_q4),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
