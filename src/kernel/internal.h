/*
 * internal.h: what the files of the kernel room share and nobody else sees: the packed layouts, the
 * activation's layout, and the table of functions that one instruction set provides.
 *
 * Packed layout. A matrix part is cut into groups of sixteen rows, a group into records of 32, 64,
 * 128 or 256 columns, and records follow one another in the order in which a product reads them, as
 * does what a record is made of: one linear stream. Some groups make a panel, whose records come by
 * slices of about 512 columns: the first slice of each group, then the second of each, and so on.
 * So what a slice meets of the activations stays in the first-level cache for all of them. Inside a
 * record the rows are interleaved: four consecutive columns ("a quad") of each of the sixteen rows
 * fill 64 bytes, which is one 512-bit register, two 256-bit ones, or q[quad][row][4] in C. Integers
 * are stored unsigned; the zero point comes back as −zero_point · Σx, summed once per activation.
 * A record is as large as the file's blocks of its rows: a multiple of 64 bytes, or of 32.
 *
 * Reduction order (promise 1), the same in every instruction set, so that integer products agree
 * bit for bit between them: per block of 32 columns an exact integer dot product, converted to f32,
 * multiplied by the row's scale, then one fused multiply-add with the activation's scale into the
 * row's only accumulator, blocks in increasing order. Q2_K and Q3_K, whose scales are small
 * integers times the super-block's, multiply the half blocks' sums by theirs before the conversion,
 * still exactly; the row's scale is then the super-block's. Float products: within 32 columns, even
 * and odd columns each in a chain of fused multiply-adds, then total += even + odd.
 */
#ifndef KERNEL_INTERNAL_H
#define KERNEL_INTERNAL_H

#include <assert.h>
#include <string.h>

#include "kernel/kernel.h"

enum {
    GROUP_ROWS = MATRIX_ROW_GROUP,
    BLOCK_COLUMNS = 32,    /* columns that share one activation scale */
    BLOCK_QUADS = 8,       /* quads in a block */
    TILE_COLUMNS = 8,      /* most columns one tile function takes */
    RECORD_ALIGNMENT = 64, /* bytes; records are multiples of it, or of half of it */
    K_COLUMNS = 256,       /* columns of a K-quant's super-block */
    K_BLOCKS = K_COLUMNS / BLOCK_COLUMNS,
    PAIR_COLUMNS = 2 * BLOCK_COLUMNS, /* columns of a Q8_0 or Q4_0 record */
    FOUR_BLOCKS = 4,                  /* blocks of an MXFP4 record */
    ATTENTION_BLOCK = 64,             /* positions reduced together */
};

/* Kernels load and store records and activation blocks with aligned instructions: the types say so,
 * so that variables are aligned and the sanitizer's alignment check finds what is not. */
#define RECORD_ALIGNED _Alignas(RECORD_ALIGNMENT)
/* A record of which every second one begins in the middle of a line, as sixteen 16-bit scales are
 * half of one: loads of its quads go over the ends of lines, which costs less than half a line more
 * to read. See docs/speed.md. */
#define HALF_LINE_ALIGNED _Alignas(RECORD_ALIGNMENT / 2)

/* Where memory without such a type is handed to kernels; nothing with NDEBUG. */
static inline void check_aligned(const void *records)
{
    assert((uintptr_t)records % RECORD_ALIGNMENT == 0);
    (void)records;
}

/* ---- packed records ------------------------------------------------------------------------- */

typedef struct record_f32 {
    RECORD_ALIGNED float w[BLOCK_COLUMNS][GROUP_ROWS];
} record_f32;

typedef struct record_f16 { /* also BF16 */
    RECORD_ALIGNED uint16_t w[BLOCK_COLUMNS][GROUP_ROWS];
} record_f16;

typedef struct record_q8_0 { /* value = d · (q − 128) */
    RECORD_ALIGNED uint16_t d[2][GROUP_ROWS];
    uint8_t q[2][BLOCK_QUADS][GROUP_ROWS][4];
} record_q8_0;

