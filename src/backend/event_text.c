/* event_text.c: the C side of event_text.rs, and the frame that is kept. */
#include "backend/event_text.h"

#include <stdint.h>

#define FRAME_LIMIT ((size_t)4 << 10) /* bytes of an event that is kept */

typedef error_code event_text_sink(buffer *out, const void *data, size_t length);

/* `from` SIZE_MAX: no text stands in the event as it is; else where it does. */
bool event_text_read(const char *data, size_t length, event_text_sink *put, buffer *out,
                     event_end *end, size_t *from, size_t *to);
bool event_text_read_framed(const char *data, size_t length, const char *frame, size_t frame_length,
                            size_t at, size_t end, event_text_sink *put, buffer *out);

void event_frame_init(event_frame *f)
{
    buffer_init(&f->event, FRAME_LIMIT);
}

void event_frame_free(event_frame *f)
{
    buffer_free(&f->event);
}

bool event_text_take(event_frame *f, const char *data, size_t length, buffer *out, event_end *end)
{
    *end = (event_end){.is_told = false};
    if (f->event.length > 0 && event_text_read_framed(data, length, f->event.data, f->event.length,
                                                      f->at, f->end, buffer_add, out))
        return true;
    size_t from, to;
    if (!event_text_read(data, length, buffer_add, out, end, &from, &to))
        return false;
    buffer_clear(&f->event);
    bool is_text_alone = from != SIZE_MAX && !end->is_told && !end->has_usage;
    if (is_text_alone && buffer_add(&f->event, data, length) == OK) {
        f->at = from;
        f->end = to;
    }
    return true;
}
