/* label.c: `a-io label`: requests through all models, the answers graded. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/whole_file.h"
#include "cli/cli.h"
#include "cli/common.h"
#include "cli/help.h"
#include "cli/progress.h"
#include "cli/request_lines.h"
#include "evidence/label.h"
#include "evidence/trace.h"

typedef struct label_options {
    stage_options stage;
    const char *output, *requests, *only, *answers;
    uint64_t streams, max_tokens, seed;
    float temperature;
    bool read, json, help;
} label_options;

/* ---- options ------------------------------------------------------------------------------ */

static error_code read_label_options(label_options *o, int argc, char **argv, failure *fail)
{
    *o = (label_options){.streams = 8, .max_tokens = 256, .seed = 1};
    const option_row rows[] = {
        {"output", 'o', .text = &o->output},
        {"only", .text = &o->only},
        {"read", .flag = &o->read},
        {"answers", .text = &o->answers},
        {"streams", .number = &o->streams, .low = 1, .high = 256},
        {"max-tokens", 'n', .number = &o->max_tokens, .low = 1, .high = 1 << 20},
        {"temperature", .real = &o->temperature},
        {"seed", .number = &o->seed, .high = UINT32_MAX},
        {"json", .flag = &o->json},
        {"config", .text = &o->stage.config_path},
        STAGE_ENGINE_OPTIONS(&o->stage),
        OFFLINE_OPTION,
        HELP_OPTION(o),
    };
    error_code code = options_read(rows, argc, argv, fail);
    if (code != OK || o->help)
        return code;
    if (o->temperature < 0 || o->temperature > 2)
        return failure_set(fail, ERR_INVALID, "--temperature: from 0 to 2");
    if (argc - optind != 1)
        return failure_set(fail, ERR_INVALID,
                           "one file of requests is needed; try: a-io label --help");
    if (o->output == NULL)
        return failure_set(fail, ERR_INVALID, "-o FILE is needed: where the lines go");
    o->requests = argv[optind];
    return OK;
}

/* Who answers. */
static error_code choose_models(label_plan *p, const label_options *o, const config *c,
                                failure *fail)
{
    size_t only = 0, last = c->n_models - 1;
    if (o->only != NULL && !config_find_model(c, o->only, &only))
        return failure_set(fail, ERR_INVALID,
                           "--only: \"%.80s\" is neither small, large nor the name of a model",
                           o->only);
    if (o->read && o->only != NULL && only == last)
        return failure_set(fail, ERR_INVALID,
                           "--read: %s reads the others' answers; they are not asked",
                           config_role(c, last));
    for (size_t i = 0; i <= last; i++)
        p->is_asked[i] = o->only == NULL || i == only;
    p->is_read = o->read;
    return OK;
}

/* ---- answers that are there already ------------------------------------------------------- */

/* Of one model, if it is there at all. */
static error_code check_answer(const json_t *side, failure *fail)
{
    const char *answer;
    json_int_t tokens, prompt_tokens;
    if (json_object_get(side, "answer") == NULL ||
        (json_unpack((json_t *)side, "{s:s, s:I, s:I}", "answer", &answer, "tokens", &tokens,
                     "prompt_tokens", &prompt_tokens) == 0 &&
         tokens >= 0 && prompt_tokens >= 0))
        return OK;
    return failure_set(fail, ERR_INVALID,
                       "an answer has \"answer\" (a text), \"tokens\" and \"prompt_tokens\"");
}

typedef struct known_answers {
    const config *config;
    json_t *by_id; /* lines */
} known_answers;

static error_code take_line(void *context, const json_t *line, failure *fail)
{
    const known_answers *k = context;
    json_t *id = json_object_get(line, "id");
    if (!json_is_string(id))
        return failure_set(fail, ERR_INVALID, "\"id\" is needed, a text: the request's");
    error_code code = OK;
    for (size_t i = 0; code == OK && i < k->config->n_models; i++)
        code = check_answer(label_answer(line, k->config, i), fail);
    if (code == OK &&
        json_object_set_new(k->by_id, json_string_value(id), json_deep_copy(line)) != 0)
        code = failure_set(fail, ERR_MEMORY, "no memory for the answers");
    return code;
}

/* *out: lines by id, NULL where there is no such file among the options. */
static error_code read_answers(json_t **out, const char *path, const config *c, failure *fail)
{
    *out = NULL;
    if (path == NULL)
        return OK;
    known_answers known = {.config = c, .by_id = *out = json_object()};
    return *out != NULL ? request_lines_each(path, "reading answers", take_line, &known, fail)
                        : failure_set(fail, ERR_MEMORY, "no memory for the answers");
}

/* ---- what the answers depend on ----------------------------------------------------------- */

