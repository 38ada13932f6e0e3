/*
 * json_out.h: JSON written as text at once, where no value is needed in between: what is written
 * for each answer is written so.
 *
 * Commas come by themselves. `name` is of plain ASCII, or NULL within a list and at the outset.
 * What goes wrong is kept in `code`: from then on nothing is written, and who asks at the end has
 * not missed it; something may have been appended by then.
 */
#ifndef BASE_JSON_OUT_H
#define BASE_JSON_OUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"

typedef struct json_out {
    buffer *to;
    error_code code; /* the first that went wrong */
    bool follows;    /* on another member or item */
} json_out;

/* `bracket`: '{' or '[', and what closes it. */
void json_out_open(json_out *o, const char *name, char bracket);
void json_out_close(json_out *o, char bracket);

/* Of plain ASCII without quotes and backslashes; NULL: null. */
void json_out_word(json_out *o, const char *name, const char *word);
/* Any text, as json_write_text. */
void json_out_text(json_out *o, const char *name, const char *text, size_t length);
void json_out_count(json_out *o, const char *name, int64_t count);
/* To six decimals where it is below 10^9; what is not finite is 0. */
void json_out_number(json_out *o, const char *name, double number);
/* To nine digits. */
void json_out_real(json_out *o, const char *name, double number);
void json_out_flag(json_out *o, const char *name, bool flag);
/* Taken over; NULL is ERR_MEMORY. */
void json_out_value(json_out *o, const char *name, json_t *value);
/* As it stands. */
void json_out_raw(json_out *o, const char *name, const char *json, size_t length);

/* What was written, as a value; the buffer is freed. NULL: no memory. */
json_t *json_out_read(json_out *o);

#endif
