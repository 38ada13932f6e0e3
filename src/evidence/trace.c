/* trace.c: the known forms of lines, one reader each. */
#include "evidence/trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/lines.h"
#include "base/log.h"
#include "evidence/checker.h"
#include "evidence/trace_log.h"

#define LINE_LIMIT ((size_t)64 << 20) /* bytes */

static const char *text_at(const json_t *line, const char *key)
{
    return json_string_value(json_object_get(line, key));
}

/* ---- published forms ---------------------------------------------------------------------- */

/* The function is wanted whole: a chat model cannot know that it should continue a text. */
static error_code add_humaneval(task_list *list, const json_t *line, failure *fail)
{
    const char *id = text_at(line, "task_id"), *prompt = text_at(line, "prompt");
    const char *test = text_at(line, "test"), *entry = text_at(line, "entry_point");
    if (prompt == NULL || test == NULL || entry == NULL)
        return failure_set(fail, ERR_FORMAT,
                           "task_id is there (HumanEval): prompt, test and entry_point are needed, "
                           "all texts");
    json_t *check = json_pack("{s:s, s:s, s:s, s:s}", "type", "python", "prompt", prompt, "test",
                              test, "entry_point", entry);
    return task_list_add_prompt(list, id, "code", "code", prompt, check, fail);
}

static error_code add_gsm8k(task_list *list, const json_t *line, size_t number, failure *fail)
{
    const char *question = text_at(line, "question"), *answer = text_at(line, "answer");
    const char *result = answer != NULL ? strstr(answer, "####") : NULL;
    if (question == NULL || result == NULL)
        return failure_set(fail, ERR_FORMAT,
                           "question is there (GSM8K): an answer with #### before the result is "
                           "needed");
    char id[32];
    snprintf(id, sizeof id, "gsm8k-%zu", number);
    json_t *check = json_pack("{s:s, s:s}", "type", "number", "value", result + 4);
    error_code code = check_validate(check, fail);
    if (code == OK)
        return task_list_add_prompt(list, id, "math", "math", question, check, fail);
    json_decref(check);
    return code;
}

/* ---- our own ------------------------------------------------------------------------------ */

static error_code refuse_unknown(const json_t *line, failure *fail)
{
    static const char *const known[] = {"id",         "domain",     "task",  "intent",   "prompt",
                                        "messages",   "answer",     "check", "expected", "source",
                                        "arrival_ms", "max_tokens", "small", "large",    "models",
                                        "agree",      "reading"};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)line, key, value)
    {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            found = found || strcmp(key, known[i]) == 0;
        if (!found)
            return failure_set(fail, ERR_FORMAT,
                               "unknown field \"%.60s\" (known: id, domain, task, intent, prompt, "
                               "messages, answer, check, expected, source, arrival_ms, "
                               "max_tokens)",
                               key);
    }
    return OK;
}

/* *out: the check, to be released; NULL when nothing says what is right. */
static error_code read_check(const json_t *line, const char *domain, json_t **out, failure *fail)
{
    json_t *check = json_object_get(line, "check"), *answer = json_object_get(line, "answer");
    *out = NULL;
    if (check == NULL && answer == NULL)
        return OK;
    if (check != NULL)
        *out = json_incref(check);
    else
        *out = json_pack("{s:s, s:O}", "type", strcmp(domain, "math") == 0 ? "number" : "exact",
                         "value", answer);
    error_code code = check_validate(*out, fail);
    if (code != OK) {
        json_decref(*out);
        *out = NULL;
    }
    return code;
}

static error_code read_extras(const json_t *line, task *t, failure *fail)
{
    const json_t *arrival = json_object_get(line, "arrival_ms");
    const json_t *limit = json_object_get(line, "max_tokens");
    if (arrival != NULL && (!json_is_number(arrival) || json_number_value(arrival) < 0))
        return failure_set(fail, ERR_FORMAT, "arrival_ms: a number of at least 0 is needed");
    if (limit != NULL && json_integer_value(limit) < 1)
        return failure_set(fail, ERR_FORMAT, "max_tokens: a whole number of at least 1 is needed");
    if (arrival != NULL)
        t->arrival_ms = json_number_value(arrival);
    t->max_tokens = (size_t)json_integer_value(limit);
    return OK;
}

/* The conversation as a list of messages; *out is to be released. */
static error_code read_conversation(const json_t *line, json_t **out, failure *fail)
{
    json_t *prompt = json_object_get(line, "prompt"), *messages = json_object_get(line, "messages");
    *out = NULL;
    if ((prompt == NULL) == (messages == NULL))
        return failure_set(fail, ERR_FORMAT,
                           "exactly one of \"prompt\" and \"messages\" is needed");
    if (prompt != NULL ? !json_is_string(prompt) : !json_is_array(messages))
        return failure_set(fail, ERR_FORMAT,
                           prompt != NULL ? "\"prompt\" must be a text"
                                          : "\"messages\" must be a list");
    *out = messages != NULL ? json_incref(messages)
                            : json_pack("[{s:s, s:O}]", "role", "user", "content", prompt);
    return *out != NULL ? OK : failure_set(fail, ERR_MEMORY, "no memory for the trace");
}

