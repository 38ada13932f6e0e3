/*
 * measure.h: how fast a model runs here, against how fast this machine reads memory.
 *
 * A subject is a loaded model made ready to be measured: scratch memory, one KV slot, a fixed
 * prompt. Tests that belong together (one kind, one depth) form a group; a group's tests take
 * turns, run by run, so that a machine that slows down slows all of them, and the group stands
 * between two measurements of the read peak. Nothing here prints. One thread at a time.
 */
#ifndef MEASURE_MEASURE_H
#define MEASURE_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/failure.h"
#include "model/model.h"

/* ---- statistics ----------------------------------------------------------------------------- */

typedef struct spread {
    double low, median, high;
} spread;

/* Of n ≥ 1 samples, whose order is kept. n is at most MEASURE_MAX_RUNS. */
#define MEASURE_MAX_RUNS 1000
spread spread_of(const double *samples, size_t n);

/* FNV-1a (64 bits) over the ids' bytes, little-endian, four a token. */
uint64_t token_hash(const int32_t *ids, size_t n);

/* ---- memory --------------------------------------------------------------------------------- */

/* The read peak: the most bytes a second that the team reads from memory, in GB/s (10^9). The best
 * of a fixed set: 1, 2 or 4 streams a thread, software prefetch on or off, 4 KiB or huge pages,
 * each over `bytes` of memory that is taken for it and given back. */
#define READ_PEAK_BYTES ((size_t)1 << 30)
error_code measure_read_peak(team *threads, size_t bytes, double *gb_s, failure *fail);

/* Resident memory of this process now, and the most since the last reset; 0 where the system does
 * not say. reset returns false where it cannot be reset. */
size_t memory_resident_bytes(void);
size_t memory_peak_bytes(void);
bool memory_peak_reset(void);

/* ---- tests ---------------------------------------------------------------------------------- */

typedef enum speed_kind {
    SPEED_PREFILL, /* n prompt tokens from an empty KV, in the engine's chunks; one row of logits */
    SPEED_DECODE,  /* n greedy tokens one after the other, from KV of `depth` tokens */
    SPEED_STEP,    /* one step of n rows of one sequence after `depth` tokens, logits and a sampled
                    * token for every row; the KV is cut back, so that every step is the same */
    SPEED_PROBE,   /* a prompt of n tokens until label probabilities and entropy are there */
    SPEED_KINDS
} speed_kind;

const char *speed_kind_name(speed_kind kind);

typedef struct speed_test {
    speed_kind kind;
    size_t n;
    size_t depth; /* 0 for prefill and probe */
} speed_test;

/* KV positions that a test needs. */
size_t speed_test_positions(const speed_test *test);

typedef struct speed_result {
    speed_test test;
    double *run_ms;    /* a run each: of the whole prefill, of one token, of one step */
    spread ms;         /* of run_ms */
    double bytes;      /* of weights and KV that must be read in that time; where there are experts,
                        * those of one row: the least that several rows read */
    size_t kv_bytes;   /* that the sequence holds at the test's end */
    token_list tokens; /* what the model answered; a step's: always the first STEP_TOKENS greedy
                        * tokens, so that they are the same for every n (promise 1) */
    double peak_before; /* GB/s, around the group */
    double peak_after;
    bool steady;     /* the two differ by at most 10 % */
    size_t attempts; /* 1, or more when the group was repeated because they differed */
} speed_result;

#define STEP_TOKENS 16
#define STEP_MAX_ROWS 64

void speed_result_free(speed_result *r);
double speed_tokens_per_s(const speed_result *r);
double speed_gb_s(const speed_result *r);
/* 0 … 1, of the larger of the two peaks: a share never looks better because memory was slow at one
 * end. */
double speed_share_of_peak(const speed_result *r);

typedef struct subject subject;

typedef struct subject_options {
    team *threads;
    kv_type kv;
    size_t positions;      /* the most any test needs */
    const int32_t *prompt; /* ids, repeated where it is too short; NULL: pseudo-random ones */
    size_t n_prompt;
} subject_options;

/* The model must outlive the subject. ERR_INVALID for a prompt token outside the vocabulary. */
error_code subject_create(subject **out, const model *m, const subject_options *options,
                          failure *fail);
void subject_destroy(subject *s);

/* One run of one test; returns its ms. */
double subject_run(subject *s, const speed_test *test);
/* A short untimed run: pages, caches and the KV before `depth` are then in place. */
void subject_warm(subject *s, const speed_test *test);
/* The test's tokens, for speed_result; ERR_MEMORY only. */
error_code subject_answer(subject *s, const speed_test *test, token_list *out);
double subject_bytes(const subject *s, const speed_test *test);
size_t subject_kv_bytes(const subject *s, const speed_test *test);

/* ---- groups --------------------------------------------------------------------------------- */

typedef struct group_options {
    size_t runs;         /* of every test, 1 … MEASURE_MAX_RUNS */
    size_t peak_bytes;   /* READ_PEAK_BYTES, smaller in tests */
    size_t attempts;     /* most repetitions while the peaks differ by more than 10 % */
    size_t *memory_peak; /* or NULL; raised to what the process held at most, the memory of the
                          * read peak left out. Needs a memory_peak_reset that works */
    double *last_peak;   /* in: the read peak just measured, 0: none; out: the one after */
    /* or NULL. Told before every run, and before the read peak is measured (test NULL). */
    void (*progress)(void *context, const speed_test *test, size_t run, size_t attempt);
    void *progress_context;
} group_options;

/* Measures n tests of one kind and depth into results[0 … n). */
error_code measure_group(subject *s, team *threads, const speed_test *tests, size_t n,
                         const group_options *options, speed_result *results, failure *fail);

#endif
