/*
 * grammar.h: what a reply must match, in the terms of one model's vocabulary.
 *
 * A grammar is compiled for one model, which must outlive it, and is read-only: any thread may use
 * it at once. A token_constraint is the state of one reply in it, for one thread at a time; it may
 * outlive the grammar. What is random in a reply stays the sampler's: a constraint only says which
 * tokens may follow, as a function of the reply's tokens so far.
 */
#ifndef MODEL_GRAMMAR_H
#define MODEL_GRAMMAR_H

#include "model/model.h"

typedef enum grammar_kind {
    GRAMMAR_JSON_SCHEMA,
    GRAMMAR_LARK,
    GRAMMAR_GBNF,
    GRAMMAR_REGEX,
    GRAMMAR_CHOICE, /* a JSON array of texts */
    GRAMMAR_CALLS,  /* what tool_grammar_write writes */
} grammar_kind;

/* Of a grammar's text: GBNF defines rules with ::=, which Lark does not know. */
grammar_kind grammar_language(const char *text);

typedef struct grammar grammar;
typedef struct token_constraint token_constraint;

/* ERR_INVALID says what of the grammar is wrong or not supported. The first grammar of a model
 * takes longer, up to a second for a large vocabulary. */
error_code grammar_compile(grammar **out, const model *m, grammar_kind kind, const char *text,
                           size_t length, failure *fail);
void grammar_destroy(grammar *g);

error_code token_constraint_create(token_constraint **out, const grammar *g, failure *fail);
void token_constraint_destroy(token_constraint *c);

/* Words of a mask: bit id % 32 of word id / 32 says that the token may follow. */
size_t token_constraint_words(const token_constraint *c);
/* ERR_INVALID: the grammar needs more steps here than a mask may take. */
error_code token_constraint_mask(token_constraint *c, uint32_t *mask, failure *fail);
error_code token_constraint_accept(token_constraint *c, int32_t token, failure *fail);
/* Takes back the last n accepted tokens, and what failed after them. */
error_code token_constraint_rollback(token_constraint *c, size_t n, failure *fail);
/* How many of these tokens could be accepted, one after the other. */
size_t token_constraint_count_valid(token_constraint *c, const int32_t *tokens, size_t n);
/* Writes up to `most` tokens that follow whatever is sampled; returns how many. */
size_t token_constraint_forced(token_constraint *c, int32_t *tokens, size_t most);
/* Nothing may follow but the reply's end. */
bool token_constraint_is_complete(const token_constraint *c);

/* ---- for model.c ---- */

/* A model's vocabulary as grammars need it, made at the first one. NULL: no memory. */
struct grammar_words *grammar_words_create(void);
void grammar_words_destroy(struct grammar_words *w);

#endif
