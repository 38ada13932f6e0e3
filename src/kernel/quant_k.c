/* quant_k.c: the K-quants of four and more bits, Q4_K, Q5_K and Q6_K: decoding and packing. Their
 * super-blocks hold 256 values. */
#include "kernel/quant_parts.h"

static void scale_and_min(const uint8_t scales[12], size_t block, uint8_t *scale, uint8_t *min)
{
    if (block < 4) {
        *scale = scales[block] & 63;
        *min = scales[block + 4] & 63;
    } else {
        *scale = (uint8_t)((scales[block + 4] & 15) | scales[block - 4] >> 6 << 4);
        *min = (uint8_t)(scales[block + 4] >> 4 | scales[block] >> 6 << 4);
    }
}

/* The 32 nibbles of one block: the low or the high ones of 32 bytes. */
static void nibbles_of(const uint8_t *q, size_t block, uint8_t values[BLOCK_COLUMNS])
{
    q += block / 2 * BLOCK_COLUMNS;
    unsigned shift = block % 2 == 0 ? 0 : 4;
    for (size_t k = 0; k < BLOCK_COLUMNS; k++)
        values[k] = q[k] >> shift & 15;
}

static void values_q5_k(const file_q5_k *super, size_t block, uint8_t values[BLOCK_COLUMNS])
{
    nibbles_of(super->q, block, values);
    for (size_t k = 0; k < BLOCK_COLUMNS; k++)
        values[k] = (uint8_t)(values[k] | (super->high[k] >> block & 1) << 4);
}

/* Half of the super-block is four blocks: the low and then the high nibbles of 2 × 32 bytes, each
 * with its own two bits of the 32 bytes of `high`. */
static void values_q6_k(const file_q6_k *super, size_t block, uint8_t values[BLOCK_COLUMNS])
{
    size_t half = block / 4, quarter = block % 4;
    const uint8_t *low = super->low + half * 64 + quarter % 2 * 32;
    const uint8_t *high = super->high + half * 32;
    unsigned low_shift = quarter < 2 ? 0 : 4, high_shift = 2 * (unsigned)quarter;
    for (size_t k = 0; k < BLOCK_COLUMNS; k++)
        values[k] = (uint8_t)((low[k] >> low_shift & 15) | (high[k] >> high_shift & 3) << 4);
}

static void decode_q4_k(const void *src, float *dst, size_t n)
{
    const file_q4_k *super = src;
    for (size_t i = 0; i < n; i += K_COLUMNS, super++) {
        float d = f16_to_f32(half_bits(super->d)), dmin = f16_to_f32(half_bits(super->dmin));
        for (size_t b = 0; b < K_BLOCKS; b++) {
            uint8_t scale, min, values[BLOCK_COLUMNS];
            scale_and_min(super->scales, b, &scale, &min);
            nibbles_of(super->q, b, values);
            for (size_t k = 0; k < BLOCK_COLUMNS; k++)
                dst[i + b * BLOCK_COLUMNS + k] =
                    d * (float)scale * (float)values[k] - dmin * (float)min;
        }
    }
}

static void decode_q5_k(const void *src, float *dst, size_t n)
{
    const file_q5_k *super = src;
    for (size_t i = 0; i < n; i += K_COLUMNS, super++) {
        float d = f16_to_f32(half_bits(super->d)), dmin = f16_to_f32(half_bits(super->dmin));
        for (size_t b = 0; b < K_BLOCKS; b++) {
            uint8_t scale, min, values[BLOCK_COLUMNS];
            scale_and_min(super->scales, b, &scale, &min);
            values_q5_k(super, b, values);
            for (size_t k = 0; k < BLOCK_COLUMNS; k++)
                dst[i + b * BLOCK_COLUMNS + k] =
                    d * (float)scale * (float)values[k] - dmin * (float)min;
        }
    }
}

