/* json_quick.c: JSON in both directions, a run of plain bytes at a time. */
#include "base/json_quick.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

#define DEEPEST 64
#define LONGEST_INTEGER 18 /* digits that no 64-bit number lacks */
#define LONGEST_REAL 40    /* characters */

#define EACH(byte) ((uint64_t)0x0101010101010101u * (byte))

/* Not 0: one of the eight bytes is below n (<= 128). A byte above a zero byte may be told, too: the
 * bytes are then looked at one by one. */
static uint64_t has_below(uint64_t word, uint64_t n)
{
    return (word - EACH(n)) & ~word & EACH(0x80);
}

static uint64_t has_special(uint64_t word)
{
    return has_below(word, 0x20) | (word & EACH(0x80)) | has_below(word ^ EACH('"'), 1) |
           has_below(word ^ EACH('\\'), 1);
}

size_t json_quick_plain(const char *text, size_t length)
{
    size_t n = 0;
    for (uint64_t word; length - n >= sizeof word; n += sizeof word) {
        memcpy(&word, text + n, sizeof word);
        if (has_special(word) != 0)
            break;
    }
    for (; n < length; n++) {
        unsigned char c = (unsigned char)text[n];
        if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
            break;
    }
    return n;
}

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct reader {
    const char *at, *end;
    size_t flags;
    buffer text; /* of the string being read, where it is not plain */
} reader;

static json_t *read_value(reader *r, size_t depth);

static void skip_space(reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
        r->at++;
}

/* The next character that is no space, taken; -1: there is none. */
static int next(reader *r)
{
    skip_space(r);
    return r->at < r->end ? (unsigned char)*r->at++ : -1;
}

