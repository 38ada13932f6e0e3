/* bench.c: `a-io bench`: how fast models run here, and what share of the memory's speed that is. */
#include "cli/bench.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "cli/cli.h"
#include "cli/common.h"
#include "cli/token_file.h"
#include "model/forward.h"

#define STANDARD_TESTS "prefill:128,512,2048,decode:64,step:1-8,16,probe:64,256,1024"
#define MOST_ATTEMPTS 3

static const char usage[] =
    "usage: a-io bench (-m FILE | --synthetic SHAPE:TYPE)... [options]\n"
    "\n"
    "Measures a model on this machine: the time of prefill, decode, steps of several rows and\n"
    "probes, as a share of the speed at which memory can be read, which is measured around them.\n"
    "\n"
    "  -m, --model FILE     a model file; may be given several times\n"
    "  --synthetic S:T      a model of a real one's shape with random weights, all matrices of "
    "one\n"
    "                       type: pangu-1b:q4_0, qwen2.5-7b:q8_0 ...; may be given several times.\n"
    "                       Written once to $XDG_CACHE_HOME/a-io or ~/.cache/a-io (its replies "
    "mean\n"
    "                       nothing, its speed is the real one's)\n"
    "  --synthetic-dir DIR  keep them there instead\n"
    "  --tests LIST         default: " STANDARD_TESTS "\n"
    "                       (a default test that is longer than the model's context is left out)\n"
    "    prefill:N          N prompt tokens, from nothing to the first token\n"
    "    decode:N           N tokens, each fed back; ms is per token\n"
    "    step:N             one step of N rows of one sequence, logits and a token for every row\n"
    "    probe:N            a prompt of N tokens until the intent is known\n"
    "                       N may be a list of numbers and ranges: step:1-8,16\n"
    "  --depth LIST         tokens already in the KV for decode and step (default: 0)\n"
    "  --prompt FILE        token ids as text, repeated as needed (default: pseudo-random ids)\n"
    "  --runs N             runs of every test, 1 to 1000 (default: 5)\n"
    "  --kv TYPE            type of the KV cache: f16 (default), f32 or q8_0\n"
    "  -t, --threads N      default: the physical cores this process may use\n"
    "  --json               one JSON object instead of a table\n"
    "  -h, --help           this text\n"
    "\n"
    "Share: bytes (weights and KV that must be read) over time, over the larger of the read peaks\n"
    "right before and after the run; the median of the runs'. Where the two differ by more than\n"
    "10 % the run is repeated, at most twice, and then called unsteady. Peak: the median of the\n"
    "peaks used. All ways to read are tried before and after a model, the best one between runs.\n"
    "Hash: of the tokens the model answered; the same for every number of threads and rows.\n";

typedef struct bench_source {
    const char *path; /* NULL: synthetic */
    bench_synthetic synthetic;
} bench_source;

typedef struct bench_options {
    bench_source models[BENCH_MAX_MODELS];
    size_t n_models;
    const char *synthetic_folder; /* NULL: the user's cache folder */
    const char *tests;            /* NULL: the standard ones, as far as they fit the context */
    const char *depths;
    const char *prompt_path; /* NULL: pseudo-random ids */
    uint64_t runs;
    uint64_t threads;
    kv_type kv;
    bool json;
    bool help;
} bench_options;

/* ---- progress ------------------------------------------------------------------------------- */

void bench_progress(const char *text)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K%s", text);
}

static void show_loading(void *context, double fraction)
{
    const bench_model *m = context;
    char text[400];
    snprintf(text, sizeof text, "%s: loading, %.0f %%", m->name, 100 * fraction);
    bench_progress(text);
}

static void show_survey(const bench_model *m)
{
    char text[400];
    snprintf(text, sizeof text, "%s: read peak", m->name);
    bench_progress(text);
}

static void show_run(void *context, const speed_test *test, size_t turn, size_t attempt)
{
    const bench_model *m = context;
    char text[400];
    snprintf(text, sizeof text, "%s: %s of %zu at depth %zu, run %zu%s", m->name,
             speed_kind_name(test->kind), test->n, test->depth, turn + 1,
             attempt > 0 ? ", repeated: memory was not steady" : "");
    bench_progress(text);
}

