/* quant_block32.c: the types with blocks of 32 values, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, IQ4_NL
 * and MXFP4: decoding and packing. */
#include "kernel/quant_parts.h"

const int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                               1,    13,   25,  38,  53,  69,  89,  113};

const int8_t mxfp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static void five_bits_of(const uint8_t q[BLOCK_COLUMNS / 2], const uint8_t high[BLOCK_COLUMNS / 8],
                         uint8_t values[BLOCK_COLUMNS])
{
    nibble_halves_of(q, values);
    for (size_t k = 0; k < BLOCK_COLUMNS; k++)
        values[k] = (uint8_t)(values[k] | (high[k / 8] >> (k % 8) & 1) << 4);
}

static void decode_q8_0(const void *src, float *dst, size_t n)
{
    const file_q8_0 *block = src;
    for (size_t i = 0; i < n; i += BLOCK_COLUMNS, block++) {
        float d = f16_to_f32(half_bits(block->d));
        for (size_t k = 0; k < BLOCK_COLUMNS; k++)
            dst[i + k] = d * (float)block->q[k];
    }
}

static void decode_q4_0(const void *src, float *dst, size_t n)
{
    const file_q4_0 *block = src;
    for (size_t i = 0; i < n; i += BLOCK_COLUMNS, block++) {
        float d = f16_to_f32(half_bits(block->d));
        for (size_t k = 0; k < BLOCK_COLUMNS / 2; k++) {
            dst[i + k] = d * (float)((block->q[k] & 15) - 8);
            dst[i + k + BLOCK_COLUMNS / 2] = d * (float)((block->q[k] >> 4) - 8);
        }
    }
}

static void decode_q4_1(const void *src, float *dst, size_t n)
{
    const file_q4_1 *block = src;
    for (size_t i = 0; i < n; i += BLOCK_COLUMNS, block++) {
        float d = f16_to_f32(half_bits(block->d)), m = f16_to_f32(half_bits(block->m));
        uint8_t values[BLOCK_COLUMNS];
        nibble_halves_of(block->q, values);
        for (size_t k = 0; k < BLOCK_COLUMNS; k++)
            dst[i + k] = d * (float)values[k] + m;
    }
}

static void decode_q5_0(const void *src, float *dst, size_t n)
{
    const file_q5_0 *block = src;
    for (size_t i = 0; i < n; i += BLOCK_COLUMNS, block++) {
        float d = f16_to_f32(half_bits(block->d));
        uint8_t values[BLOCK_COLUMNS];
        five_bits_of(block->q, block->high, values);
        for (size_t k = 0; k < BLOCK_COLUMNS; k++)
            dst[i + k] = d * (float)(values[k] - 16);
    }
}

static void decode_q5_1(const void *src, float *dst, size_t n)
{
    const file_q5_1 *block = src;
    for (size_t i = 0; i < n; i += BLOCK_COLUMNS, block++) {
        float d = f16_to_f32(half_bits(block->d)), m = f16_to_f32(half_bits(block->m));
        uint8_t values[BLOCK_COLUMNS];
        five_bits_of(block->q, block->high, values);
        for (size_t k = 0; k < BLOCK_COLUMNS; k++)
            dst[i + k] = d * (float)values[k] + m;
    }
}

static void decode_iq4_nl(const void *src, float *dst, size_t n)
{
    const file_q4_0 *block = src; /* the same fields */
    for (size_t i = 0; i < n; i += BLOCK_COLUMNS, block++) {
        float d = f16_to_f32(half_bits(block->d));
        uint8_t values[BLOCK_COLUMNS];
        nibble_halves_of(block->q, values);
        for (size_t k = 0; k < BLOCK_COLUMNS; k++)
            dst[i + k] = d * (float)iq4_values[values[k]];
    }
}

static void decode_mxfp4(const void *src, float *dst, size_t n)
{
    const file_mxfp4 *block = src;
    for (size_t i = 0; i < n; i += BLOCK_COLUMNS, block++) {
        float d = mxfp4_scale(block->e);
        uint8_t values[BLOCK_COLUMNS];
        nibble_halves_of(block->q, values);
        for (size_t k = 0; k < BLOCK_COLUMNS; k++)
            dst[i + k] = d * (float)mxfp4_values[values[k]];
    }
}

static void pack_q8_0(void *record, const uint8_t *const rows[GROUP_ROWS], size_t columns)
{
    record_q8_0 *out = record;
    for (size_t r = 0; r < GROUP_ROWS; r++) {
        const file_q8_0 *block = (const void *)rows[r];
        for (size_t b = 0; block != NULL && b < columns / BLOCK_COLUMNS; b++, block++) {
            uint32_t quads[BLOCK_QUADS];
            out->d[b][r] = half_bits(block->d);
            load_quads(quads, (const uint8_t *)block->q, BLOCK_QUADS);
            for (size_t i = 0; i < BLOCK_QUADS; i++)
                quads[i] ^= 0x80808080; /* + 128 */
            store_quads(out->q[b], r, quads, BLOCK_QUADS);
        }
    }
}

