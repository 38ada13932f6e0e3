/* checker.c: the kinds of checks; code is run in the sandbox. */
#include "evidence/checker.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "evidence/answer.h"
#include "evidence/sandbox.h"

#define WORDS_LIMIT ((size_t)1 << 30) /* bytes */

struct checker {
    sandbox *sandbox; /* NULL until it is needed */
};

/* ---- texts -------------------------------------------------------------------------------- */

static bool is_space(char c)
{
    return isspace((unsigned char)c) != 0;
}

static bool equals_trimmed(const char *answer, const char *value)
{
    while (is_space(*answer))
        answer++;
    while (is_space(*value))
        value++;
    size_t a = strlen(answer), v = strlen(value);
    while (a > 0 && is_space(answer[a - 1]))
        a--;
    while (v > 0 && is_space(value[v - 1]))
        v--;
    return a == v && memcmp(answer, value, a) == 0;
}

static bool is_exact(const json_t *value, const char *answer)
{
    if (json_is_string(value))
        return equals_trimmed(answer, json_string_value(value));
    for (size_t i = 0; i < json_array_size(value); i++)
        if (equals_trimmed(answer, json_string_value(json_array_get(value, i))))
            return true;
    return false;
}

/* ---- numbers ------------------------------------------------------------------------------ */

static double number_of(const json_t *value)
{
    return json_is_number(value) ? json_number_value(value)
                                 : answer_number(json_string_value(value));
}

/* ---- words -------------------------------------------------------------------------------- */

static error_code has_words(const buffer *answer, const char *value, bool *has)
{
    buffer wanted;
    buffer_init(&wanted, WORDS_LIMIT);
    error_code code = answer_words(&wanted, value);
    /* A value without words, of punctuation alone, is in no answer. */
    *has = code == OK && wanted.length > 1 && strstr(answer->data, wanted.data) != NULL;
    buffer_free(&wanted);
    return code;
}

static error_code contains(const json_t *value, const char *text, bool *right, failure *fail)
{
    buffer answer;
    buffer_init(&answer, WORDS_LIMIT);
    error_code code = answer_words(&answer, text);
    if (code == OK && json_is_string(value))
        code = has_words(&answer, json_string_value(value), right);
    for (size_t i = 0; code == OK && !*right && i < json_array_size(value); i++)
        code = has_words(&answer, json_string_value(json_array_get(value, i)), right);
    buffer_free(&answer);
    return code == OK ? OK : failure_set(fail, code, "no memory for an answer's words");
}

/* ---- JSON --------------------------------------------------------------------------------- */

static bool is_same(const json_t *one, const json_t *other);

static bool is_same_object(const json_t *one, const json_t *other)
{
    const char *key;
    json_t *value;
    if (json_object_size(one) != json_object_size(other))
        return false;
    json_object_foreach((json_t *)(uintptr_t)one, key, value)
    {
        const json_t *own = json_object_get(other, key);
        if (own == NULL || !is_same(value, own))
            return false;
    }
    return true;
}

/* As json_equal, but 1 is 1.0. As deep as jansson reads, 2048 levels. */
static bool is_same(const json_t *one, const json_t *other)
{
    if (json_is_number(one) && json_is_number(other))
        return json_number_value(one) == json_number_value(other);
    if (json_is_object(one) && json_is_object(other))
        return is_same_object(one, other);
    if (!json_is_array(one) || !json_is_array(other))
        return json_equal(one, other);
    bool same = json_array_size(one) == json_array_size(other);
    for (size_t i = 0; same && i < json_array_size(one); i++)
        same = is_same(json_array_get(one, i), json_array_get(other, i));
    return same;
}

static error_code is_json(const json_t *value, const char *answer, bool *right, failure *fail)
{
    size_t length;
    const char *text = answer_block(answer, &length);
    error_code code = OK;
    json_t *said = json_read(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL, &code);
    if (code == ERR_MEMORY)
        return failure_set(fail, code, "no memory for an answer's JSON");
    *right = said != NULL && is_same(said, value);
    json_decref(said);
    return OK;
}

/* ---- the table ---------------------------------------------------------------------------- */

typedef enum kind { EXACT, CONTAINS, NUMBER, CHOICE, JSON, PYTHON, N_KINDS } kind;

static kind kind_of(const json_t *check)
{
    static const char *const names[N_KINDS] = {"exact",  "contains", "number",
                                               "choice", "json",     "python"};
    const char *type = json_string_value(json_object_get(check, "type"));
    if (type != NULL && strcmp(type, "final_number") == 0)
        return NUMBER;
    for (kind k = 0; type != NULL && k < N_KINDS; k++)
        if (strcmp(type, names[k]) == 0)
            return k;
    return N_KINDS;
}

