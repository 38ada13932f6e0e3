/* json_fields.c: numbers by a table, as a value or as text. */
#include "base/json_fields.h"

#include <string.h>

#include "base/json.h"

static json_int_t count_at(const json_field *f, const void *of)
{
    uint64_t count;
    _Static_assert(sizeof(size_t) == sizeof count, "both kinds of counts are 64 bits");
    memcpy(&count, (const char *)of + f->offset, sizeof count);
    return (json_int_t)count;
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
                                    f->kind == JSON_FIELD_COUNT ? json_integer(count_at(f, of))
                                                                : json_real(number_at(f, of)));
    }
    return object;
}

void json_fields_write(json_out *o, const char *name, const json_field *fields, size_t n,
                       const void *of)
{
    json_out_open(o, name, '{');
    for (size_t i = 0; i < n; i++) {
        const json_field *f = &fields[i];
        if (f->kind == JSON_FIELD_COUNT)
            json_out_count(o, f->name, count_at(f, of));
        else
            json_out_number(o, f->name, number_at(f, of));
    }
    json_out_close(o, '}');
}