/* All the others: in the file a byte holds values k and k + 16, in the record quads i and i + 4:
 * the same nibbles. */
static void pack_q4_0(void *record, const uint8_t *const rows[GROUP_ROWS], size_t columns)
{
    record_q4_0 *out = record;
    for (size_t r = 0; r < GROUP_ROWS; r++) {
        const file_q4_0 *block = (const void *)rows[r];
        for (size_t b = 0; block != NULL && b < columns / BLOCK_COLUMNS; b++, block++) {
            out->d[b][r] = half_bits(block->d);
            copy_quads(out->q[b], r, block->q, BLOCK_QUADS / 2);
        }
    }
}

static void pack_q4_1(void *record, const uint8_t *const rows[GROUP_ROWS], size_t columns)
{
    record_q4_1 *out = record;
    for (size_t r = 0; r < GROUP_ROWS; r++) {
        const file_q4_1 *block = (const void *)rows[r];
        for (size_t b = 0; block != NULL && b < columns / BLOCK_COLUMNS; b++, block++) {
            out->d[b][r] = half_bits(block->d);
            out->m[b][r] = half_bits(block->m);
            copy_quads(out->q[b], r, block->q, BLOCK_QUADS / 2);
        }
    }
}

/* Every fourth bit of `bits`, from the lowest on, side by side. */
static inline uint8_t every_fourth_bit(uint32_t bits)
{
    bits &= 0x11111111;
    bits = (bits | bits >> 3) & 0x03030303;
    bits = (bits | bits >> 6) & 0x000F000F;
    return (uint8_t)(bits | bits >> 12);
}

/* The fifth bits, one a value in the file; in the record one a quad, in each of four bytes. */
static void pack_fifth_bits(uint8_t out[4], const uint8_t high[BLOCK_COLUMNS / 8])
{
    uint32_t bits = half_bits(high) | (uint32_t)half_bits(high + 2) << 16;
    for (size_t k = 0; k < 4; k++)
        out[k] = every_fourth_bit(bits >> k);
}

static void pack_q5_0(void *record, const uint8_t *const rows[GROUP_ROWS], size_t columns)
{
    record_q5_0 *out = record;
    for (size_t r = 0; r < GROUP_ROWS; r++) {
        const file_q5_0 *block = (const void *)rows[r];
        for (size_t b = 0; block != NULL && b < columns / BLOCK_COLUMNS; b++, block++) {
            out->d[b][r] = half_bits(block->d);
            copy_quads(out->block[b].low, r, block->q, BLOCK_QUADS / 2);
            pack_fifth_bits(out->block[b].high[r], block->high);
        }
    }
}

static void pack_q5_1(void *record, const uint8_t *const rows[GROUP_ROWS], size_t columns)
{
    record_q5_1 *out = record;
    for (size_t r = 0; r < GROUP_ROWS; r++) {
        const file_q5_1 *block = (const void *)rows[r];
        for (size_t b = 0; block != NULL && b < columns / BLOCK_COLUMNS; b++, block++) {
            out->d[b][r] = half_bits(block->d);
            out->m[b][r] = half_bits(block->m);
            copy_quads(out->block[b].low, r, block->q, BLOCK_QUADS / 2);
            pack_fifth_bits(out->block[b].high[r], block->high);
        }
    }
}

static void pack_mxfp4(void *record, const uint8_t *const rows[GROUP_ROWS], size_t columns)
{
    record_mxfp4 *out = record;
    memset(out->e, 127, sizeof out->e); /* of padding: subnormal scales would be slow */
    for (size_t r = 0; r < GROUP_ROWS; r++) {
        const file_mxfp4 *block = (const void *)rows[r];
        for (size_t b = 0; block != NULL && b < columns / BLOCK_COLUMNS; b++, block++) {
            out->e[b][r] = block->e;
            copy_quads(out->q[b], r, block->q, BLOCK_QUADS / 2);
        }
    }
}

static void unpack_q8_0(const void *record, size_t row, float *dst, size_t columns)
{
    const record_q8_0 *in = record;
    for (size_t i = 0; i < columns; i++) {
        size_t b = i / BLOCK_COLUMNS, k = i % BLOCK_COLUMNS;
        dst[i] = f16_to_f32(in->d[b][row]) * (float)(in->q[b][k / 4][row][k % 4] - 128);
    }
}

static void unpack_q4_0(const void *record, size_t row, float *dst, size_t columns)
{
    const record_q4_0 *in = record;
    for (size_t i = 0; i < columns; i++) {
        size_t b = i / BLOCK_COLUMNS, k = i % BLOCK_COLUMNS;
        dst[i] = f16_to_f32(in->d[b][row]) * (float)((int)nibble_at(in->q[b], row, k) - 8);
    }
}

static void unpack_q4_1(const void *record, size_t row, float *dst, size_t columns)
{
    const record_q4_1 *in = record;
    for (size_t i = 0; i < columns; i++) {
        size_t b = i / BLOCK_COLUMNS, k = i % BLOCK_COLUMNS;
        dst[i] = f16_to_f32(in->d[b][row]) * (float)nibble_at(in->q[b], row, k) +
                 f16_to_f32(in->m[b][row]);
    }
}

