/* bench.c: `a-io bench`: how fast models run here, and what share of the memory's speed that is. */
#include "cli/bench.h"

#include <getopt.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/common.h"
#include "model/requantise.h"

static const char usage[] =
    "usage: a-io bench (-m FILE | --synthetic SHAPE:TYPE)... [options]\n"
    "\n"
    "Measures a model on this machine: the time of prefill, decode, steps of several rows and\n"
    "probes, as a share of the speed at which memory can be read, which is measured around them.\n"
    "\n"
    "  -m, --model FILE     a model file, or a name at the Hugging Face hub (see a-io pull "
    "--help);\n"
    "                       may be given several times\n"
    "  --synthetic S:T      a model of a real one's shape with random weights, all matrices of "
    "one\n"
    "                       type: pangu-1b:q4_0, qwen2.5-7b:q8_0 ...; may be given several times.\n"
    "                       Written once to $XDG_CACHE_HOME/a-io or ~/.cache/a-io (its replies "
    "mean\n"
    "                       nothing, its speed is the real one's)\n"
    "  --synthetic-dir DIR  keep them there instead\n"
    "  --together           all models in memory at once, their tests in turns, run by run: the\n"
    "                       only fair way to compare types. The first model is the one that "
    "others\n"
    "                       are compared to\n"
    "  --tests LIST         default: " BENCH_STANDARD_TESTS "\n"
    "                       (a default test that is longer than the model's context is left out)\n"
    "    prefill:N          N prompt tokens, from nothing to the first token\n"
    "    decode:N           N tokens, each fed back; ms is per token\n"
    "    step:N             one step of N rows of one sequence, logits and a token for every row\n"
    "    probe:N            a prompt of N tokens until the intent is known\n"
    "                       N may be a list of numbers and ranges: step:1-8,16\n"
    "  --depth LIST         tokens already in the KV for decode and step (default: 0); filled "
    "once\n"
    "  --prompt FILE        token ids as text, repeated as needed (default: pseudo-random ids)\n"
    "  --runs N             runs of every test, 1 to 1000 (default: 5)\n"
    "  --requant head=TYPE  the output matrix in fewer bits than the file has: q8_0, q6_k, q4_k\n"
    "                       or q4_0\n"
    "  --kv LIST            types of the KV cache: f16 (default), f32, q8_0; several take turns\n"
    "  --timeline FILE      after the tests, what every thread did in four decoding steps of each\n"
    "                       model: a file for chrome://tracing or ui.perfetto.dev\n"
    "  --perplexity FILE    instead of speed: how well the models predict this text, in one "
    "table.\n"
    "                       --depth N is then the window in tokens (default: the context, at most\n"
    "                       2048). Each window starts from an empty KV; its first token is given\n"
    "                       and not counted: bos where the model adds one, else the last token of\n"
    "                       the window before. The stride is N-1: every token is counted once.\n"
    "                       Nats: mean of -ln p; error: its standard error, tokens taken as\n"
    "                       independent; perplexity: e^nats, comparable within one vocabulary\n"
    "                       only. Not with --tests, --prompt, --runs, --together\n"
    "                       or --timeline\n"
    "  --special            with --perplexity: texts of special tokens, such as chat markers, are\n"
    "                       those tokens (default: ordinary text)\n"
    "  -t, --threads N      default: the physical cores this process may use\n"
    "  --json               one JSON object instead of a table\n"
    "  --offline            fetch nothing: models named in the hub's way must be in its cache\n"
    "  -h, --help           this text\n"
    "\n"
    "Share: bytes (weights and KV that must be read) over time, over the larger of the read peaks\n"
    "right before and after the run; the median of the runs'. Where the two differ by more than\n"
    "10 % the run is repeated, at most twice, and then called unsteady. Peak: the median of the\n"
    "peaks used. All ways to read are tried before and after a model, the best one between runs.\n"
    "T(n)/T(1): a step's time over that of step:1 in the same turn. Bound: the least time that "
    "the\n"
    "step's bytes at the peak, or its rows' multiply-adds at the rate of eight columns in cache\n"
    "allow, whichever is more. Times first: how much faster than the first model or KV, same "
    "turn.\n"
    "Hash: of the tokens the model answered; the same for every number of threads and rows.\n"
    "\n"
    "Exit status: 0; 2 for a bad option; 3 for a file that is not there; 5 for a model that "
    "cannot\n"
    "be used; 6 when reading or writing failed.\n";

/* ---- the command line ----------------------------------------------------------------------- */

static error_code add_source(bench_options *o, bench_source **out, failure *fail)
{
    if (o->n_models == BENCH_MAX_MODELS)
        return failure_set(fail, ERR_INVALID, "more than %d models", BENCH_MAX_MODELS);
    *out = &o->models[o->n_models++];
    return OK;
}

