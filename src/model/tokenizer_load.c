/* tokenizer_load.c: a tokenizer out of a file's keys, all of them checked. */
#include "model/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/utf8.h"

/* ---- loading: tokens ---- */

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

/* Writes what token `id` stands for into the arena; its type may be corrected on the way. */
static error_code token_decode(tokenizer *t, size_t id, gguf_string text, failure *fail)
{
    token_entry *token = &t->tokens[id];
    char *bytes = t->arena + t->arena_length;
    bool spelled = token->type == TOKEN_NORMAL || token->type == TOKEN_USER_DEFINED;
    size_t n = SIZE_MAX;
    if (token->type == TOKEN_BYTE) {
        int value = byte_token_value(text);
        if (value < 0)
            return failure_set(fail, ERR_FORMAT, "byte token %zu is not of the form <0xNN>", id);
        bytes[0] = (char)value;
        n = 1;
        t->byte_token[value] = (int32_t)id;
    } else if (t->kind != VOCABULARY_BYTE_BPE && spelled) {
        n = unmark_spaces(text.data, text.length, bytes);
    } else if (t->kind == VOCABULARY_BYTE_BPE && token->type == TOKEN_NORMAL) {
        n = bpe_decode_text(text.data, text.length, bytes);
        if (n == SIZE_MAX)
            token->type = TOKEN_UNUSED; /* no bytes spell it, so no text becomes it */
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
    gguf_bool(file, "tokenizer.ggml.add_bos_token", &t->adds_bos);
    bool forced = t->pre != NULL && (t->pre->flags & PRE_FORCES_BOS) != 0;
    t->adds_bos = (t->adds_bos || forced) && t->bos >= 0;
    return OK;
}

static bool text_equals(gguf_string text, const char *other)
{
    return text.length == strlen(other) && memcmp(text.data, other, text.length) == 0;
}

static error_code refuse_name(const char *what, gguf_string name, const char *known, failure *fail)
{
    char shown[64];
    utf8_printable(name.data, name.length, shown, sizeof shown);
    return failure_set(fail, ERR_UNSUPPORTED, "unknown tokenizer %s \"%s\" (known: %s)", what,
                       shown, known);
}

static error_code load_pre(tokenizer *t, const gguf *file, bool is_gemma_4, failure *fail)
{
    gguf_string name = {"default", 7};
    if (is_gemma_4) {
        name = (gguf_string){"gemma4", 6};
    } else if (!gguf_text(file, "tokenizer.ggml.pre", &name)) {
        if (gguf_has(file, "tokenizer.ggml.pre"))
            return failure_set(fail, ERR_FORMAT, "tokenizer.ggml.pre is not a string");
        log_warn("%s names no tokenizer.ggml.pre; splitting text by the rule \"default\"",
                 gguf_path(file));
    }
    t->pre = pre_type_find(name);
    if (t->pre == NULL)
        return refuse_name("pre type", name,
                           "default, llama-bpe, qwen2, gpt-2, tekken, gpt-4o, deepseek-v3 and "
                           "all others of docs/tokenizers.md",
                           fail);
    t->kind = t->pre->flags & PRE_TEXT ? VOCABULARY_TEXT_BPE : VOCABULARY_BYTE_BPE;
    return OK;
}

static error_code load_kind(tokenizer *t, const gguf *file, failure *fail)
{
    gguf_string model;
    if (!gguf_text(file, "tokenizer.ggml.model", &model))
        return failure_set(fail, ERR_FORMAT, "the file has no tokenizer (tokenizer.ggml.model)");
    t->kind = VOCABULARY_SPM;
    if (text_equals(model, "llama"))
        return OK;
    if (text_equals(model, "gpt2") || text_equals(model, "gemma4"))
        return load_pre(t, file, text_equals(model, "gemma4"), fail);
    return refuse_name("model", model, "gpt2, llama, gemma4", fail);
}

static void mark_specials(tokenizer *t, const gguf *file)
{
    gguf_string architecture = {"", 0};
    gguf_text(file, "general.architecture", &architecture);
    control_tokens_mark(t, architecture.length >= 5 && memcmp(architecture.data, "pangu", 5) == 0);
    /* Phi-3's special tokens take the white space after them along; no key of the file says so. */
    if (t->kind != VOCABULARY_SPM || !text_equals(architecture, "phi3"))
        return;
    static const char *const others[] = {"<unk>", "<s>", "<|endoftext|>"};
    for (size_t id = 0; id < t->size; id++) {
        gguf_string text = {token_text(t, (int32_t)id), t->tokens[id].length};
        bool other = false;
        for (size_t i = 0; i < 3; i++)
            other = other || text_equals(text, others[i]);
        t->tokens[id].strips_after = t->tokens[id].type == TOKEN_CONTROL && !other;
    }
}

static error_code load_all(tokenizer *t, const gguf *file, failure *fail)
{
    for (size_t byte = 0; byte < 256; byte++)
        t->byte_token[byte] = -1;
    error_code code = load_kind(t, file, fail);
    if (code == OK)
        code = load_tokens(t, file, fail);
    if (code != OK)
        return code;
    mark_specials(t, file);
    code = piece_table_build(t, fail);
    if (code == OK)
        code = special_indices_build(t, fail);
    if (code == OK)
        code = t->kind == VOCABULARY_SPM ? spm_load(t, file, fail) : bpe_load(t, file, fail);
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
    splitter_free(&t->splitter);
    free(t->tokens);
    free(t->arena);
    free((void *)t->memo);
    free(t->pieces);
    free(t->pairs);
    free(t->specials.ids);
    free(t->added.ids);
    free(t);
}
