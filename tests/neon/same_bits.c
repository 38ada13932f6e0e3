/*
 * same_bits.c: every kernel this processor runs against the reference, function by function, bit
 * for bit. A plain program without libraries, so that it can be cross-compiled and emulated.
 *
 *   same_bits names     the kernels that run here, best first, a line each
 *   same_bits           all checks; prints their number and a digest of the reference's results,
 *                       which must be the same on every architecture
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "kernel/internal.h"

enum {
    MOST_REPORTS = 20, /* failures printed in full */
    GUARD = 3,         /* floats behind each result that must stay as they are */
};

static size_t n_checks, n_failures;
static uint64_t digest = 14695981039346656037u; /* FNV-1a */

/* What the kernel room warns of: the program's log needs a library, this one may have none. */
void log_write(log_level level, const char *format, ...)
{
    (void)level;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

/* ---- random numbers ------------------------------------------------------------------------- */

static uint64_t random_state = 88172645463325252u;

static uint32_t random_u32(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32);
}

/* Uniform in [-1, 1). */
static float random_float(void)
{
    return (float)(int32_t)random_u32() * 0x1p-31f;
}

static void random_floats(float *x, size_t n, float factor)
{
    for (size_t i = 0; i < n; i++)
        x[i] = random_float() * factor;
}

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void *allocate(size_t bytes)
{
    bytes = (bytes + RECORD_ALIGNMENT - 1) / RECORD_ALIGNMENT * RECORD_ALIGNMENT;
    void *memory = aligned_alloc(RECORD_ALIGNMENT, bytes);
    if (memory == NULL) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
    memset(memory, 0, bytes);
    return memory;
}

/* ---- the kernels ---------------------------------------------------------------------------- */

enum { MOST_SETS = 8 };

static const kernel_set *sets[MOST_SETS]; /* those that run here, without the reference */
static size_t n_sets;

static void find_sets(void)
{
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        failure fail;
        if (kernel_init(*name, &fail) != OK) {
            fprintf(stderr, "%s\n", fail.text);
            exit(1);
        }
        if (kernel_active() != &kernel_reference && n_sets < MOST_SETS)
            sets[n_sets++] = kernel_active();
    }
}

static void add_to_digest(const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        digest = (digest ^ ((const uint8_t *)bytes)[i]) * 1099511628211u;
}

/* One check: n elements of `size` bytes. `what` and two sizes say where. */
static void check(const kernel_set *set, const char *what, size_t a, size_t b, const void *got,
                  const void *expected, size_t n, size_t size)
{
    n_checks++;
    if (memcmp(got, expected, n * size) == 0)
        return;
    n_failures++;
    if (n_failures > MOST_REPORTS)
        return;
    size_t i = 0;
    while (memcmp((const char *)got + i * size, (const char *)expected + i * size, size) == 0)
        i++;
    printf("%s: %s (%zu, %zu): element %zu of %zu differs from the reference", set->name, what, a,
           b, i, n);
    if (size == sizeof(float))
        printf(": %a, not %a", (double)((const float *)got)[i],
               (double)((const float *)expected)[i]);
    putchar('\n');
}

/* ---- products ------------------------------------------------------------------------------- */

/* Bytes that decode to reasonable numbers, whatever the type's layout: random ones until they do.
 */
