/* local_text.c: from a request to tokens of a model, and back. */
#include <string.h>

#include "backend/fill.h"
#include "backend/local.h"
#include "backend/plain_tools.h"

/* ---- from a request to tokens ---------------------------------------------------------------- */

/* A program's text, which may be a conversation that it has rendered itself: what is written as a
 * special token is one, the first one too. */
static error_code encode_raw(const backend *b, const char *text, size_t length, token_list *out,
                             failure *fail)
{
    const tokenizer *t = local_words(b);
    size_t n = 0;
    const char *bos = tokenizer_bytes(t, tokenizer_bos(t), true, &n);
    bool is_written = n > 0 && length >= n && memcmp(text, bos, n) == 0;
    if (tokenizer_adds_bos(t) && !is_written && token_list_add(out, tokenizer_bos(t)) != OK)
        return failure_set(fail, ERR_MEMORY, "no memory for the prompt");
    return tokenizer_encode(t, text, length, true, true, out, fail);
}

/* As they are: who has tokens has the one that begins a text among them. */
static error_code take_ids(const backend *b, const request *r, token_list *out, failure *fail)
{
    size_t n_vocab = local_model(b)->config.n_vocab;
    for (size_t i = 0; i < r->n_prompt_ids; i++)
        if (r->prompt_ids[i] < 0 || (size_t)r->prompt_ids[i] >= n_vocab)
            return failure_set(fail, ERR_INVALID,
                               "prompt token %zu is %d, not in the vocabulary of %zu of model '%s'",
                               i, r->prompt_ids[i], n_vocab, b->name);
    if (token_list_append(out, r->prompt_ids, r->n_prompt_ids) != OK)
        return failure_set(fail, ERR_MEMORY, "no memory for the prompt");
    return OK;
}

static bool ends_with(const buffer *text, const chat_thoughts *thoughts)
{
    size_t n = thoughts != NULL ? strlen(thoughts->begin) : 0, length = text->length;
    while (length > 0 && strchr(" \n", text->data[length - 1]) != NULL)
        length--;
    return n > 0 && length >= n && memcmp(text->data + length - n, thoughts->begin, n) == 0;
}

/* What the conversation is rendered to, and what the assistant has said of its reply. */
static error_code render(const model *m, const request *r, chat_text *text, reply_style *style,
                         failure *fail)
{
    const chat_input input = {
        .messages = r->messages,
        .n_messages = r->n_messages,
        .messages_json = r->chat.messages_json,
        .tools_json = r->chat.tools_json,
        .documents_json = r->chat.documents_json,
        .variables_json = r->chat.variables_json,
        .generation_prompt = true,
    };
    error_code code = chat_render(m->chat, &input, text, fail);
    style->is_in_thought =
        code == OK && ends_with(&text->text, style->chat.thoughts) && r->chat.begun_length == 0;
    if (code == OK && r->chat.begun != NULL)
        code = chat_text_add(text, r->chat.begun, r->chat.begun_length, false);
    return code;
}

/* For a template that knows of no tools. */
static error_code render_plain(const model *m, const request *r, chat_text *text,
                               reply_style *style, failure *fail)
{
    plain_tools tools;
    request plain = *r;
    style->chat.form = chat_form_find("json");
    error_code code = plain_tools_make(&tools, r, fail);
    plain.messages = tools.messages;
    plain.n_messages = tools.n_messages;
    plain.chat.messages_json = NULL;
    plain.chat.tools_json = NULL;
    if (code == OK)
        code = render(m, &plain, text, style, fail);
    plain_tools_free(&tools);
    return code;
}

static error_code render_request(const backend *b, const request *r, chat_text *text,
                                 reply_style *style, failure *fail)
{
    const model *m = local_model(b);
    if (m->chat == NULL)
        return failure_set(fail, ERR_UNSUPPORTED,
                           "model '%s' has no chat template%s%s: give it a raw prompt, or set "
                           "chat_template: for it",
                           b->name, m->chat_failure.code != OK ? " that works; " : "",
                           m->chat_failure.code != OK ? m->chat_failure.text : "");
    style->chat = chat_template_style(m->chat);
    bool is_plain = r->chat.tools_json != NULL && !style->chat.takes_tools;
    return is_plain ? render_plain(m, r, text, style, fail) : render(m, r, text, style, fail);
}

