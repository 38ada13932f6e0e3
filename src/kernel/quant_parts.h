/* quant_parts.h: what the files quant_*.c share: fields of the file's blocks, and putting a block's
 * values into the packed layouts of internal.h. */
#ifndef KERNEL_QUANT_PARTS_H
#define KERNEL_QUANT_PARTS_H

#include "kernel/internal.h"

/* An f16 field; bytes, because a block may stand at any address. */
static inline uint16_t half_bits(const uint8_t bytes[2])
{
    return (uint16_t)(bytes[0] | bytes[1] << 8);
}

/* The low four bits of a row's block. */
static inline void pack_nibbles(uint8_t out[BLOCK_QUADS / 2][GROUP_ROWS][4], size_t row,
                                const uint8_t values[BLOCK_COLUMNS])
{
    for (size_t k = 0; k < BLOCK_COLUMNS / 2; k++)
        out[k / 4][row][k % 4] =
            (uint8_t)((values[k] & 15) | (values[k + BLOCK_COLUMNS / 2] & 15) << 4);
}

/* Bit `bit` of a row's block, into zeroed bytes. */
static inline void pack_bit(uint8_t out[GROUP_ROWS][4], size_t row,
                            const uint8_t values[BLOCK_COLUMNS], unsigned bit)
{
    for (size_t k = 0; k < BLOCK_COLUMNS; k++) {
        uint8_t *byte = &out[row][k % 4];
        *byte = (uint8_t)(*byte | (values[k] >> bit & 1) << (k / 4));
    }
}

/* Bits `bit` and `bit` + 1 of a row's block, into zeroed bytes. */
static inline void pack_two_bits(uint8_t out[2][GROUP_ROWS][4], size_t row,
                                 const uint8_t values[BLOCK_COLUMNS], unsigned bit)
{
    for (size_t k = 0; k < BLOCK_COLUMNS; k++) {
        uint8_t *byte = &out[k / 16][row][k % 4];
        *byte = (uint8_t)(*byte | (values[k] >> bit & 3) << (k / 4 % 4 * 2));
    }
}

#endif
