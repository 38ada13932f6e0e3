/* candidates.c: both forms of a file of candidates, read into one list. */
#include "config/candidates.h"

#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "config/config.h"
#include "config/yaml_reader.h"

#define MAX_FILE_BYTES ((size_t)1 << 20)
#define MAX_CANDIDATES 1024
#define MAX_TEXT 4096

static const cyaml_schema_value_t word_value = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, MAX_TEXT)};

static const cyaml_schema_field_t candidate_fields[] = {
    CYAML_FIELD_STRING_PTR("template", CYAML_FLAG_POINTER, probe_candidate, template, 1, MAX_TEXT),
    CYAML_FIELD_SEQUENCE_COUNT("labels", CYAML_FLAG_POINTER, probe_candidate, words, n_words,
                               &word_value, 2, CONFIG_MAX_LABELS),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t candidate_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, probe_candidate, candidate_fields)};
static const cyaml_schema_value_t list_value = {
    CYAML_VALUE_SEQUENCE(CYAML_FLAG_POINTER, probe_candidate, &candidate_value, 1, MAX_CANDIDATES)};

/* The first thing that libcyaml says, and where. */
typedef struct complaint {
    char what[YAML_LINE_SIZE];
    int line;
} complaint;

static void hear(cyaml_log_t level, void *context, const char *format, va_list args)
{
    (void)level;
    complaint *c = context;
    char text[YAML_LINE_SIZE];
    const char *line = yaml_reader_line(text, format, args);
    const char *place = strstr(line, "(line: ");
    if (place != NULL && c->line == 0)
        sscanf(place, "(line: %d", &c->line);
    else if (place == NULL && c->what[0] == '\0' && strcmp(line, "Backtrace:") != 0)
        snprintf(c->what, sizeof c->what, "%s", line);
}

/* A JSON object is a flow mapping of YAML, so that lines of them become a list with a dash each. */
static error_code add_dashes(buffer *out, const char *text, failure *fail)
{
    error_code code = OK;
    while (code == OK && *text != '\0') {
        size_t length = strcspn(text, "\n");
        bool is_blank = strspn(text, " \t\r") == length;
        code = buffer_add_text(out, is_blank ? "" : "- ");
        if (code == OK)
            code = buffer_add(out, text, length);
        if (code == OK)
            code = buffer_add_text(out, "\n");
        text += length + (text[length] == '\n');
    }
    return code == OK ? OK : failure_set(fail, code, "%s", error_code_text(code));
}

static error_code parse(probe_candidates *out, const buffer *text, failure *fail)
{
    complaint c = {.line = 0};
    cyaml_config_t reader = yaml_reader(hear, &c);
    unsigned n = 0;
    cyaml_err_t error = cyaml_load_data((const uint8_t *)text->data, text->length, &reader,
                                        &list_value, (cyaml_data_t **)&out->items, &n);
    out->n = n;
    if (error == CYAML_ERR_OOM)
        return failure_set(fail, ERR_MEMORY, "no memory for it");
    if (error != CYAML_OK)
        return failure_set(fail, ERR_CONFIG, "line %d: %s", c.line,
                           c.what[0] != '\0' ? c.what : cyaml_strerror(error));
    return out->n > 0 ? OK : failure_set(fail, ERR_CONFIG, "it lists nothing");
}

static error_code read_text(buffer *text, const char *path, failure *fail)
{
    buffer raw;
    buffer_init(&raw, MAX_FILE_BYTES);
    error_code code = buffer_read_file(&raw, path, fail);
    const char *data = raw.data != NULL ? raw.data : "";
    if (code == OK && strlen(data) != raw.length)
        code = failure_set(fail, ERR_CONFIG, "it has a NUL byte");
    else if (code == OK && data[strspn(data, " \t\r\n")] == '{')
        code = add_dashes(text, data, fail);
    else if (code == OK && buffer_add_text(text, data) != OK)
        code = failure_set(fail, ERR_MEMORY, "no memory for it");
    buffer_free(&raw);
    return code;
}

error_code probe_candidates_read(probe_candidates *out, const char *path, failure *fail)
{
    buffer text;
    *out = (probe_candidates){.items = NULL};
    buffer_init(&text, 2 * MAX_FILE_BYTES + 1);
    error_code code = read_text(&text, path, fail);
    if (code == OK && text.length == 0)
        code = failure_set(fail, ERR_CONFIG, "it lists nothing");
    if (code == OK)
        code = parse(out, &text, fail);
    buffer_free(&text);
    if (code == OK)
        return OK;
    probe_candidates_free(out);
    return failure_prefix(fail, "%s", path);
}

void probe_candidates_free(probe_candidates *list)
{
    complaint c = {.line = 0};
    cyaml_config_t reader = yaml_reader(hear, &c);
    cyaml_free(&reader, &list_value, list->items, list->n);
    *list = (probe_candidates){.items = NULL};
}
