/* profile.c: the YAML schema of measurements and what must agree in them. */
#include "evidence/profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "config/yaml_reader.h"
#include "evidence/arm.h"

/* ---- the schema --------------------------------------------------------------------------- */

#define MUST CYAML_FLAG_POINTER
#define MAY (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)
#define MAX_TEXT 1024
#define MAX_LIST 1024

#define TEXT(key, flags, type) CYAML_FIELD_STRING_PTR(#key, flags, type, key, 0, MAX_TEXT)
#define LIST(key, flags, type, value)                                                              \
    CYAML_FIELD_SEQUENCE_COUNT(#key, flags, type, key, n_##key, value, 0, MAX_LIST)

static const cyaml_schema_field_t overhead_fields[] = {
    CYAML_FIELD_FLOAT("template", CYAML_FLAG_DEFAULT, profile_overhead, template),
    CYAML_FIELD_FLOAT("prefill", CYAML_FLAG_DEFAULT, profile_overhead, prefill),
    CYAML_FIELD_FLOAT("decide", CYAML_FLAG_DEFAULT, profile_overhead, decide),
    CYAML_FIELD_FLOAT("switch", CYAML_FLAG_DEFAULT, profile_overhead, switch_),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t text_value = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, MAX_TEXT)};
static const cyaml_schema_value_t count_value = {CYAML_VALUE_UINT(CYAML_FLAG_DEFAULT, uint32_t)};

static const cyaml_schema_field_t row_fields[] = {
    TEXT(intent, MUST, profile_row),
    LIST(counts, MUST, profile_row, &count_value),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t row_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, profile_row, row_fields)};

static const cyaml_schema_field_t task_fields[] = {
    TEXT(name, MUST, profile_task),
    TEXT(intent, MUST, profile_task),
    CYAML_FIELD_UINT("prompt_tokens", CYAML_FLAG_DEFAULT, profile_task, prompt_tokens),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t task_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, profile_task, task_fields)};

static const cyaml_schema_field_t figure_fields[] = {
    TEXT(model, MUST, profile_figure),
    TEXT(task, MUST, profile_figure),
    CYAML_FIELD_BOOL("lookup", CYAML_FLAG_DEFAULT, profile_figure, lookup),
    CYAML_FIELD_FLOAT_PTR("accuracy", MAY, profile_figure, accuracy),
    CYAML_FIELD_FLOAT_PTR("tokens_per_s", MAY, profile_figure, tokens_per_s),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t figure_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, profile_figure, figure_fields)};

static const cyaml_schema_field_t part_fields[] = {
    TEXT(task, MUST, profile_part),
    CYAML_FIELD_FLOAT("percent", CYAML_FLAG_DEFAULT, profile_part, percent),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t part_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, profile_part, part_fields)};

static const cyaml_schema_field_t mix_fields[] = {
    TEXT(name, MUST, profile_mix),
    LIST(parts, MUST, profile_mix, &part_value),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t mix_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, profile_mix, mix_fields)};

static const cyaml_schema_field_t published_fields[] = {
    TEXT(table, MUST, profile_published),
    TEXT(row, MUST, profile_published),
    TEXT(policy, MUST, profile_published),
    TEXT(scenario, MUST, profile_published),
    TEXT(note, MAY, profile_published),
    CYAML_FIELD_FLOAT_PTR("accuracy", MAY, profile_published, accuracy),
    CYAML_FIELD_FLOAT_PTR("tokens_per_s", MAY, profile_published, tokens_per_s),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t published_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, profile_published, published_fields)};

static const cyaml_schema_field_t top_fields[] = {
    CYAML_FIELD_UINT("version", CYAML_FLAG_DEFAULT, profile, version),
    CYAML_FIELD_UINT("small_context", CYAML_FLAG_DEFAULT, profile, small_context),
    LIST(labels, MUST, profile, &text_value),
    CYAML_FIELD_MAPPING_PTR("overhead_ms", MAY, profile, overhead_ms, overhead_fields),
    CYAML_FIELD_FLOAT_PTR("request_ms", MAY, profile, request_ms),
    LIST(confusion, MAY, profile, &row_value),
    LIST(tasks, MUST, profile, &task_value),
    LIST(figures, MUST, profile, &figure_value),
    LIST(scenarios, MUST, profile, &mix_value),
    LIST(published, MAY, profile, &published_value),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t top_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, profile, top_fields)};

/* ---- reading ------------------------------------------------------------------------------ */

/* libcyaml logs what is wrong first, then where, from the innermost place outwards. */
typedef struct complaint {
    char what[160], where[160];
} complaint;

static void hear(cyaml_log_t level, void *context, const char *format, va_list args)
{
    (void)level;
    complaint *c = context;
    char text[YAML_LINE_SIZE];
    const char *line = yaml_reader_line(text, format, args);
    if (strstr(line, "(line: ") != NULL && c->where[0] == '\0')
        snprintf(c->where, sizeof c->where, "%s", line);
    else if (c->what[0] == '\0')
        snprintf(c->what, sizeof c->what, "%s", line);
}

void profile_free(profile *p)
{
    complaint c = {.what = ""};
    cyaml_config_t reader = yaml_reader(hear, &c);
    cyaml_free(&reader, &top_value, p, 0);
}