/* Four-bit values: the low nibbles of q[i] are quad i of the block, the high nibbles quad i + 4. */
typedef struct record_q4_0 { /* value = d · (q − 8) */
    RECORD_ALIGNED uint16_t d[2][GROUP_ROWS];
    uint8_t q[2][BLOCK_QUADS / 2][GROUP_ROWS][4];
} record_q4_0;

typedef struct record_q4_1 { /* value = d · q + m */
    RECORD_ALIGNED uint16_t d[2][GROUP_ROWS];
    uint16_t m[2][GROUP_ROWS];
    uint8_t q[2][BLOCK_QUADS / 2][GROUP_ROWS][4];
} record_q4_1;

/* A block of five-bit values: bit i of high is bit 4 of quad i; nibbles as above. */
typedef struct five_bit_block {
    uint8_t high[GROUP_ROWS][4];
    uint8_t low[BLOCK_QUADS / 2][GROUP_ROWS][4];
} five_bit_block;

typedef struct record_q5_0 { /* value = d · (q − 16) */
    RECORD_ALIGNED uint16_t d[2][GROUP_ROWS];
    five_bit_block block[2];
} record_q5_0;

typedef struct record_q5_1 { /* value = d · q + m */
    RECORD_ALIGNED uint16_t d[2][GROUP_ROWS];
    uint16_t m[2][GROUP_ROWS];
    five_bit_block block[2];
} record_q5_1;

typedef record_q4_0 record_iq4_nl; /* value = d · iq4_values[q] */

/* The scales and minima of a Q4_K or Q5_K record: value = d · scale · q − dmin · min. Six bits
 * each: the lower four of block b's scale and min are the low and the high nibble of low[b], the
 * upper two of both are nibble b % 2 of high[b / 2]. */
typedef struct super_scales {
    RECORD_ALIGNED uint16_t d[GROUP_ROWS];
    uint16_t dmin[GROUP_ROWS];
    uint8_t low[K_BLOCKS][GROUP_ROWS];
    uint8_t high[K_BLOCKS / 2][GROUP_ROWS];
} super_scales;

static inline unsigned super_scale(const super_scales *s, size_t block, size_t row)
{
    unsigned high = (unsigned)s->high[block / 2][row] >> (block % 2 * 4);
    return (s->low[block][row] & 15u) | (high & 3) << 4;
}

static inline unsigned super_min(const super_scales *s, size_t block, size_t row)
{
    unsigned high = (unsigned)s->high[block / 2][row] >> (block % 2 * 4 + 2);
    return (unsigned)s->low[block][row] >> 4 | (high & 3) << 4;
}

typedef struct record_q4_k {
    super_scales scales;
    uint8_t q[K_BLOCKS][BLOCK_QUADS / 2][GROUP_ROWS][4];
} record_q4_k;

typedef struct record_q5_k {
    super_scales scales;
    five_bit_block block[K_BLOCKS];
} record_q5_k;

/* Six-bit values: nibbles as above; bits 2i, 2i + 1 of high[h] are bits 4, 5 of quad 4h + i. */
typedef struct record_q6_k { /* value = d · scale · (q − 32), one scale per half block */
    HALF_LINE_ALIGNED uint16_t d[GROUP_ROWS];
    int8_t scale[K_BLOCKS][2][GROUP_ROWS];
    struct {
        uint8_t high[2][GROUP_ROWS][4];
        uint8_t low[BLOCK_QUADS / 2][GROUP_ROWS][4];
    } block[K_BLOCKS];
} record_q6_k;

/* Two-bit values: bits 2i, 2i + 1 of q[block][h] are quad 4h + i. */
typedef struct record_q2_k { /* value = d · scale · q − dmin · min, one of each per half block */
    RECORD_ALIGNED uint16_t d[GROUP_ROWS];
    uint16_t dmin[GROUP_ROWS];
    uint8_t scale_min[K_BLOCKS][2][GROUP_ROWS]; /* low nibble the scale, high nibble the min */
    uint8_t q[K_BLOCKS][2][GROUP_ROWS][4];
} record_q2_k;

