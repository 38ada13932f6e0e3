/*
 * tokenizer_internal.h: what the tokenizer's own files share; of others only chat.c
 * includes it, to look for specials in its template spans.
 *
 *   tokenizer.c          small questions, cutting text at special tokens
 *   tokenizer_load.c     from a GGUF file's keys to tokens
 *   tokenizer_control.c  tokens that are control tokens, and ends of a turn, by their texts
 *   tokenizer_table.c    piece → id, pair → merge
 *   tokenizer_special.c  the sorted indices of special tokens
 *   tokenizer_merge.c    the merge loop of all kinds: best pair first, O(n log n)
 *   tokenizer_pre.c      the names of tokenizer.ggml.pre: how each splits text into words
 *   tokenizer_split.c    splitting text by such a rule
 *   tokenizer_spelling.c how vocabularies write spaces and bytes
 *   tokenizer_bpe.c      BPE by a list of merges, on bytes or on characters
 *   tokenizer_spm.c      SentencePiece: scores
 *   tokenizer_decode.c   streaming decode
 */
#ifndef MODEL_TOKENIZER_INTERNAL_H
#define MODEL_TOKENIZER_INTERNAL_H

#include <stdatomic.h>

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

typedef enum vocabulary_kind {
    VOCABULARY_SPM,      /* characters, merged by scores; spaces written as U+2581 */
    VOCABULARY_BYTE_BPE, /* bytes in GPT-2's alphabet, merged by a list */
    VOCABULARY_TEXT_BPE, /* characters, merged by a list; spaces written as U+2581 */
} vocabulary_kind;

typedef struct token_entry {
    uint32_t begin; /* what the token stands for in a text: arena bytes [begin, begin + length) */
    uint32_t length;
    uint32_t priority; /* SentencePiece: smaller merges first (a higher score) */
    uint8_t type;
    bool is_end;
    bool strips_after; /* a special that takes the white space after it along */
} token_entry;

typedef struct piece_slot {
    uint32_t hash;
    int32_t id;             /* -1: empty */
    uint32_t begin, length; /* the token's own, here so that looking up touches less memory */
} piece_slot;

typedef struct pair_slot {
    int32_t left, right; /* left -1: empty */
    uint32_t rank;
    int32_t merged;
} pair_slot;

/* ---- tokenizer_pre.c ---- */

#define MAX_PATTERNS 6

/* Each pattern splits what the one before left: matches are words, and so is what lies between. */
typedef struct split_rule {
    const char *patterns[MAX_PATTERNS];
    unsigned threes; /* bit i: a match of pattern i is cut into threes, counted from its end */
} split_rule;

enum {
    PRE_IGNORES_MERGES = 1,  /* a whole word of the vocabulary is taken without merging */
    PRE_ADDS_BOS = 2,        /* when the file does not say */
    PRE_FORCES_BOS = 4,      /* whatever the file says */
    PRE_TEXT = 8,            /* VOCABULARY_TEXT_BPE */
    PRE_WHOLE_NEWLINES = 16, /* a run of newlines that is a token is taken without merging */
};

typedef struct pre_type {
    const char *name;
    const split_rule *rule;
    unsigned flags;
} pre_type;

const pre_type *pre_type_find(gguf_string name); /* NULL: unknown */
const pre_type *pre_type_at(size_t index);       /* in order of the table; NULL past its end */

/* ---- tokenizer_split.c ---- */

typedef struct splitter {
    struct {
        pcre2_code *code;
        bool jit; /* compiled for pcre2_jit_match */
    } patterns[MAX_PATTERNS];
    size_t n_patterns;
    unsigned threes;
    pcre2_match_context *context;
} splitter;

typedef error_code split_handler(void *context, const char *word, size_t length);

error_code splitter_init(splitter *s, const split_rule *rule, failure *fail);
void splitter_free(splitter *s);
/* Calls `handler` for each word of well-formed UTF-8, in order; together they are the text. `match`
 * has room for one pair. */
error_code splitter_run(const splitter *s, pcre2_match_data *match, const char *text, size_t length,
                        split_handler *handler, void *context, failure *fail);

/* ---- the tokenizer ---- */