static void decode_q6_k(const void *src, float *dst, size_t n)
{
    const file_q6_k *super = src;
    for (size_t i = 0; i < n; i += K_COLUMNS, super++) {
        float d = f16_to_f32(half_bits(super->d));
        for (size_t b = 0; b < K_BLOCKS; b++) {
            uint8_t values[BLOCK_COLUMNS];
            values_q6_k(super, b, values);
            for (size_t k = 0; k < BLOCK_COLUMNS; k++)
                dst[i + b * BLOCK_COLUMNS + k] =
                    d * (float)super->scales[2 * b + k / 16] * (float)(values[k] - 32);
        }
    }
}

/* 32 bytes hold two blocks, one in the low and one in the high nibbles: four quads of each. */
static void pack_nibbles(uint8_t (*first)[GROUP_ROWS][4], uint8_t (*second)[GROUP_ROWS][4],
                         size_t row, const uint8_t q[BLOCK_COLUMNS])
{
    uint32_t quads[BLOCK_QUADS];
    load_quads(quads, q, BLOCK_QUADS);
    exchange_nibbles(quads);
    store_quads(first, row, quads, BLOCK_QUADS / 2);
    store_quads(second, row, quads + BLOCK_QUADS / 2, BLOCK_QUADS / 2);
}

static void pack_scales(super_scales *out, size_t row, const uint8_t d[2], const uint8_t dmin[2],
                        const uint8_t scales[12])
{
    out->d[row] = half_bits(d);
    out->dmin[row] = half_bits(dmin);
    for (size_t b = 0; b < K_BLOCKS; b++) {
        uint8_t scale, min;
        scale_and_min(scales, b, &scale, &min);
        out->low[b][row] = (uint8_t)((scale & 15) | min << 4);
        out->high[b / 2][row] |= (uint8_t)((scale >> 4 | min >> 4 << 2) << (b % 2 * 4));
    }
}

static void pack_q4_k(void *record, const uint8_t *const rows[GROUP_ROWS], size_t columns)
{
    (void)columns; /* always a whole super-block */
    record_q4_k *out = record;
    for (size_t r = 0; r < GROUP_ROWS; r++) {
        const file_q4_k *super = (const void *)rows[r];
        if (super == NULL)
            continue;
        pack_scales(&out->scales, r, super->d, super->dmin, super->scales);
        for (size_t b = 0; b < K_BLOCKS; b += 2)
            pack_nibbles(out->q[b], out->q[b + 1], r, super->q + b * BLOCK_COLUMNS / 2);
    }
}

static void pack_q5_k(void *record, const uint8_t *const rows[GROUP_ROWS], size_t columns)
{
    (void)columns;
    record_q5_k *out = record;
    for (size_t r = 0; r < GROUP_ROWS; r++) {
        const file_q5_k *super = (const void *)rows[r];
        if (super == NULL)
            continue;
        pack_scales(&out->scales, r, super->d, super->dmin, super->scales);
        uint32_t high[K_BLOCKS];
        block_bits(high, super->high);
        for (size_t b = 0; b < K_BLOCKS; b++)
            store_quads(&out->block[b].high, r, &high[b], 1);
        for (size_t b = 0; b < K_BLOCKS; b += 2)
            pack_nibbles(out->block[b].low, out->block[b + 1].low, r,
                         super->q + b * BLOCK_COLUMNS / 2);
    }
}

/* Half a super-block is four blocks. Of 64 bytes, the low nibbles of the first 32 are block 0, of
 * the others block 1, the high nibbles blocks 2 and 3; the upper two bits are as Q2_K's. */
static void pack_half_q6_k(record_q6_k *out, size_t row, const file_q6_k *super, size_t half)
{
    uint32_t quads[BLOCK_QUADS];
    for (size_t b = 0; b < 2; b++)
        pack_nibbles(out->block[half * 4 + b].low, out->block[half * 4 + b + 2].low, row,
                     super->low + half * 64 + b * BLOCK_COLUMNS);
    for (size_t h = 0; h < 2; h++) {
        load_quads(quads, super->high + half * BLOCK_COLUMNS + h * 16, 4);
        transpose_pairs(quads);
        for (size_t b = 0; b < 4; b++)
            store_quads(&out->block[half * 4 + b].high[h], row, &quads[b], 1);
    }
}

