/*
 * tokenizer_internal.h: what the tokenizer's own files share; of others only chat.c
 * includes it, to look for specials in its template spans.
 *
 *   tokenizer.c         loading, small questions, cutting text at special tokens
 *   tokenizer_table.c   piece → id, pair → merge, the sorted index of specials
 *   tokenizer_merge.c   the merge loop of both kinds: best pair first, O(n log n)
 *   tokenizer_bpe.c     byte-level BPE: byte alphabet, splitting patterns, merges
 *   tokenizer_spm.c     SentencePiece: spaces, scores, byte fallback
 *   tokenizer_decode.c  streaming decode
 */
#ifndef MODEL_TOKENIZER_INTERNAL_H
#define MODEL_TOKENIZER_INTERNAL_H

#include "model/tokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* The ids of tokenizer.ggml.token_type. */
enum {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN = 2,
    TOKEN_CONTROL = 3,
    TOKEN_USER_DEFINED = 4,
    TOKEN_UNUSED = 5,
    TOKEN_BYTE = 6,
};

typedef struct token_entry {
    uint32_t begin; /* what the token stands for in a text: arena bytes [begin, begin + length) */
    uint32_t length;
    uint32_t priority; /* SentencePiece: smaller merges first (a higher score) */
    uint8_t type;
    bool is_end;
} token_entry;

typedef struct piece_slot {
    uint32_t hash;
    int32_t id; /* -1: empty */
} piece_slot;

typedef struct pair_slot {
    int32_t left, right; /* left -1: empty */
    uint32_t rank;
    int32_t merged;
} pair_slot;

typedef struct pattern {
    pcre2_code *code;
    bool jit; /* compiled for pcre2_jit_match */
} pattern;

#define MAX_PATTERNS 5

struct tokenizer {
    bool is_spm;
    char *pre;
    int32_t bos, eos, unknown; /* -1: none */
    bool adds_bos;
    bool adds_space; /* SentencePiece: a space before the text that begins a sequence */

    token_entry *tokens;
    size_t size;
    char *arena; /* the bytes of all tokens */
    size_t arena_length;
    int32_t byte_token[256]; /* -1: the vocabulary has none */

    piece_slot *pieces; /* of tokens that ordinary text can become */
    size_t pieces_mask;
    size_t longest_piece;
    /* Whether a piece's own bytes encode to just that piece: 0 not yet known, else memo_*. Filled
     * in on the way by whoever finds out first; every thread finds the same. */
    _Atomic uint8_t *memo;

    pair_slot *pairs; /* byte-level BPE */
    size_t pairs_mask;
    pattern patterns[MAX_PATTERNS];
    size_t n_patterns;
    pcre2_match_context *match_context;
    bool ignores_merges; /* a whole word of the vocabulary is taken without merging */

    bool words_apart; /* SentencePiece: no piece has a space after a letter, so words never merge */

    int32_t *specials; /* control and user-defined tokens, sorted by their bytes */
    size_t n_specials;
    uint32_t special_first[257]; /* specials that begin with byte b: [first[b], first[b + 1]) */
};

enum { MEMO_ALONE = 1, MEMO_SPLITS = 2 };

static inline const char *token_text(const tokenizer *t, int32_t id)
{
    return t->arena + t->tokens[id].begin;
}

/* True for tokens that ordinary text can become by merging. */
bool token_is_piece(const tokenizer *t, int32_t id);

/* ---- tokenizer_table.c ---- */

error_code piece_table_build(tokenizer *t, failure *fail);
int32_t piece_find(const tokenizer *t, const char *text, size_t length); /* -1: none */
error_code pair_table_build(tokenizer *t, const gguf_string *merges, size_t n, failure *fail);
const pair_slot *pair_find(const tokenizer *t, int32_t left, int32_t right); /* NULL: none */
error_code special_index_build(tokenizer *t, failure *fail);
/* The longest special that `text` begins with, or -1. */
int32_t special_match(const tokenizer *t, const char *text, size_t length);
/* The first special at or after `from`: its id and place, or -1 with *at = length. */
int32_t special_next(const tokenizer *t, const char *text, size_t length, size_t from, size_t *at);

/* ---- tokenizer_merge.c ---- */

typedef struct merge_symbol {
    uint32_t begin, length;  /* bytes of the text */
    uint32_t previous, next; /* indices of symbols; MERGE_NONE at the ends */
    int32_t id;              /* -1: not (yet) a token */
} merge_symbol;

typedef struct merge_candidate {
    uint64_t order; /* priority, then position: the smallest is merged next */
    uint32_t right;
    uint32_t length;
    int32_t merged;
} merge_candidate;

#define MERGE_NONE UINT32_MAX

/* Memory that is kept from one word of a text to the next. */
typedef struct merge_space {
    merge_symbol *symbols;
    size_t n_symbols, symbols_capacity;
    merge_candidate *heap;
    size_t n_heap, heap_capacity;
} merge_space;

void merge_space_free(merge_space *m);
error_code merge_symbol_add(merge_space *m, uint32_t begin, uint32_t length, int32_t id);
/* Merges the symbols of `text`, best pair first; what remains is the list that begins at symbol 0.
 */
error_code merge_run(const tokenizer *t, merge_space *m, const char *text);

/* ---- encoding ordinary text ---- */

typedef struct encoder {
    const tokenizer *tokenizer;
    token_list *out;
    failure *fail;
    merge_space space;
    pcre2_match_data *match;
} encoder;

/* Remembers whether the piece `id` encoded to itself alone. */
void memo_store(const tokenizer *t, int32_t id, bool alone);
uint8_t memo_load(const tokenizer *t, int32_t id);

/* Appends the token of one byte that no piece covers; ERR_UNSUPPORTED when the vocabulary has
 * neither that nor an unknown token. */
error_code encode_byte(encoder *e, unsigned char byte);

error_code bpe_load(tokenizer *t, const gguf *file, failure *fail);
error_code bpe_encode(encoder *e, const char *text, size_t length);
/* Writes the bytes that a byte-level token's text stands for (at most `length` of them) and returns
 * how many; SIZE_MAX when a letter is not of the byte alphabet. */
size_t bpe_decode_text(const char *text, size_t length, char *bytes);

error_code spm_load(tokenizer *t, const gguf *file, failure *fail);
error_code spm_encode(encoder *e, const char *text, size_t length, bool at_start);

#endif
