#include "model/chat_internal.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

/* The longest Jinja text that is looked at; those of well-known models stay below 32 KiB. */
#define MAX_JINJA ((size_t)1 << 20)

/*
 * The canonical form: every tag and every stretch of text outside tags becomes tokens, one a line.
 * '{%' and '{{' open a tag, strings are written `"…`, text outside tags is an output of a string.
 * Outputs in a row that only join strings and names count as one.
 */
typedef struct canon {
    buffer *out;
    error_code code;
    size_t string_at;   /* where the last token begins when it is a string, else SIZE_MAX */
    size_t joint_at;    /* where such a string begins that a '+' follows, else SIZE_MAX */
    size_t after_joint; /* out's length right behind that '+' */
    bool open_output;   /* the last tag was an output that further outputs may be joined to */
} canon;

static void put(canon *c, const char *data, size_t length)
{
    if (c->code == OK)
        c->code = buffer_add(c->out, data, length);
}

static void put_token(canon *c, const char *data, size_t length)
{
    c->joint_at = SIZE_MAX;
    if (length == 1 && data[0] == '+' && c->string_at != SIZE_MAX)
        c->joint_at = c->string_at;
    c->string_at = SIZE_MAX;
    put(c, data, length);
    put(c, "\n", 1);
    c->after_joint = c->out->length;
}

/* A string token; with `binds` what follows belongs to it more tightly than a '+' before it. */
static void put_string(canon *c, const char *data, size_t length, bool binds)
{
    bool joins = c->joint_at != SIZE_MAX && c->after_joint == c->out->length && !binds;
    size_t at = c->out->length;
    if (joins) { /* take back "\n+\n" */
        at = c->joint_at;
        c->out->length -= 3;
    } else {
        put(c, "\"", 1);
    }
    for (size_t i = 0; i < length; i++) { /* no string may look like several tokens */
        if (data[i] == '\n')
            put(c, "\1n", 2);
        else
            put(c, data + i, 1);
        if (data[i] == '\1')
            put(c, data + i, 1);
    }
    put(c, "\n", 1);
    c->joint_at = SIZE_MAX;
    c->string_at = binds ? SIZE_MAX : at;
}

static bool is_word(char ch)
{
    return isalnum((unsigned char)ch) || ch == '_';
}

/* Reads the quoted string at *at, escapes undone; false when it does not end. */
static bool read_string(const char *text, size_t end, size_t *at, buffer *value)
{
    char quote = text[(*at)++];
    for (; *at < end && text[*at] != quote; ++*at) {
        char ch = text[*at];
        if (ch == '\\' && *at + 1 < end) {
            ch = text[++*at];
            ch = (char)(ch == 'n' ? '\n' : ch == 't' ? '\t' : ch == 'r' ? '\r' : ch);
        }
        if (buffer_add(value, &ch, 1) != OK)
            return false;
    }
    return (*at)++ < end;
}

static bool is_identifier(const buffer *value)
{
    for (size_t i = 0; i < value->length; i++)
        if (!is_word(value->data[i]))
            return false;
    return value->length > 0 && !isdigit((unsigned char)value->data[0]);
}

static size_t skip_space(const char *text, size_t at, size_t end)
{
    while (at < end && isspace((unsigned char)text[at]))
        at++;
    return at;
}

/* a['b'] → a.b: the string was read, `at` is behind it. */
static bool subscript_ends(const char *text, size_t *at, size_t end, const canon *c,
                           const buffer *name)
{
    const buffer *out = c->out;
    size_t close = skip_space(text, *at, end);
    if (close == end || text[close] != ']' || !is_identifier(name) || out->length < 4 ||
        memcmp(out->data + out->length - 2, "[\n", 2) != 0 ||
        !(is_word(out->data[out->length - 4]) || out->data[out->length - 4] == ']'))
        return false;
    *at = close + 1;
    return true;
}

/* The tokens of one tag's inside; false for a string that does not end. *joinable is cleared when
 * the tag does more than join strings, names and filters. */
static bool put_tag(canon *c, const char *text, size_t at, size_t end, bool *joinable)
{
    buffer value;
    buffer_init(&value, MAX_JINJA);
    bool sound = true;
    while (sound && (at = skip_space(text, at, end)) < end) {
        size_t begin = at;
        if (text[at] == '\'' || text[at] == '"') {
            buffer_clear(&value);
            sound = read_string(text, end, &at, &value);
            const char *data = value.data == NULL ? "" : value.data;
            if (sound && subscript_ends(text, &at, end, c, &value)) {
                c->out->length -= 2;
                put_token(c, ".", 1);
                put_token(c, data, value.length);
                continue;
            }
            size_t next = skip_space(text, at, end);
            put_string(c, data, value.length, next < end && strchr("|.[(%*/", text[next]) != NULL);
        } else if (is_word(text[at])) {
            static const char *const keywords[] = {"if", "else", "and", "or", "not", "in", "is"};
            while (at < end && is_word(text[at]))
                at++;
            for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
                if (strlen(keywords[i]) == at - begin &&
                    memcmp(keywords[i], text + begin, at - begin) == 0)
                    *joinable = false;
            put_token(c, text + begin, at - begin);
        } else {
            at++;
            if (strchr("=!<>", text[begin]) != NULL && at < end && text[at] == '=')
                at++;
            if (strchr("+.|[]", text[begin]) == NULL)
                *joinable = false;
            put_token(c, text + begin, at - begin);
        }
    }
    buffer_free(&value);
    return sound;
}

