/* chat_templates.h: what the tests of chat templates share: templates and what they render. */
#ifndef TESTS_CHAT_TEMPLATES_H
#define TESTS_CHAT_TEMPLATES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/chat.h"
#include "tokenizer_vocabulary.h"

#define LIMIT ((size_t)1 << 20)
#define SHARED_CHAT "../shared/chat/"
#define SHARED_TEMPLATES SHARED_CHAT "templates/"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const chat_vocabulary few_words = {.tokens = {.bos = "<s>", .eos = "</s>"}};

static const char talk_json[] = "[{\"role\": \"user\", \"content\": \"Hi\"}]";

static inline chat_message message(const char *role, const char *content)
{
    return (chat_message){role, content, strlen(content)};
}

static inline chat_template *compiled(const char *jinja)
{
    chat_template *t = NULL;
    failure fail = {0};
    if (chat_template_compile(&t, jinja, strlen(jinja), few_words, &fail) != OK)
        fail_msg("%s: %s", jinja, fail.text);
    return t;
}

static inline error_code render(const chat_template *t, const chat_input *input, char **out,
                                failure *fail)
{
    chat_text text;
    chat_text_init(&text, LIMIT);
    error_code code = chat_render(t, input, &text, fail);
    *out = code == OK ? strdup(text.text.data != NULL ? text.text.data : "") : NULL;
    chat_text_free(&text);
    return code;
}

static inline char *read_file(const char *path)
{
    buffer b;
    buffer_init(&b, (size_t)1 << 24);
    failure fail;
    if (buffer_read_file(&b, path, &fail) != OK)
        fail_msg("%s", fail.text);
    return b.data;
}

static inline void skip_without_shared(void)
{
    if (access(SHARED_CHAT "cases.json", R_OK) == 0)
        return;
    print_message("skipped: " SHARED_CHAT " is not here\n");
    skip();
}

#endif
