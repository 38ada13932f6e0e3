/* gguf_keys.c: keys by name: sorted once, converted where a number allows it. */
#include "model/gguf_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

size_t gguf_type_bytes(gguf_type type)
{
    switch (type) {
    case GGUF_U8:
    case GGUF_I8:
    case GGUF_BOOL:
        return 1;
    case GGUF_U16:
    case GGUF_I16:
        return 2;
    case GGUF_U32:
    case GGUF_I32:
    case GGUF_F32:
        return 4;
    case GGUF_U64:
    case GGUF_I64:
    case GGUF_F64:
        return 8;
    case GGUF_STRING:
    case GGUF_ARRAY:
        break;
    }
    return 0;
}

int gguf_string_compare(gguf_string a, gguf_string b)
{
    size_t n = a.length < b.length ? a.length : b.length;
    int order = n == 0 ? 0 : memcmp(a.data, b.data, n);
    return order != 0 ? order : (a.length > b.length) - (a.length < b.length);
}

/* ---- values --------------------------------------------------------------------------------- */

#define LOAD(type_name)                                                                            \
    type_name v;                                                                                   \
    memcpy(&v, p, sizeof v)

/* A whole number as 64 bits, sign-extended when negative; false for any other type. */
static bool integer_at(gguf_type type, const unsigned char *p, uint64_t *bits, bool *negative)
{
    int64_t value;
    *negative = false;
    switch (type) {
    case GGUF_U8:
        *bits = p[0];
        return true;
    case GGUF_U16: {
        LOAD(uint16_t);
        *bits = v;
        return true;
    }
    case GGUF_U32: {
        LOAD(uint32_t);
        *bits = v;
        return true;
    }
    case GGUF_U64: {
        LOAD(uint64_t);
        *bits = v;
        return true;
    }
    case GGUF_I8:
        value = (int8_t)p[0];
        break;
    case GGUF_I16: {
        LOAD(int16_t);
        value = v;
        break;
    }
    case GGUF_I32: {
        LOAD(int32_t);
        value = v;
        break;
    }
    case GGUF_I64: {
        LOAD(int64_t);
        value = v;
        break;
    }
    default:
        return false;
    }
    *negative = value < 0;
    *bits = (uint64_t)value;
    return true;
}

static bool number_at(gguf_type type, const unsigned char *p, double *out)
{
    uint64_t bits;
    bool negative;
    if (integer_at(type, p, &bits, &negative)) {
        *out = negative ? (double)(int64_t)bits : (double)bits;
        return true;
    }
    if (type == GGUF_F32) {
        LOAD(float);
        *out = (double)v;
        return true;
    }
    if (type == GGUF_F64) {
        LOAD(double);
        *out = v;
        return true;
    }
    return false;
}

static bool i32_at(gguf_type type, const unsigned char *p, int32_t *out)
{
    uint64_t bits;
    bool negative;
    if (type == GGUF_BOOL) {
        *out = *p == 1;
        return true;
    }
    if (!integer_at(type, p, &bits, &negative))
        return false;
    if (negative ? (int64_t)bits < INT32_MIN : bits > INT32_MAX)
        return false;
    *out = (int32_t)(int64_t)bits;
    return true;
}

/* ---- looking keys up ------------------------------------------------------------------------ */

static int compare_key(const void *name, const void *entry)
{
    return gguf_string_compare(*(const gguf_string *)name, (*(gguf_key *const *)entry)->name);
}

static const gguf_key *find(const gguf *file, const char *key)
{
    gguf_string name = {key, strlen(key)};
    gguf_key **found =
        bsearch(&name, file->keys_sorted, file->n_keys, sizeof(gguf_key *), compare_key);
    return found == NULL ? NULL : *found;
}

bool gguf_has(const gguf *file, const char *key)
{
    return find(file, key) != NULL;
}

bool gguf_u64(const gguf *file, const char *key, uint64_t *out)
{
    const gguf_key *k = find(file, key);
    uint64_t bits;
    bool negative;
    if (k == NULL || !integer_at(k->type, k->value, &bits, &negative) || negative)
        return false;
    *out = bits;
    return true;
}

bool gguf_f64(const gguf *file, const char *key, double *out)
{
    const gguf_key *k = find(file, key);
    return k != NULL && number_at(k->type, k->value, out);
}

