/* Mutated answers of another server are read or found wrong, the same however they are cut into
 * pieces; what is read is text that whoever sent it could have meant. `test_remote_answer ROUNDS
 * SEED` for more of it. */
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
#include "fuzz/answer_reading.h"

#define MAX_ANSWER 4096

static const char *const seeds[] = {
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
    "\"finish_reason\":null}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"h\\u00e9\"}}]}\n\n"
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}\n\n"
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n"
    "data: [DONE]\n\n",
    "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"so\"}}]}\r\n\r\n"
    "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"f\","
    "\"arguments\":\"{\"}}]}}]}\n\ndata: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":1,"
    "\"function\":{\"name\":\"g\"}}]},\"finish_reason\":\"tool_calls\"}]}\n\n",
    "data: "
    "{\"choices\":[{\"delta\":{\"content\":\"x\"},\"logprobs\":{\"content\":[{\"token\":\"x\","
    "\"logprob\":-1,\"top_logprobs\":[{\"token\":\" code\",\"logprob\":-0.5},"
    "{\"token\":\"qa\",\"logprob\":-9}]}]},\"finish_reason\":\"stop\"}]}\n\n",
    ": wait\n\ndata: {\"error\":{\"message\":\"hot\",\"type\":\"x\"}}\n\n",
};
static const char *const pieces[] = {
    "\n\n",  "data: ",      "\"",        "{",           "}",
    "[",     "]",           "null",      "\\u0000",     "-1e999",
    "1e999", "\"choices\"", "\"delta\"", "\"index\"",   "9999999999999999999",
    "\xff",  "\"usage\"",   "\\ud800",   "\"message\"", ":",
    ",",     "\"name\"",
};

#define N_PIECES (sizeof pieces / sizeof *pieces)

static long rounds;

static void test_mutations(void **state)
{
    (void)state;
    const config_model large = {.name = "large", .remote = {.url = "http://x/v1", .model = "m"}};
    failure fail;
    remote_backend *b;
    size_t n_whole = 0, n_wrong = 0;
    assert_int_equal(remote_create(&b, NULL, &large, &fail), OK);
    for (long i = 0; i < rounds; i++) {
        char answer[MAX_ANSWER];
        const char *seed = seeds[draw(sizeof seeds / sizeof *seeds)];
        size_t length = strlen(seed);
        memcpy(answer, seed, length);
        for (uint32_t k = draw(4); k > 0; k--)
            length = draw(2) == 0 ? break_text(answer, length, MAX_ANSWER, pieces, N_PIECES)
                                  : replace_value(answer, length, MAX_ANSWER, pieces, N_PIECES);
        answer_outcome whole = read_answer(b, answer, length, MAX_ANSWER);
        answer_outcome cut = read_answer(b, answer, length, 1 + draw(7));
        n_whole += whole.is_whole;
        n_wrong += whole.fault != OK;
        expect_the_same(&whole, &cut);
    }
    assert_true(n_whole > (size_t)rounds / 10 && n_wrong > (size_t)rounds / 10);
    remote_free(b);
}

int main(int argc, char **argv)
{
    rounds = rounds_asked(argc, argv, 20000);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mutations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
