/* init.c: `a-io init`: a configuration for models in the order of escalation, with a probe that
 * fits the first one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/whole_file.h"
#include "cli/cli.h"
#include "cli/help.h"
#include "cli/init.h"

#define DEFAULT_OUTPUT "a-io.yaml"
#define MAX_TEXT ((size_t)1 << 20)
#define MIN_REQUESTS 30

/* ---- options -------------------------------------------------------------------------------- */

static error_code take_kv(void *context, const char *name, failure *fail)
{
    init_options *o = context;
    config_kv kv;
    o->kv = name;
    return config_kv_parse(name, &kv)
               ? OK
               : failure_set(fail, ERR_INVALID, "--kv: \"%s\" is none of f16, f32, q8_0, q4", name);
}

static error_code read_options(init_options *o, int argc, char **argv, failure *fail)
{
    *o = (init_options){.output = DEFAULT_OUTPUT};
    const option_row rows[] = {{"output", 'o', .text = &o->output},
                               {"force", .flag = &o->force},
                               {"labelled", .text = &o->labelled},
                               {"small", .text = &o->small},
                               {"templates", .text = &o->templates},
                               {"no-machine", .flag = &o->no_machine},
                               {"json", .flag = &o->json},
                               {"kv", .take = take_kv, .context = o},
                               THREADS_OPTION(&o->threads),
                               OFFLINE_OPTION,
                               HELP_OPTION(o)};
    error_code code = options_read(rows, argc, argv, fail);
    if (code != OK || o->help)
        return code;
    if (argc - optind < 2 || argc - optind > CONFIG_MAX_MODELS)
        return failure_set(
            fail, ERR_INVALID,
            "two models are needed, the small one first, or up to %d; try: a-io init "
            "--help",
            CONFIG_MAX_MODELS);
    while (optind < argc)
        o->given[o->n_given++] = argv[optind++];
    return OK;
}

/* ---- where it is written --------------------------------------------------------------------- */

static error_code check_absent(const init_options *o, const char *path, failure *fail)
{
    return o->force || access(path, F_OK) != 0
               ? OK
               : failure_set(fail, ERR_INVALID, "%s is there already; --force writes over it",
                             path);
}

/* FILE.calibration.json for FILE.yaml, FILE.yml, FILE. */
static error_code name_outputs(init_report *r, failure *fail)
{
    const char *output = r->options->output, *slash = strrchr(output, '/');
    const char *dot = strrchr(slash != NULL ? slash : output, '.');
    bool is_yaml = dot != NULL && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
    int length = is_yaml ? (int)(dot - output) : (int)strlen(output);
    if (asprintf(&r->calibration_path, "%.*s.calibration.json", length, output) < 0) {
        r->calibration_path = NULL;
        return failure_set(fail, ERR_MEMORY, "no memory for a path");
    }
    error_code code = check_absent(r->options, output, fail);
    return code == OK ? check_absent(r->options, r->calibration_path, fail) : code;
}

/* ---- the requests --------------------------------------------------------------------------- */

static error_code mark_small(init_report *r, const char *name, size_t length, failure *fail)
{
    for (size_t k = 0; k < r->requests.n_labels; k++)
        if (strlen(r->requests.labels[k]) == length &&
            memcmp(r->requests.labels[k], name, length) == 0) {
            r->small_labels |= UINT64_C(1) << k;
            return OK;
        }
    return failure_set(fail, ERR_INVALID, "--small: \"%.*s\" is not a label of the requests%s",
                       (int)length, name,
                       r->options->small == NULL ? "; say which ones the small model answers" : "");
}

static error_code find_small_labels(init_report *r, failure *fail)
{
    const char *at = r->options->small != NULL ? r->options->small : CONFIG_LABEL_CODE;
    error_code code = OK;
    while (code == OK) {
        size_t length = strcspn(at, ",");
        code = mark_small(r, at, length, fail);
        if (at[length] == '\0')
            break;
        at += length + 1;
    }
    return code;
}

static error_code read_requests(init_report *r, failure *fail)
{
    labelled_requests *set = &r->requests;
    error_code code = r->options->labelled == NULL ? labelled_builtin(set, fail)
                                                   : labelled_read(set, r->options->labelled, fail);
    if (code == OK && r->options->labelled != NULL)
        labelled_shuffle(set);
    if (code == OK && set->n_labels < 2)
        code = failure_set(fail, ERR_INVALID, "%s: two different intents are needed at least",
                           set->path);
    return code == OK ? find_small_labels(r, fail) : code;
}

