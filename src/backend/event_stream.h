/* event_stream.h: the events of a text/event-stream, as its bytes come in pieces of any size. */
#ifndef BACKEND_EVENT_STREAM_H
#define BACKEND_EVENT_STREAM_H

#include <stdbool.h>

#include "base/buffer.h"

typedef struct event_stream {
    buffer line; /* the one that has begun */
    buffer data; /* of the event that has begun: its lines, with newlines between them */
} event_stream;

/* Bytes of one event. A whole call may be in one; of lists of nothing values of a hundred times the
 * size are made. */
#define EVENT_LIMIT ((size_t)2 << 20)

void event_stream_init(event_stream *s);
void event_stream_free(event_stream *s);

/* `event` is told the data of each event that is complete; its other fields and comments are read
 * over. ERR_TOO_LARGE, ERR_MEMORY. */
error_code event_stream_feed(event_stream *s, const char *bytes, size_t length,
                             void (*event)(void *context, const char *data, size_t length),
                             void *context);

/* The event is the last one of OpenAI's streams. */
bool event_stream_is_end(const char *data, size_t length);

#endif
