/* json_fields.c: numbers by a table, as a value or as text. */
#include "base/json_fields.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"

#define NUMBER_SIZE 40
#define FIXED_BELOW 1e9 /* what so many decimals are written of */
#define FIXED_PARTS 1e6

static uint64_t count_at(const json_field *f, const void *of)
{
    uint64_t count;
    _Static_assert(sizeof(size_t) == sizeof count, "both kinds of counts are 64 bits");
    memcpy(&count, (const char *)of + f->offset, sizeof count);
    return count;
}

static double number_at(const json_field *f, const void *of)
{
    double number;
    memcpy(&number, (const char *)of + f->offset, sizeof number);
    return json_finite(number);
}

json_t *json_fields_value(const json_field *fields, size_t n, const void *of)
{
    json_t *object = json_object();
    for (size_t i = 0; i < n; i++) {
        const json_field *f = &fields[i];
        json_object_set_new_nocheck(object, f->name,
                                    f->kind == JSON_FIELD_COUNT
                                        ? json_integer((json_int_t)count_at(f, of))
                                        : json_real(number_at(f, of)));
    }
    return object;
}

/* ---- as text --------------------------------------------------------------------------------- */

/* Its digits, at least `least` of them, before `end`; where they begin. */
static char *put_digits(char *end, uint64_t number, int least)
{
    for (; number > 0 || least > 0; number /= 10, least--)
        *--end = (char)('0' + number % 10);
    return end;
}

static error_code write_count(buffer *out, uint64_t count)
{
    char text[NUMBER_SIZE], *end = text + sizeof text, *begin = put_digits(end, count, 1);
    return buffer_add(out, begin, (size_t)(end - begin));
}

static error_code write_number(buffer *out, double number)
{
    if (!(fabs(number) < FIXED_BELOW))
        return buffer_add_format(out, "%.9g", number);
    char text[NUMBER_SIZE], *end = text + sizeof text;
    uint64_t parts = (uint64_t)llround(fabs(number) * FIXED_PARTS);
    char *begin = put_digits(end, parts % (uint64_t)FIXED_PARTS, 6);
    *--begin = '.';
    begin = put_digits(begin, parts / (uint64_t)FIXED_PARTS, 1);
    if (number < 0)
        *--begin = '-';
    return buffer_add(out, begin, (size_t)(end - begin));
}

error_code json_fields_write(buffer *out, const json_field *fields, size_t n, const void *of)
{
    error_code code = OK;
    for (size_t i = 0; code == OK && i < n; i++) {
        const json_field *f = &fields[i];
        code = buffer_add_text(out, i == 0 ? "{\"" : ",\"");
        if (code == OK)
            code = buffer_add_text(out, f->name);
        if (code == OK)
            code = buffer_add_text(out, "\":");
        if (code == OK)
            code = f->kind == JSON_FIELD_COUNT ? write_count(out, count_at(f, of))
                                               : write_number(out, number_at(f, of));
    }
    return code == OK ? buffer_add_text(out, n > 0 ? "}" : "{}") : code;
}
