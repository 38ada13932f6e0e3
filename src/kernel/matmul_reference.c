/*
 * matmul_reference.c: the products in portable C: what every other instruction set is tested
 * against, and what runs where none of them can. Plain loops over the packed records in the order
 * internal.h fixes.
 */
#include "kernel/matmul_reference.h"

#include <math.h>
#include <string.h>

/* One column of a tile, its sixteen rows' sums. */
typedef struct sums {
    float row[GROUP_ROWS];
} sums;

/* What a column's sums begin with. */
static sums first_sums(const tile_job *job, size_t column)
{
    sums s = {{0}};
    if (job->goes_on)
        memcpy(s.row, job->y + column * job->y_stride, sizeof s.row);
    return s;
}

static void store_sums(const tile_job *job, size_t column, const sums *s)
{
    memcpy(job->y + column * job->y_stride, s->row, sizeof s->row);
}

/* ---- floats --------------------------------------------------------------------------------- */

typedef float weight_function(const void *record, size_t k, size_t r);

static float weight_f32(const void *record, size_t k, size_t r)
{
    return ((const record_f32 *)record)->w[k][r];
}

static float weight_f16(const void *record, size_t k, size_t r)
{
    return f16_to_f32(((const record_f16 *)record)->w[k][r]);
}

static float weight_bf16(const void *record, size_t k, size_t r)
{
    uint32_t bits = (uint32_t)((const record_f16 *)record)->w[k][r] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline void tile_floats(weight_function *weight, size_t record_bytes, const tile_job *job)
{
    for (size_t c = 0; c < job->columns; c++) {
        sums total = first_sums(job, c);
        const float *values = (const void *)((const char *)job->x + c * job->x_stride);
        for (size_t i = 0; i < job->n_records; i++, values += BLOCK_COLUMNS) {
            const char *record = (const char *)job->records + i * record_bytes;
            for (size_t r = 0; r < GROUP_ROWS; r++) {
                float even = 0, odd = 0;
                for (size_t k = 0; k < BLOCK_COLUMNS; k += 2) {
                    even = fmaf(weight(record, k, r), values[k], even);
                    odd = fmaf(weight(record, k + 1, r), values[k + 1], odd);
                }
                total.row[r] += even + odd;
            }
        }
        store_sums(job, c, &total);
    }
}

void reference_tile_f32(const tile_job *job)
{
    tile_floats(weight_f32, sizeof(record_f32), job);
}

void reference_tile_f16(const tile_job *job)
{
    tile_floats(weight_f16, sizeof(record_f16), job);
}

void reference_tile_bf16(const tile_job *job)
{
    tile_floats(weight_bf16, sizeof(record_f16), job);
}

/* ---- integers ------------------------------------------------------------------------------- */

/* start + Σ over the four columns of a quad, shifted and masked out of a packed byte. */
static int32_t dot_quad(const uint8_t packed[4], unsigned shift, unsigned mask, const int8_t *x,
                        int32_t start)
{
    for (size_t k = 0; k < 4; k++)
        start += (int32_t)(packed[k] >> shift & mask) * x[k];
    return start;
}

static int32_t dot_nibbles(const uint8_t q[BLOCK_QUADS / 2][GROUP_ROWS][4], size_t r,
                           const int8_t *x, int32_t start)
{
    for (size_t i = 0; i < BLOCK_QUADS / 2; i++) {
        start = dot_quad(q[i][r], 0, 15, x + 4 * i, start);
        start = dot_quad(q[i][r], 4, 15, x + 4 * i + BLOCK_COLUMNS / 2, start);
    }
    return start;
}

static void add_q8_0(const void *record, const activation_block *x, sums *total)
{
    const record_q8_0 *w = record;
    for (size_t b = 0; b < 2; b++, x++)
        for (size_t r = 0; r < GROUP_ROWS; r++) {
            int32_t dot = x->minus_128_sum;
            for (size_t i = 0; i < BLOCK_QUADS; i++)
                dot = dot_quad(w->q[b][i][r], 0, 255, x->q + 4 * i, dot);
            total->row[r] = fmaf((float)dot * f16_to_f32(w->d[b][r]), x->scale, total->row[r]);
        }
}

static void add_q4_0(const void *record, const activation_block *x, sums *total)
{
    const record_q4_0 *w = record;
    for (size_t b = 0; b < 2; b++, x++)
        for (size_t r = 0; r < GROUP_ROWS; r++) {
            int32_t dot = dot_nibbles(w->q[b], r, x->q, x->minus_8_sum);
            total->row[r] = fmaf((float)dot * f16_to_f32(w->d[b][r]), x->scale, total->row[r]);
        }
}

static void add_q4_1(const void *record, const activation_block *x, sums *total)
{
    const record_q4_1 *w = record;
    for (size_t b = 0; b < 2; b++, x++)
        for (size_t r = 0; r < GROUP_ROWS; r++) {
            float value = (float)dot_nibbles(w->q[b], r, x->q, 0) * f16_to_f32(w->d[b][r]);
            value = fmaf(f16_to_f32(w->m[b][r]), x->sum, value);
            total->row[r] = fmaf(value, x->scale, total->row[r]);
        }
}

/* As dot_nibbles with a fifth bit: bit i of `high` belongs to quad i. */
static int32_t dot_five_bits(const five_bit_block *w, size_t r, const int8_t *x, int32_t start)
{
    int32_t fifth = 0;
    for (size_t i = 0; i < BLOCK_QUADS; i++)
        fifth = dot_quad(w->high[r], (unsigned)i, 1, x + 4 * i, fifth);
    return dot_nibbles(w->low, r, x, start + 16 * fifth);
}

static void add_q5_0(const void *record, const activation_block *x, sums *total)
{
    const record_q5_0 *w = record;
    for (size_t b = 0; b < 2; b++, x++)
        for (size_t r = 0; r < GROUP_ROWS; r++) {
            int32_t dot = dot_five_bits(&w->block[b], r, x->q, 2 * x->minus_8_sum);
            total->row[r] = fmaf((float)dot * f16_to_f32(w->d[b][r]), x->scale, total->row[r]);
        }
}

static void add_q5_1(const void *record, const activation_block *x, sums *total)
{
    const record_q5_1 *w = record;
    for (size_t b = 0; b < 2; b++, x++)
        for (size_t r = 0; r < GROUP_ROWS; r++) {
            int32_t dot = dot_five_bits(&w->block[b], r, x->q, 0);
            float value = (float)dot * f16_to_f32(w->d[b][r]);
            value = fmaf(f16_to_f32(w->m[b][r]), x->sum, value);
            total->row[r] = fmaf(value, x->scale, total->row[r]);
        }
}

/* What nibbles stand for in the table, times x. */
static int32_t dot_table(const int8_t table[16], const uint8_t q[BLOCK_QUADS / 2][GROUP_ROWS][4],
                         size_t r, const int8_t *x)
{
    int32_t dot = 0;
    for (size_t k = 0; k < BLOCK_COLUMNS / 2; k++) {
        uint8_t both = q[k / 4][r][k % 4];
        dot += table[both & 15] * x[k] + table[both >> 4] * x[k + BLOCK_COLUMNS / 2];
    }
    return dot;
}

static void add_iq4_nl(const void *record, const activation_block *x, sums *total)
{
    const record_iq4_nl *w = record;
    for (size_t b = 0; b < 2; b++, x++)
        for (size_t r = 0; r < GROUP_ROWS; r++) {
            float value = (float)dot_table(iq4_values, w->q[b], r, x->q) * f16_to_f32(w->d[b][r]);
            total->row[r] = fmaf(value, x->scale, total->row[r]);
        }
}

static void add_mxfp4(const void *record, const activation_block *x, sums *total)
{
    const record_mxfp4 *w = record;
    for (size_t b = 0; b < FOUR_BLOCKS; b++, x++)
        for (size_t r = 0; r < GROUP_ROWS; r++) {
            float value =
                (float)dot_table(mxfp4_values, w->q[b], r, x->q) * mxfp4_scale(w->e[b][r]);
            total->row[r] = fmaf(value, x->scale, total->row[r]);
        }
}

/* One row's block of 32 with scale and minimum: dot is Σ q · x. */
static float add_with_min(float total, const super_scales *w, size_t b, size_t r, int32_t dot,
                          const activation_block *x)
{
    float scale = f16_to_f32(w->d[r]) * (float)super_scale(w, b, r);
    float min = f16_to_f32(w->dmin[r]) * (float)super_min(w, b, r);
    float value = fmaf(-min, x->sum, (float)dot * scale);
    return fmaf(value, x->scale, total);
}

static void add_q4_k(const void *record, const activation_block *x, sums *total)
{
    const record_q4_k *w = record;
    for (size_t b = 0; b < K_BLOCKS; b++, x++)
        for (size_t r = 0; r < GROUP_ROWS; r++) {
            int32_t dot = dot_nibbles(w->q[b], r, x->q, 0);
            total->row[r] = add_with_min(total->row[r], &w->scales, b, r, dot, x);
        }
}

static void add_q5_k(const void *record, const activation_block *x, sums *total)
{
    const record_q5_k *w = record;
    for (size_t b = 0; b < K_BLOCKS; b++, x++)
        for (size_t r = 0; r < GROUP_ROWS; r++) {
            int32_t dot = dot_five_bits(&w->block[b], r, x->q, 0);
            total->row[r] = add_with_min(total->row[r], &w->scales, b, r, dot, x);
        }
}

static int32_t dot_q6_k(const record_q6_k *w, size_t b, size_t half, size_t r,
                        const activation_block *x)
{
    int32_t dot = x->minus_32_sum[half];
    for (size_t i = 0; i < BLOCK_QUADS / 2; i++) {
        const uint8_t *low = w->block[b].low[i][r], *high = w->block[b].high[half][r];
        for (size_t k = 0; k < 4; k++) {
            unsigned q = (low[k] >> (4 * half) & 15u) | (high[k] >> (2 * i) & 3u) << 4;
            dot += (int32_t)q * x->q[half * 16 + 4 * i + k];
        }
    }
    return dot;
}

static void add_q6_k(const void *record, const activation_block *x, sums *total)
{
    const record_q6_k *w = record;
    for (size_t b = 0; b < K_BLOCKS; b++, x++)
        for (size_t r = 0; r < GROUP_ROWS; r++) {
            float d = f16_to_f32(w->d[r]);
            float value = (float)dot_q6_k(w, b, 0, r, x) * (d * (float)w->scale[b][0][r]);
            value = fmaf((float)dot_q6_k(w, b, 1, r, x), d * (float)w->scale[b][1][r], value);
            total->row[r] = fmaf(value, x->scale, total->row[r]);
        }
}

static int32_t dot_two_bits(const uint8_t q[GROUP_ROWS][4], size_t r, const int8_t *x,
                            int32_t start)
{
    for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
        start = dot_quad(q[r], 2 * (unsigned)i, 3, x + 4 * i, start);
    return start;
}

static void add_q2_k(const void *record, const activation_block *x, sums *total)
{
    const record_q2_k *w = record;
    for (size_t b = 0; b < K_BLOCKS; b++, x++)
        for (size_t r = 0; r < GROUP_ROWS; r++) {
            int32_t dot = 0, offset = 0;
            for (size_t h = 0; h < 2; h++) {
                uint8_t both = w->scale_min[b][h][r];
                dot += (both & 15) * dot_two_bits(w->q[b][h], r, x->q + 16 * h, 0);
                offset += (both >> 4) * x->half_sum[h];
            }
            float value = (float)dot * f16_to_f32(w->d[r]);
            value = fmaf(-(float)offset, f16_to_f32(w->dmin[r]), value);
            total->row[r] = fmaf(value, x->scale, total->row[r]);
        }
}

static int32_t dot_q3_k(const record_q3_k *w, size_t b, size_t half, size_t r,
                        const activation_block *x)
{
    int32_t high = 0;
    for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
        high = dot_quad(w->block[b].high[r], (unsigned)(4 * half + i), 1, x->q + 16 * half + 4 * i,
                        high);
    return dot_two_bits(w->block[b].low[half], r, x->q + 16 * half, 4 * high - x->half_sum_4[half]);
}

static int32_t scale_q3_k(const record_q3_k *w, size_t b, size_t half, size_t r)
{
    int32_t low = w->scale_low[b][r] >> (4 * half) & 15;
    int32_t high = w->scale_high[b / 2][r] >> (b % 2 * 4 + 2 * half) & 3;
    return (low | high << 4) - 32;
}

static void add_q3_k(const void *record, const activation_block *x, sums *total)
{
    const record_q3_k *w = record;
    for (size_t b = 0; b < K_BLOCKS; b++, x++)
        for (size_t r = 0; r < GROUP_ROWS; r++) {
            int32_t dot = scale_q3_k(w, b, 0, r) * dot_q3_k(w, b, 0, r, x) +
                          scale_q3_k(w, b, 1, r) * dot_q3_k(w, b, 1, r, x);
            float value = (float)dot * f16_to_f32(w->d[r]);
            total->row[r] = fmaf(value, x->scale, total->row[r]);
        }
}

static void add_iq4_xs(const void *record, const activation_block *x, sums *total)
{
    const record_iq4_xs *w = record;
    for (size_t b = 0; b < K_BLOCKS; b++, x++)
        for (size_t r = 0; r < GROUP_ROWS; r++) {
            float scale = f16_to_f32(w->d[r]) * (float)iq4_xs_scale(w, b, r);
            float value = (float)dot_table(iq4_values, w->q[b], r, x->q) * scale;
            total->row[r] = fmaf(value, x->scale, total->row[r]);
        }
}

typedef void add_function(const void *record, const activation_block *x, sums *total);

static inline void tile_blocks(add_function *add, size_t record_bytes, size_t record_blocks,
                               const tile_job *job)
{
    for (size_t c = 0; c < job->columns; c++) {
        sums total = first_sums(job, c);
        const activation_block *blocks = (const void *)((const char *)job->x + c * job->x_stride);
        for (size_t i = 0; i < job->n_records; i++)
            add((const char *)job->records + i * record_bytes, blocks + i * record_blocks, &total);
        store_sums(job, c, &total);
    }
}

#define DEFINE_TILE(type, record_blocks)                                                           \
    void reference_tile_##type(const tile_job *job)                                                \
    {                                                                                              \
        tile_blocks(add_##type, sizeof(record_##type), record_blocks, job);                        \
    }

DEFINE_TILE(q8_0, 2)
DEFINE_TILE(q4_0, 2)
DEFINE_TILE(q4_1, 2)
DEFINE_TILE(q5_0, 2)
DEFINE_TILE(q5_1, 2)
DEFINE_TILE(iq4_nl, 2)
DEFINE_TILE(mxfp4, FOUR_BLOCKS)
DEFINE_TILE(q2_k, K_BLOCKS)
DEFINE_TILE(q3_k, K_BLOCKS)
DEFINE_TILE(q4_k, K_BLOCKS)
DEFINE_TILE(q5_k, K_BLOCKS)
DEFINE_TILE(q6_k, K_BLOCKS)
DEFINE_TILE(iq4_xs, K_BLOCKS)

void reference_quantize(activation_block *blocks, const float *x, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, x += BLOCK_COLUMNS) {
        float max = 0;
        for (size_t k = 0; k < BLOCK_COLUMNS; k++)
            max = fabsf(x[k]) > max ? fabsf(x[k]) : max;
        bool tiny = max < QUANTIZE_TINY;
        float inverse = tiny ? 0 : 127 / max;
        activation_block *block = &blocks[b];
        int32_t half[2] = {0, 0};
        for (size_t k = 0; k < BLOCK_COLUMNS; k++) {
            float rounded = rintf(x[k] * inverse);
            rounded = rounded > 127 ? 127 : rounded >= -127 ? rounded : -127; /* NaN: −127 */
            block->q[k] = (int8_t)rounded;
            half[k / 16] += block->q[k];
        }
        block->scale = tiny ? 0 : max / 127;
        keep_sums(block, half[0], half[1]);
    }
}
