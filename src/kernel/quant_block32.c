/* quant_block32.c: the types with blocks of 32 values, Q8_0 and Q4_0: decoding and packing. */
#include "kernel/internal.h"

#include <string.h>

typedef struct file_q8_0 {
    uint8_t d[2]; /* f16; bytes, because a block may stand at any address */
    int8_t q[BLOCK_COLUMNS];
} file_q8_0;

typedef struct file_q4_0 {
    uint8_t d[2];
    uint8_t q[BLOCK_COLUMNS / 2]; /* low nibbles are values 0–15, high nibbles 16–31 */
} file_q4_0;

static uint16_t half_bits(const uint8_t bytes[2])
{
    return (uint16_t)(bytes[0] | bytes[1] << 8);
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

static void pack_q8_0(void *record, const uint8_t *const rows[GROUP_ROWS], size_t columns)
{
    record_q8_0 *out = record;
    for (size_t r = 0; r < GROUP_ROWS; r++) {
        const file_q8_0 *block = (const void *)rows[r];
        for (size_t b = 0; block != NULL && b < columns / BLOCK_COLUMNS; b++, block++) {
            out->d[b][r] = half_bits(block->d);
            for (size_t k = 0; k < BLOCK_COLUMNS; k++)
                out->q[b][k / 4][r][k % 4] = (uint8_t)(block->q[k] + 128);
        }
    }
}

/* In the file a byte holds values k and k + 16, in the record quads i and i + 4: the same nibbles.
 */
static void pack_q4_0(void *record, const uint8_t *const rows[GROUP_ROWS], size_t columns)
{
    record_q4_0 *out = record;
    for (size_t r = 0; r < GROUP_ROWS; r++) {
        const file_q4_0 *block = (const void *)rows[r];
        for (size_t b = 0; block != NULL && b < columns / BLOCK_COLUMNS; b++, block++) {
            out->d[b][r] = half_bits(block->d);
            for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
                memcpy(out->q[b][i][r], block->q + 4 * i, 4);
        }
    }
}

const packed_format format_q8_0 = {
    .info = {TENSOR_Q8_0, "Q8_0", BLOCK_COLUMNS, sizeof(file_q8_0), decode_q8_0},
    .columns = PAIR_COLUMNS,
    .record_bytes = sizeof(record_q8_0),
    .pack = pack_q8_0,
};

const packed_format format_q4_0 = {
    .info = {TENSOR_Q4_0, "Q4_0", BLOCK_COLUMNS, sizeof(file_q4_0), decode_q4_0},
    .columns = PAIR_COLUMNS,
    .record_bytes = sizeof(record_q4_0),
    .pack = pack_q4_0,
};
