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

/* ---- text and thoughts ----------------------------------------------------------------------- */

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
    while (length > 0 && reply_is_space(p->held.data[length - 1]))
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

/* ---- calls ----------------------------------------------------------------------------------- */

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
