/* reply_held.c: what came of a reply and is not told yet: looking into it, telling, dropping. */
#include "server/reply_parser.h"

#include <string.h>

bool reply_tell(reply_parser *p, reply_part part, const char *text, size_t length)
{
    if (part == REPLY_CALL)
        p->n_calls++;
    else if (length == 0 || (part == REPLY_TEXT && p->options.only_calls))
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

bool reply_is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

size_t reply_skip_spaces(const char *text, size_t length, size_t at)
{
    while (at < length && reply_is_space(text[at]))
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
