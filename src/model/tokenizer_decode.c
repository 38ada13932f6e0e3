/* tokenizer_decode.c: ids to text a token at a time, for streams. */
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

/* True when encoding puts a space before text that follows this token. */
static bool is_followed_by_space(const tokenizer *t, int32_t id)
{
    if (!t->spaces_each || id < 0 || (size_t)id >= t->size)
        return false;
    uint8_t type = t->tokens[id].type;
    return type == TOKEN_CONTROL || type == TOKEN_UNKNOWN || type == TOKEN_USER_DEFINED;
}

error_code text_decoder_push(text_decoder *d, int32_t id, buffer *out)
{
    size_t length;
    const char *bytes = tokenizer_bytes(d->tokenizer, id, d->specials, &length);
    bool at_start = d->at_start && length == 0;
    if (d->at_start && length > 0 && bytes[0] == ' ') {
        bytes++;
        length--;
    }
    d->at_start = at_start || is_followed_by_space(d->tokenizer, id);
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
