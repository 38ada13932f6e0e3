/* same_bits_products.c: products of matrices and activations, and quantising these. */
#include "same_bits.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 3 }; /* floats behind each result that must stay as they are */

/* Bytes that decode to reasonable numbers, whatever the type's layout: random ones until they do.
 */
static void random_block(const tensor_type_info *info, uint8_t *block)
{
    float values[K_COLUMNS];
    float largest;
    do {
        for (size_t i = 0; i < info->block_bytes; i++)
            block[i] = (uint8_t)bits_random_u32();
        info->decode(block, values, info->block_values);
        largest = 0;
        for (size_t i = 0; i < info->block_values; i++) {
            float magnitude = fabsf(values[i]);
            largest = magnitude <= largest ? largest : magnitude; /* NaN stays */
        }
    } while (!(largest >= 0.01f && largest <= 8));
}

/* n records of sixteen random rows; the last row is padding when `ragged`. */
static void *random_records(const packed_format *format, size_t n, bool ragged)
{
    size_t row_bytes = format->columns / format->info.block_values * format->info.block_bytes;
    char *records = bits_allocate(n * format->record_bytes);
    uint8_t *data = bits_allocate(GROUP_ROWS * row_bytes);
    for (size_t i = 0; i < n; i++) {
        const uint8_t *rows[GROUP_ROWS];
        for (size_t r = 0; r < GROUP_ROWS; r++) {
            uint8_t *row = data + r * row_bytes;
            for (size_t at = 0; at < row_bytes; at += format->info.block_bytes)
                random_block(&format->info, row + at);
            rows[r] = ragged && r == GROUP_ROWS - 1 ? NULL : row;
        }
        format->pack(records + i * format->record_bytes, rows, format->columns);
    }
    free(data);
    return records;
}

/* Activations with a zero block, a tiny one, one of ties in rounding, and one of only extremes. */
static void random_activation(float *x, size_t n)
{
    bits_random_floats(x, n, 4);
    for (size_t k = 0; k < n; k++) {
        switch (k / BLOCK_COLUMNS % 11) {
        case 3:
            x[k] = 0;
            break;
        case 5:
            x[k] *= 1e-33f;
            break;
        case 7:
            x[k] = k % BLOCK_COLUMNS == 0 ? 127 : (float)(int)(x[k] * 30) + 0.5f;
            break;
        case 9:
            x[k] = x[k] < 0 ? -1 : 1;
            break;
        default:
            break;
        }
    }
}

/* The records up to `first`, then the others: the same as all of them. */
static void multiply_in_two(tile_function *multiply, tile_job job, const packed_format *format,
                            size_t first)
{
    size_t records = job.n_records;
    job.n_records = first < records ? first : records;
    if (job.n_records > 0)
        multiply(&job);
    job.goes_on = job.n_records > 0;
    size_t values = job.n_records * format->columns;
    job.records = (const char *)job.records + job.n_records * format->record_bytes;
    job.x =
        (const char *)job.x + (format->floats ? values * sizeof(float)
                                              : values / BLOCK_COLUMNS * sizeof(activation_block));
    job.n_records = records - job.n_records;
    if (job.n_records > 0)
        multiply(&job);
}

static void check_tile(packed_index index, size_t n_records, bool ragged)
{
    const packed_format *format = packed_format_of(index);
    size_t length = n_records * format->columns, y_stride = GROUP_ROWS + GUARD;
    size_t floats_stride = (length + 16) * sizeof(float);
    size_t blocks_stride = (length / BLOCK_COLUMNS + 1) * sizeof(activation_block);
    void *records = random_records(format, n_records, ragged);
    char *floats = bits_allocate(TILE_COLUMNS * floats_stride);
    char *blocks = bits_allocate(TILE_COLUMNS * blocks_stride);
    for (size_t c = 0; c < TILE_COLUMNS; c++) {
        float *column = (float *)(void *)(floats + c * floats_stride);
        random_activation(column, length);
        kernel_reference.quantize((activation_block *)(void *)(blocks + c * blocks_stride), column,
                                  length / BLOCK_COLUMNS);
    }
    const void *x = format->floats ? floats : blocks;
    size_t x_stride = format->floats ? floats_stride : blocks_stride;
    float expected[TILE_COLUMNS * (GROUP_ROWS + GUARD)], y[TILE_COLUMNS * (GROUP_ROWS + GUARD)];
    size_t n = sizeof y / sizeof y[0];
    for (size_t columns = 1; columns <= TILE_COLUMNS; columns++) {
        for (size_t i = 0; i < n; i++)
            expected[i] = -77;
        tile_job job = {.records = records,
                        .n_records = n_records,
                        .x = x,
                        .x_stride = x_stride,
                        .columns = columns,
                        .y = expected,
                        .y_stride = y_stride};
        kernel_reference.tile[index](&job);
        bits_add_to_digest(expected, sizeof expected);
        for (size_t s = 0; s < bits_n_sets; s++) {
            for (size_t i = 0; i < n; i++)
                y[i] = -77;
            job.y = y;
            multiply_in_two(bits_sets[s]->tile[index], job, format, columns - 1);
            bits_check(bits_sets[s], format->info.name, n_records, columns, y, expected, n,
                       sizeof y[0]);
        }
    }
    free(records);
    free(floats);
    free(blocks);
}

static void check_tiles(void)
{
    for (packed_index index = 0; index < PACKED_COUNT; index++)
        for (size_t n_records = 1; n_records <= 9; n_records++)
            for (size_t round = 0; round < 3; round++)
                check_tile(index, n_records, round == 2);
}

