/*
 * operations.h: what makes a kind of backend. For the files of this room, and for tests that
 * pretend to be one.
 *
 * A backend, and what it hands out, begins with the struct of its kind below: whoever makes it
 * points `operations` at its table, and gets it back in that table's functions only. Operations
 * that may be NULL are refused above with ERR_UNSUPPORTED, in the backend's name.
 */
#ifndef BACKEND_OPERATIONS_H
#define BACKEND_OPERATIONS_H

#include "backend/backend.h"

/* The functions of backend.h, by their names there. */
typedef struct backend_operations {
    void (*destroy)(backend *b);
    size_t (*context)(const backend *b);
    void (*read_load)(backend *b, backend_load *out);
    size_t (*read_replicas)(backend *b, backend_replica *out, size_t most); /* or NULL */
    error_code (*renew)(backend *b, const config_model *m, failure *fail);  /* or NULL: nothing */
    const model *(*local_model)(const backend *b); /* or NULL: no model is in this process */
    bool (*has_template)(const backend *b);
    error_code (*set_drafter)(backend *b, const backend *small, failure *fail); /* or NULL */

    error_code (*check_length)(const backend *b, const request *r, failure *fail);
    error_code (*prepare)(backend *b, const request *r, prepared_prompt **out, failure *fail);
    void (*destroy_prompt)(prepared_prompt *p);

    error_code (*submit)(backend *b, const request *r, const prepared_prompt *p,
                         const lookup_wish *lookup, wakeup wake, reply **out, failure *fail);
    error_code (*poll_reply)(reply *r, reply_status *status, buffer *text, token_list *tokens);
    const score_list *(*reply_scores)(const reply *r);
    void (*cancel_reply)(reply *r);
    void (*release_reply)(reply *r);

    /* Texts and tokens: all or none may be NULL, but token_text. */
    error_code (*tokenize)(backend *b, const char *text, size_t length, bool specials,
                           token_list *out, failure *fail);
    error_code (*end_tokens)(const backend *b, token_list *out);
    int32_t (*first_token)(const backend *b);
    const char *(*token_text)(const backend *b, int32_t id, size_t *length);
    error_code (*detokenize)(backend *b, const int32_t *ids, size_t n, buffer *out, failure *fail);
    error_code (*render)(backend *b, const request *r, buffer *out, failure *fail);
    error_code (*find_token)(backend *b, const char *text, int32_t *id, failure *fail);

    /* The probe: all or none may be NULL. */
    error_code (*check_labels)(backend *b, const probe_template *t, const char *const *labels,
                               size_t n_labels, failure *fail);
    error_code (*classify)(backend *b, const request *r, const prepared_prompt *p,
                           const probe_template *t, const char *const *labels, size_t n_labels,
                           wakeup wake, classification **out, failure *fail);
    error_code (*poll_classification)(classification *c, classification_result *out);
    void (*release_classification)(classification *c);

    /* States: all or none may be NULL. */
    size_t (*state_width)(const backend *b);
    uint32_t (*last_state)(const backend *b);
    error_code (*embed)(backend *b, const prepared_prompt *p, const embedding_request *e,
                        wakeup wake, embedding_job **out, failure *fail);
    error_code (*poll_embedding)(embedding_job *e, embedding_result *out);
    void (*release_embedding)(embedding_job *e);
} backend_operations;

struct backend {
    const backend_operations *operations;
    const char *name; /* the model's; kept by reference */
};

struct prepared_prompt {
    const backend_operations *operations;
    size_t n_tokens;    /* the completion's are not among them */
    const int32_t *ids; /* the completion's stand behind the others; NULL: not known */
    double template_ms;
};

struct reply {
    const backend_operations *operations;
    reply_style style;
};

struct classification {
    const backend_operations *operations;
};

struct embedding_job {
    const backend_operations *operations;
};

#endif
