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

#define HOLDS(condition) assert_true(condition)
#include "fuzz/http_reading.h"

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