/* ---- references --------------------------------------------------------------------------- */

const profile_task *profile_find_task(const profile *p, const char *name)
{
    for (uint32_t i = 0; i < p->n_tasks; i++)
        if (strcmp(p->tasks[i].name, name) == 0)
            return &p->tasks[i];
    return NULL;
}

const profile_figure *profile_find_figure(const profile *p, bool small, bool lookup,
                                          const char *task)
{
    for (uint32_t i = 0; i < p->n_figures; i++) {
        const profile_figure *f = &p->figures[i];
        if (f->lookup == lookup && strcmp(f->model, small ? "small" : "large") == 0 &&
            strcmp(f->task, task) == 0)
            return f;
    }
    return NULL;
}

const profile_row *profile_find_confusion(const profile *p, const char *intent)
{
    for (uint32_t i = 0; i < p->n_confusion; i++)
        if (strcmp(p->confusion[i].intent, intent) == 0)
            return &p->confusion[i];
    return NULL;
}

static bool is_label(const profile *p, const char *name)
{
    for (uint32_t i = 0; i < p->n_labels; i++)
        if (strcmp(p->labels[i], name) == 0)
            return true;
    return false;
}

static bool has_mix(const profile *p, const char *name)
{
    for (uint32_t i = 0; i < p->n_scenarios; i++)
        if (strcmp(p->scenarios[i].name, name) == 0)
            return true;
    return false;
}

static error_code check_measurements(const profile *p, failure *fail)
{
    for (uint32_t i = 0; i < p->n_tasks; i++)
        if (!is_label(p, p->tasks[i].intent))
            return failure_set(fail, ERR_CONFIG, "tasks: %.40s: \"%.40s\" is none of the labels",
                               p->tasks[i].name, p->tasks[i].intent);
    for (uint32_t i = 0; i < p->n_figures; i++) {
        const profile_figure *f = &p->figures[i];
        if (strcmp(f->model, "small") != 0 && strcmp(f->model, "large") != 0)
            return failure_set(fail, ERR_CONFIG,
                               "figures: model \"%.40s\" is neither small nor large", f->model);
        if (profile_find_task(p, f->task) == NULL)
            return failure_set(fail, ERR_CONFIG, "figures: no task \"%.40s\"", f->task);
    }
    for (uint32_t i = 0; i < p->n_confusion; i++)
        if (!is_label(p, p->confusion[i].intent) || p->confusion[i].n_counts != p->n_labels)
            return failure_set(fail, ERR_CONFIG,
                               "confusion: \"%.40s\" must be a label with one count for each of %u",
                               p->confusion[i].intent, p->n_labels);
    return OK;
}

static error_code check_results(const profile *p, failure *fail)
{
    for (uint32_t i = 0; i < p->n_scenarios; i++) {
        const profile_mix *m = &p->scenarios[i];
        double sum = 0;
        for (uint32_t k = 0; k < m->n_parts; k++) {
            sum += m->parts[k].percent;
            if (profile_find_task(p, m->parts[k].task) == NULL)
                return failure_set(fail, ERR_CONFIG, "scenarios: %.40s: no task \"%.40s\"", m->name,
                                   m->parts[k].task);
        }
        if (sum < 99.999 || sum > 100.001)
            return failure_set(fail, ERR_CONFIG, "scenarios: the parts of %.40s add up to %g %%",
                               m->name, sum);
    }
    for (uint32_t i = 0; i < p->n_published; i++) {
        const profile_published *r = &p->published[i];
        if (arm_find(r->policy) == NULL)
            return failure_set(fail, ERR_CONFIG, "published: no policy \"%.40s\"", r->policy);
        if (!has_mix(p, r->scenario))
            return failure_set(fail, ERR_CONFIG, "published: no scenario \"%.40s\"", r->scenario);
    }
    return OK;
}

error_code profile_load(profile **out, const char *path, failure *fail)
{
    buffer text;
    complaint c = {.what = ""};
    cyaml_config_t reader = yaml_reader(hear, &c);
    *out = NULL;
    buffer_init(&text, (size_t)16 << 20);
    error_code code = buffer_read_file(&text, path, fail);
    if (code == OK && text.length == 0)
        code = failure_set(fail, ERR_CONFIG, "%s: it is empty", path);
    if (code == OK && (cyaml_load_data((const uint8_t *)text.data, text.length, &reader, &top_value,
                                       (cyaml_data_t **)out, NULL) != CYAML_OK ||
                       *out == NULL))
        code = failure_set(fail, ERR_CONFIG, "%s: %s%s", path,
                           c.what[0] != '\0' ? c.what : "it is empty", c.where);
    if (code == OK && (*out)->version != 1)
        code = failure_set(fail, ERR_CONFIG, "version: 1 is needed");
    if (code == OK)
        code = check_measurements(*out, fail);
    if (code == OK)
        code = check_results(*out, fail);
    if (code == ERR_CONFIG && *out != NULL)
        failure_prefix(fail, "%s", path);
    buffer_free(&text);
    if (code != OK) {
        profile_free(*out);
        *out = NULL;
    }
    return code;
}
