/* quant_k_low.c: the types of two to four bits with super-blocks of 256 values, Q2_K, Q3_K and
 * IQ4_XS: decoding and packing. */
#include "kernel/quant_parts.h"

static void two_bits_of(const uint8_t *q, size_t block, uint8_t values[BLOCK_COLUMNS])
{
    q += block / 4 * BLOCK_COLUMNS;
    for (size_t k = 0; k < BLOCK_COLUMNS; k++)
        values[k] = q[k] >> (2 * (block % 4)) & 3;
}

static void values_q3_k(const file_q3_k *super, size_t block, uint8_t values[BLOCK_COLUMNS])
{
    two_bits_of(super->q, block, values);
    for (size_t k = 0; k < BLOCK_COLUMNS; k++)
        values[k] = (uint8_t)(values[k] | (super->high[k] >> block & 1) << 2);
}

/* The six-bit scale of half block s; 32 stands for 0. */
static unsigned scale_q3_k(const file_q3_k *super, size_t s)
{
    unsigned low = super->scales[s % 8] >> (s < 8 ? 0 : 4) & 15;
    return low | ((unsigned)super->scales[8 + s % 4] >> (2 * (s / 4)) & 3u) << 4;
}

/* The six-bit scale of a block; 32 stands for 0. */
static unsigned scale_iq4_xs(const file_iq4_xs *super, size_t block)
{
    unsigned low = super->scales_low[block / 2] >> (block % 2 * 4) & 15;
    return low | ((unsigned)half_bits(super->scales_high) >> (2 * block) & 3u) << 4;
}

static void decode_q2_k(const void *src, float *dst, size_t n)
{
    const file_q2_k *super = src;
    for (size_t i = 0; i < n; i += K_COLUMNS, super++) {
        float d = f16_to_f32(half_bits(super->d)), dmin = f16_to_f32(half_bits(super->dmin));
        for (size_t b = 0; b < K_BLOCKS; b++) {
            uint8_t values[BLOCK_COLUMNS];
            two_bits_of(super->q, b, values);
            for (size_t k = 0; k < BLOCK_COLUMNS; k++) {
                uint8_t both = super->scales[2 * b + k / 16];
                dst[i + b * BLOCK_COLUMNS + k] =
                    d * (float)(both & 15) * (float)values[k] - dmin * (float)(both >> 4);
            }
        }
    }
}

static void decode_q3_k(const void *src, float *dst, size_t n)
{
    const file_q3_k *super = src;
    for (size_t i = 0; i < n; i += K_COLUMNS, super++) {
        float d = f16_to_f32(half_bits(super->d));
        for (size_t b = 0; b < K_BLOCKS; b++) {
            uint8_t values[BLOCK_COLUMNS];
            values_q3_k(super, b, values);
            for (size_t k = 0; k < BLOCK_COLUMNS; k++) {
                int scale = (int)scale_q3_k(super, 2 * b + k / 16) - 32;
                dst[i + b * BLOCK_COLUMNS + k] = d * (float)scale * (float)(values[k] - 4);
            }
        }
    }
}

static void decode_iq4_xs(const void *src, float *dst, size_t n)
{
    const file_iq4_xs *super = src;
    for (size_t i = 0; i < n; i += K_COLUMNS, super++) {
        float d = f16_to_f32(half_bits(super->d));
        for (size_t b = 0; b < K_BLOCKS; b++) {
            uint8_t values[BLOCK_COLUMNS];
            nibble_halves_of(super->q[b], values);
            float scale = d * (float)((int)scale_iq4_xs(super, b) - 32);
            for (size_t k = 0; k < BLOCK_COLUMNS; k++)
                dst[i + b * BLOCK_COLUMNS + k] = scale * (float)iq4_values[values[k]];
        }
    }
}

/* 32 bytes hold four blocks, two bits of each: a quad for each block's two halves. */
static void block_pairs(uint32_t quads[K_BLOCKS][2], const uint8_t q[K_COLUMNS / 4])
{
    for (size_t i = 0; i < 4; i++, q += 16) {
        uint32_t four[4];
        load_quads(four, q, 4);
        transpose_pairs(four);
        for (size_t b = 0; b < 4; b++)
            quads[i / 2 * 4 + b][i % 2] = four[b];
    }
}

static void pack_q2_k(void *record, const uint8_t *const rows[GROUP_ROWS], size_t columns)
{
    (void)columns; /* always a whole super-block */
    record_q2_k *out = record;
    for (size_t r = 0; r < GROUP_ROWS; r++) {
        const file_q2_k *super = (const void *)rows[r];
        if (super == NULL)
            continue;
        out->d[r] = half_bits(super->d);
        out->dmin[r] = half_bits(super->dmin);
        for (size_t s = 0; s < K_COLUMNS / 16; s++)
            out->scale_min[s / 2][s % 2][r] = super->scales[s];
        uint32_t pairs[K_BLOCKS][2];
        block_pairs(pairs, super->q);
        for (size_t b = 0; b < K_BLOCKS; b++)
            store_quads(out->q[b], r, pairs[b], 2);
    }
}

