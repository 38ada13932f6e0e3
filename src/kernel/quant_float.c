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

static void pack_16_bits(void *record, const uint8_t *const rows[GROUP_ROWS], size_t columns)
{
    record_f16 *out = record;
    for (size_t r = 0; r < GROUP_ROWS; r++)
        for (size_t k = 0; rows[r] != NULL && k < columns; k++)
            out->w[k][r] = load_u16(rows[r], k);
}

const packed_format format_f32 = {
    .info = {TENSOR_F32, "F32", 1, 4, decode_f32},
    .columns = BLOCK_COLUMNS,
    .record_bytes = sizeof(record_f32),
    .floats = true,
    .pack = pack_f32,
};

const packed_format format_f16 = {
    .info = {TENSOR_F16, "F16", 1, 2, decode_f16},
    .columns = BLOCK_COLUMNS,
    .record_bytes = sizeof(record_f16),
    .floats = true,
    .pack = pack_16_bits,
};

const packed_format format_bf16 = {
    .info = {TENSOR_BF16, "BF16", 1, 2, decode_bf16},
    .columns = BLOCK_COLUMNS,
    .record_bytes = sizeof(record_f16),
    .floats = true,
    .pack = pack_16_bits,
};
