/* replay.c: `a-io replay`: labelled requests through policies, measured. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/whole_file.h"
#include "cli/cli.h"
#include "cli/common.h"
#include "cli/help.h"
#include "cli/progress.h"
#include "cli/replay.h"
#include "evidence/demo_tasks.h"
#include "evidence/redecide.h"
#include "evidence/replay.h"
#include "evidence/scenario.h"
#include "evidence/server_block.h"
#include "evidence/trace.h"

typedef struct replay_options {
    stage_options stage;
    const char *scenarios, *policies, *output, *trace, *simulate, *decisions, *step_cost, *server,
        *models;
    uint64_t requests, seed, half, in_flight, rounds, max_tokens;
    float rate, temperature, ttft_bound, between_bound;
    bool arrivals, json, help;
} replay_options;

/* ---- options ------------------------------------------------------------------------------ */

static error_code check_server_options(const replay_options *o, failure *fail)
{
    if (o->server == NULL && o->models != NULL)
        return failure_set(fail, ERR_INVALID, "--models: names of a --server; here --policies");
    if (o->server == NULL)
        return OK;
    if (o->policies != NULL)
        return failure_set(
            fail, ERR_INVALID,
            "--policies: a server decides by its own policy; --models auto,small,large "
            "asks for its models");
    if (o->simulate != NULL || o->decisions != NULL)
        return failure_set(fail, ERR_INVALID, "--server: nothing is sent");
    if (o->step_cost != NULL || o->stage.kv != NULL || o->stage.requant != NULL ||
        o->stage.threads > 0 || o->stage.context > 0 || o->stage.measure)
        return failure_set(fail, ERR_INVALID,
                           "--step-cost, --kv, --requant, --threads, --context and --measure are "
                           "of engines here, not of a server");
    return OK;
}

/* Something that only means something where requests are answered. */
static bool says_how_to_run(const replay_options *o)
{
    const stage_options *s = &o->stage;
    bool is_of_engine = s->config_path != NULL || s->kv != NULL || s->requant != NULL ||
                        s->threads > 0 || s->context > 0 || s->measure;
    return is_of_engine || o->scenarios != NULL || o->trace != NULL || o->output != NULL ||
           o->requests > 0 || o->half > 0 || o->in_flight > 0 || o->rate != 0 || o->arrivals;
}

static error_code check_options(const replay_options *o, failure *fail)
{
    bool has_rate = o->rate != 0;
    if (o->rate < 0)
        return failure_set(fail, ERR_INVALID, "--rate: requests a second, more than 0");
    if (o->temperature < 0 || o->temperature > 2)
        return failure_set(fail, ERR_INVALID, "--temperature: from 0 to 2");
    if (o->ttft_bound <= 0 || o->between_bound <= 0)
        return failure_set(fail, ERR_INVALID, "--ttft-bound and --between-bound: more than 0 ms");
    if (has_rate + o->arrivals + (o->in_flight > 0) > 1)
        return failure_set(fail, ERR_INVALID,
                           "one of --in-flight, --rate and --arrivals: they exclude one another");
    if (o->step_cost != NULL && (has_rate || o->arrivals || o->in_flight > 1))
        return failure_set(fail, ERR_INVALID,
                           "--step-cost: with several requests at once, which of them share a step "
                           "depends on the clock; one at a time");
    if (o->step_cost != NULL && (o->simulate != NULL || o->decisions != NULL))
        return failure_set(fail, ERR_INVALID, "--step-cost: no step runs");
    error_code code = check_server_options(o, fail);
    if (code != OK)
        return code;
    if (o->simulate != NULL && says_how_to_run(o))
        return failure_set(fail, ERR_INVALID,
                           "--simulate has scenarios of its own and runs nothing: only --policies "
                           "and --json go with it");
    if (o->decisions != NULL && (says_how_to_run(o) || o->simulate != NULL || o->policies != NULL))
        return failure_set(fail, ERR_INVALID, "--decisions runs nothing: only --json goes with it");
    if (o->simulate != NULL || o->decisions != NULL)
        return OK;
    if (o->scenarios == NULL && o->trace == NULL)
        return failure_set(fail, ERR_INVALID,
                           "what to replay? --scenario A, or a trace; try: a-io replay --help");
    if (o->scenarios == NULL && (o->requests > 0 || o->half > 0))
        return failure_set(fail, ERR_INVALID, "%s draws for a --scenario: a trace alone is whole",
                           o->requests > 0 ? "--requests" : "--half");
    if (o->scenarios != NULL && o->arrivals)
        return failure_set(fail, ERR_INVALID,
                           "--arrivals: a scenario has no times of its own; try --rate");
    return OK;
}

