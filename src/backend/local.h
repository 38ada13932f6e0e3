/*
 * local.h: a backend over one engine of ours: what its files share. Inside the room only.
 *
 *   local_house.c   loads the models, keeps the conductor
 *   local.c         replies, scores, states
 *   local_text.c    from a request to tokens, and back
 *   local_prompt.c  a prompt and its grammar
 *   local_probe.c   classifications
 *   local_stats.c   what the engine says of a sequence
 */
#ifndef BACKEND_LOCAL_H
#define BACKEND_LOCAL_H

#include "backend/operations.h"
#include "engine/engine.h"

#define PROMPT_TEXT_LIMIT ((size_t)64 << 20)

typedef struct local_backend {
    backend base;
    engine *engine; /* the house's */
} local_backend;

typedef struct local_prompt {
    prepared_prompt base;
    token_list tokens; /* the completion's last */
    grammar *grammar;  /* or NULL */
    reply_style style;
} local_prompt;

/* A backend over an engine of a started (or not yet started) conductor, which it does not own. The
 * name is kept by reference. */
error_code local_create(backend **out, const char *name, engine *e, failure *fail);

static inline const local_backend *local_of(const backend *b)
{
    return (const local_backend *)b;
}

static inline const local_prompt *local_prompt_of(const prepared_prompt *p)
{
    return (const local_prompt *)p;
}

static inline const model *local_model(const backend *b)
{
    return engine_model(local_of(b)->engine);
}

static inline const tokenizer *local_words(const backend *b)
{
    return local_model(b)->tokenizer;
}

/* ---- local_text.c: as backend.h says of the same names --------------------------------------- */

error_code local_tokenize(backend *b, const char *text, size_t length, bool specials,
                          token_list *out, failure *fail);
error_code local_end_tokens(const backend *b, token_list *out);
int32_t local_first_token(const backend *b);
const char *local_token_text(const backend *b, int32_t id, size_t *length);
error_code local_detokenize(backend *b, const int32_t *ids, size_t n, buffer *out, failure *fail);
error_code local_render(backend *b, const request *r, buffer *out, failure *fail);
error_code local_find_token(backend *b, const char *label, int32_t *id, failure *fail);
error_code local_check_length(const backend *b, const request *r, failure *fail);
/* A request's prompt without its completion; how the reply will be written. */
error_code local_encode(const backend *b, const request *r, token_list *out, reply_style *style,
                        failure *fail);

/* ---- local_prompt.c -------------------------------------------------------------------------- */

error_code local_prepare(backend *b, const request *r, prepared_prompt **out, failure *fail);
void local_destroy_prompt(prepared_prompt *p);

/* ---- local_probe.c --------------------------------------------------------------------------- */

error_code local_check_labels(backend *b, const probe_template *t, const char *const *labels,
                              size_t n_labels, failure *fail);
error_code local_classify(backend *b, const request *r, const prepared_prompt *p,
                          const probe_template *t, const char *const *labels, size_t n_labels,
                          wakeup wake, classification **out, failure *fail);
error_code local_poll_classification(classification *c, classification_result *out);
void local_release_classification(classification *c);

/* ---- local_stats.c --------------------------------------------------------------------------- */

work_state local_state(sequence_state s);
reply_stats local_stats(const sequence_stats *s);

#endif
