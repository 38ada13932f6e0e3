/* grammar.c: grammars compiled for a model, and replies that follow them, over constraint.h. */
#include "model/grammar.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "constraint/constraint.h"

struct grammar_words {
    pthread_mutex_t lock;
    constraint_vocabulary *vocabulary; /* NULL: no grammar has been compiled yet */
};

struct grammar {
    constraint_grammar *compiled;
    size_t n_vocab;
};

struct token_constraint {
    constraint *state;
    size_t n_words;
};

_Static_assert((int)GRAMMAR_JSON_SCHEMA == (int)CONSTRAINT_JSON_SCHEMA &&
                   (int)GRAMMAR_LARK == (int)CONSTRAINT_LARK &&
                   (int)GRAMMAR_GBNF == (int)CONSTRAINT_GBNF &&
                   (int)GRAMMAR_REGEX == (int)CONSTRAINT_REGEX &&
                   (int)GRAMMAR_CHOICE == (int)CONSTRAINT_CHOICE &&
                   (int)GRAMMAR_CALLS == (int)CONSTRAINT_CALLS,
               "grammar_kind is constraint_kind");

static error_code fail_with(failure *fail, constraint_status status, const char *words)
{
    static const error_code codes[] = {
        [CONSTRAINT_OK] = OK,
        [CONSTRAINT_REFUSED] = ERR_INVALID,
        [CONSTRAINT_LIMIT] = ERR_INVALID,
        [CONSTRAINT_FAILED] = ERR_INTERNAL,
        [CONSTRAINT_MEMORY] = ERR_MEMORY,
    };
    return status == CONSTRAINT_OK ? OK : failure_set(fail, codes[status], "grammar: %s", words);
}

/* ---- the vocabulary ------------------------------------------------------------------------- */

struct grammar_words *grammar_words_create(void)
{
    struct grammar_words *w = calloc(1, sizeof *w);
    if (w != NULL)
        pthread_mutex_init(&w->lock, NULL);
    return w;
}

void grammar_words_destroy(struct grammar_words *w)
{
    if (w == NULL)
        return;
    constraint_vocabulary_destroy(w->vocabulary);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

static void encode(const void *context, constraint_text text, constraint_sink give, void *sink)
{
    token_list tokens = {0};
    if (tokenizer_encode(context, text.data, text.length, false, false, &tokens, NULL) == OK)
        give(sink, tokens.ids, tokens.length);
    token_list_free(&tokens);
}

/* Ids above the tokenizer's are padding: no word. */
static void gather_words(const model *m, constraint_word *words, constraint_words *out)
{
    const tokenizer *t = m->tokenizer;
    int32_t *ends = (int32_t *)out->ends;
    for (size_t i = 0; i < tokenizer_size(t); i++) {
        int32_t id = (int32_t)i;
        words[i].is_special = tokenizer_is_control(t, id);
        words[i].text.data = tokenizer_bytes(t, id, true, &words[i].text.length);
        if (tokenizer_is_end(t, id))
            ends[out->n_ends++] = id;
    }
}

static error_code make_vocabulary(constraint_vocabulary **out, const model *m, failure *fail)
{
    size_t n = m->config.n_vocab;
    constraint_word *words = calloc(n, sizeof *words);
    int32_t *ends = calloc(n, sizeof *ends);
    error_code code = OK;
    if (words == NULL || ends == NULL) {
        code = failure_set(fail, ERR_MEMORY, "no memory for a vocabulary");
    } else {
        char message[CONSTRAINT_MESSAGE_SIZE] = "";
        constraint_words given = {words, n, ends, 0, encode, m->tokenizer};
        gather_words(m, words, &given);
        code = fail_with(fail, constraint_vocabulary_create(out, &given, &message), message);
    }
    free(words);
    free(ends);
    return code;
}

/* ---- grammars ------------------------------------------------------------------------------- */

grammar_kind grammar_language(const char *text)
{
    return strstr(text, "::=") != NULL ? GRAMMAR_GBNF : GRAMMAR_LARK;
}

error_code grammar_compile(grammar **out, const model *m, grammar_kind kind, const char *text,
                           size_t length, failure *fail)
{
    grammar *g = malloc(sizeof *g);
    if (g == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a grammar");
    *g = (grammar){.n_vocab = m->config.n_vocab};
    error_code code = OK;
    pthread_mutex_lock(&m->words->lock);
    if (m->words->vocabulary == NULL)
        code = make_vocabulary(&m->words->vocabulary, m, fail);
    const constraint_vocabulary *vocabulary = m->words->vocabulary;
    pthread_mutex_unlock(&m->words->lock);
    if (code == OK) {
        char message[CONSTRAINT_MESSAGE_SIZE] = "";
        code = fail_with(fail,
                         constraint_compile(&g->compiled, vocabulary, (constraint_kind)kind,
                                            (constraint_text){text, length}, &message),
                         message);
    }
    if (code != OK) {
        free(g);
        return code;
    }
    *out = g;
    return OK;
}

void grammar_destroy(grammar *g)
{
    if (g == NULL)
        return;
    constraint_grammar_destroy(g->compiled);
    free(g);
}

/* ---- replies -------------------------------------------------------------------------------- */

error_code token_constraint_create(token_constraint **out, const grammar *g, failure *fail)
{
    char message[CONSTRAINT_MESSAGE_SIZE] = "";
    token_constraint *c = malloc(sizeof *c);
    if (c == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a grammar's state");
    *c = (token_constraint){.n_words = (g->n_vocab + 31) / 32};
    error_code code = fail_with(fail, constraint_create(&c->state, g->compiled, &message), message);
    if (code != OK)
        free(c);
    else
        *out = c;
    return code;
}

void token_constraint_destroy(token_constraint *c)
{
    if (c == NULL)
        return;
    constraint_destroy(c->state);
    free(c);
}

size_t token_constraint_words(const token_constraint *c)
{
    return c->n_words;
}

error_code token_constraint_mask(token_constraint *c, uint32_t *mask, failure *fail)
{
    char message[CONSTRAINT_MESSAGE_SIZE] = "";
    return fail_with(fail, constraint_mask(c->state, mask, &message), message);
}

error_code token_constraint_accept(token_constraint *c, int32_t token, failure *fail)
{
    char message[CONSTRAINT_MESSAGE_SIZE] = "";
    return fail_with(fail, constraint_accept(c->state, token, &message), message);
}

error_code token_constraint_rollback(token_constraint *c, size_t n, failure *fail)
{
    char message[CONSTRAINT_MESSAGE_SIZE] = "";
    return fail_with(fail, constraint_rollback(c->state, n, &message), message);
}

size_t token_constraint_count_valid(token_constraint *c, const int32_t *tokens, size_t n)
{
    return constraint_valid(c->state, tokens, n);
}

size_t token_constraint_forced(token_constraint *c, int32_t *tokens, size_t most)
{
    return constraint_forced(c->state, tokens, most);
}

bool token_constraint_is_complete(const token_constraint *c)
{
    return constraint_is_complete(c->state);
}
