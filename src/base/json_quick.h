/*
 * json_quick.h: reading and writing jansson's values without looking at each byte: texts of
 * megabytes go through here several times. Inside the room only.
 *
 * What is read here is what jansson reads, and what is written is byte for byte what it writes;
 * whatever is not plain (faults, numbers of many digits, deep nesting) is left to it.
 */
#ifndef BASE_JSON_QUICK_H
#define BASE_JSON_QUICK_H

#include <jansson.h>
#include <stddef.h>

#include "base/buffer.h"

/* NULL: it was not read; ask jansson why. Flags: JSON_DECODE_ANY, JSON_ALLOW_NUL and
 * JSON_REJECT_DUPLICATES are known. */
json_t *json_quick_read(const char *text, size_t length, size_t flags);

/* Appends it as jansson's JSON_COMPACT and JSON_ENCODE_ANY do, with so many digits. On an error
 * something may have been appended. */
error_code json_quick_write(buffer *out, const json_t *value, int digits);

/* How many of the first bytes stand for themselves in a JSON text: neither controls, quotes and
 * backslashes nor the bytes of characters beyond ASCII. */
size_t json_quick_plain(const char *text, size_t length);

#endif