static error_code fit_requests(init_report *r, backend *small, failure *fail)
{
    error_code code = labelled_fit(&r->requests, small, fail);
    if (code == OK && r->requests.n < MIN_REQUESTS)
        return failure_set(fail, ERR_INVALID,
                           "%s: %zu requests can be asked; at least %d are needed",
                           r->requests.path, r->requests.n, MIN_REQUESTS);
    return code;
}

/* ---- the models ----------------------------------------------------------------------------- */

/* As the configuration will be read, so that what is measured is what will be served. */
static error_code parse_configuration(config **out, const init_report *r, bool complete,
                                      failure *fail)
{
    buffer text;
    buffer_init(&text, MAX_TEXT);
    error_code code = init_configuration(&text, r, complete, fail);
    if (code == OK)
        code = config_parse(out, text.data, text.length, r->options->output, fail);
    if (code == OK && r->options->threads > 0)
        (*out)->engine.threads = (uint32_t)r->options->threads;
    buffer_free(&text);
    return code;
}

static error_code load_models(init_report *r, stage *s, failure *fail)
{
    error_code code = parse_configuration(&s->config, r, false, fail);
    if (code == OK)
        code = stage_load(s, fail);
    return code == OK ? init_check_models(r, s->orchestra, fail) : code;
}

/* ---- writing -------------------------------------------------------------------------------- */

/* The calibration first: a configuration that is there has all that it names. */
static error_code write_outputs(const init_report *r, failure *fail)
{
    config *c = NULL;
    buffer text;
    buffer_init(&text, MAX_TEXT);
    error_code code = parse_configuration(&c, r, true, fail);
    const calibration_parts parts = {.probe = &r->probe,
                                     .machine = r->has_machine ? &r->machine : NULL};
    if (code == OK)
        code = calibration_file_write(r->calibration_path, &parts, c, r->models[0].model, fail);
    if (code == OK)
        code = init_configuration(&text, r, true, fail);
    if (code == OK)
        code = whole_file_write(r->options->output, text.data, text.length, 0666, WHOLE_FILE_SYNCED,
                                fail);
    buffer_free(&text);
    config_free(c);
    return code;
}

/* ---- the command ---------------------------------------------------------------------------- */

static error_code find_out(init_report *r, stage *s, failure *fail)
{
    backend *small = orchestra_backend(s->orchestra, r->is_swapped ? 1 : 0);
    const config_probe *defaults = &s->config->probe;
    error_code code = fit_requests(r, small, fail);
    if (code != OK)
        return code;
    comparison_init(&r->comparison, &r->requests, r->requests.n, defaults->window_head,
                    defaults->window_tail);
    return init_find_probe(r, small, fail);
}

/* What was found is written before the machine is measured, which takes longest: who interrupts
 * that has a configuration that works. */
static error_code write_all(init_report *r, const stage *s, failure *fail)
{
    error_code code = write_outputs(r, fail);
    if (code != OK || r->options->no_machine)
        return code;
    code = measure_machine(&r->machine, s, fail);
    r->has_machine = code == OK;
    return code == OK ? write_outputs(r, fail) : code;
}

static error_code init(init_report *r, failure *fail)
{
    stage s = {.config = NULL};
    error_code code = name_outputs(r, fail);
    if (code == OK)
        code = read_requests(r, fail);
    if (code == OK)
        code = init_find_models(r, fail);
    if (code == OK)
        code = load_models(r, &s, fail);
    if (code == OK)
        code = find_out(r, &s, fail);
    if (code == OK)
        code = write_all(r, &s, fail);
    if (code == OK && r->options->json)
        code = init_print_json(r, fail);
    else if (code == OK)
        init_print(r);
    stage_close(&s);
    return code;
}

static void free_report(init_report *r)
{
    if (r == NULL)
        return;
    comparison_free(&r->comparison);
    labelled_free(&r->requests);
    probe_candidates_free(&r->candidates);
    init_words_free(r->words);
    for (size_t i = 0; i < r->n_models; i++) {
        free(r->models[i].path);
        free(r->models[i].url);
    }
    free(r->calibration_path);
    free(r);
}

int command_init(int argc, char **argv)
{
    init_options o;
    failure fail;
    error_code code = read_options(&o, argc, argv, &fail);
    if (code == OK && o.help) {
        help_print("init", stdout);
        return 0;
    }
    init_report *r = calloc(1, sizeof *r);
    if (code == OK && r == NULL)
        code = failure_set(&fail, ERR_MEMORY, "no memory for a report");
    if (code == OK) {
        r->options = &o;
        code = init(r, &fail);
    }
    free_report(r);
    return code == OK ? 0 : command_failed("init", &fail);
}
