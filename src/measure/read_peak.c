/*
 * read_peak.c: how fast the team reads memory.
 *
 * Every thread reads its own part from one end to the other, one 8-byte word of each cache line:
 * memory delivers whole lines, and so few instructions keep enough lines in flight that wider loads
 * gain nothing (measured beside 512-bit ones; 128-bit ones reach two thirds).
 */
#include "measure/measure.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"

enum {
    LINE_BYTES = 64,
    PAGE_BYTES = 4096,
    HUGE_PAGE_BYTES = 2 << 20,
    PREFETCH_BYTES = 8192, /* ahead of the load */
    PASSES = 3,            /* of every variant; the best counts */
};

typedef struct read_job {
    char *memory;
    size_t bytes;
    size_t streams;
    bool prefetch;
    uint64_t *sums; /* one a thread: without a use the loads would be left out */
} read_job;

static inline __attribute__((always_inline)) uint64_t read_lines(const char *part, size_t bytes,
                                                                 size_t streams, bool prefetch)
{
    size_t stream_bytes = bytes / streams / LINE_BYTES * LINE_BYTES;
    uint64_t sum = 0;
    for (size_t at = 0; at < stream_bytes; at += LINE_BYTES) {
        for (size_t s = 0; s < streams; s++) {
            const char *line = part + s * stream_bytes + at;
            if (prefetch)
                __builtin_prefetch(line + PREFETCH_BYTES);
            sum += *(const uint64_t *)(const void *)line;
        }
    }
    return sum;
}

/* The variants are spelt out so that each has a loop of its own without branches. */
static uint64_t read_variant(const char *part, size_t bytes, size_t streams, bool prefetch)
{
    switch (streams) {
    case 1:
        return prefetch ? read_lines(part, bytes, 1, true) : read_lines(part, bytes, 1, false);
    case 2:
        return prefetch ? read_lines(part, bytes, 2, true) : read_lines(part, bytes, 2, false);
    default:
        return prefetch ? read_lines(part, bytes, 4, true) : read_lines(part, bytes, 4, false);
    }
}

static size_t part_bytes(size_t bytes, int n_threads)
{
    return bytes / (size_t)n_threads / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
}

static void read_worker(void *context, int thread, int n_threads)
{
    const read_job *job = context;
    size_t bytes = part_bytes(job->bytes, n_threads);
    job->sums[thread] +=
        read_variant(job->memory + (size_t)thread * bytes, bytes, job->streams, job->prefetch);
}

/* Each thread's part is first written by the thread that reads it. */
static void touch_worker(void *context, int thread, int n_threads)
{
    const read_job *job = context;
    size_t bytes = part_bytes(job->bytes, n_threads);
    for (size_t at = 0; at < bytes; at += PAGE_BYTES)
        job->memory[(size_t)thread * bytes + at] = 1;
}

static double best_of_variants(team *threads, read_job *job)
{
    double best = 0;
    size_t bytes = part_bytes(job->bytes, team_size(threads)) * (size_t)team_size(threads);
    for (size_t variant = 0; variant < 6; variant++) {
        job->streams = (size_t)1 << (variant / 2);
        job->prefetch = variant % 2 == 1;
        for (int pass = 0; pass < PASSES; pass++) {
            double start = clock_ms();
            team_run(threads, read_worker, job);
            double gb_s = (double)bytes / (clock_ms() - start) / 1e6;
            if (gb_s > best)
                best = gb_s;
        }
    }
    return best;
}

static error_code measure_pages(team *threads, size_t bytes, int advice, uint64_t *sums,
                                double *best, failure *fail)
{
    size_t mapped = bytes + HUGE_PAGE_BYTES;
    char *memory = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return failure_set(fail, ERR_MEMORY, "no memory for %zu bytes to measure the read peak",
                           mapped);
    size_t past = (size_t)(uintptr_t)memory % HUGE_PAGE_BYTES;
    read_job job = {.memory = memory + (HUGE_PAGE_BYTES - past) % HUGE_PAGE_BYTES,
                    .bytes = bytes,
                    .sums = sums};
    madvise(memory, mapped, advice); /* where it is refused, pages are what the system gives */
    team_run(threads, touch_worker, &job);
    double gb_s = best_of_variants(threads, &job);
    if (gb_s > *best)
        *best = gb_s;
    munmap(memory, mapped);
    return OK;
}

error_code measure_read_peak(team *threads, size_t bytes, double *gb_s, failure *fail)
{
    *gb_s = 0;
    if (part_bytes(bytes, team_size(threads)) == 0)
        return failure_set(fail, ERR_INVALID, "%zu bytes are too few for %d threads", bytes,
                           team_size(threads));
    uint64_t *sums = calloc((size_t)team_size(threads), sizeof *sums);
    if (sums == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory to measure the read peak");
    error_code code = measure_pages(threads, bytes, MADV_NOHUGEPAGE, sums, gb_s, fail);
    if (code == OK)
        code = measure_pages(threads, bytes, MADV_HUGEPAGE, sums, gb_s, fail);
    free(sums);
    return code;
}
