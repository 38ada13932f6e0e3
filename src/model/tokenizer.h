/*
 * tokenizer.h: text to token ids and back: BPE on bytes (`gpt2`) and on characters (`gemma4`), and
 * SentencePiece (`llama`). docs/tokenizers.md says which files are read and how each splits text.
 *
 * A tokenizer is made from a GGUF file's tokenizer.ggml.* keys and owns all it needs (the file may
 * be closed). It is read-only after loading: any thread may use it at once.
 */
#ifndef MODEL_TOKENIZER_H
#define MODEL_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/failure.h"
#include "model/gguf.h"

typedef struct tokenizer tokenizer;

/* ERR_UNSUPPORTED names an unknown tokenizer model or pre type; ERR_FORMAT a vocabulary that does
 * not hold together. */
error_code tokenizer_load(tokenizer **out, const gguf *file, failure *fail);
void tokenizer_destroy(tokenizer *t);

size_t tokenizer_size(const tokenizer *t);
const char *tokenizer_model(const tokenizer *t); /* "gpt2", "gemma4" or "llama" */
const char *tokenizer_pre(const tokenizer *t);   /* "" for SentencePiece */
int32_t tokenizer_bos(const tokenizer *t);       /* -1 when the file names none */
int32_t tokenizer_eos(const tokenizer *t);       /* -1 when the file names none */
bool tokenizer_adds_bos(const tokenizer *t);
/* True for the tokens that end a turn: eos, eot and the well-known texts of such control tokens. */
bool tokenizer_is_end(const tokenizer *t, int32_t id);
bool tokenizer_is_control(const tokenizer *t, int32_t id);

/* Appends the ids of text to `out`. Texts of user-defined tokens (words that were added to the
 * vocabulary) always become those tokens; those of control tokens do with `specials` and are
 * ordinary text without. Never adds bos or eos. Any bytes are allowed, NUL and invalid UTF-8
 * included. `at_start` says that the text begins a sequence (SentencePiece then puts its space
 * before it when the model asks for that). */
error_code tokenizer_encode(const tokenizer *t, const char *text, size_t length, bool specials,
                            bool at_start, token_list *out, failure *fail);

/* The id whose text is exactly this (a special's text, or a piece's decoded bytes), or -1. */
int32_t tokenizer_find(const tokenizer *t, const char *text, size_t length);

/* The most bytes of a text that one token takes: a text of n bytes has at least n / longest tokens.
 */
size_t tokenizer_longest(const tokenizer *t);

/* The bytes that a token stands for; control tokens have none ("") unless `specials`. *length is
 * set; the bytes live as long as the tokenizer. */
const char *tokenizer_bytes(const tokenizer *t, int32_t id, bool specials, size_t *length);

/* Streaming decode: gives out only whole UTF-8 characters; holds back an unfinished one. */
typedef struct text_decoder {
    const tokenizer *tokenizer;
    bool specials; /* control tokens are text, too */
    bool at_start; /* SentencePiece: the first space, here or after a special, is not text */
    unsigned char held[4];
    size_t n_held;
} text_decoder;

void text_decoder_init(text_decoder *d, const tokenizer *t, bool at_start);
/* Appends to `out` what became whole; invalid bytes come out as U+FFFD. */
error_code text_decoder_push(text_decoder *d, int32_t id, buffer *out);
error_code text_decoder_finish(text_decoder *d, buffer *out); /* an unfinished character: U+FFFD */

#endif
