/*
 * constraint.h: replies that match a grammar, by saying before each token which ones may follow.
 *
 * The library behind it is written in Rust (this folder) around the crate llguidance. Grammars are
 * untrusted: steps, depth and memory of compiling and of every mask are bounded, a failed
 * allocation is an error. Vocabularies and grammars are read-only: any thread may use them at once.
 * A constraint is one reply's state: one thread at a time. Compiling brings its own stack.
 *
 * Anything but OK leaves its words in `message`.
 */
#ifndef CONSTRAINT_CONSTRAINT_H
#define CONSTRAINT_CONSTRAINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct constraint_text {
    const char *data; /* need not end with NUL */
    size_t length;
} constraint_text;

typedef enum constraint_status {
    CONSTRAINT_OK,
    CONSTRAINT_REFUSED, /* the grammar is malformed, or asks for what is not supported */
    CONSTRAINT_LIMIT,   /* it needs more steps, memory or depth than a grammar may have */
    CONSTRAINT_FAILED,  /* the token does not follow, or the library is at fault */
    CONSTRAINT_MEMORY,
} constraint_status;

#define CONSTRAINT_MESSAGE_SIZE 400

/* ---- vocabularies ---------------------------------------------------------------------------- */

typedef struct constraint_vocabulary constraint_vocabulary;

typedef struct constraint_word {
    constraint_text text;
    bool is_special; /* no text makes it: a grammar names it as <text> or <[id]> */
} constraint_word;

/* Takes the ids of an encoded text, in one call. */
typedef void (*constraint_sink)(void *sink, const int32_t *ids, size_t n);

typedef struct constraint_words {
    const constraint_word *words; /* by id; a word without bytes never follows */
    size_t n_words;
    const int32_t *ends; /* tokens that end a reply: they may follow where the grammar may end */
    size_t n_ends;
    /* Tokenises a text as prompts are; must do so as long as anything made of the vocabulary lives,
     * on any thread. May give nothing. */
    void (*encode)(const void *context, constraint_text text, constraint_sink give, void *sink);
    const void *context;
} constraint_words;

/* Copies the words. Takes about a second for a vocabulary of 150,000. */
constraint_status constraint_vocabulary_create(constraint_vocabulary **out,
                                               const constraint_words *words,
                                               char (*message)[CONSTRAINT_MESSAGE_SIZE]);
void constraint_vocabulary_destroy(constraint_vocabulary *v);

/* ---- grammars -------------------------------------------------------------------------------- */

typedef enum constraint_kind {
    CONSTRAINT_JSON_SCHEMA, /* the schema */
    CONSTRAINT_LARK,        /* a Lark grammar, as llguidance reads it */
    CONSTRAINT_GBNF,        /* llama.cpp's */
    CONSTRAINT_REGEX,       /* of the whole reply */
    CONSTRAINT_CHOICE,      /* a JSON array of the texts that may be the reply */
    CONSTRAINT_CALLS,       /* a JSON object, see below */
} constraint_kind;

/* Of CONSTRAINT_CALLS: `functions`, each with `name` and `parameters` (a JSON Schema, or null), one
 * of which is called as {"name": …, KEY: …}, with `key` for KEY. Marks are arrays of texts and of
 * ids of tokens: `before` and `after` all calls, `begin` and `end` of each, `between` two;
 * `most_one`: true for one call only. `thought_end`: the part of a mark that ends a thought which
 * comes first, or null.
 *
 * With `is_free` the reply may as well be any text; it is calls from the first mark on, which is a
 * token's or the first text of `before` and `begin`, with `is_bare` also from the beginning of an
 * object that is a call's and stands where the reply begins, in a block of code or not. Then with
 * `thought_begin`, the thought need not come. */

typedef struct constraint_grammar constraint_grammar;

/* Copies the text; the vocabulary may be destroyed before what is made of it. */
constraint_status constraint_compile(constraint_grammar **out, const constraint_vocabulary *v,
                                     constraint_kind kind, constraint_text text,
                                     char (*message)[CONSTRAINT_MESSAGE_SIZE]);
void constraint_grammar_destroy(constraint_grammar *g);

/* ---- replies --------------------------------------------------------------------------------- */

typedef struct constraint constraint;

/* At the reply's beginning. */
constraint_status constraint_create(constraint **out, const constraint_grammar *g,
                                    char (*message)[CONSTRAINT_MESSAGE_SIZE]);
void constraint_destroy(constraint *c);

/* Which tokens may follow: bit id % 32 of mask[id / 32], for (n_words + 31) / 32 of them. Where the
 * grammar has ended, those that end a reply. */
constraint_status constraint_mask(constraint *c, uint32_t *mask,
                                  char (*message)[CONSTRAINT_MESSAGE_SIZE]);
constraint_status constraint_accept(constraint *c, int32_t token,
                                    char (*message)[CONSTRAINT_MESSAGE_SIZE]);
/* Takes back the last n accepted tokens. */
constraint_status constraint_rollback(constraint *c, size_t n,
                                      char (*message)[CONSTRAINT_MESSAGE_SIZE]);
/* How many of these tokens could be accepted, one after the other. */
size_t constraint_valid(constraint *c, const int32_t *tokens, size_t n);
/* Writes up to `most` tokens that follow whatever is sampled; returns how many. */
size_t constraint_forced(constraint *c, int32_t *tokens, size_t most);
/* The grammar has ended: nothing but an end may follow. */
bool constraint_is_complete(const constraint *c);

#endif
