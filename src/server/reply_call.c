/* reply_call.c: calls that are JSON objects, or a name with one, read while they are written. */
#include "server/reply_parser.h"

#include <jansson.h>
#include <string.h>

#include "base/json.h"

#define MAX_NAME 256 /* bytes before the arguments of a named call */

/* ---- scanning -------------------------------------------------------------------------------- */

/* The end of the value that begins (or goes on) at `at`; length + 1: it is not there yet. A text,
 * or what has brackets; anything else ends before a ',' or a bracket that closes another. */
static size_t scan_value(json_scan *s, const char *text, size_t length, size_t at)
{
    for (; at < length; at++) {
        char c = text[at];
        if (s->is_in_text) {
            bool closes = c == '"' && !s->is_escaped;
            s->is_escaped = c == '\\' && !s->is_escaped;
            s->is_in_text = !closes;
            if (closes && s->depth == 0)
                return at + 1;
        } else if (c == '"') {
            s->is_in_text = true;
        } else if (c == '{' || c == '[') {
            s->depth++;
        } else if (c == '}' || c == ']') {
            if (s->depth == 0)
                return at;
            if (--s->depth == 0)
                return at + 1;
        } else if (c == ',' && s->depth == 0) {
            return at;
        }
    }
    return length + 1;
}

typedef struct span {
    size_t begin, end;
} span;

/* What of a call's object has come so far. */
typedef struct call_object {
    bool is_bad; /* it is no call */
    bool is_whole;
    size_t end; /* when whole */
    span name;  /* end 0: not seen */
    bool has_arguments;
    span arguments; /* end 0: they go on */
    size_t depth;   /* brackets open where the arguments stand */
} call_object;

static bool is_word(const char *text, span s, const char *word)
{
    return s.end - s.begin == strlen(word) && memcmp(text + s.begin, word, s.end - s.begin) == 0;
}

static void note_value(call_object *o, const char *text, span key, span value)
{
    bool is_text = value.end > value.begin + 1 && text[value.begin] == '"';
    if (is_word(text, key, "name") && is_text)
        o->name = (span){value.begin + 1, value.end - 1};
    if (is_word(text, key, "arguments") || is_word(text, key, "parameters")) {
        o->has_arguments = true;
        o->arguments = value;
        o->depth = o->depth > 0 ? o->depth : 1;
    }
}

/* Reads `"key": ` at `at`. False: it is not there yet, or is none. */
static bool read_key(call_object *o, const char *text, size_t length, size_t *at, span *key)
{
    json_scan s = {0};
    if (text[*at] != '"') {
        o->is_bad = true;
        return false;
    }
    size_t end = scan_value(&s, text, length, *at);
    if (end > length)
        return false;
    *key = (span){*at + 1, end - 1};
    *at = reply_skip_spaces(text, length, end);
    if (*at < length && text[*at] != ':') {
        o->is_bad = true;
        return false;
    }
    *at = reply_skip_spaces(text, length, *at + (*at < length));
    return *at < length;
}

/* {"tool_call": {…}} and {"type": "function", "function": {…}} are what they hold. */
static bool is_wrapper(const char *text, span key, char first)
{
    return first == '{' && (is_word(text, key, "tool_call") || is_word(text, key, "function"));
}

/* `is_bound`: its name comes first, as the grammar of calls has it. */
static call_object scan_object(const char *text, size_t length, bool is_bound)
{
    call_object o = {.is_bad = false};
    size_t at = 1, depth = 1;
    while (!o.is_bad) {
        at = reply_skip_spaces(text, length, at);
        if (at >= length)
            return o;
        if (text[at] == '}' && --depth == 0) {
            o.is_whole = true;
            o.end = at + 1;
            o.is_bad = o.name.end == 0;
            return o;
        }
        if (text[at] == '}' || text[at] == ',') {
            at++;
            continue;
        }
        span key;
        if (!read_key(&o, text, length, &at, &key))
            return o;
        if (!is_bound && is_wrapper(text, key, text[at])) {
            depth++;
            at++;
            continue;
        }
        json_scan s = {0};
        size_t end = scan_value(&s, text, length, at);
        o.depth = depth;
        note_value(&o, text, key, (span){at, end <= length ? end : 0});
        if (end > length)
            return o;
        o.is_bad = is_bound && o.name.end == 0;
        at = end;
    }
    return o;
}

/* ---- telling --------------------------------------------------------------------------------- */

/* Arguments that are a JSON text within a text. */
static bool tell_quoted(reply_parser *p, const char *text, size_t length)
{
    error_code code;
    json_error_t error;
    json_t *value = json_read(text, length, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error, &code);
    bool told = value == NULL ? reply_tell(p, REPLY_ARGUMENTS, text, length)
                              : reply_tell(p, REPLY_ARGUMENTS, json_string_value(value),
                                           json_string_length(value));
    json_decref(value);
    return told;
}

static bool tell_arguments(reply_parser *p, const char *text, size_t length)
{
    return text[0] == '"' ? tell_quoted(p, text, length)
                          : reply_tell(p, REPLY_ARGUMENTS, text, length);
}

/* The object is there, or its name and where its arguments begin. */
static reply_step tell_object(reply_parser *p, const call_object *o)
{
    const char *text = p->held.data;
    if (!reply_tell(p, REPLY_CALL, text + o->name.begin, o->name.end - o->name.begin))
        return STEP_FAILED;
    if (!o->is_whole) {
        reply_drop(p, o->arguments.begin);
        p->scan = (json_scan){0};
        p->rest_depth = o->depth;
        p->mode = IN_ARGUMENTS;
        return STEP_MOVED;
    }
    bool told = o->has_arguments ? tell_arguments(p, text + o->arguments.begin,
                                                  o->arguments.end - o->arguments.begin)
                                 : reply_tell(p, REPLY_ARGUMENTS, "{}", 2);
    reply_drop(p, o->end);
    reply_end_call(p);
    return told ? STEP_MOVED : STEP_FAILED;
}

