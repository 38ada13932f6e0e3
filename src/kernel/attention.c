/*
 * attention.c: attention of one KV head, in blocks of positions counted from 0.
 *
 * Rows are taken a few at a time (a chunk), and each block of keys and values is read once for the
 * whole chunk and its group of query heads. Softmax is kept online: per query the largest score so
 * far, the sum of exponentials, and the weighted values, rescaled block by block. Every span starts
 * anew and is then merged with those before it.
 *
 * With a window the first block is the one that holds the first position a row sees, and so is the
 * first span. Both stay counted from 0: where a row's sums are cut depends on its position alone,
 * not on the rows beside it.
 */
#include "kernel/internal.h"

#include <math.h>
#include <string.h>

#include "kernel/vector_reference.h"

enum { CHUNK_QUERIES = 64 }; /* so that queries, sums and one block of keys stay in cache */

/* The first block of a window is read from a multiple of this, which is what scores are made in. */
enum { SCORE_STEP = 16 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t chunk_rows(const attention_shape *shape, size_t n_rows)
{
    return least(n_rows, shape->group < CHUNK_QUERIES ? CHUNK_QUERIES / shape->group : 1);
}

/* For more queries than one pass serves a block of quantised keys or values is expanded to f32
 * once. Binary16 costs no more to load than f32 does; four bits are always expanded. */
static bool expands(kv_type type, size_t queries)
{
    return type == KV_Q4 || queries > kernel_active()->pass_queries;
}

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
    size_t queries = least(max_rows * shape->group, most(shape->group, CHUNK_QUERIES));
    size_t expanded = expands(shape->type, queries) ? ATTENTION_BLOCK * shape->head_dim : 0;
    size_t query = shape->head_dim + ATTENTION_BLOCK + 1; /* its vector, scores and rescale */
    return expanded + queries * query + 2 * gathered_floats(queries, shape->head_dim);
}

/* What is asked for beside the KV. */
typedef struct asking {
    const char *at, *end;
    size_t lines; /* at a time */
} asking;

/* Positions after which more is asked for: few enough lines at a time that none waits. */
enum { ASK_POSITIONS = 16, CACHE_LINE = 64 };

