/* fuzz_template.c: a chat template of a model file: refused in words, or it renders, or says why
 * not. The library behind it is Rust, whose branches libFuzzer sees (Makefile, RUST_TRACE). */
#include "fuzz/target.h"

#include "base/log.h"
#include "model/chat.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    log_set_level(LOG_ERROR);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const chat_input conversation = {
        .messages_json = "[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":"
                         "\"<s>hello\"},{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{"
                         "\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}}]}]",
        .tools_json = "[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]",
        .generation_prompt = true,
        .now = "2026-03-14T09:26:53",
    };
    const chat_vocabulary words = {.tokens = {.bos = "<s>", .eos = "</s>"}};
    chat_template *t;
    failure fail = {0};
    error_code code = chat_template_compile(&t, (const char *)data, size, words, &fail);
    check_refusal(code, &fail);
    if (code != OK)
        return 0;
    chat_text text;
    chat_text_init(&text, (size_t)16 << 20);
    check_refusal(chat_render(t, &conversation, &text, &fail), &fail);
    for (size_t i = 0; i < text.n_spans; i++)
        HOLDS(text.spans[i].begin <= text.spans[i].end && text.spans[i].end <= text.text.length);
    chat_text_free(&text);
    chat_template_destroy(t);
    return 0;
}
