/* bench.c: `a-io bench`: how fast models run here, and what share of the memory's speed that is. */
#include "cli/bench.h"

#include <getopt.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/common.h"
#include "cli/help.h"
#include "model/requantise.h"

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
                               "--kv: \"%.40s\" must begin with one of f16, f32, q8_0, q4", at);
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
        help_print("bench", stdout);
        return 0;
    }
    if (code == OK)
        code = options.perplexity_path == NULL ? bench_run(&options, &fail)
                                               : bench_perplexity(&options, &fail);
    return code == OK ? 0 : command_failed("bench", &fail);
}
