/* utf8.c: what begins a character, what goes on with it, and how far a text is whole. */
#include "base/utf8.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Length of the sequence a lead byte opens, and the range of its second byte (Unicode 15, table
 * 3-7): the narrower ranges keep out overlong forms, surrogates and what lies above U+10FFFF. */
static size_t sequence(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (lead < 0x80)
        return 1;
    if (lead < 0xC2)
        return 0;
    if (lead < 0xE0)
        return 2;
    if (lead < 0xF0) {
        if (lead == 0xE0)
            *low = 0xA0;
        if (lead == 0xED)
            *high = 0x9F;
        return 3;
    }
    if (lead > 0xF4)
        return 0;
    if (lead == 0xF0)
        *low = 0x90;
    if (lead == 0xF4)
        *high = 0x8F;
    return 4;
}

utf8_kind utf8_next(const char *text, size_t length, size_t *bytes)
{
    const unsigned char *s = (const unsigned char *)text;
    unsigned char low, high;
    size_t need = sequence(s[0], &low, &high);
    *bytes = 1;
    if (need == 0)
        return UTF8_INVALID;
    for (size_t i = 1; i < need; i++) {
        if (i == length)
            return UTF8_CUT;
        if (s[i] < low || s[i] > high)
            return UTF8_INVALID;
        *bytes = i + 1;
        low = 0x80;
        high = 0xBF;
    }
    return UTF8_WHOLE;
}

size_t utf8_valid_prefix(const char *text, size_t length)
{
    size_t at = 0;
    while (at < length) {
        uint64_t eight;
        if (length - at >= sizeof eight) {
            memcpy(&eight, text + at, sizeof eight);
            if ((eight & 0x8080808080808080u) == 0) {
                at += sizeof eight;
                continue;
            }
        }
        size_t bytes;
        if (utf8_next(text + at, length - at, &bytes) != UTF8_WHOLE)
            break;
        at += bytes;
    }
    return at;
}

void utf8_printable(const char *text, size_t length, char *out, size_t size)
{
    static const char cut[] = "...";
    size_t used = 0, cut_at = 0; /* cut_at: the last place where "..." still fits */
    for (size_t i = 0; i < length;) {
        const unsigned char *at = (const unsigned char *)text + i;
        size_t n;
        bool whole = utf8_next(text + i, length - i, &n) == UTF8_WHOLE;
        /* C0, DEL and C1 (U+0080..U+009F) can steer a terminal. */
        bool control = at[0] < 0x20 || at[0] == 0x7f || (n == 2 && at[0] == 0xc2 && at[1] < 0xa0);
        char piece[5] = "";
        if (!whole || control) {
            n = 1;
            snprintf(piece, sizeof piece, "\\x%02x", at[0]);
        } else {
            memcpy(piece, at, n);
        }
        size_t piece_length = strlen(piece);
        if (used + piece_length >= size) {
            memcpy(out + cut_at, cut, sizeof cut);
            return;
        }
        memcpy(out + used, piece, piece_length);
        used += piece_length;
        if (used + sizeof cut <= size)
            cut_at = used;
        i += n;
    }
    out[used] = '\0';
}
