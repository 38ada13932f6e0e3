/* calibrate.c: `a-io calibrate`: what the probe's probabilities are worth, and what steps cost
 * here. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/calibrate.h"
#include "cli/cli.h"
#include "cli/help.h"

#define MIN_REQUESTS 40

/* ---- options -------------------------------------------------------------------------------- */

static error_code take_kind(void *context, const char *text, failure *fail)
{
    static const char *const names[] = {
        [KIND_TOKENS] = "tokens", [KIND_LEARNED] = "learned", [KIND_NONE] = "none"};
    calibrate_options *o = context;
    for (o->kind = KIND_TOKENS; o->kind <= KIND_NONE; o->kind++)
        if (strcmp(text, names[o->kind]) == 0)
            return OK;
    return failure_set(fail, ERR_INVALID, "--kind: \"%s\" is none of tokens, learned, none", text);
}

static error_code take_test(void *context, const char *path, failure *fail)
{
    calibrate_options *o = context;
    if (o->n_tests == CALIBRATE_MAX_TESTS)
        return failure_set(fail, ERR_INVALID, "--test: more than %d", CALIBRATE_MAX_TESTS);
    o->tests[o->n_tests++] = path;
    return OK;
}

/* What a limit is to hold, as it was given: texts, or NULL. */
typedef struct goals {
    const char *misroute, *share, *wrong, *loss;
} goals;

/* --share-large is of the entropy limit; check_options sees whether there is one. */
static error_code read_goals(calibrate_options *o, const goals *g, failure *fail)
{
    const struct {
        const char *option, *text;
        limit_goal goal;
        limit_targets *to;
    } all[] = {{"--max-misroute", g->misroute, LIMIT_MISROUTE, &o->entropy_targets},
               {"--share-large", g->share, LIMIT_SHARE, &o->entropy_targets},
               {"--max-wrong", g->wrong, LIMIT_WRONG, &o->success_targets},
               {"--max-loss", g->loss, LIMIT_LOSS, &o->success_targets}};
    error_code code = OK;
    for (size_t i = 0; i < sizeof all / sizeof all[0] && code == OK; i++) {
        if (all[i].text == NULL)
            continue;
        if (i > 0 && all[i].to->goal != LIMIT_NONE)
            return failure_set(fail, ERR_INVALID, "one limit holds one target: not both %s and %s",
                               all[i - 1].option, all[i].option);
        code = limit_targets_read(all[i].to, all[i].option, all[i].text, all[i].goal, fail);
    }
    return code;
}

static error_code check_options(calibrate_options *o, int left, failure *fail)
{
    bool has_goal = o->entropy_targets.n + o->success_targets.n > 0;
    if (left > 1)
        return failure_set(fail, ERR_INVALID,
                           "one file of labelled requests; more are given with --test");
    const char *needs = o->templates != NULL ? "--templates"
                        : o->n_tests > 0     ? "--test"
                        : o->success         ? "--success"
                        : has_goal           ? "a target"
                                             : NULL;
    if (o->labelled == NULL && needs != NULL)
        return failure_set(fail, ERR_INVALID, "%s needs a file of labelled requests", needs);
    if (o->labelled == NULL && o->no_machine)
        return failure_set(fail, ERR_INVALID,
                           "nothing to do: neither labelled requests nor the machine");
    if (o->kind != KIND_TOKENS && o->templates != NULL)
        return failure_set(fail, ERR_INVALID,
                           "--templates compares probes by label tokens: it goes with --kind "
                           "tokens");
    if (o->fit_all && (o->kind == KIND_TOKENS || has_goal))
        return failure_set(fail, ERR_INVALID,
                           "--fit-all is for --kind learned or none without a target: it leaves no "
                           "requests to choose a limit on");
    if (o->kind == KIND_NONE && !o->success)
        return failure_set(fail, ERR_INVALID, "--kind none is for --success");
    if (o->success_targets.n > 0 && !o->success)
        return failure_set(fail, ERR_INVALID, "--max-wrong and --max-loss are of --success");
    if (o->kind == KIND_NONE && o->entropy_targets.goal == LIMIT_MISROUTE)
        return failure_set(fail, ERR_INVALID,
                           "--max-misroute is of intents, and --kind none finds none");
    if (o->kind == KIND_NONE && o->entropy_targets.goal == LIMIT_SHARE) {
        if (o->success_targets.n > 0)
            return failure_set(fail, ERR_INVALID, "one limit holds one target");
        o->success_targets = o->entropy_targets;
        o->entropy_targets = (limit_targets){.goal = LIMIT_NONE};
    }
    if (o->small != NULL && o->entropy_targets.n == 0)
        return failure_set(fail, ERR_INVALID,
                           "--small has no effect without --max-misroute or --share-large");
    return OK;
}

