/* event_text.h: the text of an event that says nothing else, or how the answer ended, which nearly
 * all of an answer do. */
#ifndef BACKEND_EVENT_TEXT_H
#define BACKEND_EVENT_TEXT_H

#include <stdbool.h>

#include "base/buffer.h"

/* An earlier event of the same answer: those that differ from it in their text alone need not be
 * read. */
typedef struct event_frame {
    buffer event;   /* empty: none yet */
    size_t at, end; /* of its text, between the quotes */
} event_frame;

void event_frame_init(event_frame *f);
void event_frame_free(event_frame *f);

/* What the last of them say besides. */
typedef struct event_end {
    bool is_told;
    bool is_cut; /* at its longest */
    bool has_usage;
    size_t prompt_tokens, reply_tokens, cached_tokens;
} event_end;

/* Appends what a chat's event adds to its one choice's text. False: the event says something else,
 * is no such event or there is no memory; nothing was appended. */
bool event_text_take(event_frame *f, const char *data, size_t length, buffer *out, event_end *end);

#endif
