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

size_t reply_parser_calls(const reply_parser *p)
{
    return p->n_calls;
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

static bool is_bare_call(const reply_parser *p)
{
    return p->options.takes_calls && p->options.style.form->is_bare && !p->has_text &&
           p->held.length > 0 && p->held.data[0] == '{';
}

static void begin_call(reply_parser *p, bool is_bare)
{
    p->mode = IN_CALL;
    p->is_bare = is_bare;
    p->is_in_list = false;
}

static void take_mark(reply_parser *p, const char *mark)
{
    reply_drop(p, strlen(mark));
    p->trims = true;
    if (mark == p->options.style.form->begin)
        begin_call(p, false);
}

/* Spaces before a call, and between two, are not text. */
static size_t without_spaces_behind(const reply_parser *p, size_t length)
{
    while (length > 0 && is_space(p->held.data[length - 1]))
        length--;
    return length;
}

static void trim(reply_parser *p)
{
    size_t n = reply_skip_spaces(p->held.data, p->held.length, 0);
    bool is_between = p->n_calls > 0 && p->options.style.form->is_bare && !p->has_text;
    if (is_between && n < p->held.length && p->held.data[n] == ';')
        n = reply_skip_spaces(p->held.data, p->held.length, n + 1);
    reply_drop(p, n);
    p->trims = p->held.length == 0;
}

/* A thought stands before what is said, never within it. WAITS: it may begin. */
static reply_step begin_thought(reply_parser *p)
{
    const char *mark = p->options.style.thoughts->begin;
    size_t at = reply_skip_spaces(p->held.data, p->held.length, 0), n = strlen(mark);
    size_t there = p->held.length - at < n ? p->held.length - at : n;
    if (memcmp(p->held.data + at, mark, there) != 0 || (there < n && p->is_end))
        return STEP_MOVED;
    if (there < n)
        return STEP_WAITS;
    reply_drop(p, at + n);
    p->mode = IN_THOUGHT;
    p->trims = true;
    return STEP_MOVED;
}

static reply_step step_text(reply_parser *p)
{
    if (p->trims || (p->options.takes_calls && !p->has_text))
        trim(p);
    if (p->held.length == 0)
        return STEP_WAITS;
    if (p->options.takes_thoughts && !p->has_text) {
        reply_step s = begin_thought(p);
        if (s == STEP_WAITS || p->mode == IN_THOUGHT)
            return s;
    }
    if (is_bare_call(p)) {
        begin_call(p, true);
        return STEP_MOVED;
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
        trim(p);
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

reply_step reply_refuse_call(reply_parser *p)
{
    bool told = true;
    if (!p->is_bare)
        told = reply_tell(p, REPLY_TEXT, p->options.style.form->begin,
                          strlen(p->options.style.form->begin));
    p->mode = IN_TEXT;
    p->trims = false;
    p->has_text = true;
    /* Of what is held, the first byte is certainly text: what follows is looked at again. */
    size_t n = p->held.length > 0 && p->is_bare ? 1 : 0;
    return told && reply_tell_held(p, REPLY_TEXT, n) ? STEP_MOVED : STEP_FAILED;
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