static error_code add_own(task_list *list, const json_t *line, size_t number, failure *fail)
{
    char own_id[32];
    const char *id = text_at(line, "id"), *task_kind = text_at(line, "task");
    const char *intent = text_at(line, "intent"), *domain = text_at(line, "domain");
    snprintf(own_id, sizeof own_id, "line-%zu", number);
    if (domain == NULL)
        domain = intent != NULL ? intent : task_kind;
    if (domain == NULL)
        return failure_set(fail, ERR_FORMAT, "\"domain\" is needed: a text such as code, qa, math");
    json_t *messages = NULL, *check = NULL;
    error_code code = refuse_unknown(line, fail);
    if (code == OK)
        code = read_conversation(line, &messages, fail);
    if (code == OK)
        code = read_check(line, domain, &check, fail);
    if (code != OK) {
        json_decref(messages);
        return code;
    }
    task *added = NULL;
    code = task_list_add(list, id != NULL ? id : own_id, task_kind != NULL ? task_kind : domain,
                         intent != NULL ? intent : domain, messages, check, &added, fail);
    return code == OK ? read_extras(line, added, fail) : code;
}

/* ---- the file ----------------------------------------------------------------------------- */

/* Of a file: its first whole line says which. */
typedef enum trace_form { FORM_UNKNOWN, FORM_LABELLED, FORM_LOG } trace_form;

typedef struct reading {
    trace_form form;
    size_t torn;     /* lines that are no JSON: a log may have some (docs/decision-log.md) */
    failure refusal; /* of the first of them, for files that may not */
    size_t first_torn;
    size_t number; /* of the line that is read, or refused */
} reading;

static error_code refuse_torn(reading *r, failure *fail)
{
    *fail = r->refusal;
    r->number = r->first_torn;
    return ERR_FORMAT;
}

static error_code note_torn(reading *r, const json_error_t *error, failure *fail)
{
    if (r->torn++ == 0) {
        failure_set(&r->refusal, ERR_FORMAT, "not JSON: %s (column %d)", error->text,
                    error->column);
        r->first_torn = r->number;
    }
    return r->form == FORM_LABELLED ? refuse_torn(r, fail) : OK;
}

static error_code read_line(task_list *list, const char *text, size_t length, reading *r,
                            failure *fail)
{
    json_error_t error;
    if (length > LINE_LIMIT)
        return failure_set(fail, ERR_TOO_LARGE, "longer than %zu bytes", LINE_LIMIT);
    error_code code;
    json_t *line = json_read(text, length, JSON_REJECT_DUPLICATES, &error, &code);
    if (code == ERR_MEMORY)
        return failure_set(fail, code, "no memory for the line");
    if (line == NULL)
        return note_torn(r, &error, fail);
    trace_form own = trace_is_logged(line) ? FORM_LOG : FORM_LABELLED;
    if (r->form == FORM_UNKNOWN)
        r->form = own;
    if (own == FORM_LABELLED && r->torn > 0)
        code = refuse_torn(r, fail);
    else if (!json_is_object(line))
        code = failure_set(fail, ERR_FORMAT, "a JSON object is needed");
    else if (own != r->form)
        code = failure_set(fail, ERR_FORMAT,
                           "lines of a decision log and others cannot be in one file");
    else if (own == FORM_LOG)
        code = trace_log_add(list, line, fail);
    else if (text_at(line, "task_id") != NULL)
        code = add_humaneval(list, line, fail);
    else if (json_object_get(line, "question") != NULL)
        code = add_gsm8k(list, line, r->number, fail);
    else
        code = add_own(list, line, r->number, fail);
    json_decref(line);
    return code;
}

static bool is_blank(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '\0';
}

error_code trace_read(task_list *list, const char *path, failure *fail)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    if (file == NULL)
        return failure_set(fail, error_code_of_errno(errno), "%s: %s", path, strerror(errno));
    char *line = NULL;
    size_t capacity = 0, before = list->length;
    reading r = {.form = FORM_UNKNOWN};
    error_code code = OK, end = OK;
    while (code == OK) {
        ssize_t length = getline(&line, &capacity, file);
        if (length < 0) {
            end = lines_ended(file, path, fail);
            break;
        }
        r.number++;
        if (!is_blank(line))
            code = read_line(list, line, (size_t)length, &r, fail);
    }
    if (code == OK && r.form == FORM_UNKNOWN && r.torn > 0)
        code = refuse_torn(&r, fail);
    if (code != OK)
        failure_prefix(fail, "%s:%zu", path, r.number);
    code = code == OK ? end : code;
    if (code == OK && list->length == before)
        code = failure_set(fail, ERR_FORMAT, "%s: there is no request in it", path);
    if (code == OK && r.form == FORM_LOG)
        trace_log_settle(list, before);
    if (code == OK && r.torn > 0)
        log_warn("%s: %zu torn lines were passed over", path, r.torn);
    free(line);
    if (file != stdin)
        fclose(file);
    return code;
}
