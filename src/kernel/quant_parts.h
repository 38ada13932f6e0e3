/* quant_parts.h: what the files quant_*.c share: reading fields of the file's blocks, and putting a
 * block's values into the packed layouts of internal.h. */
#ifndef KERNEL_QUANT_PARTS_H
#define KERNEL_QUANT_PARTS_H

#include <string.h>

#include "kernel/quant_blocks.h"

/* An f16 field; bytes, because a block may stand at any address. */
static inline uint16_t half_bits(const uint8_t bytes[2])
{
    return (uint16_t)(bytes[0] | bytes[1] << 8);
}

/* The values of a block whose bytes hold values k and k + 16. */
static inline void nibble_halves_of(const uint8_t q[BLOCK_COLUMNS / 2],
                                    uint8_t values[BLOCK_COLUMNS])
{
    for (size_t k = 0; k < BLOCK_COLUMNS / 2; k++) {
        values[k] = q[k] & 15;
        values[k + BLOCK_COLUMNS / 2] = q[k] >> 4;
    }
}

/* ---- quads -----------------------------------------------------------------------------------
 * Packing works on quads: the four bytes of four consecutive columns as one word. What a quad's
 * bytes hold in fields of one, two or four bits, the records hold too, but of other quads: the
 * fields are transposed, in all four bytes at once. No field crosses a byte, so the byte order of
 * the machine does not matter. */

static inline void load_quads(uint32_t *quads, const uint8_t *bytes, size_t n)
{
    memcpy(quads, bytes, n * sizeof *quads);
}

static inline void store_quads(uint8_t (*out)[GROUP_ROWS][4], size_t row, const uint32_t *quads,
                               size_t n)
{
    for (size_t i = 0; i < n; i++)
        memcpy(out[i][row], &quads[i], sizeof quads[i]);
}

static inline void copy_quads(uint8_t (*out)[GROUP_ROWS][4], size_t row, const uint8_t *bytes,
                              size_t n)
{
    for (size_t i = 0; i < n; i++)
        memcpy(out[i][row], bytes + 4 * i, 4);
}

/* Exchanges the bits mask << shift of *a with the bits mask of *b. */
static inline void exchange_fields(uint32_t *a, uint32_t *b, unsigned shift, uint32_t mask)
{
    uint32_t difference = (*a >> shift ^ *b) & mask;
    *a ^= difference << shift;
    *b ^= difference;
}

/* The high nibbles of quads 0–3 against the low nibbles of quads 4–7. */
static inline void exchange_nibbles(uint32_t quads[8])
{
    for (size_t i = 0; i < 4; i++)
        exchange_fields(&quads[i], &quads[i + 4], 4, 0x0F0F0F0F);
}

/* Two-bit field i of quad j becomes field j of quad i. */
static inline void transpose_pairs(uint32_t quads[4])
{
    for (size_t i = 0; i < 2; i++)
        exchange_fields(&quads[i], &quads[i + 2], 4, 0x0F0F0F0F);
    for (size_t i = 0; i < 4; i += 2)
        exchange_fields(&quads[i], &quads[i + 1], 2, 0x33333333);
}

/* Bit i of quad j becomes bit j of quad i. */
static inline void transpose_bits(uint32_t quads[8])
{
    exchange_nibbles(quads);
    for (size_t i = 0; i < 8; i += 4)
        for (size_t k = i; k < i + 2; k++)
            exchange_fields(&quads[k], &quads[k + 2], 2, 0x33333333);
    for (size_t i = 0; i < 8; i += 2)
        exchange_fields(&quads[i], &quads[i + 1], 1, 0x55555555);
}

/* ---- single values ----------------------------------------------------------------------------
 * Of one row's block in a record, value k of 32: unpacking takes them one by one. */

static inline unsigned nibble_at(const uint8_t q[BLOCK_QUADS / 2][GROUP_ROWS][4], size_t row,
                                 size_t k)
{
    return (unsigned)q[k / 4 % 4][row][k % 4] >> (k / 16 * 4) & 15u;
}

static inline unsigned pair_at(const uint8_t q[2][GROUP_ROWS][4], size_t row, size_t k)
{
    return (unsigned)q[k / 16][row][k % 4] >> (k / 4 % 4 * 2) & 3u;
}

static inline unsigned bit_at(const uint8_t high[GROUP_ROWS][4], size_t row, size_t k)
{
    return (unsigned)high[row][k % 4] >> (k / 4) & 1u;
}

static inline unsigned five_bits_at(const five_bit_block *block, size_t row, size_t k)
{
    return nibble_at(block->low, row, k) | bit_at(block->high, row, k) << 4;
}

/* One bit a value, 32 bytes whose bit b is of block b, become a quad a block: Q5_K's fifth bits,
 * Q3_K's third. */
static inline void block_bits(uint32_t quads[K_BLOCKS], const uint8_t high[BLOCK_COLUMNS])
{
    load_quads(quads, high, BLOCK_QUADS);
    transpose_bits(quads);
}

#endif
