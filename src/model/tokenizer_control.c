/* tokenizer_control.c: what a token's text says of it, whatever the file's type and id keys say. */
#include "model/tokenizer_internal.h"

#include <string.h>

#define BAR "\xEF\xBD\x9C"  /* DeepSeek's vertical bar, U+FF5C */
#define MARK "\xE2\x96\x81" /* and its space, U+2581 */

/* Tokens that end a turn. */
static const char *const ends[] = {
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|calls|>",
    "<|flush|>",
    "<|EOT|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "[e~[",
    "<eos>",
    "<end_of_turn>",
    "<turn|>",
    "<|tool_response>",
    "<end_of_utterance>",
    "<" BAR "end" MARK "of" MARK "sentence" BAR ">",
    /* Between files of code and at their ends: what follows is no answer. */
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
};

/* The tokens of filling in the middle. */
static const char *const fill_ins[] = {
    "<|fim_prefix|>",
    "<|fim_suffix|>",
    "<|fim_middle|>",
    "<fim-prefix>",
    "<fim-suffix>",
    "<fim-middle>",
    "<fim_prefix>",
    "<fim_suffix>",
    "<fim_middle>",
    "<" BAR "fim" MARK "begin" BAR ">",
    "<" BAR "fim" MARK "hole" BAR ">",
    "<" BAR "fim" MARK "end" BAR ">",
    "<PRE>",
    "<SUF>",
    "<MID>",
    " <PRE>",
    " <SUF>",
    " <MID>",
    "<|code_prefix|>",
    "<|code_suffix|>",
    "<|code_middle|>",
    "<|prefix|>",
    "<|suffix|>",
    "<|middle|>",
};

static bool text_is(const tokenizer *t, size_t id, const char *text)
{
    size_t length = strlen(text);
    return t->tokens[id].length == length && memcmp(token_text(t, (int32_t)id), text, length) == 0;
}

static bool text_is_one_of(const tokenizer *t, size_t id, const char *const *texts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text_is(t, id, texts[i]))
            return true;
    return false;
}

/* "<|...|>", or the same with DeepSeek's bars: never ordinary text. */
static bool is_bracketed(const tokenizer *t, size_t id)
{
    static const char *const open[] = {"<|", "<" BAR}, *const close[] = {"|>", BAR ">"};
    const char *text = token_text(t, (int32_t)id);
    size_t length = t->tokens[id].length;
    for (size_t i = 0; i < 2; i++) {
        size_t n = strlen(open[i]);
        if (length >= 2 * n && memcmp(text, open[i], n) == 0 &&
            memcmp(text + length - n, close[i], n) == 0)
            return true;
    }
    return false;
}

/* All texts that are looked for begin with one of these, perhaps after a space. */
static bool may_be_control(const tokenizer *t, size_t id)
{
    const char *text = token_text(t, (int32_t)id);
    uint32_t length = t->tokens[id].length;
    char first = length > 1 ? text[text[0] == ' '] : '\0';
    return first == '<' || first == '[' || first == '_';
}

/* Files give control tokens other types too: a user's text must not become them. A token of
 * ordinary text stays one unless it would end a turn. */
static void mark_token(tokenizer *t, size_t id)
{
    token_entry *token = &t->tokens[id];
    if (token->type == TOKEN_BYTE || token->type == TOKEN_UNUSED || !may_be_control(t, id))
        return;
    bool added = token->type != TOKEN_NORMAL;
    bool ends_turn = text_is_one_of(t, id, ends, sizeof ends / sizeof *ends);
    bool fills_in = text_is_one_of(t, id, fill_ins, sizeof fill_ins / sizeof *fill_ins);
    token->is_end = token->is_end || ends_turn;
    if (ends_turn || (added && (fills_in || is_bracketed(t, id))))
        token->type = TOKEN_CONTROL;
}

static int32_t control_find(const tokenizer *t, const char *text)
{
    for (size_t id = 0; id < t->size; id++)
        if (t->tokens[id].type == TOKEN_CONTROL && text_is(t, id, text))
            return (int32_t)id;
    return -1;
}

/* Where replies are made of several messages (gpt-oss, Solar), <|end|> ends a message only. */
static void spare_message_end(tokenizer *t)
{
    int32_t end = control_find(t, "<|end|>");
    bool harmony = control_find(t, "<|return|>") >= 0 && control_find(t, "<|call|>") >= 0;
    bool solar = control_find(t, "<|calls|>") >= 0 && control_find(t, "<|flush|>") >= 0;
    if (end >= 0 && (harmony || solar))
        t->tokens[end].is_end = false;
}

/* SentencePiece's own end token. Gemma has the text too, as the HTML tag that <s> opens. */
static void mark_sentence_end(tokenizer *t)
{
    bool has_begin = control_find(t, "<s>") >= 0;
    for (size_t id = 0; id < t->size; id++) {
        token_entry *token = &t->tokens[id];
        bool is_it =
            token->type == TOKEN_CONTROL || (token->type == TOKEN_USER_DEFINED && has_begin);
        if (is_it && text_is(t, id, "</s>")) {
            token->type = TOKEN_CONTROL;
            token->is_end = true;
        }
    }
}

void control_tokens_mark(tokenizer *t, bool is_pangu)
{
    for (size_t id = 0; id < t->size; id++)
        mark_token(t, id);
    mark_sentence_end(t);
    spare_message_end(t);
    int32_t turn_end = is_pangu ? control_find(t, "[unused10]") : -1;
    if (turn_end >= 0)
        t->tokens[turn_end].is_end = true;
}
