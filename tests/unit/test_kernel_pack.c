/* Packing against the layouts of internal.h put down plainly, one value at a time: the same bytes.
 */
#include "kernel_test.h"

#include "kernel/internal.h"

typedef const uint8_t *const rows_16[GROUP_ROWS];

static void or_into(uint8_t *byte, unsigned value, size_t shift)
{
    *byte = (uint8_t)(*byte | value << shift);
}

/* Value k of a block of 32, in row r: its low four bits, one bit, or two bits. */
static void put_nibble(uint8_t q[4][16][4], size_t r, size_t k, unsigned value)
{
    or_into(&q[k / 4 % 4][r][k % 4], value & 15, k / 16 * 4);
}

static void put_bit(uint8_t high[16][4], size_t r, size_t k, unsigned value)
{
    or_into(&high[r][k % 4], value & 1, k / 4);
}

static void put_pair(uint8_t q[2][16][4], size_t r, size_t k, unsigned value)
{
    or_into(&q[k / 16][r][k % 4], value & 3, k / 4 % 4 * 2);
}

static unsigned bits(const uint8_t *at, size_t shift, unsigned mask)
{
    return (unsigned)*at >> shift & mask;
}

static uint16_t half_at(const uint8_t *at)
{
    uint16_t bits;
    memcpy(&bits, at, sizeof bits);
    return bits;
}

/* Four bits of a block whose bytes hold values k and k + 16. */
static unsigned nibble(const uint8_t *q, size_t k)
{
    return bits(q + k % 16, k / 16 * 4, 15);
}

/* ---- floats --------------------------------------------------------------------------------- */

static void plain_f32(void *record, rows_16 rows, size_t columns)
{
    record_f32 *out = record;
    for (size_t r = 0; r < 16; r++)
        for (size_t k = 0; rows[r] != NULL && k < columns; k++)
            memcpy(&out->w[k][r], rows[r] + 4 * k, 4);
}

static void plain_16_bits(void *record, rows_16 rows, size_t columns)
{
    record_f16 *out = record;
    for (size_t r = 0; r < 16; r++)
        for (size_t k = 0; rows[r] != NULL && k < columns; k++)
            out->w[k][r] = half_at(rows[r] + 2 * k);
}

/* ---- blocks of 32 --------------------------------------------------------------------------- */

static void plain_q8_0(void *record, size_t r, size_t b, const uint8_t *block)
{
    record_q8_0 *out = record;
    out->d[b][r] = half_at(block);
    for (size_t k = 0; k < 32; k++)
        out->q[b][k / 4][r][k % 4] = (uint8_t)((int8_t)block[2 + k] + 128);
}

static void plain_q4_0(void *record, size_t r, size_t b, const uint8_t *block)
{
    record_q4_0 *out = record;
    out->d[b][r] = half_at(block);
    for (size_t k = 0; k < 32; k++)
        put_nibble(out->q[b], r, k, nibble(block + 2, k));
}

static void plain_q4_1(void *record, size_t r, size_t b, const uint8_t *block)
{
    record_q4_1 *out = record;
    out->d[b][r] = half_at(block);
    out->m[b][r] = half_at(block + 2);
    for (size_t k = 0; k < 32; k++)
        put_nibble(out->q[b], r, k, nibble(block + 4, k));
}

static void plain_q5_0(void *record, size_t r, size_t b, const uint8_t *block)
{
    record_q5_0 *out = record;
    out->d[b][r] = half_at(block);
    for (size_t k = 0; k < 32; k++) {
        put_nibble(out->block[b].low, r, k, nibble(block + 6, k));
        put_bit(out->block[b].high, r, k, bits(block + 2 + k / 8, k % 8, 1));
    }
}

static void plain_q5_1(void *record, size_t r, size_t b, const uint8_t *block)
{
    record_q5_1 *out = record;
    out->d[b][r] = half_at(block);
    out->m[b][r] = half_at(block + 2);
    for (size_t k = 0; k < 32; k++) {
        put_nibble(out->block[b].low, r, k, nibble(block + 8, k));
        put_bit(out->block[b].high, r, k, bits(block + 4 + k / 8, k % 8, 1));
    }
}

static void plain_mxfp4(void *record, size_t r, size_t b, const uint8_t *block)
{
    record_mxfp4 *out = record;
    if (r == 0 && b == 0) /* what no block fills */
        memset(out->e, 127, sizeof out->e);
    out->e[b][r] = block[0];
    for (size_t k = 0; k < 32; k++)
        put_nibble(out->q[b], r, k, nibble(block + 1, k));
}

/* ---- super-blocks of 256 -------------------------------------------------------------------- */

/* Block b's four bits where 32 bytes hold two blocks, its two bits where they hold four. */
static unsigned k_nibble(const uint8_t *q, size_t b, size_t k)
{
    return bits(q + b / 2 * 32 + k, b % 2 * 4, 15);
}

