/* request_lines.c: requests from JSON lines, one after the other. */
#include "cli/request_lines.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/lines.h"
#include "cli/progress.h"

#define MAX_MESSAGES 4096

/* Templates pass over a role they do not know in silence. */
static bool is_role(const char *role)
{
    return strcmp(role, "system") == 0 || strcmp(role, "user") == 0 ||
           strcmp(role, "assistant") == 0;
}

static error_code read_messages(const json_t *list, chat_message *out, failure *fail)
{
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        const json_t *role = json_object_get(item, "role");
        const json_t *content = json_object_get(item, "content");
        if (!json_is_string(role) || !json_is_string(content))
            return failure_set(fail, ERR_INVALID,
                               "messages[%zu]: role and content are needed, both texts", i);
        if (!is_role(json_string_value(role)))
            return failure_set(fail, ERR_INVALID,
                               "messages[%zu].role: \"%.32s\" is none of system, user, assistant",
                               i, json_string_value(role));
        out[i] = (chat_message){.role = json_string_value(role),
                                .content = json_string_value(content),
                                .content_length = json_string_length(content)};
    }
    return OK;
}

error_code request_line_parse(json_t **out, const char *text, size_t length, failure *fail)
{
    json_error_t error;
    error_code code;
    *out = json_read(text, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error, &code);
    if (code == ERR_MEMORY)
        return failure_set(fail, code, "no memory for the line");
    if (*out != NULL)
        return OK;
    return failure_set(fail, ERR_INVALID, "not JSON: %s (column %d)", error.text, error.column);
}

error_code request_line_read(const json_t *line, request *q, chat_message **messages, failure *fail)
{
    const json_t *prompt = json_object_get(line, "prompt");
    const json_t *list = json_object_get(line, "messages");
    if ((prompt == NULL) == (list == NULL))
        return failure_set(fail, ERR_INVALID,
                           "exactly one of \"prompt\" and \"messages\" is needed");
    if (prompt != NULL ? !json_is_string(prompt) : !json_is_array(list))
        return failure_set(fail, ERR_INVALID,
                           prompt != NULL ? "\"prompt\" must be a text"
                                          : "\"messages\" must be a list");
    size_t n = prompt != NULL ? 1 : json_array_size(list);
    if (n == 0 || n > MAX_MESSAGES)
        return failure_set(fail, ERR_INVALID, "\"messages\" must hold 1 to %d", MAX_MESSAGES);
    *messages = calloc(n, sizeof **messages);
    if (*messages == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the messages");
    *q = (request){.messages = *messages, .n_messages = n, .sampling = sampling_defaults()};
    if (prompt == NULL)
        return read_messages(list, *messages, fail);
    **messages = (chat_message){.role = "user",
                                .content = json_string_value(prompt),
                                .content_length = json_string_length(prompt)};
    return OK;
}

/* ---- a file --------------------------------------------------------------------------------- */

typedef struct line_reading {
    const char *path;
    FILE *file;
    progress progress;
    long size;
    error_code (*call)(void *context, const json_t *line, failure *fail);
    void *context;
} line_reading;

static error_code read_line(line_reading *r, const char *text, size_t length, failure *fail)
{
    json_t *line;
    if (strspn(text, " \t\r\n") == length)
        return OK;
    error_code code = request_line_parse(&line, text, length, fail);
    if (code == OK)
        code = r->call(r->context, line, fail);
    json_decref(line);
    if (r->size > 0)
        progress_show(&r->progress, (double)ftell(r->file) / (double)r->size);
    return code;
}

static error_code read_lines(line_reading *r, failure *fail)
{
    char *line = NULL;
    size_t capacity = 0;
    error_code code = OK;
    for (size_t number = 1; code == OK; number++) {
        ssize_t length = getline(&line, &capacity, r->file);
        if (length < 0) {
            code = lines_ended(r->file, r->path, fail);
            break;
        }
        code = read_line(r, line, (size_t)length, fail);
        if (code != OK)
            failure_prefix(fail, "%s, line %zu", r->path, number);
    }
    free(line);
    return code;
}

error_code request_lines_each(const char *path, const char *what,
                              error_code (*call)(void *context, const json_t *line, failure *fail),
                              void *context, failure *fail)
{
    line_reading r = {.path = path, .file = fopen(path, "re"), .call = call, .context = context};
    if (r.file == NULL)
        return failure_set(fail, error_code_of_errno(errno), "cannot open %s: %s", path,
                           strerror(errno));
    if (fseek(r.file, 0, SEEK_END) == 0)
        r.size = ftell(r.file);
    rewind(r.file);
    progress_start(&r.progress, what);
    error_code code = read_lines(&r, fail);
    progress_end(&r.progress);
    fclose(r.file);
    return code;
}
