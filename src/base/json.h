/*
 * json.h: what jansson leaves open: texts that may be anything, writing into a buffer, and where
 * memory was short. jansson says "invalid token" for a text that it had no memory to read, and a
 * value that could not be put into an object is simply not there: so its allocations are watched,
 * and reading and writing say ERR_MEMORY when one of their thread failed.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"

/* Whether memory was short for any JSON of this thread since the last reading, writing or asking:
 * for who compares values and writes none. */
bool json_was_short(void);

/* Reads JSON: NULL with ERR_FORMAT (and what jansson says in *error) or ERR_MEMORY in *code. */
json_t *json_read(const char *text, size_t length, size_t flags, json_error_t *error,
                  error_code *code);

/* Why json_unpack_ex failed: ERR_MEMORY, or what the caller calls another shape. */
error_code json_shape_code(const json_error_t *error, error_code otherwise);

/* Text that may hold anything: bytes that are not UTF-8 become U+FFFD, because JSON has no others.
 * NULL when there is no memory. */
json_t *json_text(const char *text, size_t length);

/* Appends such a text, in quotes, without making a value of it. ERR_MEMORY: something may have been
 * appended. */
error_code json_write_text(buffer *out, const char *text, size_t length);

/* Appends the text of `value` (taken over; NULL is ERR_MEMORY). ERR_MEMORY too, and nothing is
 * appended, when memory was short for any JSON of this thread since the last reading or writing:
 * what was built may lack parts. */
error_code json_write(buffer *out, json_t *value);
/* The same with as many digits as a double needs to be read back as it was. */
error_code json_write_exact(buffer *out, json_t *value);

/* The text of `value` as jansson's flags say, to be freed; NULL when there is none, or when memory
 * was short as above. For json_dumps, whose text may be of jansson's reserve, which free() does not
 * know. */
char *json_print(const json_t *value, size_t flags);

/* JSON has no infinity: what was not measured is 0. */
double json_finite(double value);

/* The whole part; beyond what a double counts exactly (2^53) that bound, and 0 of what is no
 * number.
 */
json_int_t json_whole(double value);
#define JSON_LARGEST_COUNT 9007199254740992 /* 2^53 */

#endif