/* Four hexadecimal digits; -1: they are not there. */
static int32_t read_hex(reader *r)
{
    int32_t value = 0;
    if (r->end - r->at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = *r->at++;
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static bool add_character(buffer *out, uint32_t c)
{
    char bytes[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char first[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = n; i-- > 1; c >>= 6)
        bytes[i] = (char)(0x80 | (c & 0x3F));
    bytes[0] = (char)(first[n] | c);
    return buffer_add(out, bytes, n) == OK;
}

/* \uXXXX, two of them where the first is half of a character. */
static bool read_unicode(reader *r)
{
    int32_t c = read_hex(r), low = 0;
    bool is_half = c >= 0xD800 && c < 0xE000;
    if (c <= 0 || c >= 0xDC00)
        return c > 0 && !is_half && add_character(&r->text, (uint32_t)c);
    if (!is_half)
        return add_character(&r->text, (uint32_t)c);
    if (r->end - r->at < 2 || r->at[0] != '\\' || r->at[1] != 'u')
        return false;
    r->at += 2;
    low = read_hex(r);
    return low >= 0xDC00 && low < 0xE000 &&
           add_character(&r->text, (uint32_t)(0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00)));
}

static bool read_escape(reader *r)
{
    static const char names[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
    if (r->at == r->end)
        return false;
    char c = *r->at++;
    if (c == 'u')
        return read_unicode(r);
    const char *name = c != '\0' ? strchr(names, c) : NULL;
    return name != NULL && buffer_add(&r->text, &means[name - names], 1) == OK;
}

/* Characters beyond ASCII, as many as follow one another; 0: what is there is none. */
static size_t wide_bytes(const reader *r)
{
    size_t all = 0, n;
    while (r->at + all < r->end && (r->at[all] & 0x80) != 0) {
        if (utf8_next(r->at + all, (size_t)(r->end - r->at) - all, &n) != UTF8_WHOLE)
            return 0;
        all += n;
    }
    return all;
}

/* The rest of a string after its first quote, whose bytes are then *out: in the text itself where
 * they stand there, else in r->text. */
static bool read_string(reader *r, const char **out, size_t *length)
{
    const char *from = r->at; /* what is not in r->text yet */
    buffer_clear(&r->text);
    for (bool is_copied = false;;) {
        r->at += json_quick_plain(r->at, (size_t)(r->end - r->at));
        if (r->at == r->end)
            return false;
        size_t wide = wide_bytes(r);
        r->at += wide;
        if (wide > 0)
            continue;
        char c = *r->at;
        if ((c != '"' && c != '\\') ||
            ((c == '\\' || is_copied) && buffer_add(&r->text, from, (size_t)(r->at - from)) != OK))
            return false;
        r->at++;
        if (c == '"') {
            *out = is_copied ? r->text.data : from;
            *length = is_copied ? r->text.length : (size_t)(r->at - 1 - from);
            return true;
        }
        is_copied = true;
        if (!read_escape(r))
            return false;
        from = r->at;
    }
}

static json_t *read_text(reader *r)
{
    const char *text;
    size_t length;
    return read_string(r, &text, &length) ? json_stringn_nocheck(text, length) : NULL;
}

static size_t digits_at(const reader *r, const char *at)
{
    size_t n = 0;
    while (at + n < r->end && at[n] >= '0' && at[n] <= '9')
        n++;
    return n;
}

static json_t *make_real(const char *text, size_t length)
{
    char copy[LONGEST_REAL + 1];
    if (length > LONGEST_REAL)
        return NULL;
    memcpy(copy, text, length);
    copy[length] = '\0';
    double value = strtod(copy, NULL);
    return isfinite(value) ? json_real(value) : NULL;
}

static json_t *read_number(reader *r)
{
    const char *start = r->at, *at = start + (*start == '-');
    size_t whole = digits_at(r, at), part = 1, power = 1;
    bool is_real = false;
    if (whole == 0 || (at[0] == '0' && whole > 1))
        return NULL;
    at += whole;
    if (at < r->end && *at == '.') {
        part = digits_at(r, ++at);
        at += part;
        is_real = true;
    }
    if (at < r->end && (*at == 'e' || *at == 'E')) {
        at++;
        at += at < r->end && (*at == '+' || *at == '-');
        power = digits_at(r, at);
        at += power;
        is_real = true;
    }
    r->at = at;
    if (part == 0 || power == 0)
        return NULL;
    if (is_real)
        return make_real(start, (size_t)(at - start));
    json_int_t value = 0;
    for (const char *digit = start + (*start == '-'); digit < at && whole <= LONGEST_INTEGER;
         digit++)
        value = value * 10 + (*digit - '0');
    return whole <= LONGEST_INTEGER ? json_integer(*start == '-' ? -value : value) : NULL;
}

static json_t *read_word(reader *r)
{
    static const struct {
        const char *text;
        size_t length;
        json_type type;
    } words[] = {{"true", 4, JSON_TRUE}, {"false", 5, JSON_FALSE}, {"null", 4, JSON_NULL}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t n = words[i].length;
        if ((size_t)(r->end - r->at) < n || memcmp(r->at, words[i].text, n) != 0)
            continue;
        r->at += n;
        return i == 0 ? json_true() : i == 1 ? json_false() : json_null();
    }
    return NULL;
}

static json_t *read_list(reader *r, size_t depth)
{
    json_t *list = json_array();
    skip_space(r);
    if (r->at < r->end && *r->at == ']') {
        r->at++;
        return list;
    }
    for (;;) {
        json_t *value = read_value(r, depth + 1);
        if (value == NULL || json_array_append_new(list, value) != 0)
            break;
        int c = next(r);
        if (c == ']')
            return list;
        if (c != ',')
            break;
    }
    json_decref(list);
    return NULL;
}

/* One "key": value; false: none, or a key that is there already and must not be. */
static bool read_member(reader *r, json_t *object, size_t depth)
{
    const char *text;
    char key[256];
    size_t length;
    if (next(r) != '"' || !read_string(r, &text, &length) || length >= sizeof key)
        return false;
    memcpy(key, text, length); /* r->text is the value's next */
    if ((r->flags & JSON_REJECT_DUPLICATES) != 0 && json_object_getn(object, key, length) != NULL)
        return false;
    json_t *value = next(r) == ':' ? read_value(r, depth + 1) : NULL;
    return value != NULL && json_object_setn_new_nocheck(object, key, length, value) == 0;
}

static json_t *read_object(reader *r, size_t depth)
{
    json_t *object = json_object();
    skip_space(r);
    if (r->at < r->end && *r->at == '}') {
        r->at++;
        return object;
    }
    while (read_member(r, object, depth)) {
        int c = next(r);
        if (c == '}')
            return object;
        if (c != ',')
            break;
    }
    json_decref(object);
    return NULL;
}

static json_t *read_value(reader *r, size_t depth)
{
    skip_space(r);
    if (r->at == r->end || depth > DEEPEST)
        return NULL;
    switch (*r->at) {
    case '{':
        r->at++;
        return read_object(r, depth);
    case '[':
        r->at++;
        return read_list(r, depth);
    case '"':
        r->at++;
        return read_text(r);
    default:
        return *r->at == '-' || (*r->at >= '0' && *r->at <= '9') ? read_number(r) : read_word(r);
    }
}

json_t *json_quick_read(const char *text, size_t length, size_t flags)
{
    reader r = {.at = text, .end = text + length, .flags = flags};
    const size_t known = JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES;
    if ((flags & ~known) != 0 || text == NULL)
        return NULL;
    buffer_init(&r.text, length);
    json_t *value = read_value(&r, 0);
    bool is_any = (flags & JSON_DECODE_ANY) != 0 || json_is_object(value) || json_is_array(value);
    skip_space(&r);
    buffer_free(&r.text);
    if (r.at == r.end && is_any)
        return value;
    json_decref(value);
    return NULL;
}

/* ---- writing --------------------------------------------------------------------------------- */

static error_code write_escape(buffer *out, unsigned char c)
{
    static const char names[] = "\"\\\b\f\n\r\t", means[] = "\"\\bfnrt";
    const char *name = c != '\0' ? strchr(names, c) : NULL;
    char text[8] = {'\\', '\0'};
    if (name != NULL)
        text[1] = means[name - names];
    else
        snprintf(text, sizeof text, "\\u%04X", c);
    return buffer_add_text(out, text);
}

static error_code write_text(buffer *out, const char *text, size_t length)
{
    error_code code = buffer_reserve(out, length + 2);
    if (code == OK)
        code = buffer_add(out, "\"", 1);
    while (code == OK && length > 0) {
        size_t n = json_quick_plain(text, length);
        while (n < length && (text[n] & 0x80) != 0) { /* jansson's values hold nothing but UTF-8 */
            n++;
            n += json_quick_plain(text + n, length - n);
        }
        code = buffer_add(out, text, n);
        if (code == OK && n < length)
            code = write_escape(out, (unsigned char)text[n++]);
        text += n;
        length -= n;
    }
    return code == OK ? buffer_add(out, "\"", 1) : code;
}

static error_code write_integer(buffer *out, json_int_t value)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, value);
    return buffer_add(out, text, (size_t)n);
}

/* As jansson does it. */
static error_code write_real(buffer *out, const json_t *value, int digits)
{
    char text[64];
    size_t n =
        json_dumpb(value, text, sizeof text, JSON_ENCODE_ANY | JSON_REAL_PRECISION((size_t)digits));
    return n > 0 && n <= sizeof text ? buffer_add(out, text, n) : ERR_MEMORY;
}

static error_code write_list(buffer *out, const json_t *list, int digits)
{
    error_code code = buffer_add(out, "[", 1);
    for (size_t i = 0; code == OK && i < json_array_size(list); i++) {
        if (i > 0)
            code = buffer_add(out, ",", 1);
        if (code == OK)
            code = json_quick_write(out, json_array_get(list, i), digits);
    }
    return code == OK ? buffer_add(out, "]", 1) : code;
}

static error_code write_object(buffer *out, json_t *object, int digits)
{
    error_code code = buffer_add(out, "{", 1);
    for (void *i = json_object_iter(object), *first = i; code == OK && i != NULL;
         i = json_object_iter_next(object, i)) {
        if (i != first)
            code = buffer_add(out, ",", 1);
        if (code == OK)
            code = write_text(out, json_object_iter_key(i), json_object_iter_key_len(i));
        if (code == OK)
            code = buffer_add(out, ":", 1);
        if (code == OK)
            code = json_quick_write(out, json_object_iter_value(i), digits);
    }
    return code == OK ? buffer_add(out, "}", 1) : code;
}

error_code json_quick_write(buffer *out, const json_t *value, int digits)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return write_object(out, (json_t *)(uintptr_t)value, digits);
    case JSON_ARRAY:
        return write_list(out, value, digits);
    case JSON_STRING:
        return write_text(out, json_string_value(value), json_string_length(value));
    case JSON_INTEGER:
        return write_integer(out, json_integer_value(value));
    case JSON_REAL:
        return write_real(out, value, digits);
    case JSON_TRUE:
        return buffer_add_text(out, "true");
    case JSON_FALSE:
        return buffer_add_text(out, "false");
    default:
        return buffer_add_text(out, "null");
    }
}
