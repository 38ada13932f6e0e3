/*
 * attention.c: attention of one KV head, in blocks of positions counted from 0.
 *
 * Rows are taken a few at a time (a chunk), and each block of keys and values is read once for the
 * whole chunk and its group of query heads. Softmax is kept online: per query the largest score so
 * far, the sum of exponentials, and the weighted values, rescaled block by block. Every span starts
 * anew and is then merged with those before it.
 */
#include "kernel/internal.h"

#include <math.h>
#include <string.h>

#include "kernel/vector_reference.h"

enum { CHUNK_QUERIES = 64 }; /* so that queries, sums and one block of keys stay in cache */

static size_t chunk_rows(const attention_shape *shape, size_t n_rows)
{
    size_t most = shape->group < CHUNK_QUERIES ? CHUNK_QUERIES / shape->group : 1;
    return n_rows < most ? n_rows : most;
}

/* From so many queries on a block of quantised keys or values is expanded to f32 once: fewer are
 * served by one pass of the widest kernel. Binary16 costs no more to load than f32 does. */
enum { EXPAND_QUERIES = 5 };

/* What queries have gathered from some positions. */
typedef struct gathered {
    float *sums;  /* queries × head_dim: values weighted by exp(score − max) */
    float *max;   /* of the scores */
    float *total; /* of the weights */
} gathered;

/* Whole cache lines: sums begin on one. */
static size_t gathered_floats(size_t queries, size_t head_dim)
{
    return (queries * (head_dim + 2) + 15) / 16 * 16;
}

static gathered gathered_at(float *floats, size_t queries, size_t head_dim)
{
    float *max = floats + queries * head_dim;
    return (gathered){floats, max, max + queries};
}

size_t attention_scratch_floats(const attention_shape *shape, size_t max_rows)
{
    size_t queries = chunk_rows(shape, max_rows) * shape->group;
    size_t expanded = queries < EXPAND_QUERIES ? 0 : ATTENTION_BLOCK * shape->head_dim;
    size_t query = shape->head_dim + ATTENTION_BLOCK + 1; /* its vector, scores and rescale */
    return expanded + queries * query + 2 * gathered_floats(queries, shape->head_dim);
}

typedef struct chunk {
    const attention_shape *shape;
    const kernel_set *kernel;
    size_t rows, queries;
    size_t first_position; /* of the chunk's first row */
    float *expanded;       /* ATTENTION_BLOCK × head_dim of keys or values; NULL for few queries */
    float *q;              /* queries × head_dim, scaled */
    float *scores;         /* queries × ATTENTION_BLOCK */
    float *rescale;        /* queries */
    gathered before, now;  /* in scratch */
} chunk;

static chunk chunk_start(const attention_shape *shape, const float *q, size_t q_stride, size_t rows,
                         size_t first_position, float *scratch)
{
    size_t head_dim = shape->head_dim, queries = rows * shape->group;
    chunk c = {.shape = shape, .kernel = kernel_active(), .rows = rows, .queries = queries};
    c.first_position = first_position;
    c.q = scratch;
    if (queries >= EXPAND_QUERIES) {
        c.expanded = scratch;
        c.q += ATTENTION_BLOCK * head_dim;
    }
    c.scores = c.q + queries * head_dim;
    float *floats = c.scores + queries * ATTENTION_BLOCK;
    c.before = gathered_at(floats, queries, head_dim);
    floats += gathered_floats(queries, head_dim);
    c.now = gathered_at(floats, queries, head_dim);
    c.rescale = floats + gathered_floats(queries, head_dim);
    size_t width = shape->group * head_dim;
    for (size_t r = 0; r < rows; r++)
        c.kernel->scale(c.q + r * width, q + r * q_stride, shape->scale, width);
    return c;
}

/* Keys or values of n positions, in a form that suits the chunk's queries. */
typedef struct kv_block {
    kv_type type;
    const void *values;
    const void *next;
} kv_block;

static kv_block chunk_load(const chunk *c, const void *values, size_t n, const void *next)
{
    kv_type type = c->shape->type;
    if (type != KV_Q8_0 || c->expanded == NULL)
        return (kv_block){type, values, next};
    c->kernel->expand(type, c->expanded, values, n * c->shape->head_dim, next);
    return (kv_block){KV_F32, c->expanded, NULL};
}

/* Positions of the block at `first` that row r sees. */
static size_t seen_positions(const chunk *c, size_t r, size_t first)
{
    size_t seen = c->first_position + r + 1 - first;
    return seen < ATTENTION_BLOCK ? seen : ATTENTION_BLOCK;
}

/* Values that not every row sees: those from position `common` of the block on, row by row. What
 * lies after a row is not even multiplied by zero, for it may be no number. */
static void accumulate_rest(const chunk *c, const gathered *to, const kv_block *v, size_t first_row,
                            size_t first, size_t common)
{
    size_t head_dim = c->shape->head_dim, group = c->shape->group;
    const char *rest = (const char *)v->values + kv_bytes(v->type, common * head_dim);
    for (size_t r = first_row; r < c->rows; r++) {
        size_t query = r * group, n = seen_positions(c, r, first) - common;
        if (n == 0)
            continue;
        for (size_t i = 0; i < group; i++)
            c->rescale[query + i] = 1;
        c->kernel->accumulate(v->type, to->sums + query * head_dim, c->rescale + query,
                              c->scores + query * ATTENTION_BLOCK + common, group, rest, n,
                              head_dim, NULL);
    }
}

