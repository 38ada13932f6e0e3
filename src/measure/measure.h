/*
 * measure.h: how fast a model runs here, against how fast this machine reads memory.
 *
 * A subject is a loaded model made ready to be measured: scratch memory, one KV slot, a fixed
 * prompt. Tests that belong together (one kind, one depth; of one or of several subjects) form a
 * group; its members take turns, run by run, so that a machine that slows down slows all of them.
 * The read peak is measured between any two runs: memory that others use changes its speed within
 * seconds, so only the peak of the moment says what a run could have reached. Nothing here prints.
 * One thread at a time.
 */
#ifndef MEASURE_MEASURE_H
#define MEASURE_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/failure.h"
#include "model/forward_trace.h"
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

/* The read peak: the most bytes a second that the team reads from memory, in GB/s (10^9). */
typedef struct read_peak read_peak;

/* Over at least `bytes`. The team must outlive it. */
#define READ_PEAK_BYTES ((size_t)1 << 30)
error_code read_peak_create(read_peak **out, team *threads, size_t bytes, failure *fail);
void read_peak_destroy(read_peak *p);

/* The best of a fixed set: 1, 2 or 4 streams a thread, software prefetch on or off, 4 KiB or huge
 * pages, three passes each. The best variant is remembered and its memory kept. */
error_code read_peak_survey(read_peak *p, double *gb_s, failure *fail);
/* Three more passes of the variant that the last survey found best; there must have been one. */
double read_peak_repeat(read_peak *p);
/* The memory that it keeps after a survey, every page of it resident. */
size_t read_peak_bytes(const read_peak *p);
/* "4 streams, prefetch, huge pages" */
#define READ_PEAK_VARIANT_SIZE 64
void read_peak_variant(const read_peak *p, char text[READ_PEAK_VARIANT_SIZE]);

/* Resident memory of this process now, and the most since the last reset; 0 where the system does
 * not say. reset returns false where it cannot be reset. */
size_t memory_resident_bytes(void);
size_t memory_peak_bytes(void);
bool memory_peak_reset(void);
/* Memory that can be taken without swapping; 0 where the system does not say. */
size_t memory_available_bytes(void);

/* ---- multiplications ------------------------------------------------------------------------ */

/* The type that holds most bytes of the file's tensors. */
const tensor_type_info *measure_main_type(const gguf *file);

/* Multiply-adds a second of the whole team in products of eight columns with rows of the file's
 * largest matrix of this type, so few that they stay in every core's own cache: what arithmetic
 * allows where memory does not matter. Takes about 0.2 s. */
error_code measure_multiply_rate(const gguf *file, const tensor_type_info *type, team *threads,
                                 double *per_s, failure *fail);

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

typedef struct speed_run {
    double ms;          /* of the whole prefill, of one token, of one step */
    double peak_before; /* GB/s, the read peak right before the run */
    double peak_after;
    size_t attempts; /* 1, or more when it was repeated because the two differed */
} speed_run;

typedef struct speed_result {
    speed_test test;
    kv_type kv;
    speed_run *runs;
    size_t n_runs;
    double bytes;      /* of weights and KV that must be read in a run's ms; where there are
                        * experts, those of one row: the least that several rows read */
    size_t kv_bytes;   /* that the sequence holds at the test's end */
    token_list tokens; /* what the model answered; a step's: always the first STEP_TOKENS greedy
                        * tokens, so that they are the same for every n (promise 1) */
    spread ms;         /* of the runs */
    spread share;      /* of the runs' shares: bytes over ms, over speed_run_peak */
    double peak;       /* GB/s; medians: of speed_run_peak, and of what was before and after */
    double peak_before;
    double peak_after;
    /* Of the runs; the median is 0 where there is none. */
    spread to_one;     /* a step's ms over that of step:1 of the same subject and turn */
    spread over_bound; /* a step's ms over the least its bytes or multiply-adds allow, whichever is
                        * more: bytes at speed_run_peak, n rows' multiply-adds at multiply_rate */
    spread speedup;    /* ms of the first of several subjects over ms, same test and turn */
    size_t n_unsteady; /* runs whose two peaks differ by more than 10 % in every attempt */
} speed_result;

#define STEP_TOKENS 16
#define STEP_MAX_ROWS 64

void speed_result_free(speed_result *r);
double speed_tokens_per_s(const speed_result *r);
double speed_gb_s(const speed_result *r);
/* The larger of a run's two peaks: a share never looks better because memory was slow at one end.
 */
double speed_run_peak(const speed_run *run);
double speed_run_share(const speed_result *r, const speed_run *run);
bool speed_run_steady(const speed_run *run);

typedef struct subject subject;

typedef struct subject_options {
    team *threads;
    kv_type kv;
    size_t positions;      /* the most any test needs */
    const int32_t *prompt; /* ids, repeated where it is too short; NULL: pseudo-random ones */
    size_t n_prompt;
    double multiply_rate; /* multiply-adds a second (measure_multiply_rate); 0: unknown */
    double step_run_ms;   /* a run of a step test is the mean of four steps, or of fewer when they
                           * took so long; 0: always of four */
    /* or NULL. Told while the KV before a test's depth is filled: tokens done of all. */
    void (*filling)(void *context, size_t done, size_t all);
    void *filling_context;
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
/* A run of a decode test, after a warm one, whose steps are recorded. */
void subject_trace(subject *s, const speed_test *test, forward_trace *trace);
double subject_bytes(const subject *s, const speed_test *test);
size_t subject_kv_bytes(const subject *s, const speed_test *test);
kv_type subject_kv_type(const subject *s);
double subject_multiply_rate(const subject *s);
/* Of the matrices, for one row with logits; attention's own, which grow with depth, left out. */
double subject_multiply_adds(const subject *s);

/* ---- groups --------------------------------------------------------------------------------- */

typedef struct speed_member {
    subject *subject;
    speed_test test;
    size_t runs; /* fewer than the group's; 0: these */
} speed_member;

typedef struct group_options {
    size_t runs;     /* of every test, 1 … MEASURE_MAX_RUNS */
    size_t attempts; /* ≥ 1: most times that one run is made while its peaks differ by more than
                      * 10 %; the one whose peaks differ least is kept */
    bool only_times; /* in a fraction of the time: runs are made once, between peaks that are
                      * measured around each turn, and what the models answer is left out */
    read_peak *peak; /* surveyed */
    /* or NULL. Told before every run. */
    void (*progress)(void *context, size_t member, size_t run, size_t attempt);
    void *progress_context;
} group_options;

/* Measures n members into results[0 … n), which are the caller's to free even when it fails. A turn
 * goes through the members in their order. */
error_code measure_group(const speed_member *members, size_t n, const group_options *options,
                         speed_result *results, failure *fail);

#endif