static void pack_q6_k(void *record, const uint8_t *const rows[GROUP_ROWS], size_t columns)
{
    (void)columns;
    record_q6_k *out = record;
    for (size_t r = 0; r < GROUP_ROWS; r++) {
        const file_q6_k *super = (const void *)rows[r];
        if (super == NULL)
            continue;
        out->d[r] = half_bits(super->d);
        for (size_t s = 0; s < K_COLUMNS / 16; s++)
            out->scale[s / 2][s % 2][r] = super->scales[s];
        pack_half_q6_k(out, r, super, 0);
        pack_half_q6_k(out, r, super, 1);
    }
}

static float scaled_with_min(const super_scales *in, size_t row, size_t b, unsigned q)
{
    float d = f16_to_f32(in->d[row]), dmin = f16_to_f32(in->dmin[row]);
    return d * (float)super_scale(in, b, row) * (float)q - dmin * (float)super_min(in, b, row);
}

static void unpack_q4_k(const void *record, size_t row, float *dst, size_t columns)
{
    const record_q4_k *in = record;
    for (size_t i = 0; i < columns; i++) {
        size_t b = i / BLOCK_COLUMNS, k = i % BLOCK_COLUMNS;
        dst[i] = scaled_with_min(&in->scales, row, b, nibble_at(in->q[b], row, k));
    }
}

static void unpack_q5_k(const void *record, size_t row, float *dst, size_t columns)
{
    const record_q5_k *in = record;
    for (size_t i = 0; i < columns; i++) {
        size_t b = i / BLOCK_COLUMNS, k = i % BLOCK_COLUMNS;
        dst[i] = scaled_with_min(&in->scales, row, b, five_bits_at(&in->block[b], row, k));
    }
}

static void unpack_q6_k(const void *record, size_t row, float *dst, size_t columns)
{
    const record_q6_k *in = record;
    float d = f16_to_f32(in->d[row]);
    for (size_t i = 0; i < columns; i++) {
        size_t b = i / BLOCK_COLUMNS, k = i % BLOCK_COLUMNS;
        unsigned high = pair_at(in->block[b].high, row, k);
        int q = (int)(nibble_at(in->block[b].low, row, k) | high << 4);
        dst[i] = d * (float)in->scale[b][k / 16][row] * (float)(q - 32);
    }
}

const packed_format format_q4_k = {
    .info = {TENSOR_Q4_K, "Q4_K", K_COLUMNS, sizeof(file_q4_k), decode_q4_k},
    .columns = K_COLUMNS,
    .record_bytes = sizeof(record_q4_k),
    .numbers = {offsetof(file_q4_k, d), 2, F16_EXPONENT},
    .pack = pack_q4_k,
    .unpack = unpack_q4_k,
};

const packed_format format_q5_k = {
    .info = {TENSOR_Q5_K, "Q5_K", K_COLUMNS, sizeof(file_q5_k), decode_q5_k},
    .columns = K_COLUMNS,
    .record_bytes = sizeof(record_q5_k),
    .numbers = {offsetof(file_q5_k, d), 2, F16_EXPONENT},
    .pack = pack_q5_k,
    .unpack = unpack_q5_k,
};

const packed_format format_q6_k = {
    .info = {TENSOR_Q6_K, "Q6_K", K_COLUMNS, sizeof(file_q6_k), decode_q6_k},
    .columns = K_COLUMNS,
    .record_bytes = sizeof(record_q6_k),
    .numbers = {offsetof(file_q6_k, d), 1, F16_EXPONENT},
    .pack = pack_q6_k,
    .unpack = unpack_q6_k,
};