/* The block of positions from `first` on, for the rows that see any of it. Values are asked for
 * while keys are read, and then `next`, the next block's keys (NULL: none). */
static void chunk_block(const chunk *c, const gathered *to, const void *keys, const void *values,
                        size_t first, const void *next)
{
    size_t head_dim = c->shape->head_dim;
    size_t first_row = first > c->first_position ? first - c->first_position : 0;
    size_t query = first_row * c->shape->group;
    size_t queries = (c->rows - first_row) * c->shape->group;
    size_t n = seen_positions(c, c->rows - 1, first);
    size_t common = seen_positions(c, first_row, first); /* what every row sees */
    float *scores = c->scores + query * ATTENTION_BLOCK;
    kv_block k = chunk_load(c, keys, n, values);
    c->kernel->scores(k.type, c->q + query * head_dim, queries, k.values, n, head_dim, k.next,
                      scores);
    for (size_t i = query; i < query + queries; i++)
        c->rescale[i] = c->kernel->softmax(c->scores + i * ATTENTION_BLOCK,
                                           seen_positions(c, i / c->shape->group, first),
                                           &to->max[i], &to->total[i]);
    kv_block v = chunk_load(c, values, n, next);
    c->kernel->accumulate(v.type, to->sums + query * head_dim, c->rescale + query, scores, queries,
                          v.values, common, head_dim, v.next);
    accumulate_rest(c, to, &v, first_row, first, common);
}

/* The first keys, which nobody has asked for. */
static void prefetch_first(const char *k, size_t bytes)
{
    enum { CACHE_LINE = 64, MOST_BYTES = 8192 };
    for (size_t i = 0; i < bytes && i < MOST_BYTES; i += CACHE_LINE)
        __builtin_prefetch(k + i);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* One span for the rows that see any of it, which must be some. Keys are asked for up to position
 * `end`, the end of what this thread will read. */
static void chunk_span(const chunk *c, const gathered *to, const char *k, const char *v,
                       size_t span, size_t end)
{
    size_t position_bytes = kv_value_bytes(c->shape->type, c->shape->head_dim);
    size_t first = span * ATTENTION_SPAN;
    size_t span_end = least(c->first_position + c->rows, first + ATTENTION_SPAN);
    memset(to->sums, 0, c->queries * c->shape->head_dim * sizeof *to->sums);
    for (size_t i = 0; i < c->queries; i++) {
        to->max[i] = -INFINITY;
        to->total[i] = 0;
    }
    for (size_t p = first; p < span_end; p += ATTENTION_BLOCK) {
        size_t after = p + ATTENTION_BLOCK;
        chunk_block(c, to, k + p * position_bytes, v + p * position_bytes, p,
                    after < end ? k + after * position_bytes : NULL);
    }
}

/* Query i's `from`, a later span's, joins `to`. sums' = sums · exp(max − max') + later sums ·
 * exp(later max − max'), by one rounded product and one fused multiply-add; the totals too. */
static void merge_query(const kernel_set *kernel, size_t head_dim, float *sums, float *max,
                        float *total, const float *from_sums, float from_max, float from_total)
{
    float larger = *max > from_max ? *max : from_max;
    float rescale = reference_exp(*max - larger), weight = reference_exp(from_max - larger);
    kernel->accumulate(KV_F32, sums, &rescale, &weight, 1, from_sums, 1, head_dim, NULL);
    *total = fmaf(weight, from_total, *total * rescale);
    *max = larger;
}

/* Spans that the row at `position` sees. */
static size_t row_spans(size_t position)
{
    return position / ATTENTION_SPAN + 1;
}

static void chunk_attend(const chunk *c, const char *k, const char *v)
{
    size_t head_dim = c->shape->head_dim, end = c->first_position + c->rows;
    chunk_span(c, &c->before, k, v, 0, end);
    for (size_t span = 1; span < row_spans(end - 1); span++) {
        chunk_span(c, &c->now, k, v, span, end);
        for (size_t i = 0; i < c->queries; i++)
            if (span < row_spans(c->first_position + i / c->shape->group))
                merge_query(c->kernel, head_dim, c->before.sums + i * head_dim, &c->before.max[i],
                            &c->before.total[i], c->now.sums + i * head_dim, c->now.max[i],
                            c->now.total[i]);
    }
}

static void chunk_finish(const chunk *c, float *out, size_t out_stride)
{
    size_t head_dim = c->shape->head_dim, group = c->shape->group;
    for (size_t i = 0; i < c->queries; i++)
        c->kernel->scale(out + i / group * out_stride + i % group * head_dim,
                         c->before.sums + i * head_dim, 1 / c->before.total[i], head_dim);
}

void attention_head(const attention_shape *shape, const float *q, size_t q_stride, const void *k,
                    const void *v, size_t first_position, size_t n_rows, float *scratch, float *out,
                    size_t out_stride)
{
    prefetch_first(k, kv_value_bytes(shape->type, (first_position + n_rows) * shape->head_dim));
    for (size_t r = 0; r < n_rows;) {
        size_t rows = chunk_rows(shape, n_rows - r);
        chunk c = chunk_start(shape, q + r * q_stride, q_stride, rows, first_position + r, scratch);
        chunk_attend(&c, k, v);
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

void vector_rotate(float *x, const float *cosines, const float *sines, size_t pairs,
                   rotate_layout layout)
{
    kernel_active()->rotate(x, cosines, sines, pairs, layout);
}