/* Three-bit values: as Q2_K; bit i of high is bit 2 of quad i. Half block s's scale: nibble
 * s % 2 of scale_low[s / 2], and above it bits 2(s % 4), 2(s % 4) + 1 of scale_high[s / 4]. */
typedef struct record_q3_k { /* value = d · (scale − 32) · (q − 4) */
    HALF_LINE_ALIGNED uint16_t d[GROUP_ROWS];
    uint8_t scale_low[K_BLOCKS][GROUP_ROWS];
    uint8_t scale_high[K_BLOCKS / 2][GROUP_ROWS];
    struct {
        uint8_t high[GROUP_ROWS][4];
        uint8_t low[2][GROUP_ROWS][4];
    } block[K_BLOCKS];
} record_q3_k;

/* Scales have six bits, those of two blocks side by side, so that 32 bytes hold both: block b's
 * lower four are nibble b / 2 % 2 of scale_low[b / 4][b % 2], the upper two bits 2(b / 2), 2(b / 2)
 * + 1 of scale_high[b % 2]. */
typedef struct record_iq4_xs { /* value = d · (scale − 32) · iq4_values[q] */
    RECORD_ALIGNED uint16_t d[GROUP_ROWS];
    uint8_t scale_high[2][GROUP_ROWS];
    uint8_t scale_low[K_BLOCKS / 4][2][GROUP_ROWS];
    uint8_t q[K_BLOCKS][BLOCK_QUADS / 2][GROUP_ROWS][4];
} record_iq4_xs;

static inline int iq4_xs_scale(const record_iq4_xs *w, size_t block, size_t row)
{
    size_t pair = block / 2;
    int low = w->scale_low[block / 4][block % 2][row] >> (pair % 2 * 4) & 15;
    int high = w->scale_high[block % 2][row] >> (2 * pair) & 3;
    return (low | high << 4) - 32;
}

/* What the sixteen nibbles of IQ4_NL and IQ4_XS stand for. */
extern const int8_t iq4_values[16];

/* Four blocks, so that their scales fill a cache line. */
typedef struct record_mxfp4 { /* value = mxfp4_scale(e) · mxfp4_values[q] */
    RECORD_ALIGNED uint8_t e[FOUR_BLOCKS][GROUP_ROWS];
    uint8_t q[FOUR_BLOCKS][BLOCK_QUADS / 2][GROUP_ROWS][4];
} record_mxfp4;

/* Twice what MXFP4's nibbles stand for, so that they are integers. */
extern const int8_t mxfp4_values[16];

/* Half of the scale 2^(e − 127) that the byte stands for; 255 is no number (OCP MX 1.0, E8M0). */
static inline float mxfp4_scale(uint8_t e)
{
    uint32_t bits = e < 2 ? 0x00200000u << e : e < 255 ? (e - 1u) << 23 : 0x7FC00000u;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return scale;
}

/* A block's numbers that may be none: `count` fields of 16 bits from byte `at` on, each of which is
 * an infinity or NaN when all bits of `exponent` are set. */
typedef struct number_fields {
    uint8_t at, count;
    uint16_t exponent;
} number_fields;

enum {
    F16_EXPONENT = 0x7C00,
    F32_EXPONENT = 0x7F80,  /* in the upper half, which is also what BF16 keeps */
    E8M0_EXPONENT = 0x00FF, /* the one byte that is NaN */
};

/* How a tensor type is kept in memory. `pack` fills one record, which is all zeros when it is
 * called, from sixteen rows: rows[r] points at the file's blocks for the record's first column,
 * NULL for a row of padding; `columns` of the record's columns exist, the rest stay zero. `unpack`
 * makes of one row of a record what `decode` makes of the file's blocks, bit for bit. */
typedef struct packed_format {
    tensor_type_info info;
    size_t columns; /* columns a record */
    size_t record_bytes;
    bool floats; /* multiplies the activation's f32 form, not its integer form */
    number_fields numbers;
    void (*pack)(void *record, const uint8_t *const rows[GROUP_ROWS], size_t columns);
    void (*unpack)(const void *record, size_t row, float *dst, size_t columns);
} packed_format;

