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

#include "backend/remote.h"
#include "fuzz/texts.h"

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

/* All that a caller could see of it. */
typedef struct outcome {
    buffer text;
    error_code fault;
    bool is_whole;
    reply_end finish;
    size_t reply_tokens;
    float logprobs[2];
} outcome;

static void on_event(void *context, const char *data, size_t length)
{
    remote_answer_take(context, data, length);
}

static remote_probe *make_probe(void)
{
    remote_probe *p = calloc(1, sizeof *p);
    p->n_labels = 2;
    for (size_t i = 0; i < 2; i++) {
        p->labels[i] = strdup(i == 0 ? " code" : " qa");
        p->logprobs[i] = -1000;
    }
    return p;
}

/* In pieces of at most `most` bytes. */
static void read_answer(remote_backend *b, const char *answer, size_t length, size_t most,
                        outcome *out)
{
    const request r = {.n_messages = 0, .chat = {.is_parted = true}};
    remote_call *c = remote_call_make(b, &r, (wakeup){.call = NULL});
    assert_non_null(c);
    c->probe = make_probe();
    error_code code = OK;
    for (size_t at = 0; code == OK && at < length;) {
        size_t n = 1 + draw((uint32_t)most);
        n = n < length - at ? n : length - at;
        code = event_stream_feed(&c->events, answer + at, n, on_event, c);
        at += n;
    }
    *out = (outcome){.fault = c->fault.code,
                     .is_whole = c->is_whole,
                     .finish = c->status.finish,
                     .reply_tokens = c->status.stats.reply_tokens};
    memcpy(out->logprobs, c->probe->logprobs, sizeof out->logprobs);
    buffer_init(&out->text, (size_t)1 << 20);
    assert_int_equal(buffer_add(&out->text, c->text.data, c->text.length), OK);
    remote_call_unreference(c);
}

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
        outcome whole, cut;
        const char *seed = seeds[draw(sizeof seeds / sizeof *seeds)];
        size_t length = strlen(seed);
        memcpy(answer, seed, length);
        for (uint32_t k = draw(4); k > 0; k--)
            length = draw(2) == 0 ? break_text(answer, length, MAX_ANSWER, pieces, N_PIECES)
                                  : replace_value(answer, length, MAX_ANSWER, pieces, N_PIECES);
        read_answer(b, answer, length, MAX_ANSWER, &whole);
        read_answer(b, answer, length, 7, &cut);
        assert_int_equal(whole.text.length, cut.text.length);
        assert_true(whole.text.length == 0 ||
                    memcmp(whole.text.data, cut.text.data, cut.text.length) == 0);
        assert_true(whole.fault == cut.fault && whole.is_whole == cut.is_whole &&
                    whole.finish == cut.finish && whole.reply_tokens == cut.reply_tokens);
        assert_memory_equal(whole.logprobs, cut.logprobs, sizeof whole.logprobs);
        n_whole += whole.is_whole;
        n_wrong += whole.fault != OK;
        buffer_free(&whole.text);
        buffer_free(&cut.text);
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
