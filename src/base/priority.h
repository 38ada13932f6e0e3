/* priority.h: the two classes of requests, in every room: batch waits behind interactive, and makes
 * room for it. */
#ifndef BASE_PRIORITY_H
#define BASE_PRIORITY_H

#include <stdbool.h>

typedef enum request_priority { PRIORITY_INTERACTIVE, PRIORITY_BATCH } request_priority;

/* "interactive" or "batch"; false when text is neither. */
bool priority_parse(const char *text, request_priority *out);
const char *priority_name(request_priority p);

#endif
