/* journal.c: appended lines, of which a torn last one is cut off. */
#include "evidence/journal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/lines.h"
#include "base/whole_file.h"

#define LONGEST ((size_t)1 << 30) /* bytes of a journal */

struct journal {
    const char *path; /* the caller's; NULL: in memory alone */
    const char *work;
    FILE *file;
    json_t *found; /* by key */
};

/* ---- writing ------------------------------------------------------------------------------ */

static error_code writing_failed(const journal *j, failure *fail)
{
    return failure_set(fail, ERR_IO, "cannot write %s: %s", j->path, strerror(errno));
}

/* `value` is taken over. */
static error_code add_line(buffer *text, json_t *value)
{
    error_code code = json_write_exact(text, value); /* settings are compared */
    return code == OK ? buffer_add_text(text, "\n") : code;
}

static error_code write_line(journal *j, json_t *value, failure *fail)
{
    buffer line;
    buffer_init(&line, LONGEST);
    error_code code = add_line(&line, value);
    if (code != OK)
        failure_set(fail, code, "no memory for %s", j->path);
    else if (fwrite(line.data, 1, line.length, j->file) != line.length || fflush(j->file) != 0)
        code = writing_failed(j, fail);
    buffer_free(&line);
    return code;
}

/* ---- opening ------------------------------------------------------------------------------ */

static error_code read_line(journal *j, const char *line, bool is_first, const json_t *settings,
                            failure *fail)
{
    error_code code = OK;
    json_t *value = json_read(line, strlen(line), 0, NULL, &code);
    if (code == ERR_MEMORY)
        return failure_set(fail, code, "no memory for %s", j->path);
    code = OK;
    if (is_first && !json_equal(value, settings))
        code = failure_set(fail, ERR_INVALID,
                           "%s was left by another %s; finish that one or remove it", j->path,
                           j->work);
    else if (!is_first && value != NULL)
        json_object_update(j->found, value);
    json_decref(value);
    return code;
}

static error_code read_file(journal *j, FILE *file, const json_t *settings, failure *fail)
{
    char *line = NULL;
    size_t capacity = 0;
    error_code code = OK;
    for (bool is_first = true; code == OK && getline(&line, &capacity, file) > 0; is_first = false)
        code = read_line(j, line, is_first, settings, fail);
    if (code == OK)
        code = lines_ended(file, j->path, fail);
    free(line);
    return code;
}

/* What is known so far, without a line that was cut short: on a full disk the old file stays. */
static error_code rewrite(const journal *j, const json_t *settings, failure *fail)
{
    const char *key;
    json_t *value;
    buffer text;
    buffer_init(&text, LONGEST);
    error_code code = add_line(&text, json_deep_copy(settings));
    json_object_foreach(j->found, key, value)
    {
        if (code == OK)
            code = add_line(&text, json_pack("{s:O}", key, value));
    }
    code = code == OK
               ? whole_file_write(j->path, text.data, text.length, 0666, WHOLE_FILE_UNSYNCED, fail)
               : failure_set(fail, code, "no memory for %s", j->path);
    buffer_free(&text);
    return code;
}

static error_code open_file(journal *j, const json_t *settings, failure *fail)
{
    struct stat there; /* another kind of file must not be replaced */
    if (stat(j->path, &there) == 0 && !S_ISREG(there.st_mode))
        return failure_set(fail, ERR_INVALID, "%s is not a regular file", j->path);
    FILE *file = fopen(j->path, "r");
    bool is_there = file != NULL;
    error_code code = is_there ? read_file(j, file, settings, fail) : OK;
    if (is_there)
        fclose(file);
    if (code != OK)
        return code;
    code = rewrite(j, settings, fail);
    if (code == OK && (j->file = fopen(j->path, "a")) == NULL)
        code = writing_failed(j, fail);
    return code;
}

error_code journal_open(journal **out, const char *path, const char *work, const json_t *settings,
                        failure *fail)
{
    journal *j = calloc(1, sizeof *j);
    *out = NULL;
    if (j != NULL)
        *j = (journal){.path = path, .work = work, .found = json_object()};
    error_code code = j != NULL && j->found != NULL
                          ? OK
                          : failure_set(fail, ERR_MEMORY, "no memory for a %s", work);
    if (code == OK && path != NULL)
        code = open_file(j, settings, fail);
    if (code != OK) {
        journal_close(j);
        return code;
    }
    *out = j;
    return OK;
}

void journal_close(journal *j)
{
    if (j == NULL)
        return;
    if (j->file != NULL)
        fclose(j->file);
    json_decref(j->found);
    free(j);
}

/* ---- using -------------------------------------------------------------------------------- */

json_t *journal_find(const journal *j, const char *key)
{
    return json_object_get(j->found, key);
}

error_code journal_put(journal *j, const char *key, json_t *value, failure *fail)
{
    if (value == NULL || json_object_set_new(j->found, key, value) != 0)
        return failure_set(fail, ERR_MEMORY, "no memory for the results");
    return j->file != NULL ? write_line(j, json_pack("{s:O}", key, value), fail) : OK;
}
