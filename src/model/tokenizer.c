/* tokenizer.c: encoding: special tokens, then stretches between them, then words by a memo. */
#include "model/tokenizer_internal.h"

/* ---- small questions ---- */

size_t tokenizer_longest(const tokenizer *t)
{
    size_t longest = 4; /* a character of which no piece is known is one token, or one a byte */
    for (size_t id = 0; id < t->size; id++)
        if (t->tokens[id].length > longest)
            longest = t->tokens[id].length;
    return longest;
}

size_t tokenizer_size(const tokenizer *t)
{
    return t->size;
}

const char *tokenizer_model(const tokenizer *t)
{
    static const char *const names[] = {
        [VOCABULARY_SPM] = "llama",
        [VOCABULARY_BYTE_BPE] = "gpt2",
        [VOCABULARY_TEXT_BPE] = "gemma4",
    };
    return names[t->kind];
}

const char *tokenizer_pre(const tokenizer *t)
{
    return t->pre == NULL ? "" : t->pre->name;
}

int32_t tokenizer_bos(const tokenizer *t)
{
    return t->bos;
}

int32_t tokenizer_eos(const tokenizer *t)
{
    return t->eos;
}

bool tokenizer_adds_bos(const tokenizer *t)
{
    return t->adds_bos;
}

static bool in_range(const tokenizer *t, int32_t id)
{
    return id >= 0 && (size_t)id < t->size;
}

bool tokenizer_is_end(const tokenizer *t, int32_t id)
{
    return in_range(t, id) && t->tokens[id].is_end;
}

bool tokenizer_is_control(const tokenizer *t, int32_t id)
{
    return in_range(t, id) && t->tokens[id].type == TOKEN_CONTROL;
}

int32_t tokenizer_find(const tokenizer *t, const char *text, size_t length)
{
    if (length == 0)
        return -1;
    int32_t id = special_match(t, text, length);
    if (id >= 0 && t->tokens[id].length == length)
        return id;
    id = piece_find(t, text, length);
    if (id < 0 && length == 1)
        id = t->byte_token[(unsigned char)text[0]];
    return id;
}

const char *tokenizer_bytes(const tokenizer *t, int32_t id, bool specials, size_t *length)
{
    *length = 0;
    if (!in_range(t, id))
        return "";
    uint8_t type = t->tokens[id].type;
    if (!specials && (type == TOKEN_CONTROL || type == TOKEN_UNKNOWN))
        return "";
    *length = t->tokens[id].length;
    return token_text(t, id);
}

/* ---- encoding ---- */

static error_code encode_ordinary(encoder *e, const char *text, size_t length, bool spaced)
{
    if (length == 0)
        return OK;
    return e->tokenizer->kind == VOCABULARY_SPM ? spm_encode(e, text, length, spaced)
                                                : bpe_encode(e, text, length);
}

static error_code encode_all(encoder *e, const char *text, size_t length, bool specials,
                             bool at_start)
{
    const tokenizer *t = e->tokenizer;
    const special_index *index = specials ? &t->specials : &t->added;
    bool spaced = at_start && t->adds_space;
    error_code code = OK;
    for (size_t from = 0; code == OK;) {
        size_t at;
        int32_t id = special_next_of(t, index, text, length, from, &at);
        code = encode_ordinary(e, text + from, at - from, spaced);
        if (code != OK || id < 0)
            break;
        code = token_list_add(e->out, id);
        from = special_end(t, id, text, length, at);
        spaced = t->spaces_each;
    }
    return code;
}

error_code tokenizer_encode(const tokenizer *t, const char *text, size_t length, bool specials,
                            bool at_start, token_list *out, failure *fail)
{
    if (length >= UINT32_MAX / 2)
        return failure_set(fail, ERR_TOO_LARGE, "a text of %zu bytes is too long to encode",
                           length);
    encoder e = {.tokenizer = t, .out = out, .fail = fail};
    size_t before = out->length;
    error_code code = OK;
    if (t->kind != VOCABULARY_SPM) {
        e.match = pcre2_match_data_create(1, NULL);
        code = e.match == NULL ? ERR_MEMORY : OK;
    }
    if (code == OK)
        code = encode_all(&e, text, length, specials, at_start);
    if (code == ERR_MEMORY || code == ERR_TOO_LARGE) /* from a list, which leaves no text */
        failure_set(fail, code, "no memory to encode %zu bytes", length);
    if (code != OK)
        out->length = before;
    merge_space_free(&e.space);
    pcre2_match_data_free(e.match);
    return code;
}
