#include "model/tokenizer_internal.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* ---- loading: tokens ---- */

/* Control tokens that end a turn, whatever the file's id keys say. */
static const char *const end_texts[] = {
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|end|>",
    "</s>",
    "<end_of_turn>",
    "<|EOT|>",
    "<\xEF\xBD\x9C"
    "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",
};

/* "<0xNN>" → NN, or -1. */
static int byte_token_value(gguf_string text)
{
    int value = 0;
    if (text.length != 6 || memcmp(text.data, "<0x", 3) != 0 || text.data[5] != '>')
        return -1;
    for (int i = 3; i < 5; i++) {
        char c = text.data[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* SentencePiece: plain spaces for U+2581. */
static size_t spm_decode_text(gguf_string text, char *bytes)
{
    size_t n = 0;
    for (size_t at = 0; at < text.length;) {
        if (text.length - at >= 3 && memcmp(text.data + at, "\xE2\x96\x81", 3) == 0) {
            bytes[n++] = ' ';
            at += 3;
        } else {
            bytes[n++] = text.data[at++];
        }
    }
    return n;
}

/* A byte that no UTF-8 text holds. */
static bool is_foreign_byte(unsigned char byte)
{
    return byte == 0xC0 || byte == 0xC1 || byte >= 0xF5;
}

/* Writes what token `id` stands for into the arena; its type may be corrected on the way. */
static error_code token_decode(tokenizer *t, size_t id, gguf_string text, failure *fail)
{
    token_entry *token = &t->tokens[id];
    char *bytes = t->arena + t->arena_length;
    size_t n = SIZE_MAX;
    if (token->type == TOKEN_BYTE) {
        int value = byte_token_value(text);
        if (value < 0)
            return failure_set(fail, ERR_FORMAT, "byte token %zu is not of the form <0xNN>", id);
        bytes[0] = (char)value;
        n = 1;
        t->byte_token[value] = (int32_t)id;
    } else if (t->is_spm && (token->type == TOKEN_NORMAL || token->type == TOKEN_USER_DEFINED)) {
        n = spm_decode_text(text, bytes);
    } else if (!t->is_spm && token->type == TOKEN_NORMAL) {
        n = bpe_decode_text(text.data, text.length, bytes);
        if (n == SIZE_MAX)
            token->type = TOKEN_UNUSED; /* no bytes spell it, so no text becomes it */
    } else if (!t->is_spm && token->type == TOKEN_USER_DEFINED && text.length == 2 &&
               bpe_decode_text(text.data, 2, bytes) == 1 &&
               is_foreign_byte((unsigned char)bytes[0])) {
        /* deepseek-coder lists the bytes outside UTF-8 so; they are bytes like all others. */
        token->type = TOKEN_NORMAL;
        n = 1;
    }
    if (n == SIZE_MAX) {
        memcpy(bytes, text.data, text.length);
        n = text.length;
    }
    token->begin = (uint32_t)t->arena_length;
    token->length = (uint32_t)n;
    t->arena_length += n;
    return OK;
}

static error_code load_types(tokenizer *t, const gguf *file, failure *fail)
{
    for (size_t id = 0; id < t->size; id++)
        t->tokens[id].type = TOKEN_NORMAL;
    if (!gguf_has(file, "tokenizer.ggml.token_type"))
        return OK;
    int32_t *types = NULL;
    size_t n = 0;
    error_code code = gguf_i32_array(file, "tokenizer.ggml.token_type", &types, &n, fail);
    if (code != OK)
        return code;
    if (n != t->size)
        code = failure_set(fail, ERR_FORMAT,
                           "tokenizer.ggml.token_type has %zu entries for %zu tokens", n, t->size);
    for (size_t id = 0; code == OK && id < n; id++) {
        if (types[id] < TOKEN_NORMAL || types[id] > TOKEN_BYTE)
            code = failure_set(fail, ERR_FORMAT, "token %zu has the unknown type %d", id,
                               (int)types[id]);
        else
            t->tokens[id].type = (uint8_t)types[id];
    }
    free(types);
    return code;
}

static error_code load_tokens(tokenizer *t, const gguf *file, failure *fail)
{
    const gguf_string *texts;
    if (!gguf_text_array(file, "tokenizer.ggml.tokens", &texts, &t->size) || t->size == 0)
        return failure_set(fail, ERR_FORMAT, "tokenizer.ggml.tokens is missing or empty");
    size_t total = 0;
    for (size_t id = 0; id < t->size; id++)
        total += texts[id].length; /* texts lie in the mapped file, so the sum is bounded by it */
    if (t->size > INT32_MAX || total > UINT32_MAX)
        return failure_set(fail, ERR_TOO_LARGE, "a vocabulary of %zu tokens, %zu bytes", t->size,
                           total);
    t->tokens = calloc(t->size, sizeof *t->tokens);
    t->arena = malloc(total + 1);
    t->memo = calloc(t->size, sizeof *t->memo);
    if (t->tokens == NULL || t->arena == NULL || t->memo == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a vocabulary of %zu", t->size);
    error_code code = load_types(t, file, fail);
    for (size_t id = 0; code == OK && id < t->size; id++)
        code = token_decode(t, id, texts[id], fail);
    return code;
}

bool token_is_piece(const tokenizer *t, int32_t id)
{
    return t->tokens[id].type == TOKEN_NORMAL;
}

/* ---- loading: the rest ---- */

/* The token a key names; -1 when the key is absent. */
static error_code load_id(const tokenizer *t, const gguf *file, const char *key, int32_t *id,
                          failure *fail)
{
    uint64_t value;
    *id = -1;
    if (!gguf_has(file, key))
        return OK;
    if (!gguf_u64(file, key, &value) || value >= t->size)
        return failure_set(fail, ERR_FORMAT, "%s names no token of the vocabulary", key);
    *id = (int32_t)value;
    return OK;
}

static bool text_is(const tokenizer *t, size_t id, const char *text)
{
    return t->tokens[id].length == strlen(text) &&
           memcmp(token_text(t, (int32_t)id), text, strlen(text)) == 0;
}

static void mark_ends(tokenizer *t, bool is_pangu)
{
    for (size_t i = 0; i < t->n_specials; i++) {
        size_t id = (size_t)t->specials[i];
        for (size_t k = 0; k < sizeof end_texts / sizeof *end_texts; k++)
            if (text_is(t, id, end_texts[k]))
                t->tokens[id].is_end = true;
        if (is_pangu && text_is(t, id, "[unused10]"))
            t->tokens[id].is_end = true;
    }
}

static error_code load_ids(tokenizer *t, const gguf *file, failure *fail)
{
    static const char *const end_keys[] = {
        "tokenizer.ggml.eos_token_id",
        "tokenizer.ggml.eot_token_id",
        "tokenizer.ggml.eom_token_id",
    };
    error_code code = load_id(t, file, "tokenizer.ggml.bos_token_id", &t->bos, fail);
    if (code == OK)
        code = load_id(t, file, "tokenizer.ggml.eos_token_id", &t->eos, fail);
    if (code == OK)
        code = load_id(t, file, "tokenizer.ggml.unknown_token_id", &t->unknown, fail);
    for (size_t i = 0; code == OK && i < sizeof end_keys / sizeof *end_keys; i++) {
        int32_t id;
        code = load_id(t, file, end_keys[i], &id, fail);
        if (code == OK && id >= 0)
            t->tokens[id].is_end = true;
    }
    if (code != OK)
        return code;
    gguf_string architecture = {"", 0};
    gguf_text(file, "general.architecture", &architecture);
    mark_ends(t, architecture.length >= 5 && memcmp(architecture.data, "pangu", 5) == 0);
    gguf_bool(file, "tokenizer.ggml.add_bos_token", &t->adds_bos);
    t->adds_bos = t->adds_bos && t->bos >= 0;
    return OK;
}

static error_code load_kind(tokenizer *t, const gguf *file, failure *fail)
{
    gguf_string model;
    if (!gguf_text(file, "tokenizer.ggml.model", &model))
        return failure_set(fail, ERR_FORMAT, "the file has no tokenizer (tokenizer.ggml.model)");
    t->is_spm = model.length == 5 && memcmp(model.data, "llama", 5) == 0;
    if (!t->is_spm && (model.length != 4 || memcmp(model.data, "gpt2", 4) != 0)) {
        char shown[64];
        utf8_printable(model.data, model.length, shown, sizeof shown);
        return failure_set(fail, ERR_UNSUPPORTED,
                           "unknown tokenizer model \"%s\" (known: gpt2, llama)", shown);
    }
    return OK;
}

static error_code load_all(tokenizer *t, const gguf *file, failure *fail)
{
    for (size_t byte = 0; byte < 256; byte++)
        t->byte_token[byte] = -1;
    error_code code = load_kind(t, file, fail);
    if (code == OK)
        code = load_tokens(t, file, fail);
    if (code == OK)
        code = piece_table_build(t, fail);
    if (code == OK)
        code = special_index_build(t, fail);
    if (code != OK)
        return code;
    for (size_t byte = 0; byte < 256 && !t->is_spm; byte++)
        t->byte_token[byte] = piece_find(t, &(char){(char)byte}, 1);
    code = t->is_spm ? spm_load(t, file, fail) : bpe_load(t, file, fail);
    return code == OK ? load_ids(t, file, fail) : code;
}

error_code tokenizer_load(tokenizer **out, const gguf *file, failure *fail)
{
    tokenizer *t = calloc(1, sizeof *t);
    if (t == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the tokenizer");
    error_code code = load_all(t, file, fail);
    if (code != OK) {
        tokenizer_destroy(t);
        return code;
    }
    *out = t;
    return OK;
}

void tokenizer_destroy(tokenizer *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->n_patterns; i++)
        pcre2_code_free(t->patterns[i].code);
    pcre2_match_context_free(t->match_context);
    free(t->pre);
    free(t->tokens);
    free(t->arena);
    free((void *)t->memo);
    free(t->pieces);
    free(t->pairs);
    free(t->specials);
    free(t);
}

/* ---- small questions ---- */

size_t tokenizer_size(const tokenizer *t)
{
    return t->size;
}

const char *tokenizer_model(const tokenizer *t)
{
    return t->is_spm ? "llama" : "gpt2";
}

const char *tokenizer_pre(const tokenizer *t)
{
    return t->pre;
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

uint8_t memo_load(const tokenizer *t, int32_t id)
{
    return atomic_load_explicit(&t->memo[id], memory_order_relaxed);
}

void memo_store(const tokenizer *t, int32_t id, bool alone)
{
    atomic_store_explicit(&t->memo[id], alone ? MEMO_ALONE : MEMO_SPLITS, memory_order_relaxed);
}

error_code encode_byte(encoder *e, unsigned char byte)
{
    int32_t id = e->tokenizer->byte_token[byte];
    if (id < 0)
        id = e->tokenizer->unknown;
    if (id < 0)
        return failure_set(e->fail, ERR_UNSUPPORTED,
                           "the model's vocabulary has no token for the byte 0x%02X", byte);
    return token_list_add(e->out, id);
}

static error_code encode_ordinary(encoder *e, const char *text, size_t length, bool at_start)
{
    if (length == 0)
        return OK;
    return e->tokenizer->is_spm ? spm_encode(e, text, length, at_start)
                                : bpe_encode(e, text, length);
}

static error_code encode_all(encoder *e, const char *text, size_t length, bool specials,
                             bool at_start)
{
    if (!specials)
        return encode_ordinary(e, text, length, at_start);
    error_code code = OK;
    size_t from = 0;
    for (;;) {
        size_t at;
        int32_t id = special_next(e->tokenizer, text, length, from, &at);
        code = encode_ordinary(e, text + from, at - from, at_start && from == 0);
        if (code != OK || id < 0)
            return code;
        code = token_list_add(e->out, id);
        if (code != OK)
            return code;
        from = at + e->tokenizer->tokens[id].length;
    }
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
    if (!t->is_spm) {
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