static error_code digest_tasks(const task_list *tasks, char text[DIGEST_TEXT_SIZE], failure *fail)
{
    digest *d = NULL;
    buffer line;
    buffer_init(&line, (size_t)1 << 30);
    error_code code = digest_create(&d, DIGEST_SHA256, fail);
    for (size_t i = 0; code == OK && i < tasks->length; i++) {
        const task *t = &tasks->items[i];
        buffer_clear(&line);
        code = json_write(&line, json_pack("{s:O, s:I}", "messages", t->source, "max_tokens",
                                           (json_int_t)t->max_tokens));
        if (code == OK)
            digest_add(d, line.data, line.length);
        else
            failure_set(fail, code, "no memory for the requests");
    }
    if (code == OK)
        code = digest_read_text(d, text, fail);
    digest_destroy(d);
    buffer_free(&line);
    return code;
}

static json_t *model_names(const stage *s)
{
    json_t *names = json_array();
    for (uint32_t i = 0; i < s->config->n_models; i++) {
        const config_model *m = &s->config->models[i];
        const model *own = orchestra_model(s->orchestra, i);
        char text[512];
        if (own != NULL)
            snprintf(text, sizeof text, "%016" PRIx64, own->fingerprint);
        else
            snprintf(text, sizeof text, "%.200s at %.300s", m->remote.model, m->remote.url);
        json_array_append_new(names, json_pack("[s, s, i, I]", config_role(s->config, i), text,
                                               (int)m->kv, (json_int_t)m->context));
    }
    return names;
}

static error_code choose_settings(json_t **out, const label_options *o, const stage *s,
                                  const task_list *tasks, failure *fail)
{
    char text[DIGEST_TEXT_SIZE];
    error_code code = digest_tasks(tasks, text, fail);
    if (code != OK)
        return code;
    *out = json_pack("{s:s, s:I, s:o, s:I, s:f, s:I}", "requests", text, "n",
                     (json_int_t)tasks->length, "models", model_names(s), "max_tokens",
                     (json_int_t)o->max_tokens, "temperature", (double)o->temperature, "seed",
                     (json_int_t)o->seed);
    return *out != NULL ? OK : failure_set(fail, ERR_MEMORY, "no memory for the settings");
}

/* ---- what comes out ----------------------------------------------------------------------- */

static error_code write_lines(const char *path, const json_t *lines, failure *fail)
{
    buffer text;
    buffer_init(&text, (size_t)4 << 30);
    error_code code = OK;
    for (size_t i = 0; code == OK && i < json_array_size(lines); i++) {
        code = json_write_exact(&text, json_incref(json_array_get(lines, i)));
        if (code == OK)
            code = buffer_add_text(&text, "\n");
    }
    code = code == OK
               ? whole_file_write(path, text.data, text.length, 0666, WHOLE_FILE_SYNCED, fail)
               : failure_set(fail, code, "no memory for %s", path);
    buffer_free(&text);
    return code;
}

static void print_share(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_number(value))
        printf(" %6.1f", json_number_value(value));
    else
        printf(" %6s", "-");
}

static void print_side(const json_t *side)
{
    print_share(side, "right");
    if (json_is_number(json_object_get(side, "low")))
        printf(" (%5.1f to %5.1f)", json_number_value(json_object_get(side, "low")),
               json_number_value(json_object_get(side, "high")));
    else
        printf(" %16s", "");
    print_share(side, "tokens");
}

static void print_pair(const json_t *kinds)
{
    printf("%-16s %8s | %23s %6s | %23s %6s | %6s %6s %6s | %6s\n%-16s %8s | %6s %16s %6s | %6s "
           "%16s %6s | %6s %6s %6s | %6s\n",
           "", "", "small", "", "large", "", "only", "only", "", "", "kind", "requests", "right %",
           "95 %", "tokens", "right %", "95 %", "tokens", "small", "large", "none", "agree");
    for (size_t i = 0; i < json_array_size(kinds); i++) {
        const json_t *k = json_array_get(kinds, i);
        printf("%-16s %8" JSON_INTEGER_FORMAT " |", json_string_value(json_object_get(k, "kind")),
               json_integer_value(json_object_get(k, "requests")));
        print_side(json_object_get(k, "small"));
        printf(" |");
        print_side(json_object_get(k, "large"));
        printf(" |");
        print_share(k, "only_small");
        print_share(k, "only_large");
        print_share(k, "neither");
        printf(" |");
        print_share(k, "agreed");
        putchar('\n');
    }
}

#define NO_MODEL "none of them" /* was right */

/* Of the column of names: each kind names the same models. */
static int name_width(const json_t *kinds)
{
    size_t width = strlen(NO_MODEL);
    const char *name;
    json_t *ignored;
    json_object_foreach(json_object_get(json_array_get(kinds, 0), "models"), name, ignored)
    {
        size_t length = strlen(name);
        width = length > width ? length : width;
    }
    return (int)width;
}