error_code local_encode(const backend *b, const request *r, token_list *out, reply_style *style,
                        failure *fail)
{
    if (r->prompt_ids != NULL)
        return take_ids(b, r, out, fail);
    if (r->prompt != NULL)
        return r->suffix != NULL ? fill_encode(local_words(b), b->name, r, out, fail)
                                 : encode_raw(b, r->prompt, r->prompt_length, out, fail);
    chat_text text;
    chat_text_init(&text, PROMPT_TEXT_LIMIT);
    error_code code = render_request(b, r, &text, style, fail);
    if (code == OK)
        code = chat_encode(local_words(b), &text, out, fail);
    chat_text_free(&text);
    return code;
}

#define LONG_PROMPT ((size_t)64 << 10) /* bytes: a sixteenth of a second */

error_code local_check_length(const backend *b, const request *r, failure *fail)
{
    if (r->prompt_ids != NULL)
        return OK;
    size_t bytes = r->prompt != NULL ? r->prompt_length : 0;
    for (size_t i = 0; r->prompt == NULL && i < r->n_messages; i++)
        bytes += r->messages[i].content_length;
    if (bytes <= LONG_PROMPT)
        return OK;
    size_t fewest = bytes / tokenizer_longest(local_words(b));
    if (fewest < engine_context(local_of(b)->engine))
        return OK;
    return failure_set(fail, ERR_CONTEXT,
                       "the prompt's %zu bytes are at least %zu tokens; model '%s' holds %zu, the "
                       "reply included",
                       bytes, fewest, b->name, engine_context(local_of(b)->engine));
}

/* ---- texts and tokens ------------------------------------------------------------------------ */

error_code local_tokenize(backend *b, const char *text, size_t length, bool specials,
                          token_list *out, failure *fail)
{
    return tokenizer_encode(local_words(b), text, length, specials, true, out, fail);
}

int32_t local_first_token(const backend *b)
{
    return tokenizer_adds_bos(local_words(b)) ? tokenizer_bos(local_words(b)) : -1;
}

error_code local_end_tokens(const backend *b, token_list *out)
{
    error_code code = OK;
    for (size_t id = 0; code == OK && id < tokenizer_size(local_words(b)); id++)
        if (tokenizer_is_end(local_words(b), (int32_t)id))
            code = token_list_add(out, (int32_t)id);
    return code;
}

const char *local_token_text(const backend *b, int32_t id, size_t *length)
{
    return tokenizer_bytes(local_words(b), id, true, length);
}

error_code local_detokenize(backend *b, const int32_t *ids, size_t n, buffer *out, failure *fail)
{
    text_decoder decoder;
    text_decoder_init(&decoder, local_words(b), true);
    decoder.specials = true;
    error_code code = OK;
    for (size_t i = 0; code == OK && i < n; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= tokenizer_size(local_words(b)))
            return failure_set(fail, ERR_INVALID,
                               "token %d is not in the vocabulary of %zu of '%s'", ids[i],
                               tokenizer_size(local_words(b)), b->name);
        code = text_decoder_push(&decoder, ids[i], out);
    }
    if (code == OK)
        code = text_decoder_finish(&decoder, out);
    return code == OK ? OK : failure_set(fail, code, "no memory for the text");
}

error_code local_find_token(backend *b, const char *label, int32_t *id, failure *fail)
{
    token_list tokens = {0};
    error_code code =
        tokenizer_encode(local_words(b), label, strlen(label), false, false, &tokens, fail);
    if (code == OK && tokens.length != 1)
        code = failure_set(fail, ERR_CONFIG,
                           "label '%s' is %zu tokens for model '%s', a label must be exactly one: "
                           "choose another word for its token",
                           label, tokens.length, b->name);
    if (code == OK)
        *id = tokens.ids[0];
    token_list_free(&tokens);
    return code;
}

error_code local_render(backend *b, const request *r, buffer *out, failure *fail)
{
    reply_style style;
    chat_text text;
    chat_text_init(&text, PROMPT_TEXT_LIMIT);
    error_code code = render_request(b, r, &text, &style, fail);
    if (code == OK && buffer_add(out, text.text.data, text.text.length) != OK)
        code = failure_set(fail, ERR_MEMORY, "no memory for the conversation");
    chat_text_free(&text);
    return code;
}