static void unpack_q5_0(const void *record, size_t row, float *dst, size_t columns)
{
    const record_q5_0 *in = record;
    for (size_t i = 0; i < columns; i++) {
        size_t b = i / BLOCK_COLUMNS, k = i % BLOCK_COLUMNS;
        unsigned q = five_bits_at(&in->block[b], row, k);
        dst[i] = f16_to_f32(in->d[b][row]) * (float)((int)q - 16);
    }
}

static void unpack_q5_1(const void *record, size_t row, float *dst, size_t columns)
{
    const record_q5_1 *in = record;
    for (size_t i = 0; i < columns; i++) {
        size_t b = i / BLOCK_COLUMNS, k = i % BLOCK_COLUMNS;
        unsigned q = five_bits_at(&in->block[b], row, k);
        dst[i] = f16_to_f32(in->d[b][row]) * (float)q + f16_to_f32(in->m[b][row]);
    }
}

static void unpack_iq4_nl(const void *record, size_t row, float *dst, size_t columns)
{
    const record_iq4_nl *in = record;
    for (size_t i = 0; i < columns; i++) {
        size_t b = i / BLOCK_COLUMNS, k = i % BLOCK_COLUMNS;
        dst[i] = f16_to_f32(in->d[b][row]) * (float)iq4_values[nibble_at(in->q[b], row, k)];
    }
}

static void unpack_mxfp4(const void *record, size_t row, float *dst, size_t columns)
{
    const record_mxfp4 *in = record;
    for (size_t i = 0; i < columns; i++) {
        size_t b = i / BLOCK_COLUMNS, k = i % BLOCK_COLUMNS;
        dst[i] = mxfp4_scale(in->e[b][row]) * (float)mxfp4_values[nibble_at(in->q[b], row, k)];
    }
}

const packed_format format_q8_0 = {
    .info = {TENSOR_Q8_0, "Q8_0", BLOCK_COLUMNS, sizeof(file_q8_0), decode_q8_0},
    .columns = PAIR_COLUMNS,
    .record_bytes = sizeof(record_q8_0),
    .numbers = {offsetof(file_q8_0, d), 1, F16_EXPONENT},
    .pack = pack_q8_0,
    .unpack = unpack_q8_0,
};

const packed_format format_q4_0 = {
    .info = {TENSOR_Q4_0, "Q4_0", BLOCK_COLUMNS, sizeof(file_q4_0), decode_q4_0},
    .columns = PAIR_COLUMNS,
    .record_bytes = sizeof(record_q4_0),
    .numbers = {offsetof(file_q4_0, d), 1, F16_EXPONENT},
    .pack = pack_q4_0,
    .unpack = unpack_q4_0,
};

const packed_format format_q4_1 = {
    .info = {TENSOR_Q4_1, "Q4_1", BLOCK_COLUMNS, sizeof(file_q4_1), decode_q4_1},
    .columns = PAIR_COLUMNS,
    .record_bytes = sizeof(record_q4_1),
    .numbers = {offsetof(file_q4_1, d), 2, F16_EXPONENT},
    .pack = pack_q4_1,
    .unpack = unpack_q4_1,
};

const packed_format format_q5_0 = {
    .info = {TENSOR_Q5_0, "Q5_0", BLOCK_COLUMNS, sizeof(file_q5_0), decode_q5_0},
    .columns = PAIR_COLUMNS,
    .record_bytes = sizeof(record_q5_0),
    .numbers = {offsetof(file_q5_0, d), 1, F16_EXPONENT},
    .pack = pack_q5_0,
    .unpack = unpack_q5_0,
};

const packed_format format_q5_1 = {
    .info = {TENSOR_Q5_1, "Q5_1", BLOCK_COLUMNS, sizeof(file_q5_1), decode_q5_1},
    .columns = PAIR_COLUMNS,
    .record_bytes = sizeof(record_q5_1),
    .numbers = {offsetof(file_q5_1, d), 2, F16_EXPONENT},
    .pack = pack_q5_1,
    .unpack = unpack_q5_1,
};

const packed_format format_iq4_nl = {
    .info = {TENSOR_IQ4_NL, "IQ4_NL", BLOCK_COLUMNS, sizeof(file_q4_0), decode_iq4_nl},
    .columns = PAIR_COLUMNS,
    .record_bytes = sizeof(record_iq4_nl),
    .numbers = {offsetof(file_q4_0, d), 1, F16_EXPONENT},
    .pack = pack_q4_0, /* the same nibbles */
    .unpack = unpack_iq4_nl,
};

const packed_format format_mxfp4 = {
    .info = {TENSOR_MXFP4, "MXFP4", BLOCK_COLUMNS, sizeof(file_mxfp4), decode_mxfp4},
    .columns = FOUR_BLOCKS * BLOCK_COLUMNS,
    .record_bytes = sizeof(record_mxfp4),
    .numbers = {offsetof(file_mxfp4, e), 1, E8M0_EXPONENT},
    .pack = pack_mxfp4,
    .unpack = unpack_mxfp4,
};
