/* event_text.h: the text of an event that says nothing else, which nearly all of an answer are. */
#ifndef BACKEND_EVENT_TEXT_H
#define BACKEND_EVENT_TEXT_H

#include <stdbool.h>

#include "base/buffer.h"

/* Appends what a chat's event adds to its one choice's text. False: the event says something else,
 * is no such event or there is no memory; nothing was appended. */
bool event_text_take(const char *data, size_t length, buffer *out);

#endif
