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

/* The median of so many runs, or of fewer when they take long: of what the engine uses of three at
 * least, of probes, which are only told, of one. */
#define RUNS 5
#define LEAST_RUNS 3
#define LONG_MS 1000.0
#define STEP_RUN_MS 40.0 /* after so long one step says as much as the mean of four */
#define WHAT_SIZE 128
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
    double done, all; /* of a model's runs, as if in steps of one row */
    size_t runs, unsteady;
    speed_member members[MAX_TESTS]; /* of a model: the steps, then the prompts */
    size_t n, n_steps;
    size_t first; /* of the group that runs */
} job;

/* About how many steps of one row it takes as long as: rows multiply what is read once. */
static double cost_of(const speed_test *test)
{
    return 1 + (double)test->n / 6;
}

static void show_run(void *context, size_t member, size_t turn, size_t attempt)
{
    job *j = context;
    (void)turn;
    (void)attempt;
    progress_show(&j->progress, fmin(1, j->done / j->all));
    j->done += cost_of(&j->members[j->first + member].test);
}

static void add_test(job *j, subject *s, double row_ms, speed_kind kind, size_t n)
{
    const speed_test test = {.kind = kind, .n = n};
    double most = LONG_MS / (row_ms * cost_of(&test));
    size_t least = kind == SPEED_PROBE ? 1 : LEAST_RUNS;
    size_t runs = most > RUNS ? RUNS : most > (double)least ? (size_t)most : least;
    j->members[j->n++] = (speed_member){s, test, runs};
    j->all += cost_of(&test) * (double)runs;
}

/* Those that the context holds. */
static void add_tests(job *j, subject *s, size_t context)
{
    const speed_test one = {.kind = SPEED_STEP, .n = 1};
    subject_warm(s, &one);
    double row_ms = subject_run(s, &one) / cost_of(&one);
    j->n = 0;
    j->done = j->all = 0;
    for (size_t n = 1; n <= STEP_TESTS; n++)
        add_test(j, s, row_ms, SPEED_STEP, n);
    for (size_t i = 0; i < N_WIDE_STEPS; i++)
        add_test(j, s, row_ms, SPEED_STEP, wide_steps[i]);
    j->n_steps = j->n;
    add_test(j, s, row_ms, SPEED_PREFILL, ENGINE_KNOWN_PREFILL);
    for (size_t i = 0; i < N_PROBE_SIZES && probe_sizes[i] <= context; i++)
        add_test(j, s, row_ms, SPEED_PROBE, probe_sizes[i]);
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

/* Tests that take turns. */
static error_code run_tests(job *j, size_t first, size_t n, machine_model *out, failure *fail)
{
    j->first = first;
    const group_options options = {.runs = RUNS,
                                   .attempts = 1,
                                   .only_times = true,
                                   .peak = j->peak,
                                   .progress = show_run,
                                   .progress_context = j};
    speed_result results[MAX_TESTS] = {0};
    error_code code = measure_group(j->members + first, n, &options, results, fail);
    for (size_t i = 0; i < n; i++) {
        if (code == OK)
            note(out, &results[i]);
        j->runs += results[i].n_runs;
        j->unsteady += results[i].n_unsteady;
        speed_result_free(&results[i]);
    }
    return code;
}

static error_code measure_subject(job *j, subject *s, size_t context, machine_model *out,
                                  failure *fail)
{
    if (context < ENGINE_KNOWN_PREFILL)
        return failure_set(
            fail, ERR_CONTEXT,
            "%s: its context of %zu tokens is too short: a prefill of %d is measured", out->name,
            context, ENGINE_KNOWN_PREFILL);
    add_tests(j, s, context);
    error_code code = run_tests(j, 0, j->n_steps, out, fail);
    return code == OK ? run_tests(j, j->n_steps, j->n - j->n_steps, out, fail) : code;
}

static error_code measure_model(job *j, const model *m, kv_type kv, machine_model *out,
                                failure *fail)
{
    const char *path = gguf_path(m->file), *slash = strrchr(path, '/');
    size_t trained = m->config.context_length, most = probe_sizes[N_PROBE_SIZES - 1];
    snprintf(out->name, sizeof out->name, "%s", slash != NULL ? slash + 1 : path);
    snprintf(out->fingerprint, sizeof out->fingerprint, "%016" PRIx64, m->fingerprint);
    out->kv = kv;
    const subject_options options = {.threads = j->threads,
                                     .kv = kv,
                                     .positions = trained < most ? trained : most,
                                     .step_run_ms = STEP_RUN_MS};
    subject *s = NULL;
    error_code code = subject_create(&s, m, &options, fail);
    if (code == OK)
        code = measure_subject(j, s, options.positions, out, fail);
    subject_destroy(s);
    return code;
}

static error_code measure_models(job *j, machine_record *out, const stage *s, failure *fail)
{
    error_code code = OK;
    size_t n = orchestra_model_count(s->orchestra);
    for (size_t i = 0; code == OK && i < n; i++) {
        const model *m = orchestra_model(s->orchestra, i);
        if (m == NULL) /* at another server */
            continue;
        char what[WHAT_SIZE];
        snprintf(what, sizeof what, "measuring model %zu of %zu, %s", i + 1, n,
                 s->config->models[i].name);
        progress_line(what); /* before the first run is warming up: seconds, of a large model */
        progress_start(&j->progress, what);
        code = measure_model(j, m, orchestra_kv_type(s->orchestra, i),
                             &out->models[out->n_models++], fail);
        progress_line("");
    }
    return code;
}

static error_code measure_all(job *j, machine_record *out, const stage *s, failure *fail)
{
    error_code code = read_peak_create(&j->peak, j->threads, READ_PEAK_BYTES, fail);
    if (code == OK)
        code = read_peak_survey(j->peak, &out->read_peak_gb_s, fail);
    if (code == OK)
        code = measure_models(j, out, s, fail);
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
    error_code code = team_create(&j->threads, (int)out->threads, fail);
    if (code == OK)
        code = measure_all(j, out, s, fail);
    if (code == OK && j->unsteady > 0)
        log_warn(
            "memory was not steady around %zu of %zu runs: on a free machine the figures would "
            "be others",
            j->unsteady, j->runs);
    team_destroy(j->threads);
    free(j);
    return code;
}
