/* bench.h: what the files of `a-io bench` share. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include <stdbool.h>
#include <stdio.h>

#include "measure/measure.h"
#include "model/weight_mix.h"

#define BENCH_MAX_TESTS 256
#define BENCH_MAX_MODELS 32

/* What one model is put through: tests of one kind and depth stand together,
 * groups of one depth likewise. */
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
bool bench_plan_has(const bench_plan *plan, const speed_test *test);
/* The end of the group that begins at test `first`. */
size_t bench_plan_group_end(const bench_plan *plan, size_t first);

/* ---- synthetic models ----------------------------------------------------------------------- */

#define BENCH_PATH_SIZE 4096

typedef struct bench_synthetic {
    char shape[64];
    weight_mix mix;
} bench_synthetic;

/* "pangu-1b:q4_0"; ERR_INVALID names the shapes there are. */
error_code bench_synthetic_parse(const char *spec, bench_synthetic *out, failure *fail);
/* The model's file in `folder` (NULL: $XDG_CACHE_HOME/a-io, else ~/.cache/a-io), written now if it
 * is not there. */
error_code bench_synthetic_file(const bench_synthetic *s, const char *folder,
                                char path[BENCH_PATH_SIZE], failure *fail);

/* ---- what is asked for ---------------------------------------------------------------------- */

#define BENCH_STANDARD_TESTS "prefill:128,512,2048,decode:64,step:1-8,16,probe:64,256,1024"
#define BENCH_MOST_ATTEMPTS 3 /* of one run while memory is not steady */

typedef struct bench_source {
    const char *path; /* or a name at the hub; NULL: synthetic */
    bench_synthetic synthetic;
} bench_source;

typedef struct bench_options {
    bench_source models[BENCH_MAX_MODELS];
    size_t n_models;
    bool together;                /* all models in memory at once, in turns */
    const char *synthetic_folder; /* NULL: the user's cache folder */
    const char *tests;            /* NULL: the standard ones, as far as they fit the context */
    const char *depths;
    const char *prompt_path;     /* NULL: pseudo-random ids */
    const char *timeline_path;   /* NULL: no timeline is written */
    const char *perplexity_path; /* NULL: speed is measured */
    uint64_t window;             /* of perplexity, in tokens; 0: as many as the context has */
    bool special;                /* special tokens in that text are read as such */
    uint64_t runs;               /* 0: not said yet */
    uint64_t threads;
    kv_type kv[KV_TYPES]; /* measured in turns; the first one is the one others are compared to */
    size_t n_kv;
    const tensor_type_info *head; /* NULL: as the files have it */
    bool json;
    bool help;
} bench_options;

/* The file that a source names, made or fetched now if it is not there. */
error_code bench_find_file(const bench_options *options, const bench_source *source,
                           char path[BENCH_PATH_SIZE], failure *fail);

/* Measures and prints. */
error_code bench_run(const bench_options *options, failure *fail);
error_code bench_perplexity(const bench_options *options, failure *fail);

/* ---- timeline ------------------------------------------------------------------------------- */

#define TIMELINE_TOKENS 4 /* decoded at depth 0 */

/* What the threads did in some steps of several models, in Chrome's trace form. */
typedef struct bench_timeline bench_timeline;
typedef struct bench_model bench_model;

/* ERR_IO when the file cannot be written. */
error_code bench_timeline_create(bench_timeline **out, const char *path, int n_threads,
                                 failure *fail);
void bench_timeline_destroy(bench_timeline *t); /* NULL is allowed */
/* Decodes TIMELINE_TOKENS tokens and keeps what the threads did, under the model's name. */
error_code bench_timeline_add(bench_timeline *t, subject *s, const bench_model *m, failure *fail);
error_code bench_timeline_write(const bench_timeline *t, failure *fail);

/* ---- results -------------------------------------------------------------------------------- */

/* Models that were in memory at the same time, and what the peak was around their tests. */
typedef struct bench_set {
    size_t n_models, n_kv;
    double peak_before; /* GB/s, the read peak of the whole fixed set around all tests */
    double peak_after;
    char peak_variant[READ_PEAK_VARIANT_SIZE]; /* the best one before, repeated between runs */
    bool steps;                                /* step tests are among them */
} bench_set;

/* One model. */
struct bench_model {
    char name[256]; /* the file as it was named, or the synthetic shape */
    char file[BENCH_PATH_SIZE];
    char type[16];       /* of most of its weight bytes: "Q4_0" */
    size_t weight_bytes; /* read by a step of one row */
    size_t source_bytes; /* what the file has for these weights */
    size_t file_bytes;
    size_t kv_token_bytes[KV_TYPES]; /* that one token of a session adds to the KV, by kv_type */
    size_t context;                  /* tokens the model was trained for */
    double load_ms;                  /* repacking included */
    double multiply_rate;            /* measure_multiply_rate; 0: not measured */
    size_t memory_peak; /* bytes, without the memory of the read peak; 0: unknown, or the set has
                         * more than this model with one KV */
    const bench_set *set;
};

typedef struct bench_result {
    const bench_model *model;
    speed_result speed;
} bench_result;

typedef struct bench_report {
    const bench_options *options;
    bench_set sets[BENCH_MAX_MODELS];
    size_t n_sets;
    bench_model models[BENCH_MAX_MODELS];
    size_t n_models;
    bench_result *results; /* in the order they were measured */
    size_t n_results;
} bench_report;

void bench_print_heading(const bench_options *options, FILE *file);
void bench_print_model(const bench_options *options, const bench_model *m, FILE *file);
void bench_print_columns(const bench_set *set, FILE *file); /* after its models */
void bench_print_result(const bench_result *r, FILE *file);
void bench_print_peak(const bench_set *set, FILE *file); /* after its results */
error_code bench_print_json(const bench_report *report, FILE *file);

#endif