static void random_block(const tensor_type_info *info, uint8_t *block)
{
    float values[K_COLUMNS];
    float largest;
    do {
        for (size_t i = 0; i < info->block_bytes; i++)
            block[i] = (uint8_t)random_u32();
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
    char *records = allocate(n * format->record_bytes);
    uint8_t *data = allocate(GROUP_ROWS * row_bytes);
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
    random_floats(x, n, 4);
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
    char *floats = allocate(TILE_COLUMNS * floats_stride);
    char *blocks = allocate(TILE_COLUMNS * blocks_stride);
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
        tile_job job = {records, n_records, x, x_stride, columns, expected, y_stride, false};
        kernel_reference.tile[index](&job);
        add_to_digest(expected, sizeof expected);
        for (size_t s = 0; s < n_sets; s++) {
            for (size_t i = 0; i < n; i++)
                y[i] = -77;
            job.y = y;
            multiply_in_two(sets[s]->tile[index], job, format, columns - 1);
            check(sets[s], format->info.name, n_records, columns, y, expected, n, sizeof y[0]);
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
    record_mxfp4 *records = allocate(RECORDS * sizeof *records);
    float x[BLOCKS * BLOCK_COLUMNS], expected[GROUP_ROWS], y[GROUP_ROWS];
    activation_block blocks[BLOCKS];
    random_floats(x, BLOCKS * BLOCK_COLUMNS, 1);
    kernel_reference.quantize(blocks, x, BLOCKS);
    for (size_t i = 0; i < RECORDS * sizeof *records; i++)
        ((uint8_t *)records)[i] = (uint8_t)random_u32();
    for (size_t e = 0; e < 255; e++) {
        for (size_t b = 0; b < BLOCKS; b++)
            for (size_t r = 0; r < GROUP_ROWS; r++)
                records[b / FOUR_BLOCKS].e[b % FOUR_BLOCKS][r] = (uint8_t)((e + b + r) % 255);
        tile_function *reference = kernel_reference.tile[PACKED_MXFP4];
        for (size_t n = 1; n <= RECORDS; n++) {
            tile_job job = {records, n, blocks, sizeof blocks, 1, expected, GROUP_ROWS, false};
            reference(&job);
            for (size_t set = 0; set < n_sets; set++) {
                job.y = y;
                sets[set]->tile[PACKED_MXFP4](&job);
                check(sets[set], "powers of two", e, n, y, expected, GROUP_ROWS, sizeof y[0]);
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
    uint8_t *data = allocate(blocks * info->block_bytes);
    for (size_t b = 0; b < blocks; b++)
        random_block(info, data + b * info->block_bytes);
    float *x = allocate(columns * cols * sizeof *x);
    float *expected = allocate(columns * rows * sizeof *expected);
    float *y = allocate(columns * rows * sizeof *y);
    random_activation(x, columns * cols);
    const matrix_source source = {info->type, data, rows};
    multiply(&kernel_reference, &source, cols, x, columns, expected);
    add_to_digest(expected, columns * rows * sizeof *expected);
    for (size_t s = 0; s < n_sets; s++) {
        multiply(sets[s], &source, cols, x, columns, y);
        check(sets[s], info->name, cols, columns, y, expected, columns * rows, sizeof *y);
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
                x[k] = ldexpf(x[k], (int)(random_u32() % 280) - 150);
        if (round % 4 == 2)
            x[random_u32() % (BLOCKS * BLOCK_COLUMNS)] = random_u32() % 2 ? INFINITY : -INFINITY;
        if (round % 4 == 3)
            x[random_u32() % (BLOCKS * BLOCK_COLUMNS)] = NAN;
        memset(expected, 0, sizeof expected);
        kernel_reference.quantize(expected, x, BLOCKS);
        add_to_digest(expected, sizeof expected);
        for (size_t s = 0; s < n_sets; s++) {
            memset(blocks, 0, sizeof blocks);
            sets[s]->quantize(blocks, x, BLOCKS);
            check(sets[s], "quantize", round, 0, blocks, expected, BLOCKS, sizeof *blocks);
        }
    }
}

/* ---- attention ------------------------------------------------------------------------------ */

static const size_t head_dims[] = {8, 16, 24, 40, 64, 72, 96, 128, 256};
enum { HEAD_DIMS = sizeof head_dims / sizeof head_dims[0], MOST_QUERIES = 9, MOST_DIM = 256 };

typedef struct scene {
    float *out, *expected;          /* queries × head_dim */
    float *scores, *expected_score; /* queries × ATTENTION_BLOCK */
    char *q_end, *kv_end;           /* no page follows: who reads past the end is stopped */
    float *q;                       /* queries × head_dim, up to q_end */
    void *kv;                       /* positions × head_dim, up to kv_end */
} scene;

enum { GUARD_BYTES = 1 << 16, GUARDED_BYTES = ATTENTION_BLOCK * MOST_DIM * sizeof(float) };

/* The end of GUARDED_BYTES of memory, behind which nothing may be read. */
static char *guarded_end(void)
{
    size_t bytes = GUARDED_BYTES + GUARD_BYTES;
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory + GUARDED_BYTES, GUARD_BYTES, PROT_NONE) != 0) {
        fputs("no guarded memory\n", stderr);
        exit(1);
    }
    return memory + GUARDED_BYTES;
}

static scene make_scene(void)
{
    size_t queries = MOST_QUERIES * MOST_DIM * sizeof(float);
    size_t scores = MOST_QUERIES * ATTENTION_BLOCK * sizeof(float);
    return (scene){.out = allocate(queries),
                   .expected = allocate(queries),
                   .scores = allocate(scores),
                   .expected_score = allocate(scores),
                   .q_end = guarded_end(),
                   .kv_end = guarded_end()};
}

static void free_scene(scene *s)
{
    munmap(s->q_end - GUARDED_BYTES, GUARDED_BYTES + GUARD_BYTES);
    munmap(s->kv_end - GUARDED_BYTES, GUARDED_BYTES + GUARD_BYTES);
    free(s->out);
    free(s->expected);
    free(s->scores);
    free(s->expected_score);
}

static void fill_scene(scene *s, kv_type type, size_t queries, size_t n, size_t head_dim)
{
    s->q = (float *)(void *)(s->q_end - queries * head_dim * sizeof(float));
    s->kv = s->kv_end - kv_value_bytes(type, n * head_dim);
    random_floats(s->q, queries * head_dim, 2);
    for (size_t i = 0; type == KV_Q4 && i < kv_value_bytes(type, n * head_dim); i++)
        ((uint8_t *)s->kv)[i] = (uint8_t)(random_u32() & 0xbb); /* finite halves */
    for (size_t i = 0; type != KV_Q4 && i < n * head_dim; i++) {
        float value = random_float();
        if (type == KV_F32)
            ((float *)s->kv)[i] = value;
        else if (type == KV_F16)
            ((uint16_t *)s->kv)[i] = f32_to_f16(value);
        else
            ((kv_q8_0 *)(void *)s->kv)[i / KV_BLOCK].q[i % KV_BLOCK] = (int8_t)(value * 127);
    }
    for (size_t i = 0; type == KV_Q8_0 && i < n * head_dim / KV_BLOCK; i++)
        ((kv_q8_0 *)(void *)s->kv)[i].d = f32_to_f16(random_float());
}

static const char *const expand_names[KV_TYPES] = {"expand f32", "expand f16", "expand q8_0",
                                                   "expand q4"};
static const char *const score_names[KV_TYPES] = {"scores f32", "scores f16", "scores q8_0"};
static const char *const accumulate_names[KV_TYPES] = {"accumulate f32", "accumulate f16",
                                                       "accumulate q8_0"};

static void check_expand(scene *s, kv_type type, size_t n, size_t head_dim)
{
    float *expected = allocate(n * head_dim * sizeof *expected);
    float *out = allocate(n * head_dim * sizeof *out);
    kernel_reference.expand(type, expected, s->kv, n * head_dim, NULL);
    add_to_digest(expected, n * head_dim * sizeof *expected);
    for (size_t set = 0; set < n_sets; set++) {
        sets[set]->expand(type, out, s->kv, n * head_dim, s->kv_end);
        check(sets[set], expand_names[type], head_dim, n, out, expected, n * head_dim, sizeof *out);
    }
    free(expected);
    free(out);
}

/* A group's bytes are as many as those of ATTENTION_BLOCK positions of values. */
static void check_expand_keys(scene *s, size_t begin, size_t end, size_t head_dim)
{
    size_t n = (end - begin) * head_dim;
    float *expected = allocate(n * sizeof *expected), *out = allocate(n * sizeof *out);
    kernel_reference.expand_keys(expected, s->kv, begin, end, head_dim, NULL);
    add_to_digest(expected, n * sizeof *expected);
    for (size_t set = 0; set < n_sets; set++) {
        sets[set]->expand_keys(out, s->kv, begin, end, head_dim, s->kv_end);
        check(sets[set], "expand keys", head_dim, end, out, expected, n, sizeof *out);
    }
    free(expected);
    free(out);
}

static void check_scores(scene *s, kv_type type, size_t queries, size_t n, size_t head_dim)
{
    kernel_reference.scores(type, s->q, queries, s->kv, n, head_dim, NULL, s->expected_score);
    for (size_t i = 0; i < queries; i++)
        add_to_digest(s->expected_score + i * ATTENTION_BLOCK, n * sizeof(float));
    for (size_t set = 0; set < n_sets; set++) {
        sets[set]->scores(type, s->q, queries, s->kv, n, head_dim, s->kv_end, s->scores);
        for (size_t i = 0; i < queries; i++) /* past n anything may stand */
            check(sets[set], score_names[type], head_dim, n, s->scores + i * ATTENTION_BLOCK,
                  s->expected_score + i * ATTENTION_BLOCK, n, sizeof(float));
    }
}

static void check_accumulate(scene *s, kv_type type, size_t queries, size_t n, size_t head_dim)
{
    float rescale[MOST_QUERIES];
    random_floats(rescale, MOST_QUERIES, 1);
    size_t bytes = queries * head_dim * sizeof(float);
    memcpy(s->expected, s->q, bytes);
    kernel_reference.accumulate(type, s->expected, rescale, s->scores, queries, s->kv, n, head_dim,
                                NULL);
    add_to_digest(s->expected, bytes);
    for (size_t set = 0; set < n_sets; set++) {
        memcpy(s->out, s->q, bytes);
        sets[set]->accumulate(type, s->out, rescale, s->scores, queries, s->kv, n, head_dim,
                              s->kv_end);
        check(sets[set], accumulate_names[type], head_dim, n, s->out, s->expected,
              queries * head_dim, sizeof(float));
    }
}

static void check_attention(void)
{
    static const size_t positions[] = {1, 2, 3, 4, 5, 7, 16, 33, 63, 64};
    scene s = make_scene();
    for (int type = 0; type < KV_TYPES; type++)
        for (size_t d = 0; d < HEAD_DIMS; d++)
            for (size_t queries = 1; queries <= MOST_QUERIES; queries++)
                for (size_t p = 0; p < sizeof positions / sizeof positions[0]; p++) {
                    size_t n = positions[p], head_dim = head_dims[d];
                    if (head_dim % kv_block_values((kv_type)type) != 0)
                        continue;
                    fill_scene(&s, (kv_type)type, queries, n, head_dim);
                    if (queries == 1)
                        check_expand(&s, (kv_type)type, n, head_dim);
                    if (queries == 1 && type == KV_Q4 && n == ATTENTION_BLOCK)
                        for (size_t begin = 0; begin < n; begin += 16)
                            check_expand_keys(&s, begin, n - begin / 32, head_dim);
                    if (type == KV_Q4)
                        continue;
                    check_scores(&s, (kv_type)type, queries, n, head_dim);
                    random_floats(s.scores, queries * ATTENTION_BLOCK, 1);
                    check_accumulate(&s, (kv_type)type, queries, n, head_dim);
                }
    free_scene(&s);
}

/* Every binary16 number, through the values' conversion (a NaN's sign differs between machines). */
static void check_halves(void)
{
    enum { DIM = 64 };
    const float rescale = 0, one = 1;
    for (uint32_t first = 0; first < 65536; first += DIM) {
        uint16_t v[DIM];
        float expected[DIM] = {0}, out[DIM];
        for (uint32_t i = 0; i < DIM; i++)
            v[i] = (uint16_t)(first + i);
        kernel_reference.accumulate(KV_F16, expected, &rescale, &one, 1, v, 1, DIM, NULL);
        for (size_t set = 0; set < n_sets; set++) {
            memset(out, 0, sizeof out);
            sets[set]->accumulate(KV_F16, out, &rescale, &one, 1, v, 1, DIM, NULL);
            check(sets[set], "binary16", first, DIM, out, expected, DIM, sizeof out[0]);
        }
    }
}

static void check_softmax(void)
{
    for (size_t n = 1; n <= ATTENTION_BLOCK; n++)
        for (size_t round = 0; round < 24; round++) {
            float s[ATTENTION_BLOCK], expected[ATTENTION_BLOCK + 3], got[ATTENTION_BLOCK + 3];
            random_floats(s, ATTENTION_BLOCK, round < 8 ? 1 : round < 16 ? 30 : 200);
            if (round % 4 == 3)
                s[random_u32() % n] = -INFINITY;
            float max = round % 2 == 0 ? -INFINITY : 40 * random_float();
            float sum = round % 2 == 0 ? 0 : 1 + fabsf(random_float());
            float *tail = expected + ATTENTION_BLOCK; /* max, sum, rescale */
            memcpy(expected, s, sizeof s);
            tail[0] = max, tail[1] = sum;
            tail[2] = kernel_reference.softmax(expected, n, &tail[0], &tail[1]);
            add_to_digest(expected, sizeof expected);
            for (size_t set = 0; set < n_sets; set++) {
                tail = got + ATTENTION_BLOCK;
                memcpy(got, s, sizeof s);
                tail[0] = max, tail[1] = sum;
                tail[2] = sets[set]->softmax(got, n, &tail[0], &tail[1]);
                check(sets[set], "softmax", n, round, got, expected, ATTENTION_BLOCK + 3,
                      sizeof got[0]);
            }
        }
}

/* ---- small vector operations ---------------------------------------------------------------- */

static void check_store_f16(const float *x, size_t n)
{
    uint16_t expected[80], out[80];
    kernel_reference.store_f16(expected, x, n);
    add_to_digest(expected, n * sizeof expected[0]);
    for (size_t set = 0; set < n_sets; set++) {
        sets[set]->store_f16(out, x, n);
        check(sets[set], "store_f16", n, 0, out, expected, n, sizeof out[0]);
    }
}

static void check_stores(void)
{
    enum { N = 67 };
    float x[N];
    for (size_t n = 1; n <= N; n++) {
        random_floats(x, n, 70000);
        x[n / 2] = -0.0f;
        check_store_f16(x, n);
    }
    for (size_t round = 0; round < 4000; round++) { /* any bits, NaN too */
        for (size_t i = 0; i < N; i++)
            x[i] = float_of_bits(random_u32());
        check_store_f16(x, N);
    }
    /* Each binary16, the middle to the next one, and both sides of the middle. */
    for (uint32_t half = 0; half < 0x7bff; half += 16) {
        for (uint32_t i = 0; i < 16; i++) {
            float low = f16_to_f32((uint16_t)(half + i)),
                  high = f16_to_f32((uint16_t)(half + i + 1));
            x[4 * i] = low;
            x[4 * i + 1] = low + (high - low) / 2;
            x[4 * i + 2] = nextafterf(x[4 * i + 1], 0);
            x[4 * i + 3] = -nextafterf(x[4 * i + 1], INFINITY);
        }
        check_store_f16(x, 64);
    }
}

static void check_vectors(size_t n, float factor)
{
    float *x = allocate(n * sizeof *x), *y = allocate(n * sizeof *y);
    enum { PARTS = 8 };
    float *expected = allocate(PARTS * n * sizeof *expected);
    float *out = allocate(PARTS * n * sizeof *out);
    random_floats(x, n, factor);
    random_floats(y, n, 1);
    for (size_t set = 0; set <= n_sets; set++) {
        const kernel_set *kernel = set == 0 ? &kernel_reference : sets[set - 1];
        float *to = set == 0 ? expected : out;
        for (size_t part = 0; part < PARTS; part++)
            memcpy(to + part * n, x, n * sizeof *x);
        kernel->rms_norm(to, to, y, n, 1e-6f);
        kernel->add(to + n, y, n);
        kernel->silu_multiply(to + 2 * n, y, n);
        kernel->scale(to + 3 * n, x, 0.3f, n);
        kernel->layer_norm(to + 4 * n, x, y, n, 1e-6f);
        kernel->soft_cap(to + 5 * n, 3, n);
        kernel->gelu_multiply(to + 6 * n, y, n);
        kernel->swiglu_oai_multiply(to + 7 * n, y, n);
        if (set == 0)
            add_to_digest(expected, PARTS * n * sizeof *expected);
        else
            check(kernel, "vector operations", n, 0, out, expected, PARTS * n, sizeof *out);
    }
    free(x);
    free(y);
    free(expected);
    free(out);
}

/* The largest value first, last and in between, and NaN beside it. */
static void check_largest(size_t n)
{
    float x[100];
    random_floats(x, n, 1);
    for (size_t at = 0; at < n; at += n / 5 + 1) {
        x[at] = 3 + (float)at;
        x[(at + 1) % n] = n > 1 ? NAN : x[0];
        float expected = kernel_reference.largest(x, n);
        for (size_t set = 0; set < n_sets; set++) {
            float out = sets[set]->largest(x, n);
            check(sets[set], "largest", n, at, &out, &expected, 1, sizeof out);
        }
    }
}

static void check_rotate(size_t pairs, rotate_layout layout)
{
    float x[200], cosines[100], sines[100], expected[200], out[200];
    random_floats(x, 2 * pairs, 10);
    random_floats(cosines, pairs, 1);
    random_floats(sines, pairs, 1);
    memcpy(expected, x, 2 * pairs * sizeof *x);
    kernel_reference.rotate(expected, cosines, sines, pairs, layout);
    add_to_digest(expected, 2 * pairs * sizeof *x);
    for (size_t set = 0; set < n_sets; set++) {
        memcpy(out, x, 2 * pairs * sizeof *x);
        sets[set]->rotate(out, cosines, sines, pairs, layout);
        check(sets[set], "rotate", pairs, layout, out, expected, 2 * pairs, sizeof *out);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "names") == 0) {
        for (const char *const *name = kernel_names(); *name != NULL; name++)
            puts(*name);
        return 0;
    }
    find_sets();
    check_tiles();
    check_powers();
    check_matrices();
    check_quantize();
    check_attention();
    check_halves();
    check_softmax();
    check_stores();
    for (size_t n = 1; n < 70; n++)
        for (int factor = 1; factor <= 100; factor *= 10)
            check_vectors(n, (float)factor);
    check_vectors(100003, 100);
    for (size_t pairs = 1; pairs <= 100; pairs++) {
        check_largest(pairs);
        check_rotate(pairs, ROTATE_ADJACENT);
        check_rotate(pairs, ROTATE_HALVES);
    }
    printf("checks %zu failures %zu\n", n_checks, n_failures);
    printf("reference %016llx\n", (unsigned long long)digest);
    return n_failures == 0 ? 0 : 1;
}