static error_code read_options(replay_options *o, int argc, char **argv, failure *fail)
{
    *o = (replay_options){
        .seed = 1, .rounds = 1, .max_tokens = 256, .ttft_bound = 500, .between_bound = 50};
    const option_row rows[] = {
        {"config", .text = &o->stage.config_path},
        {"scenario", .text = &o->scenarios},
        {"simulate", .text = &o->simulate},
        {"decisions", .text = &o->decisions},
        {"policies", .text = &o->policies},
        {"requests", .number = &o->requests, .low = 1, .high = 1000000},
        {"seed", .number = &o->seed, .high = UINT32_MAX},
        {"half", .number = &o->half, .low = 1, .high = 2},
        {"in-flight", .number = &o->in_flight, .low = 1, .high = 4096},
        {"rate", .real = &o->rate},
        {"arrivals", .flag = &o->arrivals},
        {"rounds", .number = &o->rounds, .low = 1, .high = 1000},
        {"max-tokens", 'n', .number = &o->max_tokens, .low = 1, .high = 1 << 20},
        {"temperature", .real = &o->temperature},
        {"ttft-bound", .real = &o->ttft_bound},
        {"between-bound", .real = &o->between_bound},
        {"output", .text = &o->output},
        {"json", .flag = &o->json},
        {"server", .text = &o->server},
        {"models", .text = &o->models},
        {"step-cost", .text = &o->step_cost},
        STAGE_ENGINE_OPTIONS(&o->stage),
        OFFLINE_OPTION,
        HELP_OPTION(o),
    };
    error_code code = options_read(rows, argc, argv, fail);
    if (code != OK || o->help)
        return code;
    if (argc - optind > 1)
        return failure_set(fail, ERR_INVALID, "%s: one trace at a time", argv[optind + 1]);
    o->trace = argv[optind];
    return check_options(o, fail);
}

/* ---- what to send ------------------------------------------------------------------------- */

static error_code add_scenario(replay_plan *p, const replay_options *o, const char *name,
                               const task_list *pool, failure *fail)
{
    const scenario *s;
    if (p->n_sets == REPLAY_MAX_SETS)
        return failure_set(fail, ERR_INVALID, "--scenario: at most %d", REPLAY_MAX_SETS);
    error_code code = scenario_find(&s, name, fail);
    if (code != OK)
        return code;
    scenario_draw_options draw = {.n = o->requests > 0 ? o->requests : 100,
                                  .seed = o->seed,
                                  .half = (scenario_half)o->half,
                                  .pool = pool};
    replay_set *set = &p->sets[p->n_sets++];
    set->name = s->name;
    code = scenario_draw(s, &draw, &set->tasks, fail);
    return code == OK ? OK : failure_prefix(fail, "scenario %s", name);
}

static error_code gather_sets(replay_plan *p, const replay_options *o, failure *fail)
{
    task_list pool = {.items = NULL};
    error_code code =
        o->trace != NULL ? trace_read(&pool, o->trace, fail) : demo_tasks_read(&pool, NULL, fail);
    if (o->scenarios == NULL) {
        p->sets[p->n_sets++] = (replay_set){.name = "trace", .tasks = pool};
        return code;
    }
    char *names = strdup(o->scenarios), *rest = names;
    for (char *name; code == OK && (name = strsep(&rest, ",")) != NULL;)
        code = add_scenario(p, o, name, &pool, fail);
    free(names);
    task_list_free(&pool);
    return code;
}

/* ---- how ---------------------------------------------------------------------------------- */

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

static bool is_interrupted(void *context)
{
    (void)context;
    return interrupted != 0;
}

