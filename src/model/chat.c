/* chat.c: the rendered stretches of a conversation, each encoded by whose text it is. */
#include "model/chat_internal.h"

#include <stdlib.h>
#include <string.h>

#include "model/tokenizer_internal.h"

void chat_text_init(chat_text *text, size_t limit)
{
    *text = (chat_text){0};
    buffer_init(&text->text, limit);
}

void chat_text_free(chat_text *text)
{
    buffer_free(&text->text);
    free(text->spans);
    text->spans = NULL;
    text->n_spans = 0;
}

error_code chat_text_add(chat_text *text, const char *data, size_t length, bool is_template)
{
    if (length == 0)
        return OK;
    size_t n = text->n_spans;
    bool joins = n > 0 && text->spans[n - 1].is_template == is_template;
    if (!joins && (n & (n - 1)) == 0) { /* full at every power of two */
        size_t capacity = n == 0 ? 1 : 2 * n;
        chat_span *spans = reallocarray(text->spans, capacity, sizeof *spans);
        if (spans == NULL)
            return ERR_MEMORY;
        text->spans = spans;
    }
    size_t begin = text->text.length;
    error_code code = buffer_add(&text->text, data, length);
    if (code != OK)
        return code;
    if (joins)
        text->spans[n - 1].end = text->text.length;
    else
        text->spans[text->n_spans++] = (chat_span){begin, text->text.length, is_template};
    return OK;
}

/* Encodes what stands since *from up to `end`, then the special `id` (-1: none). */
static error_code encode_stretch(const tokenizer *t, const chat_text *text, size_t *from,
                                 size_t end, int32_t id, token_list *out, failure *fail)
{
    error_code code = OK;
    if (end > *from)
        code = tokenizer_encode(t, text->text.data + *from, end - *from, false,
                                *from == 0 || t->spaces_each, out, fail);
    if (code != OK || id < 0)
        return code;
    *from = special_end(t, id, text->text.data, text->text.length, end);
    /* bos may be there already: asked for by the tokenizer, then written by the template */
    if (id == tokenizer_bos(t) && end == 0 && out->length > 0 && out->ids[out->length - 1] == id)
        return OK;
    return token_list_add(out, id);
}

static error_code encode_spans(const tokenizer *t, const chat_text *text, token_list *out,
                               failure *fail)
{
    error_code code = OK;
    size_t from = 0;
    for (size_t i = 0; code == OK && i < text->n_spans; i++) {
        chat_span span = text->spans[i];
        size_t at = span.begin > from ? span.begin : from;
        while (code == OK && span.is_template && at < span.end) {
            int32_t id = special_next(t, text->text.data, span.end, at, &at);
            if (id < 0)
                break;
            code = encode_stretch(t, text, &from, at, id, out, fail);
            at = from;
        }
    }
    return code == OK ? encode_stretch(t, text, &from, text->text.length, -1, out, fail) : code;
}

error_code chat_encode(const tokenizer *t, const chat_text *text, token_list *out, failure *fail)
{
    size_t before = out->length;
    int32_t bos = tokenizer_bos(t);
    error_code code = OK;
    if (bos >= 0 && tokenizer_adds_bos(t))
        code = token_list_add(out, bos);
    if (code == OK)
        code = encode_spans(t, text, out, fail);
    if (code == ERR_MEMORY)
        failure_set(fail, ERR_MEMORY, "no memory to encode the conversation");
    if (code != OK)
        out->length = before;
    return code;
}
