/* fuzz_http.c: bytes of a client's socket, whole and in pieces of a size that the first byte gives:
 * the same head and body, or the same fault. */
#include "fuzz/target.h"

#include "base/log.h"
#include "server/http_body.h"

typedef struct outcome {
    http_progress head, body;
    int status;
    size_t head_length, body_length;
    uint64_t digest; /* of the body's bytes */
} outcome;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    log_set_level(LOG_ERROR);
    return 0;
}

static void take_body(const http_head *h, const char *text, size_t length, size_t step,
                      outcome *out)
{
    http_body body;
    http_fault fault = {0, NULL};
    http_body_init(&body, h);
    out->body = h->framing == HTTP_NO_BODY ? HTTP_DONE : HTTP_MORE;
    for (size_t at = 0; at < length && out->body == HTTP_MORE;) {
        size_t used, n, most = length - at < step ? length - at : step;
        const char *piece;
        out->body = http_body_take(&body, text + at, most, &used, &piece, &n, &fault);
        HOLDS(used <= most && n <= used && (used > 0 || out->body != HTTP_MORE));
        for (size_t i = 0; i < n; i++)
            out->digest = out->digest * 31 + (unsigned char)piece[i];
        out->body_length += n;
        at += used;
    }
    if (out->body == HTTP_BAD)
        out->status = fault.status;
}

static outcome read_request(const char *text, size_t length, size_t step)
{
    outcome out = {.head = HTTP_MORE};
    http_fault fault = {0, NULL};
    size_t scanned = 0, end = 0;
    for (size_t have = 0; have < length && out.head == HTTP_MORE;) {
        have += length - have < step ? length - have : step;
        out.head = http_head_find(text, have, &scanned, &end, &fault);
    }
    if (out.head == HTTP_DONE) {
        http_head head;
        char *line = text_of((const uint8_t *)text, end);
        out.head_length = end;
        if (http_head_read(&head, line, end, &fault))
            take_body(&head, text + end, length - end, step, &out);
        else
            out.head = HTTP_BAD;
        free(line);
    }
    if (out.head == HTTP_BAD)
        out.status = fault.status;
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const char *text = (const char *)data + 1;
    outcome whole = read_request(text, size - 1, size - 1);
    outcome cut = read_request(text, size - 1, 1 + data[0] % 40u);
    HOLDS(memcmp(&whole, &cut, sizeof whole) == 0);
    HOLDS(whole.status == 0 || (whole.status >= 400 && whole.status <= 505));
    return 0;
}