static unsigned k_pair(const uint8_t *q, size_t b, size_t k)
{
    return bits(q + b / 4 * 32 + k, b % 4 * 2, 3);
}

static void plain_scale(super_scales *out, size_t r, size_t b, unsigned scale, unsigned min)
{
    or_into(&out->low[b][r], scale % 16, 0);
    or_into(&out->low[b][r], min % 16, 4);
    or_into(&out->high[b / 2][r], scale / 16, b % 2 * 4);
    or_into(&out->high[b / 2][r], min / 16, b % 2 * 4 + 2);
}

/* The eight six-bit scales and minima of Q4_K and Q5_K. */
static void plain_scales(super_scales *out, size_t r, const uint8_t *block)
{
    const uint8_t *s = block + 4;
    out->d[r] = half_at(block);
    out->dmin[r] = half_at(block + 2);
    for (size_t b = 0; b < 4; b++) {
        plain_scale(out, r, b, s[b] & 63, s[b + 4] & 63);
        plain_scale(out, r, b + 4, (s[b + 8] & 15u) + 16u * (s[b] / 64),
                    s[b + 8] / 16u + 16u * (s[b + 4] / 64));
    }
}

static void plain_q4_k(void *record, size_t r, size_t b, const uint8_t *block)
{
    record_q4_k *out = record;
    (void)b;
    plain_scales(&out->scales, r, block);
    for (size_t i = 0; i < 256; i++)
        put_nibble(out->q[i / 32], r, i % 32, k_nibble(block + 16, i / 32, i % 32));
}

static void plain_q5_k(void *record, size_t r, size_t b, const uint8_t *block)
{
    record_q5_k *out = record;
    (void)b;
    plain_scales(&out->scales, r, block);
    for (size_t i = 0; i < 256; i++) {
        put_nibble(out->block[i / 32].low, r, i % 32, k_nibble(block + 48, i / 32, i % 32));
        put_bit(out->block[i / 32].high, r, i % 32, bits(block + 16 + i % 32, i / 32, 1));
    }
}

static void plain_q6_k(void *record, size_t r, size_t b, const uint8_t *block)
{
    record_q6_k *out = record;
    (void)b;
    out->d[r] = half_at(block + 208);
    for (size_t i = 0; i < 256; i++) {
        size_t in_half = i % 128, low = i / 128 * 64 + in_half % 64;
        put_nibble(out->block[i / 32].low, r, i % 32, bits(block + low, in_half / 64 * 4, 15));
        put_pair(out->block[i / 32].high, r, i % 32, k_pair(block + 128, i / 32, i % 32));
        out->scale[i / 32][i / 16 % 2][r] = (int8_t)block[192 + i / 16];
    }
}

static void plain_q2_k(void *record, size_t r, size_t b, const uint8_t *block)
{
    record_q2_k *out = record;
    (void)b;
    out->d[r] = half_at(block + 80);
    out->dmin[r] = half_at(block + 82);
    for (size_t i = 0; i < 256; i++) {
        put_pair(out->q[i / 32], r, i % 32, k_pair(block + 16, i / 32, i % 32));
        out->scale_min[i / 32][i / 16 % 2][r] = block[i / 16];
    }
}

static void plain_q3_k(void *record, size_t r, size_t b, const uint8_t *block)
{
    record_q3_k *out = record;
    (void)b;
    out->d[r] = half_at(block + 108);
    for (size_t i = 0; i < 256; i++) {
        put_pair(out->block[i / 32].low, r, i % 32, k_pair(block + 32, i / 32, i % 32));
        put_bit(out->block[i / 32].high, r, i % 32, bits(block + i % 32, i / 32, 1));
    }
    for (size_t s = 0; s < 16; s++) {
        unsigned low = bits(block + 96 + s % 8, s / 8 * 4, 15);
        unsigned high = bits(block + 104 + s % 4, s / 4 * 2, 3);
        or_into(&out->scale_low[s / 2][r], low, s % 2 * 4);
        or_into(&out->scale_high[s / 4][r], high, s % 4 * 2);
    }
}

static void plain_iq4_xs(void *record, size_t r, size_t b, const uint8_t *block)
{
    record_iq4_xs *out = record;
    (void)b;
    out->d[r] = half_at(block);
    for (size_t i = 0; i < 256; i++)
        put_nibble(out->q[i / 32], r, i % 32, nibble(block + 8 + i / 32 * 16, i % 32));
    for (size_t i = 0; i < 8; i++) {
        unsigned low = bits(block + 4 + i / 2, i % 2 * 4, 15);
        unsigned high = (unsigned)half_at(block + 2) >> 2 * i & 3u;
        or_into(&out->scale_low[i / 4][i % 2][r], low, i / 2 % 2 * 4);
        or_into(&out->scale_high[i % 2][r], high, i / 2 * 2);
    }
}

/* ---- the comparison ------------------------------------------------------------------------- */

