/* calibrate_machine.c: what steps, prompts and probes cost on this machine. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cli/calibrate.h"
#include "cli/progress.h"
#include "engine/engine.h"
#include "measure/measure.h"

#define RUNS 5
#define STEP_TESTS (WISH_MAX_DRAFT + 1)
#define MAX_TESTS (STEP_TESTS + N_WIDE_STEPS + 1 + MACHINE_MAX_PROBES)

/* Rows that sequences draft together: between them T(n) is taken for a line. */
static const size_t wide_steps[] = {24, 32, 48, LOAD_STEP_ROWS};
#define N_WIDE_STEPS (sizeof wide_steps / sizeof wide_steps[0])

static const size_t probe_sizes[] = {64, 256, 1024};
#define N_PROBE_SIZES (sizeof probe_sizes / sizeof probe_sizes[0])
_Static_assert(N_PROBE_SIZES <= MACHINE_MAX_PROBES, "all probes have a place in the record");

typedef struct job {
    team *threads;
    read_peak *peak;
    progress progress;
    size_t done, all; /* runs */
    size_t runs, unsteady;
    speed_member members[MAX_TESTS];
    size_t n;
} job;

static void show_run(void *context, size_t member, size_t turn, size_t attempt)
{
    job *j = context;
    (void)member;
    (void)turn;
    (void)attempt;
    progress_show(&j->progress, fmin(1, (double)j->done++ / (double)j->all));
}

static void add_test(job *j, subject *s, speed_kind kind, size_t n, size_t context)
{
    speed_test test = {.kind = kind, .n = n};
    if (speed_test_positions(&test) <= context)
        j->members[j->n++] = (speed_member){s, test};
}

static void note(machine_model *out, const speed_result *r)
{
    switch (r->test.kind) {
    case SPEED_STEP:
        out->step_ms[r->test.n] = r->ms.median;
        break;
    case SPEED_PREFILL:
        out->prefill_row_ms = r->ms.median / (double)r->test.n;
        break;
    default:
        out->probe_tokens[out->n_probes] = r->test.n;
        out->probe_ms[out->n_probes++] = r->ms.median;
    }
}

static error_code run_tests(job *j, machine_model *out, failure *fail)
{
    const group_options options = {
        .runs = RUNS, .attempts = 1, .peak = j->peak, .progress = show_run, .progress_context = j};
    speed_result results[MAX_TESTS] = {0};
    error_code code = measure_group(j->members, j->n, &options, results, fail);
    for (size_t i = 0; i < j->n; i++) {
        if (code == OK)
            note(out, &results[i]);
        j->runs += results[i].n_runs;
        j->unsteady += results[i].n_unsteady;
        speed_result_free(&results[i]);
    }
    return code;
}

/* The steps first, then the prompts: tests of one kind take turns. */
static error_code measure_subject(job *j, subject *s, size_t context, machine_model *out,
                                  failure *fail)
{
    j->n = 0;
    for (size_t n = 1; n <= STEP_TESTS; n++)
        add_test(j, s, SPEED_STEP, n, context);
    for (size_t i = 0; i < N_WIDE_STEPS; i++)
        add_test(j, s, SPEED_STEP, wide_steps[i], context);
    if (j->n < STEP_TESTS + N_WIDE_STEPS || context < ENGINE_KNOWN_PREFILL)
        return failure_set(
            fail, ERR_CONTEXT,
            "%s: its context of %zu tokens is too short: a prefill of %d is measured", out->name,
            context, ENGINE_KNOWN_PREFILL);
    error_code code = run_tests(j, out, fail);
    j->n = 0;
    add_test(j, s, SPEED_PREFILL, ENGINE_KNOWN_PREFILL, context);
    for (size_t i = 0; i < N_PROBE_SIZES; i++)
        add_test(j, s, SPEED_PROBE, probe_sizes[i], context);
    return code == OK ? run_tests(j, out, fail) : code;
}

static error_code measure_model(job *j, const model *m, kv_type kv, machine_model *out,
                                failure *fail)
{
    const char *path = gguf_path(m->file), *slash = strrchr(path, '/');
    size_t trained = m->config.context_length;
    snprintf(out->name, sizeof out->name, "%s", slash != NULL ? slash + 1 : path);
    snprintf(out->fingerprint, sizeof out->fingerprint, "%016" PRIx64, m->fingerprint);
    out->kv = kv;
    const subject_options options = {.threads = j->threads,
                                     .kv = kv,
                                     .positions = trained < probe_sizes[N_PROBE_SIZES - 1]
                                                      ? trained
                                                      : probe_sizes[N_PROBE_SIZES - 1]};
    subject *s = NULL;
    error_code code = subject_create(&s, m, &options, fail);
    if (code == OK)
        code = measure_subject(j, s, options.positions, out, fail);
    subject_destroy(s);
    return code;
}

static error_code measure_all(job *j, machine_record *out, const stage *s, failure *fail)
{
    error_code code = read_peak_create(&j->peak, j->threads, READ_PEAK_BYTES, fail);
    if (code == OK)
        code = read_peak_survey(j->peak, &out->read_peak_gb_s, fail);
    for (size_t i = 0; i < orchestra_model_count(s->orchestra); i++)
        if (orchestra_model(s->orchestra, i) != NULL) /* else it is at another server */
            j->all += RUNS * (STEP_TESTS + N_WIDE_STEPS + 1 + N_PROBE_SIZES);
    for (size_t i = 0; code == OK && i < orchestra_model_count(s->orchestra); i++)
        if (orchestra_model(s->orchestra, i) != NULL)
            code = measure_model(j, orchestra_model(s->orchestra, i),
                                 orchestra_kv_type(s->orchestra, i), &out->models[out->n_models++],
                                 fail);
    read_peak_destroy(j->peak);
    return code;
}

error_code measure_machine(machine_record *out, const stage *s, failure *fail)
{
    job *j = calloc(1, sizeof *j);
    if (j == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory to measure the machine");
    uint32_t wanted = s->config->engine.threads;
    *out = (machine_record){.threads = wanted > 0 ? wanted : (size_t)team_default_size()};
    machine_cpu_name(out->cpu);
    snprintf(out->kernel, sizeof out->kernel, "%s", kernel_name());
    progress_start(&j->progress, "measuring the machine");
    error_code code = team_create(&j->threads, (int)out->threads, fail);
    if (code == OK)
        code = measure_all(j, out, s, fail);
    progress_end(&j->progress);
    if (code == OK && j->unsteady > 0)
        log_warn(
            "memory was not steady around %zu of %zu runs: on a free machine the figures would "
            "be others",
            j->unsteady, j->runs);
    team_destroy(j->threads);
    free(j);
    return code;
}