/* One line a type; the index is the same in every kernel_set. */
typedef enum packed_index {
    PACKED_F32,
    PACKED_F16,
    PACKED_BF16,
    PACKED_Q8_0,
    PACKED_Q4_0,
    PACKED_Q4_1,
    PACKED_Q5_0,
    PACKED_Q5_1,
    PACKED_IQ4_NL,
    PACKED_Q2_K,
    PACKED_Q3_K,
    PACKED_Q4_K,
    PACKED_Q5_K,
    PACKED_Q6_K,
    PACKED_IQ4_XS,
    PACKED_MXFP4,
    PACKED_COUNT
} packed_index;

extern const packed_format format_f32, format_f16, format_bf16, format_q8_0, format_q4_0,
    format_q4_1, format_q5_0, format_q5_1, format_iq4_nl, format_q2_k, format_q3_k, format_q4_k,
    format_q5_k, format_q6_k, format_iq4_xs, format_mxfp4;

/* PACKED_COUNT when the type is unknown. */
packed_index packed_find(uint32_t type);
const packed_format *packed_format_of(packed_index index);

/* ---- activations ---------------------------------------------------------------------------- */

/* 32 values as integers, x ≈ scale · q with scale = max|x| / 127. One cache line. What a zero point
 * of 8, 32 or 128 subtracts is kept ready: it is what the integer accumulators start from. */
typedef struct activation_block {
    RECORD_ALIGNED int8_t q[BLOCK_COLUMNS];
    float scale;
    float sum;               /* Σq */
    int32_t minus_8_sum;     /* −8 · Σq */
    int32_t minus_128_sum;   /* −128 · Σq */
    int32_t minus_32_sum[2]; /* −32 · Σq over the first and the second sixteen */
    int16_t half_sum[2];     /* Σq over the first and the second sixteen */
    int16_t half_sum_4[2];   /* 4 · those */
} activation_block;

_Static_assert(sizeof(activation_block) == RECORD_ALIGNMENT, "one cache line, and aligned to it");

/* ---- KV cache -------------------------------------------------------------------------------- */

typedef struct kv_q8_0 { /* value = d · q */
    uint16_t d;
    int8_t q[KV_BLOCK];
} kv_q8_0;

/* Low nibbles are the first half of the block's values, high nibbles the second. */
typedef struct kv_q4 { /* value = m + d · q, by one fused multiply-add */
    uint16_t d, m;
    uint8_t q[KV_Q4_BLOCK / 2];
} kv_q4;

/* A closed group of keys: head_dim scales, as many minima, and KV_GROUP rows of nibbles, which lie
 * in blocks of KV_Q4_BLOCK channels as those of kv_q4 do: as many bytes as KV_GROUP positions of
 * values. */
typedef struct kv_q4_group {
    const uint16_t *d, *m;
    const uint8_t *q;
} kv_q4_group;

static inline kv_q4_group kv_q4_group_at(const void *group, size_t head_dim)
{
    const uint16_t *d = (const uint16_t *)group;
    return (kv_q4_group){d, d + head_dim, (const uint8_t *)(d + 2 * head_dim)};
}

/* kv_value_bytes, for kernels that are made once a type. */
static inline size_t kv_bytes(kv_type type, size_t n)
{
    if (type == KV_Q8_0)
        return n / KV_BLOCK * sizeof(kv_q8_0);
    if (type == KV_Q4)
        return n / KV_Q4_BLOCK * sizeof(kv_q4);
    return n * (type == KV_F16 ? sizeof(uint16_t) : sizeof(float));
}

/* ---- what one instruction set provides ------------------------------------------------------ */

/* Some records of one group against 1 ≤ columns ≤ TILE_COLUMNS activations; a wide form's tile
 * takes any number. */
typedef struct tile_job {
    const void *records;
    size_t n_records;
    const void *x;   /* the first column's f32 values or activation_blocks; those past the matrix's
                        columns are zero up to a whole record */
    size_t x_stride; /* bytes to the next column's */
    size_t columns;
    float *y; /* y[c · y_stride + r] of the sixteen rows */
    size_t y_stride;
    bool goes_on;     /* y holds the sums over the records before these; else sums begin at zero */
    const char *next; /* of a wide form: what it will widen next, to be asked for meanwhile */
    size_t next_bytes;
} tile_job;

