/* local.c: a backend over one engine of ours: replies, scores and states. */
#include "backend/local.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(WISH_MAX_DRAFT == LOOKUP_MAX_DRAFT, "what is wished can be drafted");
_Static_assert(WISH_CLASSES == LOOKUP_CLASSES, "every class has its estimate");
_Static_assert(PROBE_MAX_LABELS == SEQUENCE_MAX_LABELS, "all labels are asked at once");
_Static_assert(LOAD_STEP_ROWS == ENGINE_STEP_ROWS, "all that is measured is told");

typedef struct local_reply {
    reply base;
    sequence *sequence;
} local_reply;

typedef struct local_embedding {
    embedding_job base;
    sequence *sequence;
} local_embedding;

/* ---- wishes in the engine's words ------------------------------------------------------------ */

static lookup_setting lookup_of(const lookup_wish *w)
{
    static const lookup_mode modes[] = {[WISH_OFF] = LOOKUP_OFF,
                                        [WISH_AUTO] = LOOKUP_AUTO,
                                        [WISH_FIXED] = LOOKUP_FIXED,
                                        [WISH_DRAFT] = LOOKUP_DRAFT};
    return (lookup_setting){.mode = modes[w->mode], .length = w->length, .prior = w->prior};
}

/* ---- the backend ----------------------------------------------------------------------------- */

static void destroy(backend *b)
{
    free(b);
}

static size_t context(const backend *b)
{
    return engine_context(local_of(b)->engine);
}

static const model *own_model(const backend *b)
{
    return local_model(b);
}

static bool has_template(const backend *b)
{
    return local_model(b)->chat != NULL;
}

static void read_load(backend *b, backend_load *out)
{
    engine_status s;
    engine_read_status(local_of(b)->engine, &s);
    *out = (backend_load){.slots = s.slots,
                          .running = s.running,
                          .waiting = s.waiting,
                          .parked = s.parked,
                          .kv_bytes = s.kv_bytes,
                          .kv_limit_bytes = s.kv_limit_bytes,
                          .reply_ms = s.reply_ms,
                          .retry_after_s = s.retry_after_s,
                          .pauses = s.pauses,
                          .reply_tokens = s.reply_tokens,
                          .read_bytes = s.read_bytes,
                          .switch_ms = s.switch_ms,
                          .drafting_ms = s.drafting_ms,
                          .prefill_row_ms = s.prefill_row_ms};
    memcpy(out->step_ms, s.step_ms, sizeof out->step_ms);
}

static error_code set_drafter(backend *b, const backend *small, failure *fail)
{
    const model *m = backend_local_model(small);
    return m != NULL ? engine_set_draft_model(local_of(b)->engine, m, fail)
                     : failure_set(fail, ERR_UNSUPPORTED, "the model %s is not in this process",
                                   small->name);
}

/* ---- replies and scores ---------------------------------------------------------------------- */

/* How many of the prompt's tokens are scored. */
static size_t count_scored(const request *r, const local_prompt *p)
{
    size_t completion = p->tokens.length - p->base.n_tokens;
    if (r->kind == REQUEST_SCORE && r->completion != NULL && !r->scores_prompt)
        return completion;
    bool all = r->kind == REQUEST_SCORE || r->scores_prompt;
    return all && p->tokens.length > 0 ? p->tokens.length - 1 : 0;
}

