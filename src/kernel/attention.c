/*
 * attention.c: attention of one KV head, in blocks of positions counted from 0.
 *
 * Rows are taken a few at a time (a chunk), and each block of keys and values is read once for the
 * whole chunk and its group of query heads. Softmax is kept online: per query the largest score so
 * far, the sum of exponentials, and the weighted values, rescaled block by block.
 */
#include "kernel/internal.h"

#include <math.h>
#include <string.h>

enum { CHUNK_QUERIES = 64 }; /* so that queries, sums and one block of keys stay in cache */

static size_t chunk_rows(const attention_shape *shape, size_t n_rows)
{
    size_t most = shape->group < CHUNK_QUERIES ? CHUNK_QUERIES / shape->group : 1;
    return n_rows < most ? n_rows : most;
}

/* A query: its scaled vector, its sum, its scores, and max, sum, rescale. */
static size_t query_floats(const attention_shape *shape)
{
    return 2 * shape->head_dim + ATTENTION_BLOCK + 3;
}

size_t attention_scratch_floats(const attention_shape *shape, size_t max_rows)
{
    return chunk_rows(shape, max_rows) * shape->group * query_floats(shape);
}

typedef struct chunk {
    const attention_shape *shape;
    size_t rows;
    size_t first_position; /* of the chunk's first row */
    float *q;              /* queries × head_dim, scaled */
    float *sums;           /* queries × head_dim */
    float *scores;         /* queries × ATTENTION_BLOCK */
    float *max, *total, *rescale;
} chunk;

static chunk chunk_start(const attention_shape *shape, const float *q, size_t q_stride, size_t rows,
                         size_t first_position, float *scratch)
{
    size_t queries = rows * shape->group, width = shape->group * shape->head_dim;
    chunk c = {.shape = shape, .rows = rows, .first_position = first_position};
    c.q = scratch;
    c.sums = c.q + queries * shape->head_dim;
    c.scores = c.sums + queries * shape->head_dim;
    c.max = c.scores + queries * ATTENTION_BLOCK;
    c.total = c.max + queries;
    c.rescale = c.total + queries;
    for (size_t r = 0; r < rows; r++)
        for (size_t d = 0; d < width; d++)
            c.q[r * width + d] = q[r * q_stride + d] * shape->scale;
    memset(c.sums, 0, queries * shape->head_dim * sizeof *c.sums);
    for (size_t i = 0; i < queries; i++) {
        c.max[i] = -INFINITY;
        c.total[i] = 0;
    }
    return c;
}

/* n positions for the queries of `rows` rows from row `first`. */
static void chunk_block(const chunk *c, const kernel_set *kernel, size_t first, size_t rows,
                        const char *k, const char *v, size_t n)
{
    const attention_shape *shape = c->shape;
    size_t query = first * shape->group, queries = rows * shape->group;
    float *scores = c->scores + query * ATTENTION_BLOCK;
    kernel->scores(shape->type, c->q + query * shape->head_dim, queries, k, n, shape->head_dim,
                   scores);
    for (size_t i = 0; i < queries; i++)
        c->rescale[query + i] = kernel->softmax(scores + i * ATTENTION_BLOCK, n, &c->max[query + i],
                                                &c->total[query + i]);
    kernel->accumulate(shape->type, c->sums + query * shape->head_dim, c->rescale + query, scores,
                       queries, v, n, shape->head_dim);
}

static void chunk_attend(const chunk *c, const kernel_set *kernel, const char *k, const char *v)
{
    size_t position_bytes = kv_value_bytes(c->shape->type, c->shape->head_dim);
    size_t end = c->first_position + c->rows; /* positions the last row sees */
    for (size_t p = 0; p < end; p += ATTENTION_BLOCK) {
        const char *k_block = k + p * position_bytes, *v_block = v + p * position_bytes;
        if (p + ATTENTION_BLOCK <= c->first_position + 1) { /* every row sees the whole block */
            chunk_block(c, kernel, 0, c->rows, k_block, v_block, ATTENTION_BLOCK);
            continue;
        }
        for (size_t r = p > c->first_position ? p - c->first_position : 0; r < c->rows; r++) {
            size_t seen = c->first_position + r + 1 - p;
            seen = seen < ATTENTION_BLOCK ? seen : ATTENTION_BLOCK;
            chunk_block(c, kernel, r, 1, k_block, v_block, seen);
        }
    }
}

