/* tokenizer_bpe.c: byte-level and character BPE: its vocabulary's spelling, its words' symbols. */
#include "model/tokenizer_internal.h"

#include <string.h>

#include "base/utf8.h"

/* ---- the byte alphabet ---- */

/* ---- loading ---- */

static error_code bpe_refuse_prefix(const gguf *file, failure *fail)
{
    bool prefix = false;
    if (gguf_bool(file, "tokenizer.ggml.add_space_prefix", &prefix) && prefix)
        return failure_set(fail, ERR_UNSUPPORTED,
                           "tokenizer.ggml.add_space_prefix is not supported for BPE");
    return OK;
}

/* The tokens of single bytes. DeepSeek lists those that are in no UTF-8 text as added tokens, by
 * their letters of the alphabet. */
static void find_byte_tokens(tokenizer *t)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        int32_t id = piece_find(t, &(char){(char)byte}, 1);
        if (id < 0 && byte >= 0xC0) {
            const char letter[2] = {(char)(0xC0 | byte >> 6), (char)(0x80 | (byte & 0x3F))};
            id = special_match(t, letter, 2);
            id = id >= 0 && t->tokens[id].type == TOKEN_USER_DEFINED && t->tokens[id].length == 2
                     ? id
                     : -1;
        }
        t->byte_token[byte] = id;
    }
}

error_code bpe_load(tokenizer *t, const gguf *file, failure *fail)
{
    error_code code = bpe_refuse_prefix(file, fail);
    if (code != OK)
        return code;
    if (t->kind == VOCABULARY_BYTE_BPE)
        find_byte_tokens(t);
    t->adds_bos = (t->pre->flags & PRE_ADDS_BOS) != 0;
    const gguf_string *merges;
    size_t n;
    if (!gguf_text_array(file, "tokenizer.ggml.merges", &merges, &n))
        return failure_set(fail, ERR_FORMAT,
                           "tokenizer.ggml.merges is missing: BPE needs its merges");
    code = pair_table_build(t, merges, n, fail);
    return code == OK ? splitter_init(&t->splitter, t->pre->rule, fail) : code;
}

/* ---- encoding ---- */

static bool is_taken_whole(const tokenizer *t, int32_t id, const char *text)
{
    return (t->pre->flags & PRE_IGNORES_MERGES) != 0 || memo_load(t, id) == MEMO_ALONE ||
           ((t->pre->flags & PRE_WHOLE_NEWLINES) != 0 && text[0] == '\n');
}

/* What merging begins with: bytes, or characters (and the bytes that are of none). */
static error_code add_symbols(encoder *e, const char *text, size_t length)
{
    const tokenizer *t = e->tokenizer;
    e->space.n_symbols = 0;
    error_code code = OK;
    for (size_t at = 0; code == OK && at < length;) {
        size_t bytes = 1;
        int32_t id;
        if (t->kind == VOCABULARY_BYTE_BPE) {
            id = t->byte_token[(unsigned char)text[at]];
        } else {
            if (utf8_next(text + at, length - at, &bytes) != UTF8_WHOLE)
                bytes = 1;
            id = piece_find(t, text + at, bytes);
        }
        code = merge_symbol_add(&e->space, (uint32_t)at, (uint32_t)bytes, id);
        at += bytes;
    }
    return code;
}

/* One word, merged. */
static error_code encode_word(void *context, const char *text, size_t length)
{
    encoder *e = context;
    const tokenizer *t = e->tokenizer;
    int32_t whole = piece_find(t, text, length);
    if (whole >= 0 && is_taken_whole(t, whole, text))
        return token_list_add(e->out, whole);
    error_code code = add_symbols(e, text, length);
    if (code == OK)
        code = merge_run(t, &e->space, text);
    if (code == OK && whole >= 0)
        memo_store(t, whole, e->space.symbols[0].next == MERGE_NONE);
    for (uint32_t i = 0; code == OK && i != MERGE_NONE; i = e->space.symbols[i].next) {
        const merge_symbol *symbol = &e->space.symbols[i];
        if (symbol->id >= 0)
            code = token_list_add(e->out, symbol->id);
        for (uint32_t k = 0; code == OK && symbol->id < 0 && k < symbol->length; k++)
            code = encode_byte(e, (unsigned char)text[symbol->begin + k]);
    }
    return code;
}

/* Patterns are about characters, so bytes that are none end the text before them and are a word of
 * their own. */
static error_code encode_words(encoder *e, const char *text, size_t length)
{
    error_code code = OK;
    size_t at = 0;
    while (code == OK && at < length) {
        size_t valid = utf8_valid_prefix(text + at, length - at);
        if (valid > 0)
            code = splitter_run(&e->tokenizer->splitter, e->match, text + at, valid, encode_word, e,
                                e->fail);
        at += valid;
        size_t bad = 0, bytes = 0;
        while (at + bad < length &&
               utf8_next(text + at + bad, length - at - bad, &bytes) != UTF8_WHOLE)
            bad += bytes;
        if (code == OK && bad > 0)
            code = encode_word(e, text + at, bad);
        at += bad;
    }
    return code;
}

error_code bpe_encode(encoder *e, const char *text, size_t length)
{
    if (e->tokenizer->kind == VOCABULARY_BYTE_BPE || memmem(text, length, SPACE_MARK, 3) == NULL)
        return encode_words(e, text, length);
    buffer b;
    buffer_init(&b, length + 1);
    error_code code = unmark_text(&b, text, length);
    if (code == OK)
        code = encode_words(e, b.data, b.length);
    buffer_free(&b);
    return code;
}