static error_code submit(backend *b, const request *r, const prepared_prompt *prepared,
                         const lookup_wish *lookup, wakeup wake, reply **out, failure *fail)
{
    local_reply *handle = malloc(sizeof *handle);
    if (handle == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a reply");
    const local_prompt *p = local_prompt_of(prepared);
    const chat_form *form = p->style.chat.form;
    handle->base = (reply){.operations = b->operations, .style = p->style};
    const sequence_request wanted = {
        .kind = r->kind == REQUEST_SCORE ? SEQUENCE_SCORE : SEQUENCE_REPLY,
        .prompt = p->tokens.ids,
        .n_prompt = p->tokens.length,
        .sampling = r->sampling,
        .max_tokens = r->max_tokens,
        .min_tokens = r->min_tokens,
        .stops = r->stops,
        .n_stops = r->n_stops,
        .shows_control = r->chat.is_parted && form != NULL && form->is_control,
        .lookup = lookup_of(lookup),
        .grammar = p->grammar,
        .wants_scores = r->wants_scores,
        .scores_drawn = r->scores_drawn,
        .n_scored = count_scored(r, p),
        .n_top = r->n_top,
        .priority = r->priority,
        .deadline_ms = r->deadline_ms,
        .wake = wake.call,
        .wake_context = wake.context,
    };
    error_code code = engine_submit(local_of(b)->engine, &wanted, &handle->sequence, fail);
    if (code != OK) {
        free(handle);
        return code;
    }
    *out = &handle->base;
    return OK;
}

static error_code poll_reply(reply *r, reply_status *status, buffer *text, token_list *tokens)
{
    sequence_poll_result polled;
    error_code code = sequence_poll(((local_reply *)r)->sequence, &polled, text, tokens);
    *status = (reply_status){.state = local_state(polled.state),
                             .finish = polled.finish == FINISH_STOP ? END_STOP : END_LENGTH,
                             .stop = polled.stop,
                             .failure = polled.failure,
                             .stats = local_stats(&polled.stats)};
    return code;
}

static const score_list *scores_of(const reply *r)
{
    return sequence_scores(((const local_reply *)r)->sequence);
}

static void cancel_reply(reply *r)
{
    sequence_cancel(((local_reply *)r)->sequence);
}

static void release_reply(reply *r)
{
    sequence_release(((local_reply *)r)->sequence);
    free(r);
}

/* ---- states ---------------------------------------------------------------------------------- */

static size_t state_width(const backend *b)
{
    return local_model(b)->config.n_embd;
}

static uint32_t last_state(const backend *b)
{
    return model_last_state(local_model(b));
}

static error_code embed(backend *b, const prepared_prompt *p, const embedding_request *e,
                        wakeup wake, embedding_job **out, failure *fail)
{
    local_embedding *job = malloc(sizeof *job);
    if (job == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for an embedding");
    job->base.operations = b->operations;
    const sequence_request wanted = {
        .kind = SEQUENCE_EMBEDDING,
        .prompt = p->ids,
        .n_prompt = p->n_tokens,
        .layers = e->layers,
        .n_layers = e->n_layers,
        .pooling = e->pooling == EMBEDDING_LAST ? POOL_LAST : POOL_MEAN,
        .is_urgent = e->is_urgent,
        .is_alone = e->is_alone,
        .priority = e->priority,
        .deadline_ms = e->deadline_ms,
        .wake = wake.call,
        .wake_context = wake.context,
    };
    error_code code = engine_submit(local_of(b)->engine, &wanted, &job->sequence, fail);
    if (code != OK) {
        free(job);
        return code;
    }
    *out = &job->base;
    return OK;
}

static error_code poll_embedding(embedding_job *e, embedding_result *out)
{
    sequence *s = ((local_embedding *)e)->sequence;
    sequence_poll_result polled;
    error_code code = sequence_poll(s, &polled, NULL, NULL);
    bool finished = code == OK && polled.state == SEQUENCE_FINISHED;
    *out = (embedding_result){.state = local_state(polled.state),
                              .failure = polled.failure,
                              .states = finished ? sequence_states(s) : NULL,
                              .stats = local_stats(&polled.stats)};
    return code;
}

static void release_embedding(embedding_job *e)
{
    sequence_release(((local_embedding *)e)->sequence);
    free(e);
}

static const backend_operations operations = {
    .destroy = destroy,
    .context = context,
    .read_load = read_load,
    .local_model = own_model,
    .has_template = has_template,
    .set_drafter = set_drafter,
    .check_length = local_check_length,
    .prepare = local_prepare,
    .destroy_prompt = local_destroy_prompt,
    .submit = submit,
    .poll_reply = poll_reply,
    .reply_scores = scores_of,
    .cancel_reply = cancel_reply,
    .release_reply = release_reply,
    .tokenize = local_tokenize,
    .end_tokens = local_end_tokens,
    .first_token = local_first_token,
    .token_text = local_token_text,
    .detokenize = local_detokenize,
    .render = local_render,
    .find_token = local_find_token,
    .check_labels = local_check_labels,
    .classify = local_classify,
    .poll_classification = local_poll_classification,
    .release_classification = local_release_classification,
    .state_width = state_width,
    .last_state = last_state,
    .embed = embed,
    .poll_embedding = poll_embedding,
    .release_embedding = release_embedding,
};

error_code local_create(backend **out, const char *name, engine *e, failure *fail)
{
    local_backend *b = malloc(sizeof *b);
    if (b == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a backend");
    *b = (local_backend){.base = {.operations = &operations, .name = name}, .engine = e};
    *out = &b->base;
    return OK;
}
