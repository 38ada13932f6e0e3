/* reply_parser.c: text and thoughts; where a call begins its own file goes on. */
#include "server/reply_parser.h"

#include <stdlib.h>
#include <string.h>

#define HELD_LIMIT ((size_t)16 << 20) /* far above what a context can hold */

error_code reply_parser_create(reply_parser **out, const reply_options *options)
{
    reply_parser *p = calloc(1, sizeof *p);
    if (p == NULL)
        return ERR_MEMORY;
    p->options = *options;
    p->options.takes_thoughts = options->takes_thoughts && options->style.thoughts != NULL;
    p->mode = options->is_in_thought && p->options.takes_thoughts ? IN_THOUGHT : IN_TEXT;
    p->trims = p->mode == IN_THOUGHT;
    p->channel = REPLY_TEXT;
    buffer_init(&p->held, HELD_LIMIT);
    *out = p;
    return OK;
}

void reply_parser_destroy(reply_parser *p)
{
    if (p == NULL)
        return;
    buffer_free(&p->held);
    free(p);
}

/* ---- telling -------------------------------------------------------------------------------- */

bool reply_tell(reply_parser *p, reply_part part, const char *text, size_t length)
{
    if (part == REPLY_CALL)
        p->n_calls++;
    else if (length == 0)
        return true;
    p->has_text = p->has_text || part == REPLY_TEXT;
    const reply_piece piece = {
        .part = part,
        .call = part == REPLY_CALL || part == REPLY_ARGUMENTS ? p->n_calls - 1 : 0,
        .text = text,
        .length = length,
    };
    return p->sink(p->context, &piece);
}

void reply_drop(reply_parser *p, size_t length)
{
    buffer *b = &p->held;
    if (length > 0)
        memmove(b->data, b->data + length, b->length - length + 1); /* and the NUL */
    b->length -= length;
}

bool reply_tell_held(reply_parser *p, reply_part part, size_t length)
{
    if (!reply_tell(p, part, p->held.data, length))
        return false;
    reply_drop(p, length);
    return true;
}

/* ---- looking -------------------------------------------------------------------------------- */

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

size_t reply_skip_spaces(const char *text, size_t length, size_t at)
{
    while (at < length && is_space(text[at]))
        at++;
    return at;
}

static bool may_become(const char *text, size_t length, const char *const *marks, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strncmp(marks[i], text, length) == 0)
            return true;
    return false;
}

size_t reply_find(const reply_parser *p, const char *const *marks, size_t n, const char **found)
{
    const buffer *b = &p->held;
    size_t first = b->length, longest = 0;
    *found = NULL;
    for (size_t i = 0; i < n && b->length > 0; i++) {
        size_t length = strlen(marks[i]);
        longest = length > longest ? length : longest;
        const char *at = memmem(b->data, b->length, marks[i], length);
        if (at == NULL || (size_t)(at - b->data) >= first)
            continue;
        first = (size_t)(at - b->data);
        *found = marks[i];
    }
    if (*found != NULL || p->is_end)
        return first;
    size_t at = b->length >= longest ? b->length - longest + 1 : 0;
    while (longest > 0 && at < b->length && !may_become(b->data + at, b->length - at, marks, n))
        at++;
    return longest > 0 ? at : first;
}

/* ---- text and thoughts ------------------------------------------------------------------------
 */

typedef struct mark_list {
    const char *marks[CHAT_FORM_MARKS + 2];
    size_t n;
} mark_list;

static void add_mark(mark_list *list, const char *mark)
{
    if (mark != NULL)
        list->marks[list->n++] = mark;
}

static mark_list text_marks(const reply_parser *p)
{
    const reply_options *o = &p->options;
    mark_list list = {.n = 0};
    if (!o->takes_calls)
        return list;
    add_mark(&list, o->style.form->begin);
    for (size_t i = 0; i < CHAT_FORM_MARKS; i++)
        add_mark(&list, o->style.form->dropped[i]);
    return list;
}

static void begin_call(reply_parser *p, const char *opening)
{
    p->mode = IN_CALL;
    p->opening = opening;
    p->is_in_list = false;
}

static void take_mark(reply_parser *p, const char *mark)
{
    reply_drop(p, strlen(mark));
    p->trims = true;
    if (mark == p->options.style.form->begin)
        begin_call(p, mark);
}

/* Spaces before a call, and between two, are not text. */
static size_t without_spaces_behind(const reply_parser *p, size_t length)
{
    while (length > 0 && is_space(p->held.data[length - 1]))
        length--;
    return length;
}

/* WAITS: it may begin so. */
static reply_step begins_with(const reply_parser *p, const char *mark)
{
    size_t n = strlen(mark);
    if (p->held.length >= n)
        return memcmp(p->held.data, mark, n) == 0 ? STEP_MOVED : STEP_FAILED;
    bool may = !p->is_end && strncmp(mark, p->held.data, p->held.length) == 0;
    return may ? STEP_WAITS : STEP_FAILED;
}

/* What stands between calls, and before the text behind them. False: it is not known yet. */
static bool trim(reply_parser *p)
{
    reply_drop(p, reply_skip_spaces(p->held.data, p->held.length, 0));
    p->trims = p->held.length == 0;
    if (p->trims || p->n_calls == 0 || p->has_text)
        return true;
    const char *mark = p->is_fenced ? "```" : ";";
    reply_step found = p->options.style.form->is_bare ? begins_with(p, mark) : STEP_FAILED;
    if (found == STEP_WAITS)
        return false;
    p->is_fenced = false;
    if (found == STEP_MOVED)
        reply_drop(p, reply_skip_spaces(p->held.data, p->held.length, strlen(mark)));
    p->trims = p->held.length == 0;
    return true;
}

