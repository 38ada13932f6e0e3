/* bench.h: what the files of `a-io bench` share. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include <stdbool.h>
#include <stdio.h>

#include "measure/measure.h"

#define BENCH_MAX_TESTS 256
#define BENCH_MAX_MODELS 32

/* What one model is put through: tests of one kind and depth stand together. */
typedef struct bench_plan {
    speed_test tests[BENCH_MAX_TESTS];
    size_t n;
} bench_plan;

/* `tests` like "decode:64,step:1-8,16,prefill:512": a number without a name goes on with the name
 * before it. `depths` like "0,2048", for decode and step; NULL: 0. */
error_code bench_plan_parse(bench_plan *out, const char *tests, const char *depths, failure *fail);
/* Leaves out what needs more positions than the model's context; returns how many tests went. */
size_t bench_plan_cut(bench_plan *plan, size_t context);
size_t bench_plan_positions(const bench_plan *plan);
/* The end of the group that begins at test `first`. */
size_t bench_plan_group_end(const bench_plan *plan, size_t first);

/* ---- synthetic models ----------------------------------------------------------------------- */

#define BENCH_PATH_SIZE 4096

typedef struct bench_synthetic {
    char shape[64];
    const tensor_type_info *type;
} bench_synthetic;

/* "pangu-1b:q4_0"; ERR_INVALID names the shapes there are. */
error_code bench_synthetic_parse(const char *spec, bench_synthetic *out, failure *fail);
/* The model's file in `folder` (NULL: $XDG_CACHE_HOME/a-io, else ~/.cache/a-io), written now if it
 * is not there. */
error_code bench_synthetic_file(const bench_synthetic *s, const char *folder,
                                char path[BENCH_PATH_SIZE], failure *fail);

/* One line on standard error that is written over, on a terminal only. */
void bench_progress(const char *text);

/* ---- results -------------------------------------------------------------------------------- */

/* What one model gave. */
typedef struct bench_model {
    char name[256]; /* the file as it was named, or the synthetic shape */
    char file[BENCH_PATH_SIZE];
    char type[16];       /* of most of its weight bytes: "Q4_0" */
    size_t weight_bytes; /* read by a step of one row */
    size_t file_bytes;
    size_t kv_token_bytes; /* that one token of a session adds to the KV */
    size_t context;        /* tokens the model was trained for */
    double load_ms;        /* repacking included */
    size_t memory_peak;    /* bytes, 0: unknown. Without the memory of the read peak */
    double peak_before;    /* GB/s, the read peak of the whole fixed set around all tests */
    double peak_after;
    char peak_variant[READ_PEAK_VARIANT_SIZE]; /* the best one before, repeated between runs */
    speed_result *results;
    size_t n_results; /* finished ones */
} bench_model;

typedef struct bench_report {
    int threads;
    size_t runs;
    kv_type kv;
    bench_model models[BENCH_MAX_MODELS];
    size_t n_models;
} bench_report;

void bench_print_heading(const bench_report *report, FILE *file);
void bench_print_model(const bench_model *m, FILE *file);
void bench_print_result(const speed_result *r, FILE *file);
void bench_print_peak(const bench_model *m, FILE *file); /* after its results */
error_code bench_print_json(const bench_report *report, FILE *file);

#endif