/* The reply was cut behind it. */
static reply_step tell_name(reply_parser *p, const call_object *o)
{
    if (!reply_tell(p, REPLY_CALL, p->held.data + o->name.begin, o->name.end - o->name.begin))
        return STEP_FAILED;
    reply_drop(p, p->held.length);
    reply_end_call(p);
    return STEP_MOVED;
}

/* {"name": "Alice", "age": 3} is one, unless a tool has that name or a call's own mark stands
 * before it. */
static bool is_answer(const reply_parser *p, const call_object *o)
{
    bool is_marked = p->opening != NULL && p->opening == p->options.style.form->begin;
    if (!o->is_whole || o->has_arguments || is_marked || p->options.texts == NULL)
        return false;
    return json_object_getn(p->options.texts, p->held.data + o->name.begin,
                            o->name.end - o->name.begin) == NULL;
}

static reply_step step_object(reply_parser *p)
{
    call_object o = scan_object(p->held.data, p->held.length, p->options.binds_calls);
    if (o.is_bad || is_answer(p, &o))
        return reply_refuse_call(p);
    if (o.is_whole || (o.has_arguments && o.name.end > 0))
        return tell_object(p, &o);
    if (p->is_end && p->options.only_calls && o.name.end > 0)
        return tell_name(p, &o);
    return p->is_end ? reply_refuse_call(p) : STEP_WAITS;
}

/* ---- a name, and an object ------------------------------------------------------------------- */

static bool is_name_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
}

/* "get_time", of "function<｜tool▁sep｜>get_time\n```json\n", "get_time[ARGS]" or
 * "functions.get_time:0". */
static span find_name(const char *text, size_t length)
{
    static const char *const before[] = {"function<｜tool▁sep｜>", "functions."};
    span name = {reply_skip_spaces(text, length, 0), 0};
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        size_t n = strlen(before[i]);
        if (length - name.begin > n && memcmp(text + name.begin, before[i], n) == 0)
            name.begin += n;
    }
    name.end = name.begin;
    while (name.end < length && is_name_character(text[name.end]))
        name.end++;
    return name;
}

static reply_step step_named(reply_parser *p)
{
    const char *text = p->held.data;
    const char *object = memchr(text, '{', p->held.length);
    size_t before = object != NULL ? (size_t)(object - text) : p->held.length;
    if (before > MAX_NAME || (object == NULL && p->is_end))
        return reply_refuse_call(p);
    if (object == NULL)
        return STEP_WAITS;
    span name = find_name(text, before);
    if (name.end == name.begin)
        return reply_refuse_call(p);
    if (!reply_tell(p, REPLY_CALL, text + name.begin, name.end - name.begin))
        return STEP_FAILED;
    reply_drop(p, before);
    p->scan = (json_scan){0};
    p->rest_depth = 0;
    p->mode = IN_ARGUMENTS;
    return STEP_MOVED;
}

/* ---- steps ----------------------------------------------------------------------------------- */

reply_step reply_step_call(reply_parser *p)
{
    const char *text = p->held.data;
    size_t at = reply_skip_spaces(text, p->held.length, 0);
    if (at == p->held.length)
        return p->is_end ? reply_refuse_call(p) : STEP_WAITS;
    reply_drop(p, at);
    call_syntax syntax = p->options.style.form->syntax;
    if (text[0] == '[' && syntax == CALL_LIST && !p->is_in_list) {
        reply_drop(p, 1);
        p->is_in_list = true;
        return STEP_MOVED;
    }
    if (text[0] == '{' && syntax != CALL_NAMED)
        return step_object(p);
    return syntax == CALL_OBJECT || p->is_in_list ? reply_refuse_call(p) : step_named(p);
}

reply_step reply_step_arguments(reply_parser *p)
{
    const char *text = p->held.data;
    size_t length = p->held.length;
    if (length == 0)
        return STEP_WAITS;
    bool is_quoted = text[0] == '"' && p->scan.depth == 0 && !p->scan.is_in_text;
    json_scan s = p->scan;
    size_t end = scan_value(&s, text, length, 0);
    bool is_whole = end <= length;
    if (is_quoted && !is_whole && !p->is_end)
        return STEP_WAITS; /* it is told when it can be read */
    size_t n = is_whole ? end : length;
    if (is_quoted ? !tell_quoted(p, text, n) : !reply_tell(p, REPLY_ARGUMENTS, text, n))
        return STEP_FAILED;
    reply_drop(p, n);
    p->scan = is_whole ? (json_scan){.depth = p->rest_depth} : s;
    if (!is_whole)
        return STEP_WAITS;
    p->mode = IN_REST;
    if (p->rest_depth == 0)
        reply_end_call(p);
    return STEP_MOVED;
}

reply_step reply_step_rest(reply_parser *p)
{
    size_t length = p->held.length;
    size_t end = scan_value(&p->scan, p->held.data, length, 0);
    reply_drop(p, end <= length ? end : length);
    if (end > length)
        return STEP_WAITS;
    reply_end_call(p);
    return STEP_MOVED;
}

reply_step reply_step_list(reply_parser *p)
{
    size_t at = reply_skip_spaces(p->held.data, p->held.length, 0);
    if (at == p->held.length)
        return STEP_WAITS;
    char c = p->held.data[at];
    reply_drop(p, at + (c == ',' || c == ']'));
    p->is_in_list = c == ',';
    p->mode = c == ',' ? IN_CALL : IN_TEXT;
    return STEP_MOVED;
}
