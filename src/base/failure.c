/* failure.c: texts of failures and what each code means to a process and to a client. */
#include "base/failure.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *text;
    int exit_code;
    int http;
} error_table[] = {
#define X(name, text, exit_code, http) {text, exit_code, http},
    ERROR_CODES(X)
#undef X
};

error_code failure_set(failure *fail, error_code code, const char *format, ...)
{
    if (fail == NULL)
        return code;
    va_list args;
    va_start(args, format);
    vsnprintf(fail->text, sizeof fail->text, format, args);
    va_end(args);
    fail->code = code;
    fail->retry_after_s = 0;
    return code;
}

error_code failure_prefix(failure *fail, const char *format, ...)
{
    if (fail == NULL)
        return ERR_INTERNAL;
    char before[sizeof fail->text];
    memcpy(before, fail->text, sizeof before);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(fail->text, sizeof fail->text, format, args);
    va_end(args);
    size_t used = n < 0 ? 0 : (size_t)n;
    if (used < sizeof fail->text)
        snprintf(fail->text + used, sizeof fail->text - used, ": %s", before);
    return fail->code;
}

void failure_retry_after(failure *fail, double seconds)
{
    if (fail != NULL)
        fail->retry_after_s = seconds;
}

error_code error_code_of_errno(int error)
{
    return error == ENOENT ? ERR_NOT_FOUND : error == ENOMEM ? ERR_MEMORY : ERR_IO;
}

const char *error_code_text(error_code code)
{
    return error_table[code].text;
}

int error_code_exit(error_code code)
{
    return error_table[code].exit_code;
}

int error_code_http(error_code code)
{
    return error_table[code].http;
}