/* ---- one model ------------------------------------------------------------------------------ */

/* The type that holds most bytes of the file's tensors. */
static const char *main_type(const gguf *file)
{
    const char *best = "";
    size_t best_bytes = 0;
    for (size_t i = 0; i < gguf_tensor_count(file); i++) {
        const tensor_type_info *type = gguf_tensor_at(file, i)->type;
        size_t bytes = 0;
        for (size_t j = 0; j < gguf_tensor_count(file); j++)
            if (gguf_tensor_at(file, j)->type == type)
                bytes += gguf_tensor_at(file, j)->bytes;
        if (bytes > best_bytes) {
            best_bytes = bytes;
            best = type->name;
        }
    }
    return best;
}

static error_code load(bench_model *out, model **m, const char *path, kv_type kv, failure *fail)
{
    const model_options options = {
        .chat_template = "none", .progress = show_loading, .progress_context = out};
    double start = clock_ms();
    error_code code = model_load(m, path, &options, fail);
    bench_progress("");
    if (code != OK)
        return code;
    out->load_ms = clock_ms() - start;
    utf8_printable(path, strlen(path), out->file, sizeof out->file);
    snprintf(out->type, sizeof out->type, "%s", main_type((*m)->file));
    out->weight_bytes = (*m)->weight_bytes;
    out->file_bytes = gguf_file_bytes((*m)->file);
    out->kv_token_bytes = forward_kv_bytes(*m, kv, 0);
    out->context = (*m)->config.context_length;
    return OK;
}

static error_code choose_tests(const bench_options *o, const bench_model *m, bench_plan *tests,
                               failure *fail)
{
    error_code code =
        bench_plan_parse(tests, o->tests == NULL ? STANDARD_TESTS : o->tests, o->depths, fail);
    if (code != OK)
        return code;
    size_t positions = bench_plan_positions(tests);
    if (positions <= m->context)
        return OK;
    if (o->tests != NULL)
        return failure_set(fail, ERR_CONTEXT,
                           "%s: the tests need %zu tokens, the model's context has %zu; give "
                           "shorter --tests or a smaller --depth",
                           m->name, positions, m->context);
    size_t gone = bench_plan_cut(tests, m->context);
    fprintf(stderr, "%s: %zu tests are longer than its context of %zu tokens and left out\n",
            m->name, gone, m->context);
    if (tests->n == 0)
        return failure_set(fail, ERR_CONTEXT, "%s: no test is left", m->name);
    return OK;
}

static error_code measure_groups(const bench_options *o, const bench_plan *tests, subject *s,
                                 read_peak *peak, bench_model *out, failure *fail)
{
    const group_options options = {.runs = (size_t)o->runs,
                                   .attempts = MOST_ATTEMPTS,
                                   .peak = peak,
                                   .progress = show_run,
                                   .progress_context = out};
    for (size_t i = 0; i < tests->n;) {
        size_t end = bench_plan_group_end(tests, i);
        out->n_results = end;
        error_code code =
            measure_group(s, tests->tests + i, end - i, &options, out->results + i, fail);
        bench_progress("");
        if (code != OK)
            return code;
        for (; i < end; i++)
            if (!o->json)
                bench_print_result(&out->results[i], stdout);
        fflush(stdout);
    }
    return OK;
}

static void note_memory(bench_model *out, size_t bytes)
{
    if (bytes > out->memory_peak)
        out->memory_peak = bytes;
}

/* The read peak's own memory is left out of the model's peak exactly: while the groups run all of
 * it is resident, from the reset to the reading, so that the peak is higher by just its size. */
