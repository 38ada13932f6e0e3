/* architecture_keys.c: reading one key of an architecture, checked. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/architecture.h"

const char *key_name(const key_reader *r, const char *suffix, char name[KEY_NAME_SIZE])
{
    snprintf(name, KEY_NAME_SIZE, "%s.%s", r->architecture, suffix);
    return name;
}

bool key_has(const key_reader *r, const char *suffix)
{
    char name[KEY_NAME_SIZE];
    return gguf_has(r->file, key_name(r, suffix, name));
}

/* A number, or an array that holds one number over and over: converters write some counts for every
 * layer. */
static bool read_number(key_reader *r, const char *name, uint64_t *out)
{
    int32_t *values;
    size_t n;
    if (gguf_u64(r->file, name, out))
        return true;
    if (gguf_i32_array(r->file, name, &values, &n, NULL) != OK)
        return false;
    bool same = n > 0 && values[0] >= 0;
    for (size_t i = 1; same && i < n; i++)
        same = values[i] == values[0];
    if (same)
        *out = (uint64_t)values[0];
    else
        r->code = failure_set(r->fail, ERR_UNSUPPORTED,
                              "key %s differs between layers, which is not supported", name);
    free(values);
    return same;
}

size_t key_count(key_reader *r, const char *suffix, size_t fallback, uint64_t limit)
{
    char name[KEY_NAME_SIZE];
    uint64_t value;
    if (r->code != OK)
        return fallback;
    key_name(r, suffix, name);
    if (!gguf_has(r->file, name) && fallback > 0)
        return fallback;
    if (!read_number(r, name, &value)) {
        if (r->code == OK)
            r->code = failure_set(r->fail, ERR_FORMAT, "key %s is missing or not a number", name);
        return fallback;
    }
    if (value == 0 || value > limit) {
        r->code = failure_set(r->fail, ERR_FORMAT, "key %s is %llu, must be 1 to %llu", name,
                              (unsigned long long)value, (unsigned long long)limit);
        return fallback;
    }
    return (size_t)value;
}

size_t key_optional_count(key_reader *r, const char *suffix, uint64_t limit)
{
    char name[KEY_NAME_SIZE];
    uint64_t value;
    if (r->code != OK || !key_has(r, suffix))
        return 0;
    if (gguf_u64(r->file, key_name(r, suffix, name), &value) && value == 0)
        return 0;
    return key_count(r, suffix, 0, limit);
}

static float read_float(key_reader *r, const char *suffix, double fallback, bool zero_is_allowed)
{
    char name[KEY_NAME_SIZE];
    double value = fallback;
    if (r->code != OK)
        return (float)fallback;
    key_name(r, suffix, name);
    if (gguf_has(r->file, name) && !gguf_f64(r->file, name, &value))
        r->code = failure_set(r->fail, ERR_FORMAT, "key %s is not a number", name);
    else if (value == 0 && zero_is_allowed)
        return (float)fallback;
    else if (!(value > 0) || !isfinite((float)value))
        r->code = failure_set(r->fail, ERR_FORMAT, "key %s is %g, must be positive", name, value);
    return (float)value;
}

float key_float(key_reader *r, const char *suffix, double fallback)
{
    return read_float(r, suffix, fallback, false);
}

float key_optional_float(key_reader *r, const char *suffix, double fallback)
{
    return read_float(r, suffix, fallback, true);
}

bool key_is(const key_reader *r, const char *suffix, const char *text)
{
    char name[KEY_NAME_SIZE];
    gguf_string value;
    return gguf_text(r->file, key_name(r, suffix, name), &value) && value.length == strlen(text) &&
           memcmp(value.data, text, value.length) == 0;
}

bool key_is_false(const key_reader *r, const char *suffix)
{
    char name[KEY_NAME_SIZE];
    bool value = true;
    return gguf_bool(r->file, key_name(r, suffix, name), &value) && !value;
}

void key_refuse(key_reader *r, const char *suffix, double neutral)
{
    char name[KEY_NAME_SIZE];
    double value;
    if (r->code != OK)
        return;
    key_name(r, suffix, name);
    if (gguf_f64(r->file, name, &value) && value != 0 && value != neutral)
        r->code =
            failure_set(r->fail, ERR_UNSUPPORTED, "key %s = %g is not supported", name, value);
}
