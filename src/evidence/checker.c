#include "evidence/checker.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "evidence/sandbox.h"

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

/* Reads digits with commas between groups of three, a fraction, and a minus directly before. */
static const char *read_number(const char *at, double *out)
{
    bool negative = *at == '-';
    double value = 0, scale = 1;
    at += negative;
    for (; isdigit((unsigned char)*at) || (*at == ',' && isdigit((unsigned char)at[1])); at++)
        if (*at != ',')
            value = 10 * value + (*at - '0');
    if (*at == '.' && isdigit((unsigned char)at[1]))
        for (at++; isdigit((unsigned char)*at); at++)
            value += (scale /= 10) * (*at - '0');
    *out = negative ? -value : value;
    return at;
}

/* NAN: there is none. */
static double last_number(const char *text)
{
    double last = NAN;
    for (const char *at = text; *at != '\0';) {
        bool begins = isdigit((unsigned char)*at) || (*at == '-' && isdigit((unsigned char)at[1]));
        if (begins)
            at = read_number(at, &last);
        else
            at++;
    }
    return last;
}

static double number_of(const json_t *value)
{
    return json_is_number(value) ? json_number_value(value) : last_number(json_string_value(value));
}

static bool is_number(const json_t *value, const char *answer)
{
    double said = last_number(answer), right = number_of(value);
    return fabs(said - right) <= 1e-6 * fmax(1, fabs(right)); /* false for NAN */
}

/* ---- choices ------------------------------------------------------------------------------ */

static bool is_letter_alone(const char *text, const char *at)
{
    return *at >= 'A' && *at <= 'Z' && !isalnum((unsigned char)at[1]) &&
           (at == text || !isalnum((unsigned char)at[-1]));
}

/* The letter that the answer begins with; else the first after "answer"; else the last alone. */
static char chosen_letter(const char *answer)
{
    while (is_space(*answer) || *answer == '(' || *answer == '*')
        answer++;
    bool is_article = answer[0] == 'A' && answer[1] == ' ' && islower((unsigned char)answer[2]);
    if (is_letter_alone(answer, answer) && !is_article)
        return *answer;
    const char *named = strcasestr(answer, "answer");
    if (named == NULL)
        named = strstr(answer, "答案");
    for (const char *at = named; at != NULL && *at != '\0'; at++)
        if (is_letter_alone(answer, at))
            return *at;
    char last = '\0';
    for (const char *at = answer; *at != '\0'; at++)
        if (is_letter_alone(answer, at))
            last = *at;
    return last;
}

/* ---- the table ---------------------------------------------------------------------------- */

typedef enum kind { EXACT, NUMBER, CHOICE, PYTHON, N_KINDS } kind;

static kind kind_of(const json_t *check)
{
    static const char *const names[N_KINDS] = {"exact", "number", "choice", "python"};
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
        return is_text_or_texts(value)
                   ? OK
                   : failure_set(fail, ERR_FORMAT,
                                 "check: exact needs \"value\": a text or a list of texts");
    case NUMBER:
        if (json_is_number(value) ||
            (json_is_string(value) && !isnan(last_number(json_string_value(value)))))
            return OK;
        return failure_set(fail, ERR_FORMAT, "check: number needs \"value\": a number");
    case CHOICE:
        if (json_string_length(value) == 1 && isupper((unsigned char)*json_string_value(value)))
            return OK;
        return failure_set(fail, ERR_FORMAT, "check: choice needs \"value\": a capital letter");
    case PYTHON:
        return validate_python(check, fail);
    default:
        return failure_set(fail, ERR_FORMAT,
                           "check: \"type\" is none of exact, number, choice, python");
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
    case NUMBER:
        *right = is_number(value, answer);
        return OK;
    case CHOICE:
        *right = chosen_letter(answer) == *json_string_value(value);
        return OK;
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