/* Special tokens sorted by their bytes. */
typedef struct special_index {
    int32_t *ids;
    size_t n;
    uint32_t first[257]; /* those that begin with byte b: [first[b], first[b + 1]) */
} special_index;

struct tokenizer {
    vocabulary_kind kind;
    const pre_type *pre;       /* NULL for SentencePiece */
    int32_t bos, eos, unknown; /* -1: none */
    bool adds_bos;
    bool adds_space;  /* SentencePiece: a space before the text that begins a sequence */
    bool spaces_each; /* and before text that follows a special token */

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

    pair_slot *pairs; /* BPE */
    size_t pairs_mask;
    splitter splitter;

    bool words_apart; /* SentencePiece: no piece has a space after a letter, so words never merge */

    special_index specials; /* control, unknown and user-defined tokens */
    special_index added;    /* of these the user-defined ones: they are found in any text */
};

enum { MEMO_ALONE = 1, MEMO_SPLITS = 2 };

static inline const char *token_text(const tokenizer *t, int32_t id)
{
    return t->arena + t->tokens[id].begin;
}

/* True for tokens that ordinary text can become by merging. */
static inline bool token_is_piece(const tokenizer *t, int32_t id)
{
    return t->tokens[id].type == TOKEN_NORMAL;
}

/* ---- tokenizer_control.c ---- */

/* Corrects the types of tokens whose texts say that they are control tokens, and marks those that
 * end a turn. */
void control_tokens_mark(tokenizer *t, bool is_pangu);

/* ---- tokenizer_table.c ---- */

error_code piece_table_build(tokenizer *t, failure *fail);
int32_t piece_find(const tokenizer *t, const char *text, size_t length); /* -1: none */
error_code pair_table_build(tokenizer *t, const gguf_string *merges, size_t n, failure *fail);
const pair_slot *pair_find(const tokenizer *t, int32_t left, int32_t right); /* NULL: none */

/* ---- tokenizer_special.c ---- */

error_code special_indices_build(tokenizer *t, failure *fail);
/* The longest special that `text` begins with, or -1. */
int32_t special_match(const tokenizer *t, const char *text, size_t length);
/* The first special at or after `from`: its id and place, or -1 with *at = length. */
int32_t special_next(const tokenizer *t, const char *text, size_t length, size_t from, size_t *at);
/* The same among the tokens of one index. */
int32_t special_next_of(const tokenizer *t, const special_index *index, const char *text,
                        size_t length, size_t from, size_t *at);
/* Where text goes on after the special `id` found at `at`. */
size_t special_end(const tokenizer *t, int32_t id, const char *text, size_t length, size_t at);

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
static inline void memo_store(const tokenizer *t, int32_t id, bool alone)
{
    atomic_store_explicit(&t->memo[id], alone ? MEMO_ALONE : MEMO_SPLITS, memory_order_relaxed);
}

static inline uint8_t memo_load(const tokenizer *t, int32_t id)
{
    return atomic_load_explicit(&t->memo[id], memory_order_relaxed);
}

error_code bpe_load(tokenizer *t, const gguf *file, failure *fail);
error_code bpe_encode(encoder *e, const char *text, size_t length);

error_code spm_load(tokenizer *t, const gguf *file, failure *fail);
/* `spaced`: a space goes before the text. */
error_code spm_encode(encoder *e, const char *text, size_t length, bool spaced);

/* ---- tokenizer_spelling.c ---- */

/* SentencePiece writes a space as U+2581; tokens are kept with plain spaces. Returns the length. */
#define SPACE_MARK "\xE2\x96\x81"
size_t unmark_spaces(const char *text, size_t length, char *bytes);
/* `text` with each U+2581 made a space, as tokens are kept. */
error_code unmark_text(buffer *b, const char *text, size_t length);
/* Writes the bytes that a byte-level token's text stands for (at most `length` of them) and returns
 * how many; SIZE_MAX when a letter is not of the byte alphabet. */
size_t bpe_decode_text(const char *text, size_t length, char *bytes);
/* Appends the token of one byte that no piece covers; ERR_UNSUPPORTED when the vocabulary has
 * neither that nor an unknown token. */
error_code encode_byte(encoder *e, unsigned char byte);

#endif