static error_code read_options(calibrate_options *o, int argc, char **argv, failure *fail)
{
    *o = (calibrate_options){.labelled = NULL};
    goals g = {.misroute = NULL};
    const option_row rows[] = {{"config", .text = &o->stage.config_path},
                               {"kind", .take = take_kind, .context = o},
                               {"success", .flag = &o->success},
                               {"max-wrong", .text = &g.wrong},
                               {"max-loss", .text = &g.loss},
                               {"max-misroute", .text = &g.misroute},
                               {"share-large", .text = &g.share},
                               {"small", .text = &o->small},
                               {"templates", .text = &o->templates},
                               {"test", .take = take_test, .context = o},
                               {"fit-all", .flag = &o->fit_all},
                               {"no-machine", .flag = &o->no_machine},
                               {"json", .flag = &o->json},
                               {"kv", .text = &o->stage.kv},
                               {"output", 'o', .text = &o->output},
                               THREADS_OPTION(&o->stage.threads),
                               OFFLINE_OPTION,
                               HELP_OPTION(o)};
    error_code code = options_read(rows, argc, argv, fail);
    if (code == OK)
        code = read_goals(o, &g, fail);
    if (code != OK || o->help)
        return code;
    o->labelled = optind < argc ? argv[optind] : NULL;
    return check_options(o, argc - optind, fail);
}

/* ---- the probe ------------------------------------------------------------------------------ */

/* A part of a set's samples. */
typedef struct part {
    const calibration_sample *samples;
    const bool *answerable;
    size_t n, n_long;
} part;

/* The caller's to free. Requests that were too long to probe are cases, too. */
static step_case *make_cases(const calibration *c, const part *p, const small_labels *small,
                             failure *fail)
{
    step_case *cases = calloc(p->n + p->n_long + 1, sizeof *cases);
    if (cases == NULL)
        failure_set(fail, ERR_MEMORY, "no memory for %zu requests", p->n);
    for (size_t i = 0; cases != NULL && i < p->n; i++) {
        double q[PROBE_MAX_LABELS];
        size_t best = 0;
        calibration_apply(c, p->samples[i].logits, q);
        for (size_t k = 1; k < c->n_labels; k++)
            best = q[k] > q[best] ? k : best;
        cases[i] = (step_case){.doubt = probabilities_entropy(q, c->n_labels),
                               .is_theirs = small->is_small[best] && p->answerable[i],
                               .wrong = best != p->samples[i].label ? UINT32_MAX : 0};
    }
    return cases;
}

static error_code choose_limits(calibrate_report *r, const part *p, const small_labels *small,
                                failure *fail)
{
    probe_record *out = &r->probe;
    if (r->options->entropy_targets.n == 0)
        return OK;
    step_case *cases = make_cases(&out->calibration, p, small, fail);
    if (cases == NULL)
        return fail->code;
    error_code code =
        calibrate_limits(&out->limits, &r->options->entropy_targets, cases, p->n + p->n_long,
                         log((double)out->calibration.n_labels), fail);
    free(cases);
    return code;
}