static void watch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static void choose_load(replay_plan *p, const replay_options *o)
{
    p->load = (block_options){.load = LOAD_CLOSED,
                              .in_flight = o->in_flight > 0 ? o->in_flight : 1,
                              .max_tokens = o->max_tokens,
                              .seed = o->seed,
                              .temperature = o->temperature,
                              .stopped = is_interrupted};
    if (o->rate > 0) {
        p->load.load = LOAD_POISSON;
        p->load.per_second = (double)o->rate;
    } else if (o->arrivals) {
        p->load.load = LOAD_TRACE;
    }
    p->bounds = (summary_bounds){(double)o->ttft_bound, (double)o->between_bound};
    p->rounds = o->rounds;
}

static json_t *text_or_null(const char *text)
{
    return text != NULL ? json_string(text) : json_null();
}

/* All that the results depend on, models aside. */
static json_t *settings_of(const replay_options *o, const replay_plan *p)
{
    json_t *policies = json_array();
    for (size_t i = 0; i < p->n_arms; i++)
        json_array_append_new(policies, json_string(p->arms[i]->name));
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:s, s:I, s:f, s:I, s:I, s:f, s:f, s:f, s:o, s:o, "
        "s:o, s:I, s:I, s:o}",
        "scenarios", text_or_null(o->scenarios), "trace", text_or_null(o->trace), "policies",
        policies, "config", text_or_null(o->stage.config_path), "requests",
        (json_int_t)(o->requests > 0 ? o->requests : 100), "seed", (json_int_t)o->seed, "half",
        (json_int_t)o->half, "load", o->rate > 0 ? "poisson" : (o->arrivals ? "trace" : "closed"),
        "in_flight", (json_int_t)p->load.in_flight, "rate", (double)o->rate, "rounds",
        (json_int_t)o->rounds, "max_tokens", (json_int_t)o->max_tokens, "temperature",
        (double)o->temperature, "ttft_bound_ms", (double)o->ttft_bound, "between_bound_ms",
        (double)o->between_bound, "kv", text_or_null(o->stage.kv), "requant",
        text_or_null(o->stage.requant), "step_cost", text_or_null(o->step_cost), "threads",
        (json_int_t)o->stage.threads, "context", (json_int_t)o->stage.context, "server",
        text_or_null(o->server));
}

static error_code configure(void *context, config **out, failure *fail)
{
    const replay_options *o = context;
    stage s;
    error_code code = stage_configure(&s, &o->stage, fail);
    *out = code == OK ? s.config : NULL;
    return code == OK && o->step_cost != NULL ? config_fix_step_cost(*out, o->step_cost, fail)
                                              : code;
}

typedef struct show {
    progress bar;
    char what[80];
} show;

static void show_progress(void *context, const char *set, const char *name, double fraction)
{
    show *s = context;
    snprintf(s->what, sizeof s->what, "%.20s %.30s", set, name);
    progress_show(&s->bar, fraction);
}

/* ---- results ------------------------------------------------------------------------------ */

static error_code write_results(const char *path, const json_t *results, failure *fail)
{
    buffer text;
    buffer_init(&text, (size_t)1 << 30);
    error_code code = json_write(&text, json_incref((json_t *)(uintptr_t)results));
    if (code == OK)
        code = buffer_add_text(&text, "\n");
    code = code == OK
               ? whole_file_write(path, text.data, text.length, 0666, WHOLE_FILE_SYNCED, fail)
               : failure_set(fail, code, "no memory for %s", path);
    buffer_free(&text);
    return code;
}

static error_code perform(const replay_options *o, replay_plan *p, json_t **results, failure *fail)
{
    char journal[4096];
    show s = {.what = ""};
    snprintf(journal, sizeof journal, "%s.partial", o->output != NULL ? o->output : "");
    p->journal = o->output != NULL ? journal : NULL;
    replay_options models = *o;
    progress_start(&s.bar, s.what);
    error_code code =
        replay_perform(p, configure, &models, (replay_progress){show_progress, &s}, results, fail);
    progress_end(&s.bar);
    if (code == OK && o->output != NULL)
        code = write_results(o->output, *results, fail);
    if (code == OK && o->output != NULL)
        unlink(journal);
    if (code == ERR_CANCELLED && o->output != NULL)
        failure_set(fail, code, "interrupted; the same command goes on from %s", journal);
    return code;
}