static error_code take_model(void *context, const char *path, failure *fail)
{
    bench_source *source = NULL;
    error_code code = add_source(context, &source, fail);
    if (code == OK)
        source->path = path;
    return code;
}

static error_code take_synthetic(void *context, const char *spec, failure *fail)
{
    bench_source *source = NULL;
    error_code code = add_source(context, &source, fail);
    return code == OK ? bench_synthetic_parse(spec, &source->synthetic, fail) : code;
}

static error_code take_requant(void *context, const char *text, failure *fail)
{
    bench_options *o = context;
    error_code code = requant_parse(text, &o->head, fail);
    return code == OK ? OK : failure_prefix(fail, "--requant");
}

/* "f16,q8_0" */
static error_code take_kv(void *context, const char *list, failure *fail)
{
    bench_options *o = context;
    o->n_kv = 0;
    for (const char *at = list;; at++) {
        char name[16] = "";
        size_t length = strcspn(at, ",");
        if (length < sizeof name)
            memcpy(name, at, length);
        kv_type type;
        if (!kv_type_find(name, &type))
            return failure_set(fail, ERR_INVALID,
                               "--kv: \"%.40s\" must begin with one of f16, f32, q8_0", at);
        for (size_t i = 0; i < o->n_kv; i++)
            if (o->kv[i] == type)
                return failure_set(fail, ERR_INVALID, "--kv: %s is named twice", name);
        o->kv[o->n_kv++] = type;
        at += length;
        if (*at == '\0')
            return OK;
    }
}

/* The option that only measuring speed takes and that was given, or NULL. */
static const char *speed_option(const bench_options *o)
{
    return o->together                ? "--together"
           : o->tests != NULL         ? "--tests"
           : o->prompt_path != NULL   ? "--prompt"
           : o->timeline_path != NULL ? "--timeline"
           : o->runs != 0             ? "--runs"
                                      : NULL;
}

static error_code check_perplexity(bench_options *o, failure *fail)
{
    if (speed_option(o) != NULL)
        return failure_set(fail, ERR_INVALID, "%s measures speed: not with --perplexity",
                           speed_option(o));
    return o->depths == NULL ? OK
                             : option_number("--depth", o->depths, 2, 1 << 20, &o->window, fail);
}

static error_code read_bench_options(int argc, char **argv, bench_options *o, failure *fail)
{
    *o = (bench_options){.threads = (uint64_t)team_default_size(), .kv = {KV_F16}, .n_kv = 1};
    const option_row rows[] = {
        {"model", 'm', .take = take_model, .context = o},
        {"synthetic", .take = take_synthetic, .context = o},
        {"synthetic-dir", .text = &o->synthetic_folder},
        {"together", .flag = &o->together},
        {"tests", .text = &o->tests},
        {"depth", .text = &o->depths},
        {"prompt", .text = &o->prompt_path},
        {"runs", .number = &o->runs, .low = 1, .high = MEASURE_MAX_RUNS},
        {"kv", .take = take_kv, .context = o},
        {"requant", .take = take_requant, .context = o},
        {"timeline", .text = &o->timeline_path},
        {"perplexity", .text = &o->perplexity_path},
        {"special", .flag = &o->special},
        THREADS_OPTION(&o->threads),
        {"json", .flag = &o->json},
        OFFLINE_OPTION,
        HELP_OPTION(o),
    };
    error_code code = options_read(rows, argc, argv, fail);
    if (code != OK || o->help)
        return code;
    if (optind < argc)
        return failure_set(fail, ERR_INVALID, "unexpected argument \"%s\"; try: a-io bench --help",
                           argv[optind]);
    if (o->n_models == 0)
        return failure_set(
            fail, ERR_INVALID,
            "no model named: give -m FILE or --synthetic SHAPE:TYPE; try: a-io bench --help");
    if (o->special && o->perplexity_path == NULL)
        return failure_set(fail, ERR_INVALID, "--special is for --perplexity's text");
    if (o->perplexity_path != NULL)
        return check_perplexity(o, fail);
    if (o->runs == 0)
        o->runs = 5;
    return OK;
}

int command_bench(int argc, char **argv)
{
    bench_options options;
    failure fail = {0};
    error_code code = read_bench_options(argc, argv, &options, &fail);
    if (code == OK && options.help) {
        fputs(usage, stdout);
        return 0;
    }
    if (code == OK)
        code = options.perplexity_path == NULL ? bench_run(&options, &fail)
                                               : bench_perplexity(&options, &fail);
    return code == OK ? 0 : command_failed("bench", &fail);
}
