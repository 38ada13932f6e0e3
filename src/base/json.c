/* json.c: reading and writing with jansson, and telling bad texts from a lack of memory. */
#include "base/json.h"

#include <math.h>
#include <string.h>

#include "base/json_memory.h"
#include "base/json_quick.h"
#include "base/utf8.h"

#define PRINT_LIMIT ((size_t)1 << 30)

bool json_was_short(void)
{
    return json_memory_was_short();
}

typedef struct text_source {
    const char *next;
    size_t left;
} text_source;

/* The next part of the text; once memory is short nothing of it is worth reading any more. */
static size_t give_text(void *part, size_t most, void *context)
{
    text_source *source = context;
    size_t n = source->left < most ? source->left : most;
    if (n == 0 || json_memory_is_short()) /* an empty buffer has no memory to copy from */
        return 0;
    memcpy(part, source->next, n);
    source->next += n;
    source->left -= n;
    return n;
}

json_t *json_read(const char *text, size_t length, size_t flags, json_error_t *error,
                  error_code *code)
{
    text_source source = {text, length};
    json_was_short(); /* what was before */
    json_t *value = json_quick_read(text, length, flags);
    if (value == NULL)
        value = json_load_callback(give_text, &source, flags, error);
    *code = value != NULL ? OK : ERR_FORMAT;
    if (json_was_short()) { /* a value all the same may lack characters of its texts */
        json_decref(value);
        value = NULL;
        *code = ERR_MEMORY;
    }
    return value;
}

error_code json_shape_code(const json_error_t *error, error_code otherwise)
{
    return json_error_code(error) == json_error_out_of_memory ? ERR_MEMORY : otherwise;
}

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
    if (value == NULL)
        value = repaired_text(text, length);
    if (value == NULL)
        json_memory_note_shortage();
    return value;
}

static error_code write_with(buffer *out, json_t *value, int digits)
{
    if (json_was_short() || value == NULL) {
        json_decref(value);
        return ERR_MEMORY;
    }
    size_t before = out->length;
    error_code code = json_quick_write(out, value, digits);
    if (code != OK && out->data != NULL) {
        out->length = before;
        out->data[before] = '\0';
    }
    json_decref(value);
    json_was_short();
    return code;
}

error_code json_write(buffer *out, json_t *value)
{
    return write_with(out, value, 9);
}

error_code json_write_text(buffer *out, const char *text, size_t length)
{
    error_code code = json_quick_write_text(out, text == NULL ? "" : text, length);
    return code == ERR_INVALID ? json_write(out, json_text(text, length)) : code;
}

error_code json_write_exact(buffer *out, json_t *value)
{
    return write_with(out, value, 17);
}

static int add_part(const char *part, size_t length, void *text)
{
    return buffer_add(text, part, length) == OK ? 0 : -1;
}

char *json_print(const json_t *value, size_t flags)
{
    buffer text;
    buffer_init(&text, PRINT_LIMIT);
    bool is_short = json_was_short();
    bool is_whole = json_dump_callback(value, add_part, &text, flags) == 0;
    is_short = json_was_short() || is_short; /* told here, not to who writes next */
    if (is_whole && !is_short)
        return text.data;
    buffer_free(&text);
    return NULL;
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
