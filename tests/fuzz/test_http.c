/* Mutated requests are read or refused, the same however they are cut into pieces, and never read
 * past their end (run it with a sanitizer). `test_http ROUNDS SEED` for more of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/texts.h"
#include "server/http_body.h"

#define MAX_REQUEST 4096

static const char *const seeds[] = {
    "GET /v1/models/a%20b?x=y HTTP/1.1\r\nHost: localhost:80\r\nAccept: */*\r\n\r\n",
    "POST /v1/route HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 11\r\nExpect: 100-continue\r\n"
    "Connection: close, x\r\n\r\nhello world",
    "POST http://a.b:1/c HTTP/1.1\r\nhost:a\r\nTransfer-Encoding: chunked\r\n\r\n"
    "5;a=\"b\"\r\nhello\r\nA\r\n0123456789\r\n0\r\nX: y\r\nZ:\r\n\r\n",
    "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
};
static const char *const pieces[] = {
    "\r\n",     "\n",      "\r",
    "\r\n\r\n", " ",       "\t",
    ":",        "%",       "%00",
    "0",        "\xff",    "Content-Length: 3\r\n",
    "99999999", ";",       "Transfer-Encoding: chunked\r\n",
    "0\r\n",    ",",       "Host: b\r\n",
    "HTTP/1.1", "http://", "18446744073709551616",
};

static long rounds;

static size_t make_request(char *text)
{
    const char *seed = seeds[draw(sizeof seeds / sizeof *seeds)];
    size_t length = strlen(seed);
    memcpy(text, seed, length);
    for (uint32_t i = draw(4); i > 0; i--)
        length = break_text(text, length, MAX_REQUEST, pieces, sizeof pieces / sizeof *pieces);
    return length;
}

typedef struct outcome {
    http_progress head, body;
    int status;
    size_t head_length, body_length;
    uint64_t digest; /* of the body's bytes */
} outcome;

static void check_head(const http_head *h)
{
    assert_true(strlen(h->method) > 0 && (h->path[0] == '/' || strcmp(h->path, "*") == 0));
    assert_true(h->n_headers <= HTTP_MAX_HEADERS);
    assert_true(h->is_old || h->authority[0] != '\0' || http_head_value(h, "host") != NULL);
    for (size_t i = 0; i < h->n_headers; i++)
        assert_null(strpbrk(h->headers[i].value, "\r\n"));
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
        char *exact = exact_copy(text + at, most);
        out->body = http_body_take(&body, exact, most, &used, &piece, &n, &fault);
        assert_true(used <= most && n <= used);
        assert_true(used > 0 || out->body != HTTP_MORE);
        for (size_t i = 0; i < n; i++)
            out->digest = out->digest * 31 + (unsigned char)piece[i];
        out->body_length += n;
        at += used;
        free(exact);
    }
    if (out->body == HTTP_BAD)
        out->status = fault.status;
}

/* Reads a request that comes `step` bytes at a time. */
static outcome read_request(const char *text, size_t length, size_t step)
{
    outcome out = {.head = HTTP_MORE};
    http_fault fault = {0, NULL};
    size_t scanned = 0, end = 0;
    for (size_t have = 0; have < length && out.head == HTTP_MORE;) {
        have += length - have < step ? length - have : step;
        char *exact = exact_copy(text, have);
        out.head = http_head_find(exact, have, &scanned, &end, &fault);
        free(exact);
    }
    if (out.head == HTTP_DONE) {
        http_head head;
        char *line = malloc(end + 1); /* one more byte, for the NUL at its end */
        assert_non_null(line);
        memcpy(line, text, end);
        line[end] = '\0';
        out.head_length = end;
        if (http_head_read(&head, line, end, &fault)) {
            check_head(&head);
            take_body(&head, text + end, length - end, step, &out);
        } else {
            out.head = HTTP_BAD;
        }
        free(line);
    }
    if (out.head == HTTP_BAD)
        out.status = fault.status;
    return out;
}

static void test_mutated_requests(void **context)
{
    (void)context;
    long served = 0, refused = 0;
    for (long round = 0; round < rounds; round++) {
        char text[MAX_REQUEST];
        size_t length = make_request(text);
        outcome whole = read_request(text, length, length);
        outcome cut = read_request(text, length, 1 + draw(40));
        assert_memory_equal(&whole, &cut, sizeof whole);
        served += whole.head == HTTP_DONE && whole.body == HTTP_DONE;
        refused += whole.status != 0;
        if (whole.status != 0)
            assert_in_range(whole.status, 400, 505);
    }
    printf("%ld requests: %ld whole, %ld refused, the rest cut off\n", rounds, served, refused);
    assert_true(served > rounds / 20 && refused > rounds / 20);
}

int main(int argc, char **argv)
{
    rounds = rounds_asked(argc, argv, 200000);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mutated_requests)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
