/* demo_tasks.c: the built-in set's lines: texts, tasks, and tasks behind texts. */
#include "evidence/demo_tasks.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/lines.h"
#include "base/path.h"
#include "evidence/checker.h"

#define DEFAULT_FILE "models/demo/tasks.jsonl"
#define PROMPT_LIMIT ((size_t)1 << 20) /* bytes */

typedef struct reading {
    task_list *list;
    size_t first;  /* of the list's tasks that are the file's */
    json_t *texts; /* in the file's order */
    buffer prompt; /* of the long task that is read */
} reading;

static const char *text_at(const json_t *line, const char *key)
{
    return json_string_value(json_object_get(line, key));
}

static error_code no_memory(failure *fail)
{
    return failure_set(fail, ERR_MEMORY, "no memory for the tasks");
}

static error_code add_task(reading *r, const json_t *line, failure *fail)
{
    const char *id = text_at(line, "id"), *kind = text_at(line, "task");
    const char *prompt = text_at(line, "prompt");
    json_t *check = json_object_get(line, "check");
    if (id == NULL || kind == NULL || prompt == NULL)
        return failure_set(fail, ERR_FORMAT, "id, task and prompt are needed, all texts");
    error_code code = check_validate(check, fail);
    return code == OK
               ? task_list_add_prompt(r->list, id, kind, kind, prompt, json_incref(check), fail)
               : code;
}

static const task *find_task(const reading *r, const char *id)
{
    for (size_t i = r->first; i < r->list->length; i++)
        if (strcmp(r->list->items[i].id, id) == 0)
            return &r->list->items[i];
    return NULL;
}

/* The texts that stand before a long task, then the task. */
static error_code write_long(reading *r, const json_t *after, const task *last, failure *fail)
{
    size_t i;
    json_t *number;
    error_code code = OK;
    buffer_clear(&r->prompt);
    json_array_foreach(after, i, number)
    {
        json_int_t at = json_integer_value(number);
        const char *text = json_is_integer(number) && at >= 0
                               ? json_string_value(json_array_get(r->texts, (size_t)at))
                               : NULL;
        if (text == NULL)
            return failure_set(fail, ERR_FORMAT, "after[%zu]: not the number of a text above", i);
        if (code == OK)
            code = buffer_add_text(&r->prompt, text);
        if (code == OK)
            code = buffer_add_text(&r->prompt, "\n\n");
    }
    if (code == OK)
        code = buffer_add_text(&r->prompt, last->messages[0].content);
    return code == OK ? OK : failure_set(fail, code, "the prompt is too long");
}

static error_code add_long(reading *r, const json_t *line, failure *fail)
{
    const char *id = text_at(line, "id"), *of = text_at(line, "of");
    const task *last = of != NULL ? find_task(r, of) : NULL;
    if (id == NULL || last == NULL)
        return failure_set(fail, ERR_FORMAT, "id, and \"of\", a task above, are needed");
    error_code code = write_long(r, json_object_get(line, "after"), last, fail);
    return code == OK ? task_list_add_prompt(r->list, id, "long", last->intent, r->prompt.data,
                                             json_incref(last->check), fail)
                      : code;
}

static error_code add_line(reading *r, const char *text, size_t length, failure *fail)
{
    json_error_t error;
    error_code code;
    json_t *line = json_read(text, length, JSON_REJECT_DUPLICATES, &error, &code);
    if (line == NULL)
        return code == ERR_MEMORY ? no_memory(fail)
                                  : failure_set(fail, code, "not JSON: %s", error.text);
    json_t *block = json_object_get(line, "text");
    if (json_is_string(block))
        code = json_array_append(r->texts, block) == 0 ? OK : no_memory(fail);
    else if (json_object_get(line, "of") != NULL)
        code = add_long(r, line, fail);
    else
        code = add_task(r, line, fail);
    json_decref(line);
    return code;
}

static error_code read_lines(reading *r, FILE *file, const char *path, failure *fail)
{
    char *line = NULL;
    size_t capacity = 0, number = 0;
    ssize_t length;
    error_code code = OK;
    while (code == OK && (length = getline(&line, &capacity, file)) >= 0) {
        number++;
        code = add_line(r, line, (size_t)length, fail);
    }
    code =
        code == OK ? lines_ended(file, path, fail) : failure_prefix(fail, "%s:%zu", path, number);
    free(line);
    return code;
}

error_code demo_tasks_read(task_list *list, const char *path, failure *fail)
{
    char found[PATH_MAX];
    if (path == NULL && !path_find_own(DEFAULT_FILE, found))
        return failure_set(fail, ERR_NOT_FOUND,
                           "no built-in tasks: " DEFAULT_FILE " is neither under the working "
                           "directory nor beside the program; give a trace instead");
    path = path != NULL ? path : found;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return failure_set(fail, error_code_of_errno(errno), "cannot open %s: %s", path,
                           strerror(errno));
    reading r = {.list = list, .first = list->length, .texts = json_array()};
    buffer_init(&r.prompt, PROMPT_LIMIT);
    error_code code = r.texts != NULL ? read_lines(&r, file, path, fail) : no_memory(fail);
    buffer_free(&r.prompt);
    json_decref(r.texts);
    fclose(file);
    return code;
}