static error_code measure_plan(const bench_options *o, const bench_plan *tests, subject *s,
                               read_peak *peak, bool knows_memory, bench_model *out, failure *fail)
{
    if (knows_memory)
        note_memory(out, memory_peak_bytes());
    show_survey(out);
    error_code code = read_peak_survey(peak, &out->peak_before, fail);
    if (code != OK)
        return code;
    read_peak_variant(peak, out->peak_variant);
    knows_memory = knows_memory && memory_peak_reset();
    code = measure_groups(o, tests, s, peak, out, fail);
    if (code != OK)
        return code;
    if (knows_memory)
        note_memory(out, memory_peak_bytes() - read_peak_bytes(peak));
    show_survey(out);
    code = read_peak_survey(peak, &out->peak_after, fail);
    bench_progress("");
    if (code == OK && !o->json)
        bench_print_peak(out, stdout);
    return code;
}

static error_code measure_tests(const bench_options *o, const model *m, const bench_plan *tests,
                                team *threads, bool knows_memory, bench_model *out, failure *fail)
{
    subject *s = NULL;
    read_peak *peak = NULL;
    token_list prompt = {0};
    error_code code = OK;
    if (o->prompt_path != NULL)
        code = token_file_read(o->prompt_path, m->config.n_vocab, &prompt, fail);
    const subject_options options = {.threads = threads,
                                     .kv = o->kv,
                                     .positions = bench_plan_positions(tests),
                                     .prompt = prompt.ids,
                                     .n_prompt = prompt.length};
    if (code == OK)
        code = subject_create(&s, m, &options, fail);
    if (code == OK)
        code = read_peak_create(&peak, threads, READ_PEAK_BYTES, fail);
    if (code == OK)
        code = measure_plan(o, tests, s, peak, knows_memory, out, fail);
    read_peak_destroy(peak);
    subject_destroy(s);
    token_list_free(&prompt);
    return code;
}