/* The exit status: 1 when some decision came out differently, or none could be decided. */
static int redecide(const char *path, bool json)
{
    redecided r;
    failure fail;
    error_code code = redecide_log(path, &r, &fail);
    if (code == OK && json) {
        code = print_json(json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "policies",
                                    (json_int_t)r.policies, "decisions", (json_int_t)r.decisions,
                                    "same", (json_int_t)r.same, "pinned", (json_int_t)r.pinned,
                                    "torn_lines", (json_int_t)r.torn, "without_policy",
                                    (json_int_t)r.orphans, "first_difference", r.first),
                          &fail);
    } else if (code == OK) {
        printf("%zu of %zu decisions again the same; %zu pinned requests had none\n", r.same,
               r.decisions, r.pinned);
        if (r.torn > 0)
            printf("%zu torn lines were passed over\n", r.torn);
        if (r.orphans > 0)
            printf("%zu decisions stand before any policy line and cannot be decided\n", r.orphans);
        if (r.first[0] != '\0')
            printf("the first that differs: %s\n", r.first);
    }
    if (code != OK)
        return command_failed("replay", &fail);
    bool none = r.orphans > 0 && r.decisions == 0;
    return r.same == r.decisions && !none ? 0 : 1;
}

/* The server's models in the place of policies. */
static error_code list_models(arm_set *out, const char *list, failure *fail)
{
    out->n = 0;
    for (const char *at = list;; at++) {
        arm_made *m = &out->made[out->n];
        size_t length = strcspn(at, ",");
        if (length == 0 || length >= sizeof m->name)
            return failure_set(fail, ERR_INVALID,
                               "--models: \"%.60s\": names with commas between them", list);
        memcpy(m->name, at, length);
        m->name[length] = '\0';
        for (size_t i = 0; i < out->n; i++)
            if (strcmp(out->arms[i]->name, m->name) == 0)
                return failure_set(fail, ERR_INVALID, "--models: %s is named twice", m->name);
        m->arm = (arm){.name = m->name, .what = "a server's", .way = ARM_SERVER};
        out->arms[out->n++] = &m->arm;
        at += length;
        if (*at == '\0')
            return OK;
        if (out->n == ARM_MAX)
            return failure_set(fail, ERR_INVALID, "--models: more than %d", ARM_MAX);
    }
}

/* Policies here, among them the configuration's models by name. */
static error_code list_policies(arm_set *out, const replay_options *o, failure *fail)
{
    replay_options again = *o;
    config *c = NULL;
    error_code code = configure(&again, &c, fail);
    if (code == OK)
        code = arm_list(out, o->policies, c, fail);
    config_free(c);
    return code;
}

static error_code choose_arms(replay_plan *p, const replay_options *o, arm_set *set, char **address,
                              failure *fail)
{
    error_code code = o->server == NULL
                          ? list_policies(set, o, fail)
                          : list_models(set, o->models != NULL ? o->models : "auto", fail);
    p->arms = set->arms;
    p->n_arms = set->n;
    if (code == OK && o->server != NULL)
        code = server_address(o->server, address, fail);
    p->server = *address;
    return code == OK && o->server != NULL ? server_check(*address, fail) : code;
}

int command_replay(int argc, char **argv)
{
    replay_options o;
    failure fail;
    replay_plan p = {.n_sets = 0};
    arm_set arms = {.n = 0};
    char *address = NULL;
    json_t *results = NULL, *settings = NULL;
    error_code code = read_options(&o, argc, argv, &fail);
    if (code == OK && o.help) {
        help_print("replay", stdout);
        return 0;
    }
    if (code == OK && o.decisions != NULL)
        return redecide(o.decisions, o.json);
    if (code == OK && o.simulate != NULL) {
        code = replay_simulate(o.simulate, o.policies, o.json, &fail);
        return code == OK ? 0 : command_failed("replay", &fail);
    }
    if (code == OK)
        code = choose_arms(&p, &o, &arms, &address, &fail);
    if (code == OK)
        code = gather_sets(&p, &o, &fail);
    if (code == OK) {
        watch_signals();
        choose_load(&p, &o);
        p.settings = settings = settings_of(&o, &p);
        code = perform(&o, &p, &results, &fail);
    }
    if (code == OK && o.json)
        code = print_json(json_incref(results), &fail);
    else if (code == OK)
        replay_print(results);
    json_decref(results);
    json_decref(settings);
    free(address);
    for (size_t i = 0; i < p.n_sets; i++)
        task_list_free(&p.sets[i].tasks);
    return code == OK ? 0 : command_failed("replay", &fail);
}
