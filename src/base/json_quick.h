/*
 * json_quick.h: jansson's values read and written by serde_json (json_quick.rs), because texts of
 * megabytes go through here several times and jansson looks at each character alone. Inside the
 * room only.
 *
 * What is read here is what jansson reads, and what is written is byte for byte what it writes;
 * whatever it might see otherwise (faults, numbers beyond 64 bits, deep nesting) is left to it.
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

/* Appends a text in quotes, likewise. ERR_INVALID: it is not UTF-8. */
error_code json_quick_write_text(buffer *out, const char *text, size_t length);

#endif
