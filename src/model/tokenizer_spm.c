/* tokenizer_spm.c: SentencePiece: scores for priorities, bytes for what has no piece. */
#include "model/tokenizer_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* ---- loading ---- */

/* Order-preserving: the higher score gets the smaller number. */
static uint32_t score_priority(float score)
{
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return ~bits;
}

static error_code load_scores(tokenizer *t, const gguf *file, failure *fail)
{
    float *scores = NULL;
    size_t n = 0;
    error_code code = gguf_f32_array(file, "tokenizer.ggml.scores", &scores, &n, fail);
    if (code != OK)
        return code;
    if (n != t->size)
        code = failure_set(fail, ERR_FORMAT, "tokenizer.ggml.scores has %zu entries for %zu tokens",
                           n, t->size);
    for (size_t i = 0; code == OK && i < n; i++) {
        if (isnan(scores[i]))
            code =
                failure_set(fail, ERR_FORMAT, "tokenizer.ggml.scores: entry %zu is no number", i);
        /* + 0.0f: the two zeros are one score */
        t->tokens[i].priority = score_priority(scores[i] + 0.0f);
    }
    free(scores);
    return code;
}

static bool space_inside(const char *text, size_t length)
{
    bool letter = false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == ' ' && letter)
            return true;
        letter = letter || text[i] != ' ';
    }
    return false;
}

/* Tokenizers normalise each part of a text between special tokens by itself, so each gets a space.
 * From its second version on, which made [INST] a token, Mistral's gives one to the first only: its
 * templates write the others. */
static bool is_mistral_3(const tokenizer *t)
{
    int32_t id = special_match(t, "[INST]", 6);
    return id >= 0 && t->tokens[id].length == 6 && t->tokens[id].type == TOKEN_CONTROL;
}

error_code spm_load(tokenizer *t, const gguf *file, failure *fail)
{
    t->adds_bos = true;
    t->adds_space = true;
    gguf_bool(file, "tokenizer.ggml.add_space_prefix", &t->adds_space);
    t->spaces_each = t->adds_space && !is_mistral_3(t);
    t->words_apart = true;
    for (size_t id = 0; id < t->size; id++)
        if (token_is_piece(t, (int32_t)id) &&
            space_inside(token_text(t, (int32_t)id), t->tokens[id].length))
            t->words_apart = false;
    return load_scores(t, file, fail);
}

/* ---- encoding ---- */

static error_code emit(encoder *e, const char *text, const merge_symbol *symbol)
{
    int32_t id = symbol->id;
    if (id < 0)
        id = piece_find(e->tokenizer, text + symbol->begin, symbol->length);
    if (id >= 0)
        return token_list_add(e->out, id);
    error_code code = OK;
    for (uint32_t i = 0; code == OK && i < symbol->length; i++)
        code = encode_byte(e, (unsigned char)text[symbol->begin + i]);
    return code;
}

static error_code encode_word(encoder *e, const char *text, size_t length)
{
    const tokenizer *t = e->tokenizer;
    int32_t whole = piece_find(t, text, length);
    if (whole >= 0 && memo_load(t, whole) == MEMO_ALONE)
        return token_list_add(e->out, whole);
    e->space.n_symbols = 0;
    error_code code = OK;
    for (size_t at = 0; code == OK && at < length;) {
        size_t bytes;
        if (utf8_next(text + at, length - at, &bytes) != UTF8_WHOLE)
            bytes = 1; /* a stray byte: covered by its byte token */
        code = merge_symbol_add(&e->space, (uint32_t)at, (uint32_t)bytes, -1);
        at += bytes;
    }
    if (code == OK)
        code = merge_run(t, &e->space, text);
    if (code == OK && whole >= 0)
        memo_store(t, whole, e->space.symbols[0].next == MERGE_NONE);
    for (uint32_t i = 0; code == OK && i != MERGE_NONE; i = e->space.symbols[i].next)
        code = emit(e, text, &e->space.symbols[i]);
    return code;
}

/* Merges never cross from a letter to a space when no piece does, so the words between can be
 * merged one by one: the same result from a much smaller heap. */
static error_code encode_words(encoder *e, const char *text, size_t length)
{
    if (!e->tokenizer->words_apart)
        return encode_word(e, text, length);
    error_code code = OK;
    size_t begin = 0;
    for (size_t at = 1; code == OK && at <= length; at++) {
        if (at < length && (text[at] != ' ' || text[at - 1] == ' '))
            continue;
        code = encode_word(e, text + begin, at - begin);
        begin = at;
    }
    return code;
}

error_code spm_encode(encoder *e, const char *text, size_t length, bool spaced)
{
    if (!spaced && memmem(text, length, SPACE_MARK, 3) == NULL)
        return encode_words(e, text, length);
    buffer b;
    buffer_init(&b, length + 1);
    error_code code = buffer_reserve(&b, length + 1);
    if (code == OK && spaced)
        code = buffer_add(&b, " ", 1);
    if (code == OK)
        code = unmark_text(&b, text, length);
    if (code == OK)
        code = encode_words(e, b.data, b.length);
    buffer_free(&b);
    return code;
}