typedef struct plain_format {
    void (*all)(void *record, rows_16 rows, size_t columns);
    void (*block)(void *record, size_t r, size_t b, const uint8_t *block);
} plain_format;

static const plain_format plain[PACKED_COUNT] = {
    [PACKED_F32] = {.all = plain_f32},         [PACKED_F16] = {.all = plain_16_bits},
    [PACKED_BF16] = {.all = plain_16_bits},    [PACKED_Q8_0] = {.block = plain_q8_0},
    [PACKED_Q4_0] = {.block = plain_q4_0},     [PACKED_Q4_1] = {.block = plain_q4_1},
    [PACKED_Q5_0] = {.block = plain_q5_0},     [PACKED_Q5_1] = {.block = plain_q5_1},
    [PACKED_IQ4_NL] = {.block = plain_q4_0},   [PACKED_Q2_K] = {.block = plain_q2_k},
    [PACKED_Q3_K] = {.block = plain_q3_k},     [PACKED_Q4_K] = {.block = plain_q4_k},
    [PACKED_Q5_K] = {.block = plain_q5_k},     [PACKED_Q6_K] = {.block = plain_q6_k},
    [PACKED_IQ4_XS] = {.block = plain_iq4_xs}, [PACKED_MXFP4] = {.block = plain_mxfp4}};

static void pack_plainly(packed_index index, void *record, rows_16 rows, size_t columns)
{
    const tensor_type_info *info = &packed_format_of(index)->info;
    if (plain[index].all != NULL) {
        plain[index].all(record, rows, columns);
        return;
    }
    for (size_t r = 0; r < GROUP_ROWS; r++)
        for (size_t b = 0; rows[r] != NULL && b < columns / info->block_values; b++)
            plain[index].block(record, r, b, rows[r] + b * info->block_bytes);
}

/* One record of `n_rows` rows that stand at odd addresses, as the file's may. */
static void check_record(packed_index index, size_t n_rows, size_t columns)
{
    const packed_format *format = packed_format_of(index);
    size_t row_bytes = columns / format->info.block_values * format->info.block_bytes;
    const uint8_t *rows[GROUP_ROWS] = {NULL};
    uint8_t *blocks = malloc(GROUP_ROWS * row_bytes + 1);
    size_t lines = (format->record_bytes + RECORD_ALIGNMENT - 1) / RECORD_ALIGNMENT;
    void *packed = aligned_alloc(RECORD_ALIGNMENT, lines * RECORD_ALIGNMENT);
    void *wanted = aligned_alloc(RECORD_ALIGNMENT, lines * RECORD_ALIGNMENT);
    assert_non_null(blocks);
    assert_non_null(packed);
    assert_non_null(wanted);
    memset(packed, 0, format->record_bytes);
    memset(wanted, 0, format->record_bytes);
    for (size_t i = 0; i < GROUP_ROWS * row_bytes + 1; i++)
        blocks[i] = (uint8_t)random_u32();
    for (size_t r = 0; r < n_rows; r++)
        rows[r] = blocks + 1 + r * row_bytes;
    format->pack(packed, rows, columns);
    pack_plainly(index, wanted, rows, columns);
    if (memcmp(packed, wanted, format->record_bytes) != 0)
        fail_msg("%s, %zu rows, %zu columns", format->info.name, n_rows, columns);
    free(blocks);
    free(packed);
    free(wanted);
}

static void test_same_bytes(void **state)
{
    (void)state;
    for (packed_index i = 0; i < PACKED_COUNT; i++) {
        const packed_format *format = packed_format_of(i);
        size_t step = format->info.block_values;
        for (size_t columns = step; columns <= format->columns; columns += step)
            for (size_t n_rows = 1; n_rows <= GROUP_ROWS; n_rows++)
                check_record(i, n_rows, columns);
    }
}

/* Variables of these types are stored to with aligned instructions. */
static void test_types_are_aligned(void **state)
{
    (void)state;
    const size_t whole_lines[] = {
        _Alignof(record_f32),   _Alignof(record_f16),      _Alignof(record_q8_0),
        _Alignof(record_q4_0),  _Alignof(record_q4_1),     _Alignof(record_q5_0),
        _Alignof(record_q5_1),  _Alignof(record_iq4_nl),   _Alignof(record_q2_k),
        _Alignof(record_q4_k),  _Alignof(record_q5_k),     _Alignof(record_iq4_xs),
        _Alignof(record_mxfp4), _Alignof(activation_block)};
    for (size_t i = 0; i < sizeof whole_lines / sizeof *whole_lines; i++)
        assert_int_equal(whole_lines[i], RECORD_ALIGNMENT);
    assert_int_equal(_Alignof(record_q3_k), RECORD_ALIGNMENT / 2);
    assert_int_equal(_Alignof(record_q6_k), RECORD_ALIGNMENT / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_bytes),
                                       cmocka_unit_test(test_types_are_aligned)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