/* MXFP4's scales, all but the one that is no number, whose bits may differ. */
static void check_powers(void)
{
    enum { RECORDS = 4, BLOCKS = RECORDS * FOUR_BLOCKS };
    record_mxfp4 *records = bits_allocate(RECORDS * sizeof *records);
    float x[BLOCKS * BLOCK_COLUMNS], expected[GROUP_ROWS], y[GROUP_ROWS];
    activation_block blocks[BLOCKS];
    bits_random_floats(x, BLOCKS * BLOCK_COLUMNS, 1);
    kernel_reference.quantize(blocks, x, BLOCKS);
    for (size_t i = 0; i < RECORDS * sizeof *records; i++)
        ((uint8_t *)records)[i] = (uint8_t)bits_random_u32();
    for (size_t e = 0; e < 255; e++) {
        for (size_t b = 0; b < BLOCKS; b++)
            for (size_t r = 0; r < GROUP_ROWS; r++)
                records[b / FOUR_BLOCKS].e[b % FOUR_BLOCKS][r] = (uint8_t)((e + b + r) % 255);
        tile_function *reference = kernel_reference.tile[PACKED_MXFP4];
        for (size_t n = 1; n <= RECORDS; n++) {
            tile_job job = {.records = records,
                            .n_records = n,
                            .x = blocks,
                            .x_stride = sizeof blocks,
                            .columns = 1,
                            .y = expected,
                            .y_stride = GROUP_ROWS};
            reference(&job);
            for (size_t set = 0; set < bits_n_sets; set++) {
                job.y = y;
                bits_sets[set]->tile[PACKED_MXFP4](&job);
                bits_check(bits_sets[set], "powers of two", e, n, y, expected, GROUP_ROWS,
                           sizeof y[0]);
            }
        }
    }
    free(records);
}

/* Through the room's front door: ragged rows and columns, tiles of a prefill. */
static void multiply(const kernel_set *set, const matrix_source *source, size_t cols,
                     const float *x, size_t columns, float *y)
{
    failure fail;
    matrix *m = NULL;
    activation *a = NULL;
    if (kernel_init(set->name, &fail) != OK || matrix_create(&m, source, 1, cols, &fail) != OK ||
        activation_create(&a, cols, columns, &fail) != OK) {
        fprintf(stderr, "%s\n", fail.text);
        exit(1);
    }
    for (size_t c = 0; c < columns; c++)
        activation_set(a, c, x + c * cols, cols, m);
    matrix_multiply(m, a, columns, 0, source->rows, y, source->rows);
    activation_destroy(a);
    matrix_destroy(m);
}

static void check_matrix(packed_index index, size_t rows, size_t cols, size_t columns)
{
    const tensor_type_info *info = &packed_format_of(index)->info;
    size_t blocks = rows * cols / info->block_values;
    uint8_t *data = bits_allocate(blocks * info->block_bytes);
    for (size_t b = 0; b < blocks; b++)
        random_block(info, data + b * info->block_bytes);
    float *x = bits_allocate(columns * cols * sizeof *x);
    float *expected = bits_allocate(columns * rows * sizeof *expected);
    float *y = bits_allocate(columns * rows * sizeof *y);
    random_activation(x, columns * cols);
    const matrix_source source = {info->type, data, rows};
    multiply(&kernel_reference, &source, cols, x, columns, expected);
    bits_add_to_digest(expected, columns * rows * sizeof *expected);
    for (size_t s = 0; s < bits_n_sets; s++) {
        multiply(bits_sets[s], &source, cols, x, columns, y);
        bits_check(bits_sets[s], info->name, cols, columns, y, expected, columns * rows, sizeof *y);
    }
    free(data);
    free(x);
    free(expected);
    free(y);
}

static void check_matrices(void)
{
    for (packed_index index = 0; index < PACKED_COUNT; index++) {
        size_t block = packed_format_of(index)->info.block_values;
        size_t odd = block == 1 ? 37 : block == 32 ? 96 : 256;
        check_matrix(index, 1, odd, 1);
        check_matrix(index, 33, odd, 5);
        check_matrix(index, 47, 3 * odd, 17);
        check_matrix(index, 16, 1024, 40);
    }
}

static void check_quantize(void)
{
    enum { BLOCKS = 9, ROUNDS = 400 };
    float x[BLOCKS * BLOCK_COLUMNS];
    activation_block expected[BLOCKS], blocks[BLOCKS];
    for (size_t round = 0; round < ROUNDS; round++) {
        random_activation(x, BLOCKS * BLOCK_COLUMNS);
        if (round % 4 == 1) /* any magnitude, subnormals among them */
            for (size_t k = 0; k < BLOCKS * BLOCK_COLUMNS; k++)
                x[k] = ldexpf(x[k], (int)(bits_random_u32() % 280) - 150);
        if (round % 4 == 2)
            x[bits_random_u32() % (BLOCKS * BLOCK_COLUMNS)] =
                bits_random_u32() % 2 ? INFINITY : -INFINITY;
        if (round % 4 == 3)
            x[bits_random_u32() % (BLOCKS * BLOCK_COLUMNS)] = NAN;
        memset(expected, 0, sizeof expected);
        kernel_reference.quantize(expected, x, BLOCKS);
        bits_add_to_digest(expected, sizeof expected);
        for (size_t s = 0; s < bits_n_sets; s++) {
            memset(blocks, 0, sizeof blocks);
            bits_sets[s]->quantize(blocks, x, BLOCKS);
            bits_check(bits_sets[s], "quantize", round, 0, blocks, expected, BLOCKS,
                       sizeof *blocks);
        }
    }
}

void bits_check_products(void)
{
    check_tiles();
    check_powers();
    check_matrices();
    check_quantize();
}
