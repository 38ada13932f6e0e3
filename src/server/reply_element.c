/* reply_element.c: calls whose arguments are no JSON: they are read when they are whole. */
#include "server/reply_parser.h"

#include <jansson.h>
#include <string.h>

#include "base/json.h"

#define ARGUMENTS_LIMIT ((size_t)16 << 20)

/* What stands in `text` before `mark`, from *at on; *at is then behind it. NULL: there is no mark.
 */
static const char *take_until(const char *text, size_t length, size_t *at, const char *mark,
                              size_t *n)
{
    const char *begin = text + *at, *end = memmem(begin, length - *at, mark, strlen(mark));
    if (end == NULL)
        return NULL;
    *n = (size_t)(end - begin);
    *at += *n + strlen(mark);
    return begin;
}

static bool skip(const char *text, size_t length, size_t *at, const char *mark)
{
    size_t n = strlen(mark);
    *at = reply_skip_spaces(text, length, *at);
    if (length - *at < n || memcmp(text + *at, mark, n) != 0)
        return false;
    *at += n;
    return true;
}

static bool tell_whole(reply_parser *p, const char *name, size_t length, json_t *arguments,
                       size_t used)
{
    buffer text;
    buffer_init(&text, ARGUMENTS_LIMIT);
    bool told = json_write_exact(&text, arguments) == OK &&
                reply_tell(p, REPLY_CALL, name, length) &&
                reply_tell(p, REPLY_ARGUMENTS, text.data, text.length);
    buffer_free(&text);
    reply_drop(p, used);
    reply_end_call(p);
    return told;
}

/* ---- elements -------------------------------------------------------------------------------- */

/* A parameter's text is a number, a list … when it is JSON, else it is a text, as it is where its
 * schema says so. The line breaks beside the marks are not part of it. */
static json_t *parameter_value(const char *text, size_t length, bool is_text)
{
    error_code code;
    json_error_t error;
    if (length > 0 && text[0] == '\n') {
        text++;
        length--;
    }
    if (length > 0 && text[length - 1] == '\n')
        length--;
    json_t *value =
        is_text ? NULL : json_read(text, length, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error, &code);
    if (value != NULL && !json_is_string(value))
        return value;
    json_decref(value);
    return json_text(text, length);
}

/* `texts`: of these parameters, those that are texts. */
static json_t *read_parameters(const json_t *texts, const char *text, size_t length, size_t *at)
{
    json_t *all = json_object();
    while (skip(text, length, at, "<parameter=")) {
        size_t n_key, n_value;
        const char *key = take_until(text, length, at, ">", &n_key);
        const char *value =
            key != NULL ? take_until(text, length, at, "</parameter>", &n_value) : NULL;
        if (value == NULL)
            break;
        bool is_text = json_object_getn(texts, key, n_key) != NULL;
        json_object_setn_new(all, key, n_key, parameter_value(value, n_value, is_text));
    }
    return all;
}

reply_step reply_step_element(reply_parser *p)
{
    const char *text = p->held.data;
    size_t length = p->held.length, at = reply_skip_spaces(text, length, 0), n_name;
    if (at < length && text[at] == '{')
        return reply_step_call(p);
    if (memmem(text, length, "</function>", 11) == NULL)
        return p->is_end ? reply_refuse_call(p) : STEP_WAITS;
    if (!skip(text, length, &at, "<function="))
        return reply_refuse_call(p);
    const char *name = take_until(text, length, &at, ">", &n_name);
    if (name == NULL)
        return reply_refuse_call(p);
    const json_t *texts = json_object_getn(p->options.texts, name, n_name);
    json_t *arguments = read_parameters(texts, text, length, &at);
    skip(text, length, &at, "</function>");
    return tell_whole(p, name, n_name, arguments, at) ? STEP_MOVED : STEP_FAILED;
}

/* ---- objects without quotes ------------------------------------------------------------------ */

static bool is_word_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
}

static bool add_text(buffer *out, const char *text, size_t length)
{
    json_t *value = json_text(text, length);
    return json_write(out, value) == OK;
}

/* A word is a key, a number or a constant; any other stands for a text. */
static bool add_word(buffer *out, const char *text, size_t length, bool is_key)
{
    error_code code;
    json_error_t error;
    json_t *value = is_key ? NULL : json_read(text, length, JSON_DECODE_ANY, &error, &code);
    json_decref(value);
    return value != NULL ? buffer_add(out, text, length) == OK : add_text(out, text, length);
}

/* {key:<escape>text<escape>,n:5} as JSON. False: no memory, or a text has no end. */
static bool write_json(buffer *out, const char *text, size_t length, const char *quote)
{
    size_t n_quote = strlen(quote), at = 0;
    while (at < length) {
        size_t n = 0;
        if (length - at >= n_quote && memcmp(text + at, quote, n_quote) == 0) {
            at += n_quote;
            const char *value = take_until(text, length, &at, quote, &n);
            if (value == NULL || !add_text(out, value, n))
                return false;
            continue;
        }
        while (at + n < length && is_word_character(text[at + n]))
            n++;
        size_t behind = reply_skip_spaces(text, length, at + n);
        bool is_key = behind < length && text[behind] == ':';
        if (n > 0 ? !add_word(out, text + at, n, is_key) : buffer_add(out, text + at, 1) != OK)
            return false;
        at += n > 0 ? n : 1;
    }
    return true;
}

static json_t *read_loose(const char *text, size_t length, const char *quote)
{
    buffer written;
    error_code code;
    json_error_t error;
    buffer_init(&written, ARGUMENTS_LIMIT);
    json_t *value = NULL;
    if (write_json(&written, text, length, quote) && written.length > 0)
        value = json_read(written.data, written.length, JSON_ALLOW_NUL, &error, &code);
    buffer_free(&written);
    return value;
}

reply_step reply_step_loose(reply_parser *p)
{
    const chat_form *form = p->options.style.form;
    const char *text = p->held.data;
    size_t length = p->held.length, at = 0, n = 0;
    if (memmem(text, length, form->dropped[0], strlen(form->dropped[0])) == NULL)
        return p->is_end ? reply_refuse_call(p) : STEP_WAITS;
    const char *body = take_until(text, length, &at, form->dropped[0], &n);
    const char *object = memchr(body, '{', n);
    size_t begin = 0;
    if (object == NULL || !skip(body, n, &begin, "call:"))
        return reply_refuse_call(p);
    json_t *arguments = read_loose(object, n - (size_t)(object - body), form->quote);
    if (arguments == NULL)
        return reply_refuse_call(p);
    size_t n_name = (size_t)(object - body) - begin;
    return tell_whole(p, body + begin, n_name, arguments, at) ? STEP_MOVED : STEP_FAILED;
}
