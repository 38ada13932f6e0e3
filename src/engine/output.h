/*
 * output.h: from accepted tokens to text that may be shown: whole UTF-8 characters, and nothing
 * that is or may still become a stop string.
 */
#ifndef ENGINE_OUTPUT_H
#define ENGINE_OUTPUT_H

#include <stdbool.h>

#include "base/buffer.h"
#include "model/tokenizer.h"

#define OUTPUT_MAX_STOPS 16
#define OUTPUT_MAX_STOP_BYTES 256

typedef struct output {
    text_decoder decoder;
    char *stops[OUTPUT_MAX_STOPS]; /* owned */
    size_t n_stops;
    buffer held;       /* decoded, not yet shown */
    const char *found; /* the one that was completed; or NULL */
} output;

error_code output_init(output *o, const tokenizer *t, const char *const *stops, size_t n_stops,
                       failure *fail);
void output_free(output *o);

/* Appends to `shown` what the token makes certain. *stopped: a stop string was completed; the text
 * ends before it. */
error_code output_push(output *o, int32_t token, buffer *shown, bool *stopped);
/* The reply ended without a stop string: every whole character held back is text after all. Of one
 * that is not whole nothing is shown: its bytes would have come with the next token. */
error_code output_finish(output *o, buffer *shown);

#endif
