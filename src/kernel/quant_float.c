/* quant_float.c: F32, F16 and BF16: decoding and packing. */
#include "kernel/internal.h"

#include <string.h>

static void decode_f32(const void *src, float *dst, size_t n)
{
    memcpy(dst, src, n * sizeof *dst);
}

static void pack_f32(void *record, const uint8_t *const rows[GROUP_ROWS], size_t columns)
{
    record_f32 *out = record;
    for (size_t r = 0; r < GROUP_ROWS; r++)
        for (size_t k = 0; rows[r] != NULL && k < columns; k++)
            memcpy(&out->w[k][r], rows[r] + k * sizeof(float), sizeof(float));
}

/* Tensor data may stand at any address. */
static uint16_t load_u16(const void *src, size_t index)
{
    uint16_t value;
    memcpy(&value, (const uint8_t *)src + index * sizeof value, sizeof value);
    return value;
}

static void decode_f16(const void *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = f16_to_f32(load_u16(src, i));
}

static void decode_bf16(const void *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)load_u16(src, i) << 16;
        memcpy(&dst[i], &bits, sizeof bits);
    }
}

/* Two columns of two rows at a time: as words, the rows' columns become the columns' rows. */
static void pack_two_rows(record_f16 *out, size_t r, const uint8_t *first, const uint8_t *second,
                          size_t columns)
{
    for (size_t k = 0; k + 1 < columns; k += 2) {
        uint32_t a, b;
        memcpy(&a, first + k * 2, sizeof a);
        memcpy(&b, second + k * 2, sizeof b);
        uint32_t low = (a & 0xFFFF) | b << 16, high = a >> 16 | (b & 0xFFFF0000);
        memcpy(&out->w[k][r], &low, sizeof low);
        memcpy(&out->w[k + 1][r], &high, sizeof high);
    }
    if (columns % 2 != 0) {
        out->w[columns - 1][r] = load_u16(first, columns - 1);
        out->w[columns - 1][r + 1] = load_u16(second, columns - 1);
    }
}

static void pack_16_bits(void *record, const uint8_t *const rows[GROUP_ROWS], size_t columns)
{
    static const uint8_t padding[BLOCK_COLUMNS * 2];
    for (size_t r = 0; r < GROUP_ROWS; r += 2)
        pack_two_rows(record, r, rows[r] != NULL ? rows[r] : padding,
                      rows[r + 1] != NULL ? rows[r + 1] : padding, columns);
}

static void unpack_f32(const void *record, size_t row, float *dst, size_t columns)
{
    const record_f32 *in = record;
    for (size_t k = 0; k < columns; k++)
        dst[k] = in->w[k][row];
}

static void unpack_f16(const void *record, size_t row, float *dst, size_t columns)
{
    const record_f16 *in = record;
    for (size_t k = 0; k < columns; k++)
        decode_f16(&in->w[k][row], &dst[k], 1);
}

static void unpack_bf16(const void *record, size_t row, float *dst, size_t columns)
{
    const record_f16 *in = record;
    for (size_t k = 0; k < columns; k++)
        decode_bf16(&in->w[k][row], &dst[k], 1);
}

const packed_format format_f32 = {
    .info = {TENSOR_F32, "F32", 1, 4, decode_f32},
    .columns = BLOCK_COLUMNS,
    .record_bytes = sizeof(record_f32),
    .floats = true,
    .numbers = {2, 1, F32_EXPONENT},
    .pack = pack_f32,
    .unpack = unpack_f32,
};

const packed_format format_f16 = {
    .info = {TENSOR_F16, "F16", 1, 2, decode_f16},
    .columns = BLOCK_COLUMNS,
    .record_bytes = sizeof(record_f16),
    .floats = true,
    .numbers = {0, 1, F16_EXPONENT},
    .pack = pack_16_bits,
    .unpack = unpack_f16,
};

const packed_format format_bf16 = {
    .info = {TENSOR_BF16, "BF16", 1, 2, decode_bf16},
    .columns = BLOCK_COLUMNS,
    .record_bytes = sizeof(record_f16),
    .floats = true,
    .numbers = {0, 1, F32_EXPONENT},
    .pack = pack_16_bits,
    .unpack = unpack_bf16,
};
