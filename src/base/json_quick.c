/* json_quick.c: the C side of json_quick.rs: flags, results, and what jansson has as macros. */
#include "base/json_quick.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/json_memory.h"

/* ---- json_quick.rs --------------------------------------------------------------------------- */

/* `was_short`: memory was, and came from a reserve. */
json_t *json_foreign_read(const char *text, size_t length, bool allows_nul, bool rejects_duplicates,
                          bool *was_short);

typedef error_code json_foreign_reserve(buffer *out, size_t extra);

/* Leave the buffer without its NUL. `otherwise`: what a failure is that is not the buffer's. */
error_code json_foreign_write(const json_t *value, int digits, buffer *out,
                              json_foreign_reserve *reserve, error_code otherwise);
error_code json_foreign_write_text(const char *text, size_t length, buffer *out,
                                   json_foreign_reserve *reserve, error_code otherwise);

/* ---- for json_quick.rs ----------------------------------------------------------------------- */

int json_foreign_type(const json_t *value);
void json_foreign_release(json_t *value);
size_t json_foreign_real(const json_t *value, int digits, char *text, size_t size);

int json_foreign_type(const json_t *value)
{
    return (int)json_typeof(value);
}

void json_foreign_release(json_t *value)
{
    json_decref(value);
}

/* As jansson does it; 0: no memory. */
size_t json_foreign_real(const json_t *value, int digits, char *text, size_t size)
{
    static const char nothing[] = "0.0"; /* most of what is measured */
    double number = json_real_value(value);
    if (number == 0 && !signbit(number)) {
        memcpy(text, nothing, sizeof nothing);
        return sizeof nothing - 1;
    }
    size_t n = json_dumpb(value, text, size, JSON_ENCODE_ANY | JSON_REAL_PRECISION((size_t)digits));
    return n <= size ? n : 0;
}

/* ---- for C ----------------------------------------------------------------------------------- */

json_t *json_quick_read(const char *text, size_t length, size_t flags)
{
    const size_t known = JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES;
    bool was_short = false;
    if ((flags & ~known) != 0 || text == NULL)
        return NULL;
    json_t *value = json_foreign_read(text, length, (flags & JSON_ALLOW_NUL) != 0,
                                      (flags & JSON_REJECT_DUPLICATES) != 0, &was_short);
    if (was_short)
        json_memory_note_shortage();
    if ((flags & JSON_DECODE_ANY) != 0 || json_is_object(value) || json_is_array(value))
        return value;
    json_decref(value);
    return NULL;
}

static error_code end_text(buffer *out, error_code code)
{
    if (out->data != NULL)
        out->data[out->length] = '\0';
    return code;
}

error_code json_quick_write(buffer *out, const json_t *value, int digits)
{
    return end_text(out, json_foreign_write(value, digits, out, buffer_reserve, ERR_MEMORY));
}

error_code json_quick_write_text(buffer *out, const char *text, size_t length)
{
    return end_text(out, json_foreign_write_text(text, length, out, buffer_reserve, ERR_INVALID));
}
