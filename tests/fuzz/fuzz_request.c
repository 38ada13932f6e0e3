/* fuzz_request.c: a request's body, of the API that the first byte names: refused with a status and
 * words, or what comes of it could be given to a model. */
#include "fuzz/target.h"

#include "base/log.h"
#include "server/openai.h"

static const request_form *const forms[] = {
    &openai_chat_form,     &openai_text_form, &responses_form, &anthropic_form, &ollama_chat_form,
    &ollama_generate_form, &embeddings_form,  &score_form,     &native_form,    &infill_form,
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    log_set_level(LOG_ERROR);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    chat_request r;
    api_error error = {0};
    const request_text text = {.body = (const char *)data + 1,
                               .length = size - 1,
                               .form = forms[data[0] % (sizeof forms / sizeof *forms)]};
    if (chat_request_parse(&r, &text, &(request_defaults){.max_tokens = 16}, &error)) {
        HOLDS(r.request.n_stops <= REQUEST_MAX_STOPS);
        chat_request_free(&r);
        return 0;
    }
    HOLDS(error.status >= 400 && error.status < 600 && error.message[0] != '\0');
    json_decref(api_error_json(&error));
    return 0;
}
