#include "base/json.h"

#include <math.h>

#include "base/utf8.h"

static json_t *repaired_text(const char *text, size_t length)
{
    buffer clean;
    buffer_init(&clean, 3 * length + 1);
    error_code code = OK;
    for (size_t at = 0, n; code == OK && at < length; at += n) {
        bool whole = utf8_next(text + at, length - at, &n) == UTF8_WHOLE;
        code = whole ? buffer_add(&clean, text + at, n) : buffer_add_text(&clean, UTF8_REPLACEMENT);
    }
    json_t *value =
        code == OK ? json_stringn(clean.data == NULL ? "" : clean.data, clean.length) : NULL;
    buffer_free(&clean);
    return value;
}

json_t *json_text(const char *text, size_t length)
{
    json_t *value = json_stringn(text == NULL ? "" : text, length);
    return value != NULL ? value : repaired_text(text, length);
}

static error_code write_with(buffer *out, json_t *value, int digits)
{
    if (value == NULL)
        return ERR_MEMORY;
    const size_t flags = JSON_COMPACT | JSON_REAL_PRECISION((size_t)digits);
    size_t need = json_dumpb(value, NULL, 0, flags);
    error_code code = need == 0 ? ERR_MEMORY : buffer_reserve(out, need);
    if (code == OK) {
        /* It takes memory of its own, so that it can fail although its length was known. */
        size_t written = json_dumpb(value, out->data + out->length, need, flags);
        code = written == need ? OK : ERR_MEMORY;
        out->length += code == OK ? need : 0;
        out->data[out->length] = '\0';
    }
    json_decref(value);
    return code;
}

error_code json_write(buffer *out, json_t *value)
{
    return write_with(out, value, 9);
}

error_code json_write_exact(buffer *out, json_t *value)
{
    return write_with(out, value, 17);
}

double json_finite(double value)
{
    return isfinite(value) ? value : 0;
}

json_int_t json_whole(double value)
{
    const double most = (double)JSON_LARGEST_COUNT;
    return isnan(value) ? 0 : (json_int_t)fmax(fmin(value, most), -most);
}