static void pack_q3_k(void *record, const uint8_t *const rows[GROUP_ROWS], size_t columns)
{
    (void)columns;
    record_q3_k *out = record;
    for (size_t r = 0; r < GROUP_ROWS; r++) {
        const file_q3_k *super = (const void *)rows[r];
        if (super == NULL)
            continue;
        out->d[r] = half_bits(super->d);
        for (size_t s = 0; s < K_COLUMNS / 16; s++) {
            unsigned scale = scale_q3_k(super, s);
            uint8_t *low = &out->scale_low[s / 2][r], *high = &out->scale_high[s / 4][r];
            *low = (uint8_t)(*low | (scale & 15) << (s % 2 * 4));
            *high = (uint8_t)(*high | scale >> 4 << (s % 4 * 2));
        }
        uint32_t pairs[K_BLOCKS][2], bits[K_BLOCKS];
        block_pairs(pairs, super->q);
        block_bits(bits, super->high);
        for (size_t b = 0; b < K_BLOCKS; b++) {
            store_quads(&out->block[b].high, r, &bits[b], 1);
            store_quads(out->block[b].low, r, pairs[b], 2);
        }
    }
}

static void pack_iq4_xs(void *record, const uint8_t *const rows[GROUP_ROWS], size_t columns)
{
    (void)columns;
    record_iq4_xs *out = record;
    for (size_t r = 0; r < GROUP_ROWS; r++) {
        const file_iq4_xs *super = (const void *)rows[r];
        if (super == NULL)
            continue;
        out->d[r] = half_bits(super->d);
        for (size_t b = 0; b < K_BLOCKS; b++) {
            unsigned scale = scale_iq4_xs(super, b);
            uint8_t *low = &out->scale_low[b / 4][b % 2][r], *high = &out->scale_high[b % 2][r];
            *low = (uint8_t)(*low | (scale & 15) << (b / 2 % 2 * 4));
            *high = (uint8_t)(*high | scale >> 4 << (b / 2 * 2));
            copy_quads(out->q[b], r, super->q[b], BLOCK_QUADS / 2); /* as Q4_0 */
        }
    }
}

static void unpack_q2_k(const void *record, size_t row, float *dst, size_t columns)
{
    const record_q2_k *in = record;
    float d = f16_to_f32(in->d[row]), dmin = f16_to_f32(in->dmin[row]);
    for (size_t i = 0; i < columns; i++) {
        size_t b = i / BLOCK_COLUMNS, k = i % BLOCK_COLUMNS;
        uint8_t both = in->scale_min[b][k / 16][row];
        dst[i] =
            d * (float)(both & 15) * (float)pair_at(in->q[b], row, k) - dmin * (float)(both >> 4);
    }
}

static void unpack_q3_k(const void *record, size_t row, float *dst, size_t columns)
{
    const record_q3_k *in = record;
    float d = f16_to_f32(in->d[row]);
    for (size_t i = 0; i < columns; i++) {
        size_t b = i / BLOCK_COLUMNS, k = i % BLOCK_COLUMNS, s = 2 * b + k / 16;
        unsigned low = (unsigned)in->scale_low[s / 2][row] >> (s % 2 * 4) & 15u;
        unsigned high = (unsigned)in->scale_high[s / 4][row] >> (s % 4 * 2) & 3u;
        unsigned q = pair_at(in->block[b].low, row, k) | bit_at(in->block[b].high, row, k) << 2;
        dst[i] = d * (float)((int)(low | high << 4) - 32) * (float)((int)q - 4);
    }
}

static void unpack_iq4_xs(const void *record, size_t row, float *dst, size_t columns)
{
    const record_iq4_xs *in = record;
    float d = f16_to_f32(in->d[row]);
    for (size_t i = 0; i < columns; i++) {
        size_t b = i / BLOCK_COLUMNS, k = i % BLOCK_COLUMNS;
        float scale = d * (float)iq4_xs_scale(in, b, row);
        dst[i] = scale * (float)iq4_values[nibble_at(in->q[b], row, k)];
    }
}

const packed_format format_q2_k = {
    .info = {TENSOR_Q2_K, "Q2_K", K_COLUMNS, sizeof(file_q2_k), decode_q2_k},
    .columns = K_COLUMNS,
    .record_bytes = sizeof(record_q2_k),
    .numbers = {offsetof(file_q2_k, d), 2, F16_EXPONENT},
    .pack = pack_q2_k,
    .unpack = unpack_q2_k,
};

const packed_format format_q3_k = {
    .info = {TENSOR_Q3_K, "Q3_K", K_COLUMNS, sizeof(file_q3_k), decode_q3_k},
    .columns = K_COLUMNS,
    .record_bytes = sizeof(record_q3_k),
    .numbers = {offsetof(file_q3_k, d), 1, F16_EXPONENT},
    .pack = pack_q3_k,
    .unpack = unpack_q3_k,
};

const packed_format format_iq4_xs = {
    .info = {TENSOR_IQ4_XS, "IQ4_XS", K_COLUMNS, sizeof(file_iq4_xs), decode_iq4_xs},
    .columns = K_COLUMNS,
    .record_bytes = sizeof(record_iq4_xs),
    .numbers = {offsetof(file_iq4_xs, d), 1, F16_EXPONENT},
    .pack = pack_iq4_xs,
    .unpack = unpack_iq4_xs,
};
