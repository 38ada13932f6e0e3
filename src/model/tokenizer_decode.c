#include "model/tokenizer_internal.h"

#include <string.h>

#include "base/utf8.h"

void text_decoder_init(text_decoder *d, const tokenizer *t, bool at_start)
{
    *d = (text_decoder){.tokenizer = t, .at_start = at_start && t->adds_space};
}

/* Adds one byte to the unfinished character and gives out what is decided by it. */
static error_code push_byte(text_decoder *d, unsigned char byte, buffer *out)
{
    d->held[d->n_held++] = byte;
    while (d->n_held > 0) {
        size_t bytes;
        utf8_kind kind = utf8_next((const char *)d->held, d->n_held, &bytes);
        if (kind == UTF8_CUT)
            return OK;
        error_code code = kind == UTF8_WHOLE ? buffer_add(out, d->held, bytes)
                                             : buffer_add_text(out, UTF8_REPLACEMENT);
        if (code != OK)
            return code;
        d->n_held -= bytes;
        memmove(d->held, d->held + bytes, d->n_held);
    }
    return OK;
}

error_code text_decoder_push(text_decoder *d, int32_t id, buffer *out)
{
    size_t length;
    const char *bytes = tokenizer_bytes(d->tokenizer, id, false, &length);
    if (d->at_start && length > 0) {
        d->at_start = false;
        if (bytes[0] == ' ') {
            bytes++;
            length--;
        }
    }
    if (d->n_held == 0) { /* the common case: whole characters */
        size_t whole = utf8_valid_prefix(bytes, length);
        error_code code = buffer_add(out, bytes, whole);
        if (code != OK)
            return code;
        bytes += whole;
        length -= whole;
    }
    for (size_t i = 0; i < length; i++) {
        error_code code = push_byte(d, (unsigned char)bytes[i], out);
        if (code != OK)
            return code;
    }
    return OK;
}

error_code text_decoder_finish(text_decoder *d, buffer *out)
{
    if (d->n_held == 0)
        return OK;
    d->n_held = 0;
    return buffer_add_text(out, UTF8_REPLACEMENT);
}