static error_code measure_loaded(const bench_options *o, const model *m, team *threads,
                                 bool knows_memory, bench_model *out, failure *fail)
{
    bench_plan tests;
    error_code code = choose_tests(o, out, &tests, fail);
    if (code != OK)
        return code;
    out->results = calloc(tests.n, sizeof *out->results);
    if (out->results == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for %zu tests", tests.n);
    if (!o->json)
        bench_print_model(out, stdout);
    return measure_tests(o, m, &tests, threads, knows_memory, out, fail);
}

static error_code measure_model(const bench_options *o, const bench_source *source, team *threads,
                                bench_model *out, failure *fail)
{
    char path[BENCH_PATH_SIZE];
    const char *name = source->path == NULL ? source->synthetic.shape : source->path;
    utf8_printable(name, strlen(name), out->name, sizeof out->name);
    error_code code = OK;
    if (source->path == NULL)
        code = bench_synthetic_file(&source->synthetic, o->synthetic_folder, path, fail);
    model *m = NULL;
    bool knows_memory = memory_peak_reset();
    if (code == OK)
        code = load(out, &m, source->path == NULL ? path : source->path, o->kv, fail);
    if (code == OK)
        code = measure_loaded(o, m, threads, knows_memory, out, fail);
    model_destroy(m);
    return code;
}

static void free_report(bench_report *report)
{
    for (size_t i = 0; i < report->n_models; i++) {
        bench_model *m = &report->models[i];
        for (size_t j = 0; j < m->n_results; j++)
            speed_result_free(&m->results[j]);
        free(m->results);
    }
    free(report);
}

static error_code measure_all(const bench_options *o, bench_report *report, failure *fail)
{
    team *threads = NULL;
    error_code code = team_create(&threads, (int)o->threads, fail);
    if (code == OK && !o->json)
        bench_print_heading(report, stdout);
    for (size_t i = 0; code == OK && i < o->n_models; i++)
        code = measure_model(o, &o->models[i], threads, &report->models[report->n_models++], fail);
    team_destroy(threads);
    if (code == OK && o->json) {
        code = bench_print_json(report, stdout);
        if (code != OK)
            failure_set(fail, code, "cannot print the results: %s", error_code_text(code));
    }
    return code;
}

static error_code run_bench(const bench_options *o, failure *fail)
{
    bench_plan tests; /* a mistake in --tests is said before a large model is loaded */
    error_code code =
        bench_plan_parse(&tests, o->tests == NULL ? STANDARD_TESTS : o->tests, o->depths, fail);
    if (code != OK)
        return code;
    bench_report *report = calloc(1, sizeof *report);
    if (report == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a report");
    report->threads = (int)o->threads;
    report->runs = (size_t)o->runs;
    report->kv = o->kv;
    code = measure_all(o, report, fail);
    free_report(report);
    return code;
}

/* ---- the command line ----------------------------------------------------------------------- */

enum {
    OPTION_SYNTHETIC = 256,
    OPTION_SYNTHETIC_DIR,
    OPTION_TESTS,
    OPTION_DEPTH,
    OPTION_PROMPT,
    OPTION_RUNS,
    OPTION_KV,
    OPTION_JSON
};

static const struct option option_names[] = {
    {"model", required_argument, NULL, 'm'},
    {"synthetic", required_argument, NULL, OPTION_SYNTHETIC},
    {"synthetic-dir", required_argument, NULL, OPTION_SYNTHETIC_DIR},
    {"tests", required_argument, NULL, OPTION_TESTS},
    {"depth", required_argument, NULL, OPTION_DEPTH},
    {"prompt", required_argument, NULL, OPTION_PROMPT},
    {"runs", required_argument, NULL, OPTION_RUNS},
    {"kv", required_argument, NULL, OPTION_KV},
    {"threads", required_argument, NULL, 't'},
    {"json", no_argument, NULL, OPTION_JSON},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static error_code take_model(bench_options *o, bool synthetic, failure *fail)
{
    if (o->n_models == BENCH_MAX_MODELS)
        return failure_set(fail, ERR_INVALID, "more than %d models", BENCH_MAX_MODELS);
    bench_source *source = &o->models[o->n_models++];
    if (synthetic)
        return bench_synthetic_parse(optarg, &source->synthetic, fail);
    source->path = optarg;
    return OK;
}

static error_code take_option(bench_options *o, int option, char *const *argv, failure *fail)
{
    switch (option) {
    case 'm':
        return take_model(o, false, fail);
    case OPTION_SYNTHETIC:
        return take_model(o, true, fail);
    case OPTION_SYNTHETIC_DIR:
        o->synthetic_folder = optarg;
        return OK;
    case OPTION_TESTS:
        o->tests = optarg;
        return OK;
    case OPTION_DEPTH:
        o->depths = optarg;
        return OK;
    case OPTION_PROMPT:
        o->prompt_path = optarg;
        return OK;
    case OPTION_RUNS:
        return option_number("--runs", optarg, 1, MEASURE_MAX_RUNS, &o->runs, fail);
    case OPTION_KV:
        if (kv_type_find(optarg, &o->kv))
            return OK;
        return failure_set(fail, ERR_INVALID, "--kv: \"%s\" is none of f16, f32, q8_0", optarg);
    case 't':
        return option_number("--threads", optarg, 1, 1024, &o->threads, fail);
    case OPTION_JSON:
        o->json = true;
        return OK;
    case 'h':
        o->help = true;
        return OK;
    default:
        return option_refused(option, argv, fail);
    }
}

static error_code read_options(int argc, char **argv, bench_options *o, failure *fail)
{
    *o = (bench_options){.runs = 5, .threads = (uint64_t)team_default_size(), .kv = KV_F16};
    opterr = 0;
    optind = 1;
    for (int option; (option = getopt_long(argc, argv, ":m:t:h", option_names, NULL)) != -1;) {
        error_code code = take_option(o, option, argv, fail);
        if (code != OK || o->help)
            return code;
    }
    if (optind < argc)
        return failure_set(fail, ERR_INVALID, "unexpected argument \"%s\"; try: a-io bench --help",
                           argv[optind]);
    if (o->n_models == 0)
        return failure_set(
            fail, ERR_INVALID,
            "no model named: give -m FILE or --synthetic SHAPE:TYPE; try: a-io bench --help");
    return OK;
}

int command_bench(int argc, char **argv)
{
    bench_options options;
    failure fail = {0};
    error_code code = read_options(argc, argv, &options, &fail);
    if (code == OK && options.help) {
        fputs(usage, stdout);
        return 0;
    }
    if (code == OK)
        code = run_bench(&options, &fail);
    return code == OK ? 0 : command_failed("bench", &fail);
}
