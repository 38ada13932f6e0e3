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

error_code event_stream_feed(event_stream *s, const char *bytes, size_t length,
                             void (*event)(void *, const char *, size_t), void *context)
{
    error_code code = s->line.capacity > 0 ? OK : buffer_reserve(&s->line, USUAL_LINE);
    if (code == OK && s->data.capacity == 0)
        code = buffer_reserve(&s->data, USUAL_LINE);
    while (code == OK && length > 0) {
        const char *end = memchr(bytes, '\n', length);
        size_t n = end != NULL ? (size_t)(end - bytes) : length;
        code = buffer_add(&s->line, bytes, n);
        if (code == OK && end != NULL)
            code = end_line(s, event, context);
        n += end != NULL;
        bytes += n;
        length -= n;
    }
    return code;
}
