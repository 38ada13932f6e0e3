/*
 * json.h: what jansson leaves open: texts that may be anything, and writing into a buffer.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>
#include <stddef.h>

#include "base/buffer.h"

/* Text that may hold anything: bytes that are not UTF-8 become U+FFFD, because JSON has no others.
 * NULL when there is no memory. */
json_t *json_text(const char *text, size_t length);

/* Appends the text of `value` (taken over; NULL is ERR_MEMORY). */
error_code json_write(buffer *out, json_t *value);
/* The same with as many digits as a double needs to be read back as it was. */
error_code json_write_exact(buffer *out, json_t *value);

/* JSON has no infinity: what was not measured is 0. */
double json_finite(double value);

/* The whole part; beyond what a double counts exactly (2^53) that bound, and 0 of what is no number.
 */
json_int_t json_whole(double value);
#define JSON_LARGEST_COUNT 9007199254740992 /* 2^53 */

#endif
