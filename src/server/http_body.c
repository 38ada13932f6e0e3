/* http_body.c: a state machine over lengths and chunks. */
#include "server/http_body.h"

#define MAX_SIZE_DIGITS 8 /* of a chunk: 4 GB, far above what a body may have */
#define MAX_PASSED 8192   /* bytes of extensions and trailers in a body */

enum place {
    PLACE_LENGTH, /* not chunked */
    PLACE_SIZE,
    PLACE_EXTENSION,
    PLACE_SIZE_LF,
    PLACE_DATA,
    PLACE_DATA_CR,
    PLACE_DATA_LF,
    PLACE_TRAILER, /* at the beginning of a line */
    PLACE_TRAILER_LINE,
    PLACE_TRAILER_LF,
    PLACE_LAST_LF,
    PLACE_END,
};

void http_body_init(http_body *b, const http_head *h)
{
    *b = (http_body){.place = h->framing == HTTP_CHUNKED ? PLACE_SIZE : PLACE_LENGTH,
                     .left = h->length};
}

/* The place after one byte that is not data, or -1. */
static int step_size(http_body *b, unsigned char c)
{
    unsigned digit = 16;
    if (c >= '0' && c <= '9')
        digit = c - (unsigned)'0';
    else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        digit = (c | 0x20u) - 'a' + 10;
    if (digit < 16 && b->digits < MAX_SIZE_DIGITS) {
        b->left = 16 * b->left + digit;
        b->digits++;
        return PLACE_SIZE;
    }
    if (b->digits == 0 || digit < 16)
        return -1;
    if (c == '\r')
        return PLACE_SIZE_LF;
    return c == ';' || c == ' ' || c == '\t' ? PLACE_EXTENSION : -1;
}

static int step_passed(http_body *b, unsigned char c, int after_cr)
{
    if (c == '\r')
        return after_cr;
    bool is_text = c == '\t' || (c >= ' ' && c != 0x7f);
    return is_text && ++b->passed <= MAX_PASSED ? b->place : -1;
}

static int step(http_body *b, unsigned char c)
{
    switch (b->place) {
    case PLACE_SIZE:
        return step_size(b, c);
    case PLACE_EXTENSION:
        return step_passed(b, c, PLACE_SIZE_LF);
    case PLACE_SIZE_LF:
        b->digits = 0;
        return c != '\n' ? -1 : b->left > 0 ? PLACE_DATA : PLACE_TRAILER;
    case PLACE_DATA_CR:
        return c == '\r' ? PLACE_DATA_LF : -1;
    case PLACE_DATA_LF:
        return c == '\n' ? PLACE_SIZE : -1;
    case PLACE_TRAILER:
        if (c == '\r')
            return PLACE_LAST_LF;
        b->place = PLACE_TRAILER_LINE;
        return step_passed(b, c, PLACE_TRAILER_LF);
    case PLACE_TRAILER_LINE:
        return step_passed(b, c, PLACE_TRAILER_LF);
    case PLACE_TRAILER_LF:
        return c == '\n' ? PLACE_TRAILER : -1;
    default: /* PLACE_LAST_LF */
        return c == '\n' ? PLACE_END : -1;
    }
}

static http_progress take_data(http_body *b, const char *bytes, size_t length, size_t *used,
                               const char **piece, size_t *n)
{
    *piece = bytes;
    *n = b->left < length ? (size_t)b->left : length;
    *used = *n;
    b->left -= *n;
    if (b->left > 0)
        return HTTP_MORE;
    if (b->place == PLACE_LENGTH)
        return HTTP_DONE;
    b->place = PLACE_DATA_CR;
    return HTTP_MORE;
}

http_progress http_body_take(http_body *b, const char *bytes, size_t length, size_t *used,
                             const char **piece, size_t *n, http_fault *fault)
{
    *piece = bytes;
    *n = *used = 0;
    if (b->place == PLACE_LENGTH || b->place == PLACE_DATA)
        return take_data(b, bytes, length, used, piece, n);
    while (*used < length && b->place != PLACE_DATA && b->place != PLACE_END) {
        int next = step(b, (unsigned char)bytes[*used]);
        if (next < 0) {
            *fault = (http_fault){400, "the chunks of the body are not well-formed"};
            return HTTP_BAD;
        }
        b->place = next;
        ++*used;
    }
    return b->place == PLACE_END ? HTTP_DONE : HTTP_MORE;
}

uint64_t http_body_left(const http_body *b)
{
    return b->place == PLACE_LENGTH ? b->left : 0;
}

void http_body_skip(http_body *b, uint64_t n)
{
    b->left -= n;
}

bool http_body_is_whole(const http_body *b)
{
    return b->place == PLACE_END || (b->place == PLACE_LENGTH && b->left == 0);
}
