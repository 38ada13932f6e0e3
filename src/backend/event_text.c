/* event_text.c: the C side of event_text.rs, and the frame that is kept. */
#include "backend/event_text.h"

#include <stdint.h>

#define FRAME_LIMIT ((size_t)4 << 10) /* bytes of an event that is kept */

typedef error_code event_text_sink(buffer *out, const void *data, size_t length);

/* `at` SIZE_MAX: the text does not stand in the event as it is; else where it does. */
bool event_text_read(const char *data, size_t length, event_text_sink *put, buffer *out, size_t *at,
                     size_t *end);
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

bool event_text_take(event_frame *f, const char *data, size_t length, buffer *out)
{
    if (f->event.length > 0 && event_text_read_framed(data, length, f->event.data, f->event.length,
                                                      f->at, f->end, buffer_add, out))
        return true;
    size_t at, end;
    if (!event_text_read(data, length, buffer_add, out, &at, &end))
        return false;
    buffer_clear(&f->event);
    if (at != SIZE_MAX && buffer_add(&f->event, data, length) == OK) {
        f->at = at;
        f->end = end;
    }
    return true;
}
