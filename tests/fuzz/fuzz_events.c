/* fuzz_events.c: the stream of another server's answer, whole and in pieces of a size that the
 * first byte gives: the same text, the same end. */
#include "fuzz/target.h"

#include "base/log.h"
#include "fuzz/answer_reading.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const char *answer = (const char *)data + 1;
    answer_outcome whole = read_answer(far, answer, size - 1, size - 1);
    answer_outcome cut = read_answer(far, answer, size - 1, piece_of(data[0], 16, size - 1));
    expect_the_same(&whole, &cut);
    return 0;
}
