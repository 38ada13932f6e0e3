/* fuzz_events.c: the stream of another server's answer, whole and in pieces of a size that the
 * first byte gives: the same text, the same end. */
#include "fuzz/target.h"

#include "backend/remote.h"
#include "base/log.h"

static remote_backend *far;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    static const config_model large = {.name = "large",
                                       .remote = {.url = "http://x/v1", .model = "m"}};
    failure fail;
    log_set_level(LOG_ERROR);
    HOLDS(remote_create(&far, NULL, &large, &fail) == OK);
    return 0;
}

static void on_event(void *context, const char *data, size_t length)
{
    remote_answer_take(context, data, length);
}

static remote_call *read_answer(const char *answer, size_t length, size_t most)
{
    const request r = {.n_messages = 0, .chat = {.is_parted = true}};
    remote_call *c = remote_call_make(far, &r, (wakeup){.call = NULL});
    HOLDS(c != NULL);
    error_code code = OK;
    for (size_t at = 0; code == OK && at < length; at += most) {
        size_t n = most < length - at ? most : length - at;
        code = event_stream_feed(&c->events, answer + at, n, on_event, c);
    }
    return c;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const char *answer = (const char *)data + 1;
    remote_call *whole = read_answer(answer, size - 1, size - 1);
    remote_call *cut = read_answer(answer, size - 1, 1 + data[0] % 16);
    HOLDS(whole->text.length == cut->text.length && whole->fault.code == cut->fault.code);
    HOLDS(whole->text.length == 0 ||
          memcmp(whole->text.data, cut->text.data, cut->text.length) == 0);
    HOLDS(whole->is_whole == cut->is_whole && whole->status.finish == cut->status.finish);
    remote_call_unreference(whole);
    remote_call_unreference(cut);
    return 0;
}