/* An output begins: behind another one it continues that one's sum. */
static void open_output(canon *c, bool joinable)
{
    if (c->open_output && joinable)
        put_token(c, "+", 1);
    else
        put_token(c, "{{", 2);
}

/* Finds the end of the tag that opened at `at` (behind its two characters): the closing mark is
 * "%}", "}}" or "#}". Returns SIZE_MAX when there is none. */
static size_t tag_end(const char *text, size_t at, size_t length, char kind)
{
    for (char quote = '\0'; at + 1 < length; at++) {
        if (quote != '\0') {
            if (text[at] == '\\')
                at++;
            else if (text[at] == quote)
                quote = '\0';
        } else if (kind != '#' && (text[at] == '\'' || text[at] == '"')) {
            quote = text[at];
        } else if (text[at] == (kind == '{' ? '}' : kind) && text[at + 1] == '}') {
            return at;
        }
    }
    return SIZE_MAX;
}

/* The text between two tags as Jinja leaves it (trim_blocks, lstrip_blocks, '-'). */
static void put_text(canon *c, const char *text, size_t begin, size_t end, char before, char after,
                     bool at_start)
{
    if (before == '-')
        begin = skip_space(text, begin, end);
    else if ((before == '%' || before == '#') && begin < end && text[begin] == '\n')
        begin++;
    if (after == '-') {
        while (end > begin && isspace((unsigned char)text[end - 1]))
            end--;
    } else if (after == '%' || after == '#') {
        size_t line = end;
        while (line > begin && (text[line - 1] == ' ' || text[line - 1] == '\t'))
            line--;
        /* begin may stand behind a newline that was taken away */
        bool line_begins = line > begin ? text[line - 1] == '\n'
                                        : at_start || (begin > 0 && text[begin - 1] == '\n');
        if (line_begins)
            end = line;
    }
    if (begin == end)
        return;
    open_output(c, true);
    put_string(c, text + begin, end - begin, false);
    c->open_output = true;
}

/* One tag, [at, end) without its marks and dashes. */
static bool put_whole_tag(canon *c, const char *text, size_t at, size_t end, char kind)
{
    if (kind == '#')
        return true;
    if (kind == '%') {
        bool ignored = false;
        put_token(c, "{%", 2);
        c->open_output = false;
        return put_tag(c, text, at, end, &ignored);
    }
    /* Whether an output can be joined is known only after reading it: read it once for that. */
    bool joinable = true;
    canon before = *c;
    size_t length = c->out->length;
    c->string_at = SIZE_MAX;
    if (!put_tag(c, text, at, end, &joinable) || c->code != OK)
        return false;
    *c = before;
    c->out->length = length;
    open_output(c, joinable);
    c->open_output = joinable;
    return put_tag(c, text, at, end, &joinable);
}

static bool canonise(canon *c, const char *jinja, size_t length)
{
    char before = '\0';
    size_t at = 0;
    for (size_t from = 0;;) {
        /* text up to the next tag */
        size_t open = from;
        while (open + 1 < length && !(jinja[open] == '{' && strchr("{%#", jinja[open + 1]) != NULL))
            open++;
        bool last = open + 1 >= length;
        if (last)
            open = length;
        char kind = last ? '\0' : jinja[open + 1];
        at = open + 2;
        bool dash = !last && at < length && jinja[at] == '-';
        put_text(c, jinja, from, open, before, dash ? '-' : kind, from == 0);
        if (last)
            return c->code == OK;
        at += dash;
        size_t end = tag_end(jinja, at, length, kind);
        if (end == SIZE_MAX)
            return false;
        bool end_dash = end > at && jinja[end - 1] == '-';
        if (!put_whole_tag(c, jinja, at, end - end_dash, kind))
            return false;
        before = end_dash ? '-' : kind;
        from = end + 2;
    }
}

bool chat_fingerprint(const char *jinja, size_t length, uint64_t *fingerprint)
{
    if (length > MAX_JINJA || memchr(jinja, '\0', length) != NULL)
        return false;
    if (length > 0 && jinja[length - 1] == '\n')
        length--; /* Jinja drops one newline at the end of a text */
    buffer out;
    buffer_init(&out, 4 * MAX_JINJA);
    canon c = {&out, OK, SIZE_MAX, SIZE_MAX, 0, false};
    bool sound = canonise(&c, jinja, length);
    *fingerprint = 0xCBF29CE484222325u; /* FNV-1a */
    for (size_t i = 0; i < out.length; i++)
        *fingerprint = (*fingerprint ^ (unsigned char)out.data[i]) * 0x100000001B3u;
    buffer_free(&out);
    return sound;
}

error_code chat_template_recognise(const chat_template **out, const char *jinja, size_t length,
                                   failure *fail)
{
    uint64_t fingerprint = 0;
    *out = NULL;
    if (chat_fingerprint(jinja, length, &fingerprint))
        *out = chat_template_fingerprinted(fingerprint);
    if (*out != NULL)
        return OK;
    return failure_set(fail, ERR_UNSUPPORTED,
                       "the model file's chat template (fingerprint %016" PRIx64
                       ") is none that is rendered exactly; name the one to use with "
                       "`chat_template:` (known: %s)",
                       fingerprint, chat_template_names());
}
