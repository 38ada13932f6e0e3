/* synthetic_vocabulary.c: a byte-level vocabulary of any size. */
#include "model/synthetic_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    BYTE_TOKENS = 256,
    TEXT_BYTES = 6,             /* of every token but the controls, at most */
    MERGED_TOKEN = BYTE_TOKENS, /* of the only merge; without one some readers refuse the file */
    N_CONTROLS = 2,
    TYPE_NORMAL = 1,
    TYPE_CONTROL = 3,
};

static const char *const controls[N_CONTROLS] = {"<|endoftext|>", "<|im_end|>"};

/* Byte-level BPE writes a byte as a printable character: itself where it is one in Latin-1, else
 * the next from U+0100 on. */
static bool is_printable(unsigned byte)
{
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

static size_t write_byte(unsigned byte, char *out)
{
    unsigned code = byte;
    if (!is_printable(byte)) {
        code = 0x100;
        for (unsigned b = 0; b < byte; b++)
            code += !is_printable(b);
    }
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    out[0] = (char)(0xC0 | code >> 6);
    out[1] = (char)(0x80 | (code & 0x3F));
    return 2;
}

/* " aaaa", " baaa", ...: a space and four letters, 456,976 of them. */
static size_t write_word(uint32_t index, char *out)
{
    size_t n = write_byte(' ', out);
    for (int i = 0; i < 4; i++, index /= 26)
        out[n++] = (char)('a' + index % 26);
    return n;
}

static void make_tokens(gguf_string *tokens, int32_t *types, char *text, uint32_t n_vocab)
{
    for (uint32_t id = 0; id < n_vocab; id++, text += TEXT_BYTES) {
        types[id] = TYPE_NORMAL;
        size_t length;
        if (id < BYTE_TOKENS) {
            length = write_byte(id, text);
        } else if (id == MERGED_TOKEN) {
            length = write_byte(' ', text);
            text[length++] = 't';
        } else {
            length = write_word(id - MERGED_TOKEN - 1, text);
        }
        tokens[id] = (gguf_string){text, length};
    }
    for (uint32_t i = 0; i < N_CONTROLS; i++) {
        uint32_t id = n_vocab - N_CONTROLS + i;
        tokens[id] = (gguf_string){controls[i], strlen(controls[i])};
        types[id] = TYPE_CONTROL;
    }
}

error_code synthetic_vocabulary(gguf_writer *w, uint32_t n_vocab, failure *fail)
{
    gguf_string *tokens = calloc(n_vocab, sizeof *tokens);
    int32_t *types = calloc(n_vocab, sizeof *types);
    char *text = calloc(n_vocab, TEXT_BYTES);
    error_code code = OK;
    if (tokens == NULL || types == NULL || text == NULL) {
        code = failure_set(fail, ERR_MEMORY, "no memory for a vocabulary of %u", n_vocab);
    } else {
        static const gguf_string merge = {"\xC4\xA0 t", 4};
        make_tokens(tokens, types, text, n_vocab);
        gguf_writer_text(w, "tokenizer.ggml.model", "gpt2");
        gguf_writer_text(w, "tokenizer.ggml.pre", "qwen2");
        gguf_writer_text_array(w, "tokenizer.ggml.tokens", tokens, n_vocab);
        gguf_writer_i32_array(w, "tokenizer.ggml.token_type", types, n_vocab);
        gguf_writer_text_array(w, "tokenizer.ggml.merges", &merge, 1);
        gguf_writer_u32(w, "tokenizer.ggml.bos_token_id", n_vocab - 2);
        gguf_writer_u32(w, "tokenizer.ggml.eos_token_id", n_vocab - 2);
        gguf_writer_u32(w, "tokenizer.ggml.eot_token_id", n_vocab - 1);
        gguf_writer_bool(w, "tokenizer.ggml.add_bos_token", false);
    }
    free(text);
    free(types);
    free(tokens);
    return code;
}