typedef void tile_function(const tile_job *job);

/* Sixteen rows of 32 columns with everything unpacked, for products with many columns. */
typedef struct wide_block {
    RECORD_ALIGNED uint8_t q[BLOCK_QUADS][GROUP_ROWS][4];
    float scale[2][GROUP_ROWS]; /* of the half blocks, or the first of the whole */
    float min[GROUP_ROWS];      /* what Σx is multiplied by and subtracted, where there is one */
} wide_block;

/* What makes wide blocks of records, and the tile whose records they are. */
typedef struct wide_form {
    void (*widen)(wide_block *wide, const void *records, size_t n_records);
    tile_function *tile;
    size_t min_columns; /* for which it pays */
} wide_form;

typedef struct kernel_set {
    const char *name;
    bool (*supported)(void);
    tile_function *tile[PACKED_COUNT];
    /* For a set that takes longer to unpack than to multiply; NULL, or by type, some without. */
    const wide_form *wide;

    void (*quantize)(activation_block *blocks, const float *x, size_t n_blocks);

    /* Queries that one pass over keys or values serves: for more, quantised ones are expanded. */
    size_t pass_queries;
    /* Attention's parts, over n ≤ ATTENTION_BLOCK positions; head_dim is a multiple of 8.
     * Quantised values count as the f32 values that they stand for, which f32 holds exactly.
     * What a query gets does not depend on the queries beside it. `next` is where the caller will
     * read next as much of the same type, to be prefetched meanwhile; NULL when nobody knows. */
    /* expand: n values of the type to f32, n a multiple of 8. Values in four bits are always
     * expanded: scores and accumulate do not know them. */
    void (*expand)(kv_type type, float *dst, const void *src, size_t n, const void *next);
    /* expand_keys: positions begin … end - 1 of a closed group */
    void (*expand_keys)(float *dst, const void *group, size_t begin, size_t end, size_t head_dim,
                        const void *next);
    /* scores: s[i][j] = q[i] · k[j], i < n_queries (rows of q head_dim apart) */
    void (*scores)(kv_type type, const float *q, size_t n_queries, const void *k, size_t n,
                   size_t head_dim, const void *next, float *s);
    /* softmax: s becomes exp(s − max'), max' = max(*max, s…); *sum is rescaled and grows by Σs.
     * Returns exp(*max − max'), by which what was accumulated before must be scaled. */
    float (*softmax)(float *s, size_t n, float *max, float *sum);
    /* accumulate: out[i] = out[i] · rescale[i] + Σ_j s[i][j] · v[j] */
    void (*accumulate)(kv_type type, float *out, const float *rescale, const float *s,
                       size_t n_queries, const void *v, size_t n, size_t head_dim,
                       const void *next);

    void (*store_f16)(uint16_t *dst, const float *src, size_t n);
    void (*rms_norm)(float *out, const float *x, const float *weight, size_t n, float epsilon);
    void (*add)(float *x, const float *y, size_t n);
    void (*scale)(float *out, const float *x, float factor, size_t n); /* out = x · factor */
    void (*layer_norm)(float *out, const float *x, const float *weight, size_t n, float epsilon);
    void (*soft_cap)(float *x, float cap, size_t n);
    void (*silu_multiply)(float *gate, const float *up, size_t n);
    void (*gelu_multiply)(float *gate, const float *up, size_t n);
    void (*swiglu_oai_multiply)(float *gate, const float *up, size_t n);
    void (*rotate)(float *x, const float *cosines, const float *sines, size_t pairs,
                   rotate_layout layout);
    /* The largest value, NaN passed over; −infinity when there is none. */
    float (*largest)(const float *x, size_t n);
} kernel_set;

extern const kernel_set kernel_reference;
#if defined(__x86_64__)
extern const kernel_set kernel_avx512, kernel_avx2;
#elif defined(__aarch64__)
extern const kernel_set kernel_neon;
#endif

/* The set kernel_init chose; the reference before that. */
const kernel_set *kernel_active(void);

#endif