/* A call without a mark is all of the reply, or stands in a block of code that is. */
static reply_step begin_bare_call(reply_parser *p)
{
    static const char *const openings[] = {"```json\n{", "```\n{", "{"};
    reply_step s = STEP_FAILED;
    for (size_t i = 0; i < sizeof openings / sizeof *openings; i++) {
        reply_step one = begins_with(p, openings[i]);
        if (one == STEP_MOVED) {
            begin_call(p, openings[i]);
            p->is_fenced = openings[i][0] == '`';
            reply_drop(p, strlen(openings[i]) - 1);
            return STEP_MOVED;
        }
        s = one == STEP_WAITS ? one : s;
    }
    return s;
}

/* A thought stands before what is said, never within it. */
static reply_step begin_thought(reply_parser *p)
{
    const char *mark = p->options.style.thoughts->begin;
    reply_step s = begins_with(p, mark);
    if (s != STEP_MOVED)
        return s;
    reply_drop(p, strlen(mark));
    p->mode = IN_THOUGHT;
    p->trims = true;
    return s;
}

static reply_step step_text(reply_parser *p)
{
    bool is_first = p->options.takes_calls && !p->has_text;
    if ((p->trims || is_first) && !trim(p))
        return STEP_WAITS;
    if (p->held.length == 0)
        return STEP_WAITS;
    if (p->options.takes_thoughts && !p->has_text) {
        reply_step s = begin_thought(p);
        if (s != STEP_FAILED)
            return s;
    }
    if (is_first && p->options.style.form->is_bare) {
        reply_step s = begin_bare_call(p);
        if (s != STEP_FAILED)
            return s;
    }
    const mark_list list = text_marks(p);
    const char *mark;
    size_t n = reply_find(p, list.marks, list.n, &mark);
    size_t told =
        p->options.takes_calls && (mark != NULL || !p->is_end) ? without_spaces_behind(p, n) : n;
    if (!reply_tell_held(p, REPLY_TEXT, told))
        return STEP_FAILED;
    if (mark == NULL)
        return STEP_WAITS;
    reply_drop(p, n - told);
    take_mark(p, mark);
    return STEP_MOVED;
}

static reply_step step_thought(reply_parser *p)
{
    if (p->trims)
        reply_drop(p, reply_skip_spaces(p->held.data, p->held.length, 0));
    p->trims = p->trims && p->held.length == 0;
    const char *mark;
    size_t n = reply_find(p, &p->options.style.thoughts->end, 1, &mark);
    size_t told = mark != NULL || !p->is_end ? without_spaces_behind(p, n) : n;
    if (!reply_tell_held(p, REPLY_THOUGHT, told))
        return STEP_FAILED;
    if (mark == NULL)
        return STEP_WAITS;
    reply_drop(p, n - told + strlen(mark));
    p->mode = IN_TEXT;
    p->trims = true;
    p->has_text = false;
    return STEP_MOVED;
}

/* ---- calls ------------------------------------------------------------------------------------
 */

void reply_end_call(reply_parser *p)
{
    p->mode = p->is_in_list ? IN_LIST : IN_TEXT;
    p->trims = true;
    p->has_text = false;
}

/* The opening is certainly text: what follows is looked at again. A bare call's has its first byte.
 */
reply_step reply_refuse_call(reply_parser *p)
{
    bool is_bare = p->opening != p->options.style.form->begin;
    p->mode = IN_TEXT;
    p->trims = p->is_fenced = false;
    p->has_text = true;
    reply_drop(p, is_bare && p->held.length > 0 ? 1 : 0);
    return reply_tell(p, REPLY_TEXT, p->opening, strlen(p->opening)) ? STEP_MOVED : STEP_FAILED;
}

static reply_step step_call(reply_parser *p)
{
    switch (p->options.style.form->syntax) {
    case CALL_ELEMENT:
        return reply_step_element(p);
    case CALL_LOOSE:
        return reply_step_loose(p);
    default:
        return reply_step_call(p);
    }
}

static reply_step step(reply_parser *p)
{
    switch (p->mode) {
    case IN_THOUGHT:
        return step_thought(p);
    case IN_CALL:
        return step_call(p);
    case IN_ARGUMENTS:
        return reply_step_arguments(p);
    case IN_REST:
        return reply_step_rest(p);
    case IN_LIST:
        return reply_step_list(p);
    case IN_HEADER:
        return reply_step_header(p);
    default:
        return step_text(p);
    }
}

bool reply_parser_feed(reply_parser *p, const char *text, size_t length, bool is_end,
                       reply_sink *sink, void *context)
{
    p->sink = sink;
    p->context = context;
    p->is_end = is_end;
    const chat_form *form = p->options.style.form;
    if (form == NULL)
        return reply_tell(p, REPLY_TEXT, text, length);
    if (buffer_add(&p->held, text, length) != OK)
        return false;
    reply_step s = STEP_MOVED;
    while (s == STEP_MOVED && (p->held.length > 0 || p->mode == IN_CALL))
        s = form->syntax == CALL_CHANNEL && p->mode != IN_HEADER ? reply_step_channel(p) : step(p);
    return s != STEP_FAILED;
}
