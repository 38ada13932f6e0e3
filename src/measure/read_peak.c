/*
 * read_peak.c: how fast the team reads memory.
 *
 * Every thread reads its own part from one end to the other, one 8-byte word of each cache line:
 * memory delivers whole lines, and so few instructions keep enough lines in flight that wider loads
 * gain nothing (measured beside 512-bit ones; 128-bit ones reach two thirds).
 */
#include "measure/measure.h"

#include <stdio.h>
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
    LOOPS = 6,             /* 1, 2, 4 streams without and with prefetch */
};

/* One of the fixed set. */
typedef struct read_variant {
    size_t loop; /* streams: 1 << loop / 2; prefetch: loop % 2 */
    bool huge_pages;
} read_variant;

struct read_peak {
    team *threads;
    size_t part_bytes; /* of each thread; whole huge pages */
    char *memory;      /* a part for each thread, or NULL; aligned to huge pages */
    bool huge_pages;   /* what `memory` was asked to be made of */
    read_variant best;
    size_t loop;    /* of the pass being run */
    uint64_t *sums; /* one a thread: without a use the loads would be left out */
};

/* ---- one pass ------------------------------------------------------------------------------- */

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

/* Spelt out so that each has a loop of its own without branches. */
static uint64_t read_part(const char *part, size_t bytes, size_t loop)
{
    switch (loop) {
    case 0:
        return read_lines(part, bytes, 1, false);
    case 1:
        return read_lines(part, bytes, 1, true);
    case 2:
        return read_lines(part, bytes, 2, false);
    case 3:
        return read_lines(part, bytes, 2, true);
    case 4:
        return read_lines(part, bytes, 4, false);
    default:
        return read_lines(part, bytes, 4, true);
    }
}

static void read_worker(void *context, int thread, int n_threads)
{
    (void)n_threads;
    const read_peak *p = context;
    p->sums[thread] +=
        read_part(p->memory + (size_t)thread * p->part_bytes, p->part_bytes, p->loop);
}

static double pass_gb_s(read_peak *p, size_t loop)
{
    p->loop = loop;
    double start = clock_ms();
    team_run(p->threads, read_worker, p);
    return (double)read_peak_bytes(p) / (clock_ms() - start) / 1e6;
}

/* ---- its memory ----------------------------------------------------------------------------- */

static void unmap(read_peak *p)
{
    if (p->memory != NULL)
        munmap(p->memory, read_peak_bytes(p));
    p->memory = NULL;
}

/* Each thread's part is first written by the thread that reads it. Every page of it: from then on
 * the memory is resident as a whole, which read_peak_bytes promises. */
static void touch_worker(void *context, int thread, int n_threads)
{
    (void)n_threads;
    const read_peak *p = context;
    for (size_t at = 0; at < p->part_bytes; at += PAGE_BYTES)
        p->memory[(size_t)thread * p->part_bytes + at] = 1;
}

static error_code map(read_peak *p, bool huge_pages, failure *fail)
{
    if (p->memory != NULL && p->huge_pages == huge_pages)
        return OK;
    unmap(p);
    size_t bytes = read_peak_bytes(p), mapped = bytes + HUGE_PAGE_BYTES;
    char *start = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        return failure_set(fail, ERR_MEMORY, "no memory for %zu bytes to measure the read peak",
                           mapped);
    size_t past = (size_t)(uintptr_t)start % HUGE_PAGE_BYTES;
    size_t before = (HUGE_PAGE_BYTES - past) % HUGE_PAGE_BYTES;
    if (before > 0)
        munmap(start, before);
    munmap(start + before + bytes, HUGE_PAGE_BYTES - before);
    p->memory = start + before;
    p->huge_pages = huge_pages;
    /* Where it is refused, pages are what the system gives. */
    madvise(p->memory, bytes, huge_pages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    team_run(p->threads, touch_worker, p);
    return OK;
}

/* ---- the measurement ------------------------------------------------------------------------ */

error_code read_peak_create(read_peak **out, team *threads, size_t bytes, failure *fail)
{
    *out = NULL;
    size_t n_threads = (size_t)team_size(threads);
    read_peak *p = calloc(1, sizeof *p);
    if (p != NULL)
        p->sums = calloc(n_threads, sizeof *p->sums);
    if (p == NULL || p->sums == NULL) {
        free(p);
        return failure_set(fail, ERR_MEMORY, "no memory to measure the read peak");
    }
    p->threads = threads;
    size_t step = n_threads * HUGE_PAGE_BYTES;
    p->part_bytes = (bytes + step - 1) / step * HUGE_PAGE_BYTES; /* never fewer than asked for */
    *out = p;
    return OK;
}

void read_peak_destroy(read_peak *p)
{
    if (p == NULL)
        return;
    unmap(p);
    free(p->sums);
    free(p);
}

size_t read_peak_bytes(const read_peak *p)
{
    return p->part_bytes * (size_t)team_size(p->threads);
}

/* The passes of the memory there is. The variant is chosen by its median, so that one lucky moment
 * of the machine does not choose a slow one. */
static void survey_pages(read_peak *p, double *gb_s, double *best_median)
{
    double found[LOOPS][PASSES];
    for (size_t pass = 0; pass < PASSES; pass++) /* in turns: memory may slow down midway */
        for (size_t loop = 0; loop < LOOPS; loop++)
            found[loop][pass] = pass_gb_s(p, loop);
    for (size_t loop = 0; loop < LOOPS; loop++) {
        spread s = spread_of(found[loop], PASSES);
        if (s.high > *gb_s)
            *gb_s = s.high;
        if (s.median > *best_median) {
            *best_median = s.median;
            p->best = (read_variant){.loop = loop, .huge_pages = p->huge_pages};
        }
    }
}

error_code read_peak_survey(read_peak *p, double *gb_s, failure *fail)
{
    double best_median = 0;
    *gb_s = 0;
    for (int huge_pages = 0; huge_pages <= 1; huge_pages++) {
        error_code code = map(p, huge_pages, fail);
        if (code != OK)
            return code;
        survey_pages(p, gb_s, &best_median);
    }
    return map(p, p->best.huge_pages, fail);
}

double read_peak_repeat(read_peak *p)
{
    double best = 0;
    for (size_t i = 0; i < PASSES; i++) {
        double found = pass_gb_s(p, p->best.loop);
        if (found > best)
            best = found;
    }
    return best;
}

void read_peak_variant(const read_peak *p, char text[READ_PEAK_VARIANT_SIZE])
{
    size_t streams = (size_t)1 << p->best.loop / 2;
    snprintf(text, READ_PEAK_VARIANT_SIZE, "%zu stream%s, %s, %s pages", streams,
             streams == 1 ? "" : "s", p->best.loop % 2 == 1 ? "prefetch" : "no prefetch",
             p->best.huge_pages ? "huge" : "4 KiB");
}
