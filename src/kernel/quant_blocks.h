/* quant_blocks.h: the quantised types' blocks as the file has them (GGUF), for decoding and packing
 * them (quant_*.c) and for making them (quantize.c). Bytes only, because a block may stand at any
 * address; d, m and dmin are f16. */
#ifndef KERNEL_QUANT_BLOCKS_H
#define KERNEL_QUANT_BLOCKS_H

#include "kernel/internal.h"

/* ---- 32 values ------------------------------------------------------------------------------ */

typedef struct file_q8_0 {
    uint8_t d[2];
    int8_t q[BLOCK_COLUMNS];
} file_q8_0;

typedef struct file_q4_0 {
    uint8_t d[2];
    uint8_t q[BLOCK_COLUMNS / 2]; /* low nibbles are values 0–15, high nibbles 16–31 */
} file_q4_0;

typedef struct file_q4_1 {
    uint8_t d[2], m[2];
    uint8_t q[BLOCK_COLUMNS / 2];
} file_q4_1;

typedef struct file_q5_0 {
    uint8_t d[2];
    uint8_t high[BLOCK_COLUMNS / 8]; /* the fifth bit of value k is bit k */
    uint8_t q[BLOCK_COLUMNS / 2];
} file_q5_0;

typedef struct file_q5_1 {
    uint8_t d[2], m[2];
    uint8_t high[BLOCK_COLUMNS / 8];
    uint8_t q[BLOCK_COLUMNS / 2];
} file_q5_1;

typedef struct file_mxfp4 {
    uint8_t e;                    /* the scale is 2^(e − 127) */
    uint8_t q[BLOCK_COLUMNS / 2]; /* low nibbles are values 0–15, high nibbles 16–31 */
} file_mxfp4;

/* ---- super-blocks of 256 values ------------------------------------------------------------- */

typedef struct file_q2_k {
    uint8_t scales[K_COLUMNS / 16]; /* low nibble the scale, high nibble the min of 16 values */
    uint8_t q[K_COLUMNS / 4];       /* 32 bytes hold 128 values: the lowest two bits the first 32 */
    uint8_t d[2], dmin[2];
} file_q2_k;

typedef struct file_q3_k {
    uint8_t high[BLOCK_COLUMNS]; /* bit b: the third bits of block b */
    uint8_t q[K_COLUMNS / 4];    /* as Q2_K */
    uint8_t scales[12];          /* sixteen nibbles, then four bytes with the two bits above them */
    uint8_t d[2];
} file_q3_k;

typedef struct file_q4_k {
    uint8_t d[2], dmin[2];
    uint8_t scales[12];       /* eight six-bit scales and eight six-bit minima */
    uint8_t q[K_COLUMNS / 2]; /* 32 bytes hold 64 values: low nibbles the first 32 */
} file_q4_k;

typedef struct file_q5_k {
    uint8_t d[2], dmin[2];
    uint8_t scales[12];
    uint8_t high[BLOCK_COLUMNS]; /* bit b: the fifth bits of block b */
    uint8_t q[K_COLUMNS / 2];
} file_q5_k;

typedef struct file_q6_k {
    uint8_t low[K_COLUMNS / 2];  /* 64 bytes hold 128 values */
    uint8_t high[K_COLUMNS / 4]; /* 32 bytes hold the upper two bits of 128 values */
    int8_t scales[K_COLUMNS / 16];
    uint8_t d[2];
} file_q6_k;

typedef struct file_iq4_xs {
    uint8_t d[2];
    uint8_t scales_high[2]; /* two bits a block of 32 */
    uint8_t scales_low[K_BLOCKS / 2];
    uint8_t q[K_BLOCKS][BLOCK_COLUMNS / 2]; /* low nibbles are values 0–15, high nibbles 16–31 */
} file_iq4_xs;

#endif
