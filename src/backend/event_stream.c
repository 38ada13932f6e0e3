/* event_stream.c: lines out of pieces of any size, and the data of events out of lines. */
#include "backend/event_stream.h"

#include <string.h>

#define USUAL_LINE 511 /* bytes: most never grow beyond it */

void event_stream_init(event_stream *s)
{
    buffer_init(&s->line, EVENT_LIMIT);
    buffer_init(&s->data, EVENT_LIMIT);
}

void event_stream_free(event_stream *s)
{
    buffer_free(&s->line);
    buffer_free(&s->data);
}

static error_code end_line(event_stream *s, void (*event)(void *, const char *, size_t),
                           void *context)
{
    static const char field[] = "data:";
    if (s->line.length > 0 && s->line.data[s->line.length - 1] == '\r')
        s->line.data[--s->line.length] = '\0';
    const char *line = s->line.data != NULL ? s->line.data : "";
    error_code code = OK;
    if (line[0] == '\0' && s->data.length > 0) {
        s->data.data[--s->data.length] = '\0'; /* the last newline */
        event(context, s->data.data, s->data.length);
        buffer_clear(&s->data);
    } else if (strncmp(line, field, sizeof field - 1) == 0) {
        line += sizeof field - 1;
        code = buffer_add_text(&s->data, *line == ' ' ? line + 1 : line);
        if (code == OK)
            code = buffer_add_text(&s->data, "\n");
    }
    buffer_clear(&s->line);
    return code;
}

/* An event that stands whole in what came, as most do, needs no copy. Returns its length with the
 * blank line; 0: it does not, or is not plain. */
static size_t find_whole(const char *bytes, size_t length, const char **data, size_t *n)
{
    static const char field[] = "data:";
    const size_t prefix = sizeof field - 1;
    const char *end = memchr(bytes, '\n', length);
    if (end == NULL || (size_t)(end - bytes) < prefix || memcmp(bytes, field, prefix) != 0)
        return 0;
    const char *next = end + 1;
    size_t left = length - (size_t)(next - bytes);
    size_t blank = left > 0 && next[0] == '\n'                ? 1
                   : left > 1 && memcmp(next, "\r\n", 2) == 0 ? 2
                                                              : 0;
    const char *from = bytes + prefix;
    if (end > from && end[-1] == '\r')
        end--;
    if (end > from && *from == ' ')
        from++;
    *data = from;
    *n = (size_t)(end - from);
    bool is_plain = *n < EVENT_LIMIT && memchr(from, '\0', *n) == NULL;
    return blank > 0 && is_plain ? (size_t)(next - bytes) + blank : 0;
}

/* A line, or its beginning. */
static error_code feed_line(event_stream *s, const char *bytes, size_t length, size_t *taken,
                            void (*event)(void *, const char *, size_t), void *context)
{
    const char *end = memchr(bytes, '\n', length);
    size_t n = end != NULL ? (size_t)(end - bytes) : length;
    error_code code = s->line.capacity > 0 ? OK : buffer_reserve(&s->line, USUAL_LINE);
    if (code == OK && s->data.capacity == 0)
        code = buffer_reserve(&s->data, USUAL_LINE);
    if (code == OK)
        code = buffer_add(&s->line, bytes, n);
    if (code == OK && end != NULL)
        code = end_line(s, event, context);
    *taken = n + (end != NULL);
    return code;
}

error_code event_stream_feed(event_stream *s, const char *bytes, size_t length,
                             void (*event)(void *, const char *, size_t), void *context)
{
    error_code code = OK;
    while (code == OK && length > 0) {
        const char *data;
        size_t n, taken = 0;
        if (s->line.length == 0 && s->data.length == 0)
            taken = find_whole(bytes, length, &data, &n);
        if (taken > 0)
            event(context, data, n);
        else
            code = feed_line(s, bytes, length, &taken, event, context);
        bytes += taken;
        length -= taken;
    }
    return code;
}

bool event_stream_is_end(const char *data, size_t length)
{
    static const char end[] = "[DONE]";
    return length == sizeof end - 1 && memcmp(data, end, length) == 0;
}
