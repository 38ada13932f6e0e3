/* backend.c: from the interface to the operations of a backend's kind. */
#include "backend/operations.h"

static error_code refuse(const backend *b, const char *what, failure *fail)
{
    return failure_set(fail, ERR_UNSUPPORTED, "the server of model '%s' cannot %s", b->name, what);
}

void backend_destroy(backend *b)
{
    if (b != NULL)
        b->operations->destroy(b);
}

const char *backend_name(const backend *b)
{
    return b->name;
}

size_t backend_context(const backend *b)
{
    return b->operations->context(b);
}

const model *backend_local_model(const backend *b)
{
    return b->operations->local_model != NULL ? b->operations->local_model(b) : NULL;
}

bool backend_has_template(const backend *b)
{
    return b->operations->has_template(b);
}

size_t backend_read_replicas(backend *b, backend_replica *out, size_t most)
{
    return b->operations->read_replicas != NULL ? b->operations->read_replicas(b, out, most) : 0;
}

error_code backend_renew(backend *b, const config_model *m, failure *fail)
{
    return b->operations->renew != NULL ? b->operations->renew(b, m, fail) : OK;
}

void backend_read_load(backend *b, backend_load *out)
{
    b->operations->read_load(b, out);
}

error_code backend_set_drafter(backend *b, const backend *small, failure *fail)
{
    return b->operations->set_drafter != NULL ? b->operations->set_drafter(b, small, fail)
                                              : refuse(b, "let another model draft for it", fail);
}

/* ---- prompts ------------------------------------------------------------------------------- */

error_code backend_check_length(const backend *b, const request *r, failure *fail)
{
    return b->operations->check_length(b, r, fail);
}

error_code backend_prepare(backend *b, const request *r, prepared_prompt **out, failure *fail)
{
    return b->operations->prepare(b, r, out, fail);
}

size_t prompt_tokens(const prepared_prompt *p)
{
    return p->n_tokens;
}

const int32_t *prompt_ids(const prepared_prompt *p)
{
    return p->ids;
}

double prompt_template_ms(const prepared_prompt *p)
{
    return p->template_ms;
}

void prompt_destroy(prepared_prompt *p)
{
    if (p != NULL)
        p->operations->destroy_prompt(p);
}

error_code backend_count_tokens(backend *b, const request *r, size_t *count, failure *fail)
{
    prepared_prompt *p;
    error_code code = backend_prepare(b, r, &p, fail);
    if (code != OK)
        return code;
    *count = p->n_tokens;
    prompt_destroy(p);
    return OK;
}

/* ---- texts and tokens ---------------------------------------------------------------------- */

error_code backend_tokenize(backend *b, const char *text, size_t length, bool specials,
                            token_list *out, failure *fail)
{
    return b->operations->tokenize != NULL
               ? b->operations->tokenize(b, text, length, specials, out, fail)
               : refuse(b, "tokenise here", fail);
}

error_code backend_end_tokens(const backend *b, token_list *out)
{
    return b->operations->end_tokens != NULL ? b->operations->end_tokens(b, out) : OK;
}

int32_t backend_first_token(const backend *b)
{
    return b->operations->first_token != NULL ? b->operations->first_token(b) : -1;
}

bool backend_has_ids(const backend *b)
{
    return b->operations->tokenize != NULL;
}

const char *backend_token_text(const backend *b, int32_t id, size_t *length)
{
    if (b->operations->token_text != NULL)
        return b->operations->token_text(b, id, length);
    *length = 0;
    return "";
}

error_code backend_detokenize(backend *b, const int32_t *ids, size_t n, buffer *out, failure *fail)
{
    return b->operations->detokenize != NULL ? b->operations->detokenize(b, ids, n, out, fail)
                                             : refuse(b, "detokenise here", fail);
}

error_code backend_render(backend *b, const request *r, buffer *out, failure *fail)
{
    return b->operations->render != NULL ? b->operations->render(b, r, out, fail)
                                         : refuse(b, "apply its template here", fail);
}

error_code backend_find_token(backend *b, const char *text, int32_t *id, failure *fail)
{
    return b->operations->find_token != NULL ? b->operations->find_token(b, text, id, fail)
                                             : refuse(b, "tokenise here", fail);
}

/* ---- replies and scores -------------------------------------------------------------------- */

error_code backend_submit(backend *b, const request *r, const prepared_prompt *p,
                          const lookup_wish *lookup, wakeup wake, reply **out, failure *fail)
{
    return b->operations->submit(b, r, p, lookup, wake, out, fail);
}

error_code reply_poll(reply *r, reply_status *status, buffer *text, token_list *tokens)
{
    return r->operations->poll_reply(r, status, text, tokens);
}

const score_list *reply_scores(const reply *r)
{
    return r->operations->reply_scores(r);
}

reply_style reply_style_of(const reply *r)
{
    return r->style;
}

void reply_cancel(reply *r)
{
    r->operations->cancel_reply(r);
}

void reply_release(reply *r)
{
    if (r != NULL)
        r->operations->release_reply(r);
}

/* ---- classification ------------------------------------------------------------------------ */

error_code backend_check_labels(backend *b, const probe_template *t, const char *const *labels,
                                size_t n_labels, failure *fail)
{
    return b->operations->check_labels != NULL
               ? b->operations->check_labels(b, t, labels, n_labels, fail)
               : refuse(b, "be probed", fail);
}

error_code backend_classify(backend *b, const request *r, const prepared_prompt *p,
                            const probe_template *t, const char *const *labels, size_t n_labels,
                            wakeup wake, classification **out, failure *fail)
{
    return b->operations->classify != NULL
               ? b->operations->classify(b, r, p, t, labels, n_labels, wake, out, fail)
               : refuse(b, "be probed", fail);
}

error_code classification_poll(classification *c, classification_result *out)
{
    return c->operations->poll_classification(c, out);
}

void classification_release(classification *c)
{
    if (c != NULL)
        c->operations->release_classification(c);
}

/* ---- embeddings ---------------------------------------------------------------------------- */

size_t backend_state_width(const backend *b)
{
    return b->operations->state_width != NULL ? b->operations->state_width(b) : 0;
}

uint32_t backend_last_state(const backend *b)
{
    return b->operations->last_state != NULL ? b->operations->last_state(b) : 0;
}

error_code backend_embed(backend *b, const prepared_prompt *p, const embedding_request *e,
                         wakeup wake, embedding_job **out, failure *fail)
{
    return b->operations->embed != NULL ? b->operations->embed(b, p, e, wake, out, fail)
                                        : refuse(b, "give the states of its layers", fail);
}

error_code embedding_poll(embedding_job *e, embedding_result *out)
{
    return e->operations->poll_embedding(e, out);
}

void embedding_release(embedding_job *e)
{
    if (e != NULL)
        e->operations->release_embedding(e);
}
