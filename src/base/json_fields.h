/*
 * json_fields.h: structs of numbers as JSON objects, by a table of their members: as a value, or as
 * text at once where there are many of them for each answer.
 */
#ifndef BASE_JSON_FIELDS_H
#define BASE_JSON_FIELDS_H

#include <jansson.h>
#include <stddef.h>

#include "base/json_out.h"

typedef enum json_field_kind {
    JSON_FIELD_COUNT,  /* a size_t or uint64_t */
    JSON_FIELD_NUMBER, /* a double; what is not finite is 0 */
} json_field_kind;

typedef struct json_field {
    const char *name; /* plain ASCII */
    json_field_kind kind;
    size_t offset;
} json_field;

/* clang-format off */
#define JSON_COUNT(of, member) {#member, JSON_FIELD_COUNT, offsetof(of, member)}
#define JSON_NUMBER(of, member) {#member, JSON_FIELD_NUMBER, offsetof(of, member)}
/* clang-format on */

/* New; NULL: no memory. */
json_t *json_fields_value(const json_field *fields, size_t n, const void *of);
/* As text. */
void json_fields_write(json_out *o, const char *name, const json_field *fields, size_t n,
                       const void *of);

#endif