/* A row for each model, under each kind. */
static void print_models(const json_t *kinds)
{
    int width = name_width(kinds);
    printf("%-16s %8s  %-*s %6s %16s %6s %6s %6s\n", "kind", "requests", width, "model", "right %",
           "95 %", "tokens", "only", "agree");
    for (size_t i = 0; i < json_array_size(kinds); i++) {
        const json_t *k = json_array_get(kinds, i);
        const char *name;
        json_t *figures;
        printf("%-16s %8" JSON_INTEGER_FORMAT "  %-*s",
               json_string_value(json_object_get(k, "kind")),
               json_integer_value(json_object_get(k, "requests")), width, NO_MODEL);
        print_share(k, "neither");
        putchar('\n');
        json_object_foreach(json_object_get(k, "models"), name, figures)
        {
            printf("%-16s %8s  %-*s", "", "", width, name);
            print_side(figures);
            print_share(figures, "only");
            print_share(figures, "agreed");
            putchar('\n');
        }
    }
}

static error_code print_all(const label_options *o, const config *c, const json_t *lines,
                            failure *fail)
{
    json_t *figures = label_figures(lines, c);
    if (figures == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the figures");
    if (o->json)
        return print_json(figures, fail);
    (c->n_models == 2 ? print_pair : print_models)(json_object_get(figures, "kinds"));
    json_decref(figures);
    return OK;
}

/* ---- the command -------------------------------------------------------------------------- */

typedef struct show {
    progress bar;
    char what[32];
} show;

static void show_progress(void *context, const char *doing, double fraction)
{
    show *s = context;
    if (strcmp(s->what, doing) != 0) {
        progress_end(&s->bar);
        snprintf(s->what, sizeof s->what, "%s", doing);
        progress_start(&s->bar, s->what);
    }
    progress_show(&s->bar, fraction);
}

static bool is_interrupted(void *context)
{
    (void)context;
    return stage_signal() != 0;
}

static error_code label(const label_options *o, stage *s, label_plan *p, json_t **lines,
                        failure *fail)
{
    char *journal = NULL;
    json_t *settings = NULL;
    show shown = {.bar.percent = -1};
    error_code code = choose_settings(&settings, o, s, &p->tasks, fail);
    if (code == OK && asprintf(&journal, "%s.partial", o->output) < 0)
        code = failure_set(fail, ERR_MEMORY, "no memory for %s", o->output);
    p->settings = settings;
    p->journal = journal;
    if (code == OK)
        code = label_perform(p, s->orchestra, s->config, (label_progress){show_progress, &shown},
                             lines, fail);
    progress_end(&shown.bar);
    if (code == ERR_CANCELLED)
        failure_set(fail, code, "interrupted; the same command goes on from %s", journal);
    if (code == OK)
        code = write_lines(o->output, *lines, fail);
    if (code == OK)
        unlink(journal);
    free(journal);
    json_decref(settings);
    return code;
}

/* What is wrong with the options is said before the models are loaded. */
static error_code open_stage(stage *s, const label_options *o, label_plan *p, json_t **answers,
                             failure *fail)
{
    error_code code = stage_configure(s, &o->stage, fail);
    if (code == OK)
        code = choose_models(p, o, s->config, fail);
    if (code == OK)
        code = read_answers(answers, o->answers, s->config, fail);
    for (uint32_t i = 0; code == OK && i < s->config->n_models; i++)
        s->config->models[i].slots = (uint32_t)o->streams;
    return code == OK ? stage_start(s, fail) : code;
}

int command_label(int argc, char **argv)
{
    label_options o;
    failure fail;
    stage s = {.config = NULL};
    label_plan p = {.journal = NULL};
    json_t *lines = NULL, *answers = NULL;
    error_code code = read_label_options(&o, argc, argv, &fail);
    if (code == OK && o.help) {
        help_print("label", stdout);
        return 0;
    }
    if (code == OK)
        code = trace_read(&p.tasks, o.requests, &fail);
    if (code == OK)
        code = open_stage(&s, &o, &p, &answers, &fail);
    if (code == OK) {
        p.load = (block_options){.in_flight = o.streams,
                                 .max_tokens = o.max_tokens,
                                 .seed = o.seed,
                                 .temperature = o.temperature,
                                 .stopped = is_interrupted};
        p.answers = answers;
        code = label(&o, &s, &p, &lines, &fail);
    }
    if (code == OK)
        code = print_all(&o, s.config, lines, &fail);
    json_decref(lines);
    json_decref(answers);
    stage_close(&s);
    task_list_free(&p.tasks);
    return code == OK ? 0 : command_failed("label", &fail);
}