typedef struct chunk {
    asking *later; /* NULL: nothing */
    const attention_shape *shape;
    const attention_kv *kv;
    const kernel_set *kernel;
    size_t rows, queries;
    size_t first_position; /* of the chunk's first row */
    size_t window;         /* 0 too when it is longer than what is there */
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
    c.window = shape->window < first_position + rows ? shape->window : 0;
    c.q = scratch;
    if (expands(shape->type, queries)) {
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

/* The first position that row r sees. */
static size_t row_start(const chunk *c, size_t r)
{
    size_t end = c->first_position + r + 1;
    return c->window > 0 && end > c->window ? end - c->window : 0;
}

/* Positions [begin, end) of a block, counted from its first. */
typedef struct range {
    size_t begin, end;
} range;

/* What row r sees of the block at `first`, which must be some. */
static range row_range(const chunk *c, size_t r, size_t first)
{
    size_t start = row_start(c, r);
    return (range){start > first ? start - first : 0,
                   least(c->first_position + r + 1 - first, ATTENTION_BLOCK)};
}

/* A block of positions and the rows [row_begin, row_end) that see any of it. */
typedef struct block {
    size_t first; /* position */
    size_t row_begin, row_end;
    range read;   /* positions that are read for them */
    range common; /* positions that all of them see; empty when its end is not after its begin */
    const char *keys, *values; /* from read.begin on; a closed group's keys from its begin on */
    const char *next;          /* the next block's keys; NULL: none */
} block;

/* The block at `first`; the next one's keys are asked for where `more` of them are read. */
static block block_at(const chunk *c, size_t first, bool more)
{
    size_t position_bytes = kv_value_bytes(c->shape->type, c->shape->head_dim);
    const char *keys = (const char *)c->kv->keys + first * position_bytes;
    const char *values = (const char *)c->kv->values + first * position_bytes;
    block b = {.first = first, .row_end = c->rows};
    b.next = more ? keys + ATTENTION_BLOCK * position_bytes : NULL;
    b.row_begin = first > c->first_position ? first - c->first_position : 0;
    if (c->window > 0) /* rows whose window begins before the block's end */
        b.row_end = least(c->rows, first + ATTENTION_BLOCK + c->window - 1 - c->first_position);
    range earliest = row_range(c, b.row_begin, first), latest = row_range(c, b.row_end - 1, first);
    b.read = (range){earliest.begin / SCORE_STEP * SCORE_STEP, latest.end};
    b.common = (range){latest.begin, earliest.end};
    b.keys = kv_groups_keys(c->shape->type) ? keys : keys + b.read.begin * position_bytes;
    b.values = values + b.read.begin * position_bytes;
    return b;
}

/* Keys or values of some positions, in a form that suits the chunk's queries. */
typedef struct kv_part {
    kv_type type;
    const void *values;
    const void *next;
} kv_part;

static kv_part chunk_load(const chunk *c, const void *values, size_t n, const void *next)
{
    kv_type type = c->shape->type;
    if ((type != KV_Q8_0 && type != KV_Q4) || c->expanded == NULL)
        return (kv_part){type, values, next};
    c->kernel->expand(type, c->expanded, values, n * c->shape->head_dim, next);
    return (kv_part){KV_F32, c->expanded, NULL};
}

_Static_assert((int)KV_GROUP == (int)ATTENTION_BLOCK, "a block's keys are open or closed");

/* Where keys are grouped all of a chunk's rows stand in one group, whose keys are open to them. */
static kv_part chunk_load_keys(const chunk *c, const block *b)
{
    size_t head_dim = c->shape->head_dim, n = b->read.end - b->read.begin;
    if (!kv_groups_keys(c->shape->type))
        return chunk_load(c, b->keys, n, b->values);
    if (b->first + KV_GROUP > c->first_position) {
        size_t at = (b->first + b->read.begin) * head_dim;
        const char *keys = (const char *)c->kv->open_keys + kv_bytes(KV_OPEN_TYPE, at);
        return (kv_part){KV_OPEN_TYPE, keys, NULL};
    }
    c->kernel->expand_keys(c->expanded, b->keys, b->read.begin, b->read.end, head_dim, b->values);
    return (kv_part){KV_F32, c->expanded, NULL};
}

static void ask_for_more(asking *a)
{
    for (size_t i = 0; i < a->lines && a->at < a->end; i++, a->at += CACHE_LINE)
        __builtin_prefetch(a->at, 0, 2);
}

static const char *offset_by(const void *at, size_t bytes)
{
    return at == NULL ? NULL : (const char *)at + bytes;
}

/* In pieces where something is asked for in between, which changes no bit. */
static void score_block(const chunk *c, const block *b, const kv_part *k)
{
    size_t head_dim = c->shape->head_dim, query = b->row_begin * c->shape->group;
    size_t queries = (b->row_end - b->row_begin) * c->shape->group;
    size_t n = b->read.end - b->read.begin, step = c->later != NULL ? ASK_POSITIONS : n;
    for (size_t at = 0; at < n; at += step) {
        size_t bytes = kv_bytes(k->type, at * head_dim);
        if (c->later != NULL)
            ask_for_more(c->later);
        c->kernel->scores(k->type, c->q + query * head_dim, queries, offset_by(k->values, bytes),
                          least(step, n - at), head_dim, offset_by(k->next, bytes),
                          c->scores + query * ATTENTION_BLOCK + b->read.begin + at);
    }
}

/* Scores become weights. What lies before a row's window gets none: it goes as a score of −∞. */
static void weigh_row(const chunk *c, const gathered *to, const block *b, size_t r)
{
    range seen = row_range(c, r, b->first);
    size_t group = c->shape->group;
    for (size_t i = r * group; i < (r + 1) * group; i++) {
        float *scores = c->scores + i * ATTENTION_BLOCK;
        if (c->shape->soft_cap > 0)
            c->kernel->soft_cap(scores + seen.begin, c->shape->soft_cap, seen.end - seen.begin);
        for (size_t j = 0; j < seen.begin; j++)
            scores[j] = -INFINITY;
        c->rescale[i] = c->kernel->softmax(scores, seen.end, &to->max[i], &to->total[i]);
    }
}

/* Values that not every row sees: those of `part`, row by row. What lies beyond a row's sight is
 * not even multiplied by zero, for it may be no number. Sums are rescaled once a block: by the
 * first values that a row gets. */
static void accumulate_rows(const chunk *c, const gathered *to, const block *b, const kv_part *v,
                            range part)
{
    size_t head_dim = c->shape->head_dim, group = c->shape->group;
    for (size_t r = b->row_begin; part.begin < part.end && r < b->row_end; r++) {
        range seen = row_range(c, r, b->first);
        size_t query = r * group, begin = most(seen.begin, part.begin);
        size_t end = least(seen.end, part.end);
        if (begin >= end)
            continue;
        const char *values =
            (const char *)v->values + kv_bytes(v->type, (begin - b->read.begin) * head_dim);
        c->kernel->accumulate(v->type, to->sums + query * head_dim, c->rescale + query,
                              c->scores + query * ATTENTION_BLOCK + begin, group, values,
                              end - begin, head_dim, NULL);
        for (size_t i = query; i < query + group; i++)
            c->rescale[i] = 1;
    }
}

/* Values that every row sees, read once for all. */
static void accumulate_common(const chunk *c, const gathered *to, const block *b, const kv_part *v)
{
    size_t head_dim = c->shape->head_dim, query = b->row_begin * c->shape->group;
    size_t queries = (b->row_end - b->row_begin) * c->shape->group;
    const char *values =
        (const char *)v->values + kv_bytes(v->type, (b->common.begin - b->read.begin) * head_dim);
    size_t n = b->common.end - b->common.begin, step = c->later != NULL ? ASK_POSITIONS : n;
    for (size_t at = 0; at < n; at += step) {
        size_t bytes = kv_bytes(v->type, at * head_dim);
        if (c->later != NULL)
            ask_for_more(c->later);
        c->kernel->accumulate(v->type, to->sums + query * head_dim, c->rescale + query,
                              c->scores + query * ATTENTION_BLOCK + b->common.begin + at, queries,
                              values + bytes, least(step, n - at), head_dim,
                              offset_by(v->next, bytes));
        if (at + step >= n && b->common.end == b->read.end)
            return;
        for (size_t i = query; i < query + queries; i++)
            c->rescale[i] = 1;
    }
}

/* Values are asked for while keys are read, and then the next block's keys. A row's values are
 * added in the order of their positions, whoever sees them with it. */
static void chunk_block(const chunk *c, const gathered *to, const block *b)
{
    size_t n = b->read.end - b->read.begin;
    kv_part k = chunk_load_keys(c, b);
    score_block(c, b, &k);
    for (size_t r = b->row_begin; r < b->row_end; r++)
        weigh_row(c, to, b, r);
    kv_part v = chunk_load(c, b->values, n, b->next);
    if (b->common.begin >= b->common.end) {
        accumulate_rows(c, to, b, &v, (range){0, b->read.end});
        return;
    }
    accumulate_rows(c, to, b, &v, (range){0, b->common.begin});
    accumulate_common(c, to, b, &v);
    accumulate_rows(c, to, b, &v, (range){b->common.end, b->read.end});
}

/* The first keys, which nobody has asked for. */
static void prefetch_first(const chunk *c, size_t end)
{
    enum { MOST_BYTES = 8192 };
    size_t position_bytes = kv_value_bytes(c->shape->type, c->shape->head_dim);
    size_t start = row_start(c, 0), bytes = (end - start) * position_bytes;
    for (size_t i = 0; i < bytes && i < MOST_BYTES; i += CACHE_LINE)
        __builtin_prefetch((const char *)c->kv->keys + start * position_bytes + i);
}

/* One span for the rows that see any of it, which must be some. Keys are asked for up to position
 * `end`, the end of what this thread will read. */
static void chunk_span(const chunk *c, const gathered *to, size_t span, size_t end)
{
    size_t start = row_start(c, 0) / ATTENTION_BLOCK * ATTENTION_BLOCK;
    size_t span_end = least(end, (span + 1) * ATTENTION_SPAN);
    memset(to->sums, 0, c->queries * c->shape->head_dim * sizeof *to->sums);
    for (size_t i = 0; i < c->queries; i++) {
        to->max[i] = -INFINITY;
        to->total[i] = 0;
    }
    for (size_t p = most(start, span * ATTENTION_SPAN); p < span_end; p += ATTENTION_BLOCK) {
        block b = block_at(c, p, p + ATTENTION_BLOCK < end);
        chunk_block(c, to, &b);
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

/* What query i gathered from a later span than the chunk's first joins what it has. A chunk's rows
 * are so few that they begin in its first span or in the next. */
static void join_span(const chunk *c, size_t span, size_t i)
{
    size_t head_dim = c->shape->head_dim, r = i / c->shape->group;
    size_t first = row_start(c, r) / ATTENTION_SPAN;
    size_t last = (c->first_position + r) / ATTENTION_SPAN;
    float *sums = c->before.sums + i * head_dim;
    const float *now = c->now.sums + i * head_dim;
    if (span == first) { /* it has nothing yet */
        memcpy(sums, now, head_dim * sizeof *sums);
        c->before.max[i] = c->now.max[i];
        c->before.total[i] = c->now.total[i];
    } else if (span <= last) {
        merge_query(c->kernel, head_dim, sums, &c->before.max[i], &c->before.total[i], now,
                    c->now.max[i], c->now.total[i]);
    }
}

static void chunk_attend(const chunk *c)
{
    size_t end = c->first_position + c->rows, first = row_start(c, 0) / ATTENTION_SPAN;
    chunk_span(c, &c->before, first, end);
    for (size_t span = first + 1; span * ATTENTION_SPAN < end; span++) {
        chunk_span(c, &c->now, span, end);
        for (size_t i = 0; i < c->queries; i++)
            join_span(c, span, i);
    }
}

/* What query i's sums are multiplied with to become its result: the sink joins the denominator, and
 * may be larger than every score. */
static float final_factor(const chunk *c, size_t i)
{
    float max = c->before.max[i], total = c->before.total[i];
    if (c->shape->sinks == NULL)
        return 1 / total;
    float sink = c->shape->sinks[i % c->shape->group], larger = sink > max ? sink : max;
    float rescale = reference_exp(max - larger);
    return rescale / fmaf(total, rescale, reference_exp(sink - larger));
}

static void chunk_finish(const chunk *c, float *out, size_t out_stride)
{
    size_t head_dim = c->shape->head_dim, group = c->shape->group;
    for (size_t i = 0; i < c->queries; i++)
        c->kernel->scale(out + i / group * out_stride + i % group * head_dim,
                         c->before.sums + i * head_dim, final_factor(c, i), head_dim);
}

/* In as many pieces as the first chunk reads keys and values in. */
static asking start_asking(const chunk *c)
{
    const char *at = c->kv->later;
    size_t positions = c->first_position + c->rows - row_start(c, 0);
    size_t pieces = 2 * (positions / ASK_POSITIONS + 1);
    if (c->kv->later_bytes == 0)
        return (asking){0};
    return (asking){at, at + c->kv->later_bytes, c->kv->later_bytes / CACHE_LINE / pieces + 1};
}

/* Rows that are taken together from a position on. */
static size_t chunk_rows_at(const attention_shape *shape, size_t position, size_t n_rows)
{
    size_t rows = chunk_rows(shape, n_rows);
    return kv_groups_keys(shape->type) ? least(rows, KV_GROUP - position % KV_GROUP) : rows;
}

void attention_head(const attention_shape *shape, const float *q, size_t q_stride,
                    const attention_kv *kv, size_t first_position, size_t n_rows, float *scratch,
                    float *out, size_t out_stride)
{
    asking later = {0};
    for (size_t r = 0; r < n_rows;) {
        size_t rows = chunk_rows_at(shape, first_position + r, n_rows - r);
        chunk c = chunk_start(shape, q + r * q_stride, q_stride, rows, first_position + r, scratch);
        c.kv = kv;
        if (r == 0)
            later = start_asking(&c);
        c.later = later.lines > 0 ? &later : NULL;
        if (r == 0)
            prefetch_first(&c, first_position + n_rows);
        chunk_attend(&c);
        chunk_finish(&c, out + r * out_stride, out_stride);
        r += rows;
    }
}
