/* event_text.c: the C side of event_text.rs. */
#include "backend/event_text.h"

typedef error_code event_text_sink(buffer *out, const void *data, size_t length);

bool event_text_read(const char *data, size_t length, event_text_sink *put, buffer *out);

bool event_text_take(const char *data, size_t length, buffer *out)
{
    return event_text_read(data, length, buffer_add, out);
}
