/*
 * multiply_rate.c: how fast the kernels multiply when memory does not matter.
 *
 * The rows come from the model's own file, so that type, columns and values are the model's.
 */
#include "measure/measure.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    COLUMNS = 8,
    ROUNDS = 150, /* the best counts */
    TRIES = 3,    /* of a number of repeats */
    DEFAULT_CACHE_BYTES = 1 << 20,
    CACHE_SHARE = 4, /* a quarter for the matrix; activations and results must fit beside it */
};
#define ROUND_MS 1.0 /* short: some of them are not disturbed by what else runs */

typedef struct multiply_job {
    matrix *m;
    activation *a;
    float *y; /* COLUMNS × rows a thread */
    size_t repeats;
} multiply_job;

const tensor_type_info *measure_main_type(const gguf *file)
{
    const tensor_type_info *best = NULL;
    size_t best_bytes = 0;
    for (size_t i = 0; i < gguf_tensor_count(file); i++) {
        const tensor_type_info *type = gguf_tensor_at(file, i)->type;
        size_t bytes = 0;
        for (size_t j = 0; j < gguf_tensor_count(file); j++)
            if (gguf_tensor_at(file, j)->type == type)
                bytes += gguf_tensor_at(file, j)->bytes;
        if (best == NULL || bytes > best_bytes) {
            best_bytes = bytes;
            best = type;
        }
    }
    return best;
}

static const gguf_tensor *largest_matrix(const gguf *file, const tensor_type_info *type)
{
    const gguf_tensor *best = NULL;
    for (size_t i = 0; i < gguf_tensor_count(file); i++) {
        const gguf_tensor *t = gguf_tensor_at(file, i);
        if (t->type == type && t->n_dims >= 2 && t->dims[1] >= MATRIX_ROW_GROUP &&
            (best == NULL || t->bytes > best->bytes))
            best = t;
    }
    return best;
}

/* Rows that a core's cache holds; whole row groups, at least one. */
static size_t cached_rows(const gguf_tensor *t)
{
    size_t row_bytes = (size_t)t->dims[0] / t->type->block_values * t->type->block_bytes;
    long cache = sysconf(_SC_LEVEL2_CACHE_SIZE);
    size_t bytes = (cache > 0 ? (size_t)cache : DEFAULT_CACHE_BYTES) / CACHE_SHARE;
    size_t rows = bytes / row_bytes < t->dims[1] ? bytes / row_bytes : (size_t)t->dims[1];
    return rows < MATRIX_ROW_GROUP ? MATRIX_ROW_GROUP : rows / MATRIX_ROW_GROUP * MATRIX_ROW_GROUP;
}

static void multiply_worker(void *context, int thread, int n_threads)
{
    (void)n_threads;
    const multiply_job *job = context;
    size_t rows = matrix_rows(job->m);
    float *y = job->y + (size_t)thread * rows * COLUMNS;
    for (size_t i = 0; i < job->repeats; i++)
        matrix_multiply(job->m, job->a, COLUMNS, 0, rows, y, rows);
}

static double round_ms(multiply_job *job, team *threads)
{
    double start = clock_ms();
    team_run(threads, multiply_worker, job);
    return clock_ms() - start;
}

static double shortest_round_ms(multiply_job *job, team *threads)
{
    double shortest = round_ms(job, threads);
    for (size_t i = 1; i < TRIES; i++) {
        double ms = round_ms(job, threads);
        shortest = ms < shortest ? ms : shortest;
    }
    return shortest;
}

static double best_rate(multiply_job *job, team *threads)
{
    job->repeats = 1;
    round_ms(job, threads); /* into the caches */
    /* Not from one round: a single disturbed one would leave rounds of microseconds, most of them
     * the team's start. */
    while (shortest_round_ms(job, threads) < ROUND_MS)
        job->repeats *= 2;
    double work = (double)matrix_rows(job->m) * (double)matrix_cols(job->m) * COLUMNS *
                  (double)job->repeats * team_size(threads);
    double best = 0;
    for (size_t i = 0; i < ROUNDS; i++) {
        double rate = work / round_ms(job, threads) * 1e3;
        if (rate > best)
            best = rate;
    }
    return best;
}

static error_code fill_activation(multiply_job *job, const gguf_tensor *t, failure *fail)
{
    size_t cols = matrix_cols(job->m);
    float *x = reallocarray(NULL, cols, sizeof *x);
    if (x == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for %zu values", cols);
    t->type->decode(t->data, x, cols); /* any row will do */
    for (size_t i = 0; i < COLUMNS; i++)
        activation_set(job->a, i, x, cols, job->m);
    free(x);
    return OK;
}

error_code measure_multiply_rate(const gguf *file, const tensor_type_info *type, team *threads,
                                 double *per_s, failure *fail)
{
    const gguf_tensor *t = largest_matrix(file, type);
    if (t == NULL)
        return failure_set(fail, ERR_UNSUPPORTED, "the file has no matrix of type %s", type->name);
    size_t cols = (size_t)t->dims[0];
    const matrix_source source = {.type = type->type, .data = t->data, .rows = cached_rows(t)};
    multiply_job job = {
        .y = calloc(source.rows * COLUMNS * (size_t)team_size(threads), sizeof *job.y)};
    error_code code = OK;
    if (job.y == NULL)
        code = failure_set(fail, ERR_MEMORY, "no memory for %zu rows", source.rows);
    if (code == OK)
        code = matrix_create(&job.m, &source, 1, cols, fail);
    if (code == OK)
        code = activation_create(&job.a, cols, COLUMNS, fail);
    if (code == OK)
        code = fill_activation(&job, t, fail);
    if (code == OK)
        *per_s = best_rate(&job, threads);
    activation_destroy(job.a);
    matrix_destroy(job.m);
    free(job.y);
    return code;
}