static error_code judge(calibrate_report *r, const char *name, const part *p,
                        const small_labels *small, failure *fail)
{
    const calibration before = calibration_identity(r->config->probe.n_labels);
    const calibration *after = &r->probe.calibration;
    calibrate_result *out = &r->results[r->n_results++];
    out->name = name;
    out->n_long = p->n_long;
    error_code code = calibration_judge(&out->before, &before, p->samples, p->n, fail);
    if (code == OK)
        code = calibration_judge(&out->after, after, p->samples, p->n, fail);
    if (code == OK)
        code = calibration_compare(&out->gain, &before, after, p->samples, p->n, fail);
    if (code != OK || r->probe.limits.n == 0)
        return code;
    step_case *cases = make_cases(after, p, small, fail);
    if (cases == NULL)
        return fail->code;
    code = calibrate_judge_limits(&out->limits, &r->probe.limits, cases, p->n + p->n_long, fail);
    free(cases);
    return code;
}

static error_code too_few(const char *path, size_t n, failure *fail)
{
    return failure_set(fail, ERR_INVALID, "%s: %zu requests were probed; at least %d are needed",
                       path, n, MIN_REQUESTS);
}

static error_code calibrate_set(calibrate_report *r, labelled_set *set, const small_labels *small,
                                failure *fail)
{
    if (set->n < MIN_REQUESTS)
        return too_few(set->path, set->n, fail);
    size_t half = set->n / 2;
    const part first = {set->samples, set->answerable, half, 0};
    /* Half of those that are too long belong here. */
    const part second = {set->samples + half, set->answerable + half, set->n - half,
                         set->n_long - set->n_long / 2};
    error_code code = calibrate_choose_form(&r->probe, r->held_out, first.samples, first.n,
                                            r->config->probe.n_labels, fail);
    if (code == OK)
        code = choose_limits(r, &second, small, fail);
    return code == OK ? judge(r, "the half not fitted on", &second, small, fail) : code;
}

static error_code test_sets(calibrate_report *r, stage *s, const small_labels *small, failure *fail)
{
    error_code code = OK;
    for (size_t i = 0; code == OK && i < r->options->n_tests; i++) {
        labelled_requests requests;
        labelled_set set = {.path = NULL};
        code = calibrate_requests_read(&requests, s, r->options->tests[i], fail);
        if (code == OK)
            code = labelled_set_probe(&set, s, &requests, fail);
        const part whole = {set.samples, set.answerable, set.n, set.n_long};
        if (code == OK)
            code = judge(r, r->options->tests[i], &whole, small, fail);
        labelled_set_free(&set);
        labelled_free(&requests);
    }
    return code;
}

/* The best candidate takes the place of the configuration's template and words. */
static error_code take_best(const comparison *c, config_probe *p, failure *fail)
{
    const candidate *best = &c->items[c->best];
    char *template = strdup(candidate_template(c, best));
    bool whole = template != NULL;
    if (whole) {
        free(p->template);
        p->template = template;
    }
    for (size_t k = 0; whole && k < p->n_labels; k++) {
        char *word = strdup(candidate_word(c, best, k));
        whole = word != NULL;
        if (whole) {
            free(p->labels[k].token);
            p->labels[k].token = word;
        }
    }
    return whole ? OK : failure_set(fail, ERR_MEMORY, "no memory for a template");
}

/* On the half that the calibration is fitted on: the other one has not been seen. */
static error_code compare_templates(calibrate_report *r, stage *s,
                                    const labelled_requests *requests, failure *fail)
{
    comparison *c = &r->comparison;
    backend *small = orchestra_backend(s->orchestra, asked_index(s));
    config_probe *p = &s->config->probe;
    if (requests->n < MIN_REQUESTS)
        return too_few(requests->path, requests->n, fail);
    comparison_init(c, requests, requests->n / 2, p->window_head, p->window_tail);
    error_code code = probe_candidates_read(&r->candidates, r->options->templates, fail);
    if (code == OK)
        code = comparison_take_list(c, &r->candidates, small, fail);
    if (code == OK)
        code = comparison_ask(c, small, fail);
    if (code == OK)
        code = comparison_judge(c, fail);
    return code == OK ? take_best(c, p, fail) : code;
}