static void chunk_finish(const chunk *c, float *out, size_t out_stride)
{
    size_t head_dim = c->shape->head_dim, group = c->shape->group;
    for (size_t r = 0; r < c->rows; r++)
        for (size_t g = 0; g < group; g++) {
            const float *sums = c->sums + (r * group + g) * head_dim;
            float inverse = 1 / c->total[r * group + g];
            for (size_t d = 0; d < head_dim; d++)
                out[r * out_stride + g * head_dim + d] = sums[d] * inverse;
        }
}

void attention_head(const attention_shape *shape, const float *q, size_t q_stride, const void *k,
                    const void *v, size_t first_position, size_t n_rows, float *scratch, float *out,
                    size_t out_stride)
{
    const kernel_set *kernel = kernel_active();
    for (size_t r = 0; r < n_rows;) {
        size_t rows = chunk_rows(shape, n_rows - r);
        chunk c = chunk_start(shape, q + r * q_stride, q_stride, rows, first_position + r, scratch);
        chunk_attend(&c, kernel, k, v);
        chunk_finish(&c, out + r * out_stride, out_stride);
        r += rows;
    }
}

/* ---- the KV cache's types -------------------------------------------------------------------- */

static const char *const kv_names[KV_TYPES] = {
    [KV_F32] = "f32", [KV_F16] = "f16", [KV_Q8_0] = "q8_0"};

const char *kv_type_name(kv_type type)
{
    return kv_names[type];
}

bool kv_type_find(const char *name, kv_type *out)
{
    for (int i = 0; i < KV_TYPES; i++)
        if (strcmp(name, kv_names[i]) == 0) {
            *out = (kv_type)i;
            return true;
        }
    return false;
}

size_t kv_block_values(kv_type type)
{
    return type == KV_Q8_0 ? KV_BLOCK : 1;
}

size_t kv_value_bytes(kv_type type, size_t n)
{
    return kv_bytes(type, n);
}

/* The scale becomes an f16 only after the division: its rounding moves a value by at most 1/32 of a
 * step, and the kernel's own quantisation can be used. */
static void store_q8_0(kv_q8_0 *dst, const float *src, size_t n)
{
    const float largest_f16 = 65504;
    _Static_assert((int)KV_BLOCK == (int)BLOCK_COLUMNS, "blocks are an activation's");
    for (size_t i = 0; i < n; i += KV_BLOCK, dst++) {
        activation_block block;
        kernel_active()->quantize(&block, src + i, 1);
        dst->d = f32_to_f16(block.scale < largest_f16 ? block.scale : largest_f16);
        memcpy(dst->q, block.q, sizeof dst->q);
    }
}

void kv_store(kv_type type, void *dst, const float *src, size_t n)
{
    if (type == KV_F16)
        kernel_active()->store_f16(dst, src, n);
    else if (type == KV_Q8_0)
        store_q8_0(dst, src, n);
    else
        memcpy(dst, src, n * sizeof *src);
}

/* ---- small vector operations -------------------------------------------------------------------
 */

void vector_rms_norm(float *out, const float *x, const float *weight, size_t n, float epsilon)
{
    kernel_active()->rms_norm(out, x, weight, n, epsilon);
}

void vector_add(float *x, const float *y, size_t n)
{
    kernel_active()->add(x, y, n);
}

void vector_silu_multiply(float *gate, const float *up, size_t n)
{
    kernel_active()->silu_multiply(gate, up, n);
}
