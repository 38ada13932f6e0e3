#include "model/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/utf8.h"

/* ---- the byte alphabet ---- */

/* GPT-2's alphabet writes every byte as one printable letter: the printable bytes of Latin-1 as
 * themselves, the 68 others, in order, as U+0100 … U+0143. */
static bool byte_is_printable(unsigned byte)
{
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

/* The byte for one letter, or -1. */
static int letter_byte(unsigned code_point)
{
    if (code_point < 0x100)
        return byte_is_printable(code_point) ? (int)code_point : -1;
    if (code_point > 0x143)
        return -1;
    unsigned left = code_point - 0x100;
    for (unsigned byte = 0; byte < 256; byte++)
        if (!byte_is_printable(byte) && left-- == 0)
            return (int)byte;
    return -1;
}

size_t bpe_decode_text(const char *text, size_t length, char *bytes)
{
    size_t n = 0;
    for (size_t at = 0; at < length;) {
        unsigned char lead = (unsigned char)text[at];
        unsigned code_point = lead;
        size_t step = 1;
        if (lead >= 0x80) { /* the alphabet's letters take one or two bytes of UTF-8 */
            if ((lead & 0xE0) != 0xC0 || at + 1 == length || (text[at + 1] & 0xC0) != 0x80)
                return SIZE_MAX;
            code_point = (lead & 0x1Fu) << 6 | ((unsigned char)text[at + 1] & 0x3Fu);
            step = 2;
        }
        int byte = letter_byte(code_point);
        if (byte < 0)
            return SIZE_MAX;
        bytes[n++] = (char)byte;
        at += step;
    }
    return n;
}

/* ---- splitting patterns ---- */

/* Unicode's White_Space. PCRE2's own \s differs from it (U+180E). */
#define SPACE                                                                                      \
    "\\x09-\\x0d\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}"   \
    "\\x{3000}"
#define LAST_SPACES "[" SPACE "]+(?![^" SPACE "])|[" SPACE "]+"
#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WORDS(digits)                                                                              \
    CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?[^" SPACE "\\p{L}\\p{N}]+[\\r\\n]*"  \
                 "|[" SPACE "]*[\\r\\n]+|" LAST_SPACES

typedef struct pre_type {
    const char *name;
    const char *patterns[MAX_PATTERNS]; /* each splits what the one before left */
    bool ignores_merges;
    bool adds_bos; /* when the file does not say */
} pre_type;

#define GPT_2                                                                                      \
    {                                                                                              \
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" SPACE "\\p{L}\\p{N}]+|" LAST_SPACES     \
    }
#define LLAMA_3                                                                                    \
    {                                                                                              \
        WORDS("\\p{N}{1,3}")                                                                       \
    }
#define QWEN_2                                                                                     \
    {                                                                                              \
        WORDS("\\p{N}")                                                                            \
    }
#define DEEPSEEK_CODER                                                                             \
    {                                                                                              \
        "[\\r\\n]", "[" SPACE "]?\\p{L}+", "[" SPACE "]?\\p{P}+",                                  \
            "[\\x{4e00}-\\x{9fa5}\\x{0800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+", "\\p{N}"               \
    }

/* Several names stand for one and the same pattern. */
static const pre_type pre_types[] = {
    {"gpt-2", GPT_2, false, false},
    {"phi-2", GPT_2, false, false},
    {"mpt", GPT_2, false, false},
    {"olmo", GPT_2, false, false},
    {"llama-bpe", LLAMA_3, true, true},
    {"llama3", LLAMA_3, true, true},
    {"llama-v3", LLAMA_3, true, true},
    {"qwen2", QWEN_2, false, false},
    {"stablelm2", QWEN_2, false, false},
    {"deepseek-r1-qwen", QWEN_2, false, false},
    {"deepseek-coder", DEEPSEEK_CODER, false, false},
};

static const pre_type *pre_type_find(gguf_string name)
{
    for (size_t i = 0; i < sizeof pre_types / sizeof *pre_types; i++)
        if (strlen(pre_types[i].name) == name.length &&
            memcmp(pre_types[i].name, name.data, name.length) == 0)
            return &pre_types[i];
    return NULL;
}

static error_code compile_patterns(tokenizer *t, const pre_type *pre, failure *fail)
{
    t->match_context = pcre2_match_context_create(NULL);
    if (t->match_context == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the tokenizer");
    /* The limits guard against patterns that explode; these take steps in proportion to the text,
     * and a long enough run of spaces would reach the default of ten million. */
    pcre2_set_match_limit(t->match_context, UINT32_MAX);
    pcre2_set_depth_limit(t->match_context, UINT32_MAX);
    for (size_t i = 0; i < MAX_PATTERNS && pre->patterns[i] != NULL; i++) {
        int error;
        PCRE2_SIZE offset;
        pcre2_code *code = pcre2_compile((PCRE2_SPTR)pre->patterns[i], PCRE2_ZERO_TERMINATED,
                                         PCRE2_UTF | PCRE2_UCP, &error, &offset, NULL);
        if (code == NULL)
            return failure_set(fail, error == PCRE2_ERROR_HEAP_FAILED ? ERR_MEMORY : ERR_INTERNAL,
                               "pattern %zu of pre type %s: PCRE2 error %d at %zu", i, pre->name,
                               error, offset);
        /* Where no executable memory is to be had, the interpreter gives the same matches. */
        bool jit = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0;
        t->patterns[t->n_patterns++] = (pattern){code, jit};
    }
    return OK;
}

/* ---- loading ---- */

static error_code bpe_refuse_prefix(const gguf *file, failure *fail)
{
    bool prefix = false;
    if (gguf_bool(file, "tokenizer.ggml.add_space_prefix", &prefix) && prefix)
        return failure_set(fail, ERR_UNSUPPORTED,
                           "tokenizer.ggml.add_space_prefix is not supported for byte-level BPE");
    return OK;
}

error_code bpe_load(tokenizer *t, const gguf *file, failure *fail)
{
    error_code code = bpe_refuse_prefix(file, fail);
    if (code != OK)
        return code;
    gguf_string name = {"gpt-2", 5};
    if (!gguf_text(file, "tokenizer.ggml.pre", &name)) {
        if (gguf_has(file, "tokenizer.ggml.pre"))
            return failure_set(fail, ERR_FORMAT, "tokenizer.ggml.pre is not a string");
        log_warn("%s names no tokenizer.ggml.pre; splitting text as gpt-2 does", gguf_path(file));
    }
    const pre_type *pre = pre_type_find(name);
    if (pre == NULL) {
        char shown[64];
        utf8_printable(name.data, name.length, shown, sizeof shown);
        return failure_set(fail, ERR_UNSUPPORTED,
                           "unknown tokenizer pre type \"%s\" (known: gpt-2, llama-bpe, qwen2, "
                           "deepseek-coder and their aliases)",
                           shown);
    }
    t->pre = strdup(pre->name);
    if (t->pre == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the tokenizer");
    t->ignores_merges = pre->ignores_merges;
    t->adds_bos = pre->adds_bos;
    const gguf_string *merges;
    size_t n;
    if (!gguf_text_array(file, "tokenizer.ggml.merges", &merges, &n))
        return failure_set(fail, ERR_FORMAT,
                           "tokenizer.ggml.merges is missing: byte-level BPE needs its merges");
    code = pair_table_build(t, merges, n, fail);
    return code == OK ? compile_patterns(t, pre, fail) : code;
}

/* ---- encoding ---- */

/* One word: its bytes, merged. */
static error_code encode_word(encoder *e, const char *text, size_t length)
{
    const tokenizer *t = e->tokenizer;
    int32_t whole = piece_find(t, text, length);
    if (whole >= 0 && (t->ignores_merges || memo_load(t, whole) == MEMO_ALONE))
        return token_list_add(e->out, whole);
    e->space.n_symbols = 0;
    error_code code = OK;
    for (size_t i = 0; code == OK && i < length; i++)
        code = merge_symbol_add(&e->space, (uint32_t)i, 1, t->byte_token[(unsigned char)text[i]]);
    if (code == OK)
        code = merge_run(t, &e->space, text);
    if (code == OK && whole >= 0)
        memo_store(t, whole, e->space.symbols[0].next == MERGE_NONE);
    for (uint32_t i = 0; code == OK && i != MERGE_NONE; i = e->space.symbols[i].next) {
        const merge_symbol *symbol = &e->space.symbols[i];
        if (symbol->id >= 0)
            code = token_list_add(e->out, symbol->id);
        else
            code = encode_byte(e, (unsigned char)text[symbol->begin]);
    }
    return code;
}

static int match(encoder *e, const pattern *p, const char *text, size_t length, size_t from)
{
    if (p->jit) {
        int found = pcre2_jit_match(p->code, (PCRE2_SPTR)text, length, from, 0, e->match,
                                    e->tokenizer->match_context);
        if (found != PCRE2_ERROR_JIT_STACKLIMIT)
            return found;
    }
    return pcre2_match(p->code, (PCRE2_SPTR)text, length, from, PCRE2_NO_UTF_CHECK, e->match,
                       e->tokenizer->match_context);
}

/* Cuts well-formed text with pattern `level`, and each part (matches, and what lies between them)
 * with the next one; what comes out at the end is a word. */
static error_code split(encoder *e, size_t level, const char *text, size_t length)
{
    const tokenizer *t = e->tokenizer;
    if (level == t->n_patterns)
        return encode_word(e, text, length);
    error_code code = OK;
    size_t at = 0;
    while (code == OK && at < length) {
        int found = match(e, &t->patterns[level], text, length, at);
        if (found < 0 && found != PCRE2_ERROR_NOMATCH)
            return failure_set(e->fail, ERR_INTERNAL, "pre type %s: PCRE2 error %d", t->pre, found);
        size_t begin = length, end = length;
        if (found >= 0) {
            begin = pcre2_get_ovector_pointer(e->match)[0];
            end = pcre2_get_ovector_pointer(e->match)[1];
        }
        if (begin > at)
            code = split(e, level + 1, text + at, begin - at);
        if (code == OK && end > begin)
            code = split(e, level + 1, text + begin, end - begin);
        at = end;
    }
    return code;
}

/* Patterns are about characters, so bytes that are none end the text before them and are a word of
 * their own. */
error_code bpe_encode(encoder *e, const char *text, size_t length)
{
    error_code code = OK;
    size_t at = 0;
    while (code == OK && at < length) {
        size_t valid = utf8_valid_prefix(text + at, length - at);
        if (valid > 0)
            code = split(e, 0, text + at, valid);
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