static error_code calibrate_probe(calibrate_report *r, stage *s, failure *fail)
{
    labelled_set set = {.path = NULL};
    labelled_requests *requests = &r->requests;
    small_labels small;
    error_code code = small_labels_find(&small, r->options, &r->config->probe, fail);
    if (code == OK)
        code = calibrate_requests_read(requests, s, r->options->labelled, fail);
    labelled_shuffle(requests);
    if (code == OK && r->options->templates != NULL)
        code = compare_templates(r, s, requests, fail);
    if (code == OK)
        code = probe_content_free(s, r->probe.content_free, fail);
    if (code == OK)
        code = labelled_set_probe(&set, s, requests, fail);
    if (code == OK)
        code = calibrate_set(r, &set, &small, fail);
    labelled_set_free(&set);
    r->has_probe = code == OK;
    return code == OK ? test_sets(r, s, &small, fail) : code;
}

/* ---- the command ---------------------------------------------------------------------------- */

static error_code print_and_write(const calibrate_report *r, failure *fail)
{
    error_code code = OK;
    const char *path = r->options->output;
    if (r->options->json)
        code = calibrate_print_json(r, fail);
    else
        calibrate_print(r);
    if (code != OK || path == NULL)
        return code;
    const calibration_parts parts = {.probe = r->has_probe ? &r->probe : NULL,
                                     .kind = r->kind.is_there ? &r->kind.record : NULL,
                                     .success = r->success.is_there ? &r->success.record : NULL,
                                     .machine = r->has_machine ? &r->machine : NULL};
    return calibration_file_write(path, &parts, r->config, r->small, fail);
}

static void free_report(calibrate_report *r)
{
    head_findings_free(&r->kind);
    head_findings_free(&r->success);
    comparison_free(&r->comparison);
    labelled_free(&r->requests);
    probe_candidates_free(&r->candidates);
    free(r);
}

static error_code calibrate(const calibrate_options *o, stage *s, failure *fail)
{
    calibrate_report *r = calloc(1, sizeof *r);
    if (r == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a report");
    r->options = o;
    r->config = s->config;
    r->small = orchestra_model(s->orchestra, asked_index(s));
    error_code code = OK;
    if (o->labelled != NULL && o->kind == KIND_TOKENS)
        code = calibrate_probe(r, s, fail);
    if (code == OK && o->labelled != NULL && (o->kind == KIND_LEARNED || o->success))
        code = calibrate_heads(r, s, fail);
    if (code == OK && !o->no_machine) {
        code = measure_machine(&r->machine, s, fail);
        r->has_machine = code == OK;
    }
    if (code == OK)
        code = print_and_write(r, fail);
    free_report(r);
    return code;
}

/* The probabilities as they come; a file that does not fit any more must not stop making a new one,
 * and neither must rules that wait for its limit, or label tokens that nobody asks about. */
static error_code forget_calibration(config *c, failure *fail)
{
    free(c->probe.calibration);
    free(c->engine.machine);
    free(c->success.calibration);
    c->probe.calibration = c->engine.machine = c->success.calibration = NULL;
    c->probe.kind = CONFIG_PROBE_TOKENS;
    c->probe.is_online = c->success.is_online = false;
    return config_set_policy(c, "large", fail);
}

int command_calibrate(int argc, char **argv)
{
    calibrate_options o;
    failure fail;
    stage s = {.config = NULL};
    error_code code = read_options(&o, argc, argv, &fail);
    if (code == OK && o.help) {
        help_print("calibrate", stdout);
        return 0;
    }
    if (code == OK)
        code = stage_configure(&s, &o.stage, &fail);
    if (code == OK)
        code = limit_targets_check(&o.entropy_targets, s.config, &fail);
    if (code == OK)
        code = limit_targets_check(&o.success_targets, s.config, &fail);
    if (code == OK)
        code = forget_calibration(s.config, &fail);
    if (code == OK)
        code = stage_check_asked(&s, &fail);
    if (code == OK)
        code = stage_load(&s, &fail);
    if (code == OK)
        code = calibrate(&o, &s, &fail);
    stage_close(&s);
    return code == OK ? 0 : command_failed("calibrate", &fail);
}
