/* tokenizer_vocabulary.h: small vocabularies, built in memory, for the tests of tokenizer and chat.
 */
#ifndef TESTS_TOKENIZER_VOCABULARY_H
#define TESTS_TOKENIZER_VOCABULARY_H

#include "gguf_writer.h"
#include "model/tokenizer.h"

#define VOCABULARY_MAX 400

typedef struct vocabulary {
    const char *model; /* "gpt2" or "llama" */
    const char *pre;   /* NULL: no key */
    char tokens[VOCABULARY_MAX][40];
    uint32_t types[VOCABULARY_MAX];
    float scores[VOCABULARY_MAX];
    uint32_t n;
    const char *merges[64]; /* ends with NULL; merges[0] == NULL: no key */
    int bos, eos, unknown;  /* -1: no key */
    int add_bos;            /* -1: no key */
    const char *architecture;
} vocabulary;

static inline int vocabulary_add(vocabulary *v, const char *text, uint32_t type, float score)
{
    snprintf(v->tokens[v->n], sizeof v->tokens[0], "%s", text);
    v->types[v->n] = type;
    v->scores[v->n] = score;
    return (int)v->n++;
}

/* Token b is byte b, written in GPT-2's byte alphabet. */
static inline void vocabulary_add_bytes(vocabulary *v)
{
    unsigned other = 0x100;
    for (unsigned byte = 0; byte < 256; byte++) {
        bool printable = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
        unsigned letter = printable ? byte : other++;
        char text[3] = {(char)letter, 0, 0};
        if (letter >= 0x80) {
            text[0] = (char)(0xC0 | letter >> 6);
            text[1] = (char)(0x80 | (letter & 0x3F));
        }
        vocabulary_add(v, text, 1, 0);
    }
}

static inline void vocabulary_put_text_array(buffer *b, const char *key, const char *const *texts,
                                             uint64_t n)
{
    put_key(b, key, 9);
    put_u32(b, 8);
    put_u64(b, n);
    for (uint64_t i = 0; i < n; i++)
        put_string(b, texts[i]);
}

static inline void vocabulary_put_arrays(buffer *b, const vocabulary *v)
{
    const char *texts[VOCABULARY_MAX];
    for (uint32_t i = 0; i < v->n; i++)
        texts[i] = v->tokens[i];
    vocabulary_put_text_array(b, "tokenizer.ggml.tokens", texts, v->n);
    put_key(b, "tokenizer.ggml.token_type", 9);
    put_u32(b, 5);
    put_u64(b, v->n);
    buffer_add(b, v->types, v->n * sizeof *v->types);
    put_key(b, "tokenizer.ggml.scores", 9);
    put_u32(b, 6);
    put_u64(b, v->n);
    buffer_add(b, v->scores, v->n * sizeof *v->scores);
}

/* The vocabulary as a GGUF file. */
static inline void vocabulary_write(const vocabulary *v, buffer *b)
{
    uint64_t n_merges = 0;
    while (v->merges[n_merges] != NULL)
        n_merges++;
    buffer_init(b, (size_t)1 << 20);
    put_header(b, 3, 0,
               5u + (v->pre != NULL) + (n_merges > 0) + (v->bos >= 0) + (v->eos >= 0) +
                   (v->unknown >= 0) + (v->add_bos >= 0));
    put_key_text(b, "general.architecture", v->architecture == NULL ? "test" : v->architecture);
    put_key_text(b, "tokenizer.ggml.model", v->model);
    vocabulary_put_arrays(b, v);
    if (v->pre != NULL)
        put_key_text(b, "tokenizer.ggml.pre", v->pre);
    if (n_merges > 0)
        vocabulary_put_text_array(b, "tokenizer.ggml.merges", v->merges, n_merges);
    if (v->bos >= 0)
        put_key_u32(b, "tokenizer.ggml.bos_token_id", (uint32_t)v->bos);
    if (v->eos >= 0)
        put_key_u32(b, "tokenizer.ggml.eos_token_id", (uint32_t)v->eos);
    if (v->unknown >= 0)
        put_key_u32(b, "tokenizer.ggml.unknown_token_id", (uint32_t)v->unknown);
    if (v->add_bos >= 0) {
        put_key(b, "tokenizer.ggml.add_bos_token", 7);
        buffer_add(b, &(char){(char)v->add_bos}, 1);
    }
}

static inline error_code vocabulary_load_bytes(const buffer *b, tokenizer **t, failure *fail)
{
    char path[64];
    write_temporary(b->data, b->length, path);
    gguf *file;
    error_code code = gguf_open(&file, path, fail);
    unlink(path);
    if (code == OK) {
        code = tokenizer_load(t, file, fail);
        gguf_close(file);
    }
    return code;
}

static inline error_code vocabulary_load(const vocabulary *v, tokenizer **t, failure *fail)
{
    buffer b;
    vocabulary_write(v, &b);
    error_code code = vocabulary_load_bytes(&b, t, fail);
    buffer_free(&b);
    return code;
}

/* Byte-level BPE: bytes 0 … 255, then what these few merges make, then specials. */
enum {
    BPE_HE = 256,
    BPE_LL,
    BPE_HELL,
    BPE_HELLO,
    BPE_LLLL,
    BPE_SPACE_W,
    BPE_USER, /* "user": reached by no merge, so only whole-word look-up finds it */
    BPE_IM_START,
    BPE_IM_END,
    BPE_BOS,
    BPE_A,
    BPE_AB,
    BPE_THINK,
};

static inline void vocabulary_bpe(vocabulary *v)
{
    *v = (vocabulary){.model = "gpt2",
                      .pre = "qwen2",
                      .merges = {"h e", "l l", "he ll", "hell o", "ll ll", "\xC4\xA0 w"},
                      .bos = -1,
                      .eos = -1,
                      .unknown = -1,
                      .add_bos = -1};
    vocabulary_add_bytes(v);
    static const char *const pieces[] = {"he", "ll", "hell", "hello", "llll", "\xC4\xA0w", "user"};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        vocabulary_add(v, pieces[i], 1, 0);
    static const char *const controls[] = {"<|im_start|>", "<|im_end|>", "<s>", "<a>", "<a><b>"};
    for (size_t i = 0; i < sizeof controls / sizeof *controls; i++)
        vocabulary_add(v, controls[i], 3, 0);
    vocabulary_add(v, "<think>", 4, 0);
}

/* SentencePiece: unknown, bos, eos, 256 byte tokens, then pieces. */
enum { SPM_UNKNOWN, SPM_BOS, SPM_EOS, SPM_BYTES, SPM_SPACE = SPM_BYTES + 256 };

static inline void vocabulary_spm(vocabulary *v)
{
    *v = (vocabulary){
        .model = "llama", .bos = SPM_BOS, .eos = SPM_EOS, .unknown = SPM_UNKNOWN, .add_bos = -1};
    vocabulary_add(v, "<unk>", 2, 0);
    vocabulary_add(v, "<s>", 3, 0);
    vocabulary_add(v, "</s>", 3, 0);
    for (unsigned byte = 0; byte < 256; byte++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", byte);
        vocabulary_add(v, text, 6, 0);
    }
    static const char *const pieces[] = {"▁",   "h",  "i", "t",  "▁t", "hi",
                                         "▁hi", "▁▁", "é", "th", "▁th"};
    static const float scores[] = {-9, -9, -9, -9, -1, -2, -3, -4, -9, -5, -6};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        vocabulary_add(v, pieces[i], 1, scores[i]);
}

#endif
