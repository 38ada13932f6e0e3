/* attention_scene.h: what the tests of attention share: queries, keys and values of a shape, and
 * what attention over them is in double precision. */
#ifndef TESTS_ATTENTION_SCENE_H
#define TESTS_ATTENTION_SCENE_H

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
static inline float nibble_at(const uint8_t *q, size_t index)
{
    size_t within = index % KV_Q4_BLOCK;
    unsigned both = q[index / KV_Q4_BLOCK * 32 + within % 32];
    return (float)(within < 32 ? both % 16 : both / 16);
}

static inline void decode_q4(const void *values, float *f32, size_t n)
{
    const kv_q4 *blocks = values;
    for (size_t i = 0; i < n; i++) {
        const kv_q4 *b = &blocks[i / KV_Q4_BLOCK];
        f32[i] = fmaf(f16_to_f32(b->d), nibble_at(b->q, i % KV_Q4_BLOCK), f16_to_f32(b->m));
    }
}

static inline void decode_group(const void *group, float *f32, size_t head_dim)
{
    kv_q4_group g = kv_q4_group_at(group, head_dim);
    for (size_t i = 0; i < KV_GROUP * head_dim; i++) {
        size_t c = i % head_dim;
        f32[i] = fmaf(f16_to_f32(g.d[c]), nibble_at(g.q + i / head_dim * head_dim / 2, c),
                      f16_to_f32(g.m[c]));
    }
}

static inline void fill_kv(const scene *s, void *values, float *f32, size_t n)
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
static inline void fill_grouped_keys(scene *s, size_t n)
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

static inline scene make_scene_of(attention_shape shape, size_t positions)
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

static inline scene make_scene(kv_type type, size_t group, size_t head_dim, size_t positions)
{
    const attention_shape shape = {.type = type, .group = group, .head_dim = head_dim};
    return make_scene_of(shape, positions);
}

static inline void free_scene(scene *s)
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

static inline attention_kv kv_of(const scene *s)
{
    return (attention_kv){.keys = s->k, .values = s->v, .open_keys = s->open_k};
}

static inline void attend(const scene *s, size_t first, size_t rows, float *out)
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
static inline void attend_double(const scene *s, size_t position, size_t g, double *out)
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
static inline double relative_error(const scene *s, size_t first, const float *out)
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
static inline void check_shape(attention_shape shape, size_t first, size_t positions)
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

static inline void check_scene(kv_type type, size_t group, size_t head_dim, size_t positions)
{
    check_shape((attention_shape){.type = type, .group = group, .head_dim = head_dim}, 0,
                positions);
}

#endif