bool gguf_bool(const gguf *file, const char *key, bool *out)
{
    const gguf_key *k = find(file, key);
    if (k == NULL || k->type != GGUF_BOOL)
        return false;
    *out = k->value[0] == 1;
    return true;
}

bool gguf_text(const gguf *file, const char *key, gguf_string *out)
{
    const gguf_key *k = find(file, key);
    if (k == NULL || k->type != GGUF_STRING)
        return false;
    *out = k->text;
    return true;
}

bool gguf_text_array(const gguf *file, const char *key, const gguf_string **items, size_t *count)
{
    const gguf_key *k = find(file, key);
    if (k == NULL || k->type != GGUF_ARRAY || k->element != GGUF_STRING)
        return false;
    *items = k->items;
    *count = k->count;
    return true;
}

/* The array of numbers (or truths) under `key`, and memory for `value_bytes` for each of them. */
static error_code number_array(const gguf *file, const char *key, bool truths, size_t value_bytes,
                               const gguf_key **found, void **memory, failure *fail)
{
    const gguf_key *k = find(file, key);
    if (k == NULL)
        return failure_set(fail, ERR_NOT_FOUND, "%s: key '%s' is missing", file->path, key);
    if (k->type != GGUF_ARRAY || k->element == GGUF_STRING || (k->element == GGUF_BOOL && !truths))
        return failure_set(fail, ERR_FORMAT, "%s: key '%s' is not an array of numbers", file->path,
                           key);
    *memory = calloc(k->count + 1, value_bytes);
    if (*memory == NULL)
        return failure_set(fail, ERR_MEMORY, "%s: no memory for the %zu values of key '%s'",
                           file->path, k->count, key);
    *found = k;
    return OK;
}

error_code gguf_f32_array(const gguf *file, const char *key, float **out, size_t *count,
                          failure *fail)
{
    const gguf_key *k;
    void *memory;
    error_code code = number_array(file, key, false, sizeof(float), &k, &memory, fail);
    if (code != OK)
        return code;
    float *values = memory;
    size_t step = gguf_type_bytes(k->element);
    for (size_t i = 0; i < k->count; i++) {
        double value = 0;
        number_at(k->element, k->value + i * step, &value);
        values[i] = (float)value;
    }
    *out = values;
    *count = k->count;
    return OK;
}

error_code gguf_i32_array(const gguf *file, const char *key, int32_t **out, size_t *count,
                          failure *fail)
{
    const gguf_key *k;
    void *memory;
    error_code code = number_array(file, key, true, sizeof(int32_t), &k, &memory, fail);
    if (code != OK)
        return code;
    int32_t *values = memory;
    size_t step = gguf_type_bytes(k->element);
    for (size_t i = 0; i < k->count; i++)
        if (!i32_at(k->element, k->value + i * step, &values[i])) {
            free(memory);
            return failure_set(fail, ERR_FORMAT, "%s: key '%s': value %zu is not a 32-bit integer",
                               file->path, key, i);
        }
    *out = values;
    *count = k->count;
    return OK;
}

/* ---- showing them --------------------------------------------------------------------------- */

static const char *type_name(gguf_type type)
{
    static const char *const names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                        "bool", "string", "array", "u64", "i64", "f64"};
    return names[type];
}

size_t gguf_key_count(const gguf *file)
{
    return file->n_keys;
}

gguf_string gguf_key_at(const gguf *file, size_t index)
{
    return file->keys[index].name;
}

void gguf_key_render(const gguf *file, size_t index, char *text, size_t size)
{
    const gguf_key *k = &file->keys[index];
    uint64_t bits;
    bool negative;
    double number;
    if (k->type == GGUF_STRING)
        utf8_printable(k->text.data, k->text.length, text, size);
    else if (k->type == GGUF_ARRAY)
        snprintf(text, size, "%zu × %s", k->count, type_name(k->element));
    else if (k->type == GGUF_BOOL)
        snprintf(text, size, "%s", k->value[0] == 1 ? "true" : "false");
    else if (integer_at(k->type, k->value, &bits, &negative) && negative)
        snprintf(text, size, "%" PRId64, (int64_t)bits);
    else if (integer_at(k->type, k->value, &bits, &negative))
        snprintf(text, size, "%" PRIu64, bits);
    else if (number_at(k->type, k->value, &number))
        snprintf(text, size, "%g", number);
}