static bool is_text_or_texts(const json_t *value)
{
    for (size_t i = 0; i < json_array_size(value); i++)
        if (!json_is_string(json_array_get(value, i)))
            return false;
    return json_is_string(value) || json_array_size(value) > 0;
}

static bool has_text(const json_t *check, const char *key)
{
    return json_is_string(json_object_get(check, key));
}

static bool is_call(const json_t *call, bool has_reference)
{
    if (has_reference)
        return json_is_string(call);
    return json_array_size(call) == 2 && json_is_string(json_array_get(call, 0)) &&
           json_is_string(json_array_get(call, 1));
}

static error_code validate_python(const json_t *check, failure *fail)
{
    const json_t *calls = json_object_get(check, "call");
    if (has_text(check, "test") && has_text(check, "entry_point") && has_text(check, "prompt"))
        return OK;
    bool has_reference = has_text(check, "reference"), good = json_array_size(calls) > 0;
    for (size_t i = 0; good && i < json_array_size(calls); i++)
        good = is_call(json_array_get(calls, i), has_reference);
    return good ? OK
                : failure_set(fail, ERR_FORMAT,
                              "check: python needs \"call\" (a list of [expression, value], or of "
                              "expressions beside \"reference\") or \"prompt\", \"test\" and "
                              "\"entry_point\"");
}

error_code check_validate(const json_t *check, failure *fail)
{
    const json_t *value = json_object_get(check, "value");
    switch (kind_of(check)) {
    case EXACT:
    case CONTAINS:
        return is_text_or_texts(value)
                   ? OK
                   : failure_set(fail, ERR_FORMAT,
                                 "check: exact and contains need \"value\": a text or a list of "
                                 "texts");
    case NUMBER:
        if (json_is_number(value) ||
            (json_is_string(value) && !isnan(answer_number(json_string_value(value)))))
            return OK;
        return failure_set(fail, ERR_FORMAT, "check: number needs \"value\": a number");
    case CHOICE:
        if (json_string_length(value) == 1 && isupper((unsigned char)*json_string_value(value)))
            return OK;
        return failure_set(fail, ERR_FORMAT, "check: choice needs \"value\": a capital letter");
    case JSON:
        return value != NULL ? OK : failure_set(fail, ERR_FORMAT, "check: json needs \"value\"");
    case PYTHON:
        return validate_python(check, fail);
    default:
        return failure_set(
            fail, ERR_FORMAT,
            "check: \"type\" is none of exact, contains, number, choice, json, python");
    }
}

static error_code run_python(checker *c, const json_t *check, const char *answer, bool *right,
                             failure *fail)
{
    sandbox_limits limits = sandbox_defaults();
    if (c->sandbox == NULL && sandbox_create(&c->sandbox, &limits, fail) != OK)
        return fail->code;
    json_t *job = json_copy((json_t *)(uintptr_t)check);
    if (job == NULL || json_object_set_new(job, "answer", json_text(answer, strlen(answer))) != 0) {
        json_decref(job);
        return failure_set(fail, ERR_MEMORY, "no memory for the check");
    }
    error_code code = sandbox_run(c->sandbox, job, right, fail);
    json_decref(job);
    return code;
}

error_code checker_check(checker *c, const json_t *check, const char *answer, bool *right,
                         failure *fail)
{
    const json_t *value = json_object_get(check, "value");
    *right = false;
    switch (kind_of(check)) {
    case EXACT:
        *right = is_exact(value, answer);
        return OK;
    case CONTAINS:
        return contains(value, answer, right, fail);
    case NUMBER:
        *right = answer_is_number(answer, number_of(value));
        return OK;
    case CHOICE:
        *right = answer_letter(answer) == *json_string_value(value);
        return OK;
    case JSON:
        return is_json(value, answer, right, fail);
    case PYTHON:
        return run_python(c, check, answer, right, fail);
    default:
        return check_validate(check, fail);
    }
}

error_code checker_create(checker **out, failure *fail)
{
    *out = calloc(1, sizeof **out);
    return *out != NULL ? OK : failure_set(fail, ERR_MEMORY, "no memory for the checker");
}

void checker_destroy(checker *c)
{
    if (c == NULL)
        return;
    sandbox_destroy(c->sandbox);
    free(c);
}
