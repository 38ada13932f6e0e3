/* fuzz_gguf.c: a model file: refused, or loaded with its tokenizer, and then it takes a step. The
 * input is the file's head, behind which zeros stand for the weights: those are test_weights'. */
#include "fuzz/target.h"

#include "base/log.h"
#include "fuzz/model_step.h"

#define WEIGHTS_BYTES 700000 /* those of the seeds' models have 600,000 at most */

static team *workers;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    failure fail;
    log_set_level(LOG_ERROR);
    HOLDS(kernel_init(NULL, &fail) == OK && team_create(&workers, 1, &fail) == OK);
    return 0;
}

static void encode(const tokenizer *t)
{
    static const char text[] =
        "The \xe4\xb8\xad\xe6\x96\x87 returned 1234,  and <|im_end|></s> \xff";
    token_list ids = {0};
    tokenizer_encode(t, text, sizeof text - 1, true, true, &ids, NULL);
    for (size_t i = 0; i < ids.length; i++)
        HOLDS(ids.ids[i] >= 0 && (size_t)ids.ids[i] < tokenizer_size(t));
    token_list_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    model *m;
    failure fail = {0};
    model_options options = {0};
    error_code code =
        model_load(&m, file_of_more(data, size, size + WEIGHTS_BYTES), &options, &fail);
    check_refusal(code, &fail);
    if (code != OK)
        return 0;
    encode(m->tokenizer);
    HOLDS(model_step(m, workers));
    model_destroy(m);
    return 0;
}
