/* tokenizer_spelling.c: how vocabularies write their tokens, and what those stand for: spaces as
 * U+2581, bytes as the letters of GPT-2's alphabet, a byte that no piece covers as a token. */
#include "model/tokenizer_internal.h"

#include <string.h>

#include "base/utf8.h"

size_t unmark_spaces(const char *text, size_t length, char *bytes)
{
    size_t n = 0;
    for (size_t at = 0; at < length;) {
        if (length - at >= 3 && memcmp(text + at, SPACE_MARK, 3) == 0) {
            bytes[n++] = ' ';
            at += 3;
        } else {
            bytes[n++] = text[at++];
        }
    }
    return n;
}

error_code unmark_text(buffer *b, const char *text, size_t length)
{
    error_code code = OK;
    while (code == OK && length > 0) {
        const char *found = memmem(text, length, SPACE_MARK, 3);
        size_t before = found == NULL ? length : (size_t)(found - text);
        code = buffer_add(b, text, before);
        if (code == OK && found != NULL)
            code = buffer_add(b, " ", 1);
        size_t used = before + (found == NULL ? 0 : 3);
        text += used;
        length -= used;
    }
    return code;
}

/* GPT-2's alphabet writes every byte as one printable letter: the printable bytes of Latin-1 as
 * themselves, the 68 others, in order, as U+0100 … U+0143. The byte for one letter, or -1. */
static int letter_byte(unsigned code_point)
{
    if ((code_point >= 0x21 && code_point <= 0x7E) || (code_point >= 0xA1 && code_point <= 0xAC) ||
        (code_point >= 0xAE && code_point <= 0xFF))
        return (int)code_point;
    if (code_point >= 0x100 && code_point <= 0x120)
        return (int)code_point - 0x100;
    if (code_point >= 0x121 && code_point <= 0x142)
        return (int)code_point - 0x121 + 0x7F;
    return code_point == 0x143 ? 0xAD : -1;
}

size_t bpe_decode_text(const char *text, size_t length, char *bytes)
{
    size_t n = 0;
    for (size_t at = 0; at < length;) {
        unsigned char lead = (unsigned char)text[at];
        unsigned code_point = lead;
        size_t step = 1;
        if (lead >= 0x80) { /* the alphabet's letters take one or two bytes of UTF-8 */
            if ((lead & 0xE0) != 0xC0 || at + 1 == length || (text[at + 1] & 0xC0) != 0x80)
                return SIZE_MAX;
            code_point = (lead & 0x1Fu) << 6 | ((unsigned char)text[at + 1] & 0x3Fu);
            step = 2;
        }
        int byte = letter_byte(code_point);
        if (byte < 0)
            return SIZE_MAX;
        bytes[n++] = (char)byte;
        at += step;
    }
    return n;
}

error_code encode_byte(encoder *e, unsigned char byte)
{
    int32_t id = e->tokenizer->byte_token[byte];
    if (id < 0)
        id = e->tokenizer->unknown;
    if (id < 0)
        return failure_set(e->fail, ERR_UNSUPPORTED,
                           "the model's vocabulary has no token for the byte 0x%02X", byte);
    return token_list_add(e->out, id);
}
