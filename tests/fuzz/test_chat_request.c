/* Mutated request bodies are read or refused, never anything else (run it with a sanitizer). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "server/openai.h"

#define ROUNDS 60000
#define MAX_BODY 2048

static const char *const seeds[] = {
    "{\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}",
    "{\"messages\":[{\"role\":\"system\",\"content\":\"a\"},{\"role\":\"user\",\"content\":[{"
    "\"type\":\"text\",\"text\":\"b\"},{\"type\":\"text\",\"text\":\"\\u00e9\"}]}],\"stream\":true,"
    "\"stream_options\":{\"include_usage\":true},\"stop\":[\"x\",\"y\"],\"seed\":12345}",
    "{\"model\":\"auto\",\"temperature\":0.7,\"top_p\":0.9,\"top_k\":40,\"min_p\":0.1,\"max_"
    "tokens\":"
    "100,\"logit_bias\":{\"1\":2,\"3\":-4.5},\"user\":\"u\",\"n\":1,\"tools\":[],\"messages\":[{"
    "\"role\":\"assistant\",\"content\":\"z\",\"refusal\":null}],\"prompt_lookup_num_tokens\":8,"
    "\"priority\":\"batch\",\"service_tier\":\"flex\",\"deadline_ms\":1000}",
};

static const char *const pieces[] = {
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "-1",
    "1e999",
    "99999999999999999999",
    "\"n\":",
    ",",
    "\"stop\":",
    "\"text\"",
    "\"content\"",
    "\\ud800",
    "\xff",
    "[[[[[[[[",
    "{\"role\":\"user\",\"content\":",
};

static uint32_t state = 1;

static uint32_t draw(uint32_t below)
{
    state ^= state << 13; /* xorshift: the same bodies every time */
    state ^= state >> 17;
    state ^= state << 5;
    return (uint32_t)((uint64_t)state * below >> 32);
}

/* Writes `piece` over `skip` bytes at a random place. */
static size_t splice(char *body, size_t length, const char *piece, size_t n, size_t skip)
{
    size_t at = draw((uint32_t)length + 1);
    if (skip > length - at)
        skip = length - at;
    if (length - skip + n > MAX_BODY)
        return length;
    memmove(body + at + n, body + at + skip, length - at - skip);
    memcpy(body + at, piece, n);
    return length - skip + n;
}

static size_t mutate(char *body, size_t length)
{
    char byte = (char)(draw(2) == 0 ? draw(256) : '0' + draw(75));
    const char *piece = pieces[draw(sizeof pieces / sizeof *pieces)];
    switch (draw(4)) {
    case 0:
        return splice(body, length, &byte, 1, 1);
    case 1:
        return splice(body, length, "", 0, 1 + draw(8));
    case 2:
        return splice(body, length, piece, strlen(piece), draw(8));
    default:
        return splice(body, length, piece, strlen(piece), strlen(piece));
    }
}

static void test_mutated_bodies(void **context)
{
    (void)context;
    size_t accepted = 0;
    for (int round = 0; round < ROUNDS; round++) {
        char body[MAX_BODY];
        const char *seed = seeds[draw(sizeof seeds / sizeof *seeds)];
        size_t length = strlen(seed);
        memcpy(body, seed, length);
        for (uint32_t i = 1 + draw(3); i > 0; i--)
            length = mutate(body, length);
        char *exact = malloc(length + 1); /* so that a sanitizer sees a read behind the end */
        assert_non_null(exact);
        memcpy(exact, body, length);
        chat_request r;
        api_error error = {0};
        request_text text = {.body = exact, .length = length};
        if (chat_request_parse(&r, &text, &(request_defaults){.max_tokens = 16}, &error)) {
            accepted++;
            assert_true(r.request.n_messages > 0);
            assert_true(r.request.n_stops <= REQUEST_MAX_STOPS);
            chat_request_free(&r);
        } else {
            assert_int_equal(error.status, 400);
            assert_true(error.message[0] != '\0');
            json_t *told = api_error_json(&error);
            assert_non_null(told);
            json_decref(told);
        }
        free(exact);
    }

    assert_true(accepted > 200); /* the mutations are not all rubbish */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mutated_bodies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
