/* sequence.c: a sequence from submission to release, and what its owner may ask of it. */
#include "engine/sequence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/conductor.h"

#define REPLY_TEXT_LIMIT ((size_t)64 << 20)
#define REPLY_TEXT_START 4096 /* bytes a reader may be behind before the text has to grow */

/* ---- creation ------------------------------------------------------------------------------ */

/* All that a token will need, so that the token path allocates nothing. */
static error_code reserve_reply(sequence *s, failure *fail)
{
    error_code code = token_list_reserve(&s->tokens, s->max_tokens);
    if (code == OK)
        code = token_list_reserve(&s->reply, s->max_tokens);
    if (code == OK)
        code = buffer_reserve(&s->text, REPLY_TEXT_START);
    return code == OK ? OK : failure_set(fail, code, "no memory for the reply");
}

static error_code check_memory(const sequence *s, size_t tokens, failure *fail)
{
    const engine *e = s->engine;
    if (tokens <= e->fitting_tokens)
        return OK;
    return failure_set(
        fail, ERR_TOO_LARGE,
        "the request needs KV for %zu tokens (%.3g MB), the memory limit leaves room "
        "for %zu (%.3g MB); ask for fewer tokens",
        tokens, (double)kv_sequence_bytes(e->kv, tokens) / 1e6, e->fitting_tokens,
        (double)e->conductor->kv_limit / 1e6);
}

static size_t choose_max_tokens(const engine *e, const sequence_request *r)
{
    if (r->n_forced > 0)
        return r->n_forced;
    size_t room = e->options.context - r->n_prompt;
    if (r->max_tokens != 0)
        return r->max_tokens < room ? r->max_tokens : room;
    /* As much as there is room for, but one token at least. */
    size_t fits = e->fitting_tokens > r->n_prompt ? e->fitting_tokens - r->n_prompt : 1;
    return fits < room ? fits : room;
}

static acceptance *acceptance_pool(engine *e, const lookup_setting *setting)
{
    return setting->mode == LOOKUP_DRAFT ? &e->drafter_acceptance
                                         : &e->acceptance[setting->prior % LOOKUP_CLASSES];
}

static error_code copy_forced(sequence *s, const sequence_request *r, failure *fail)
{
    if (r->n_forced == 0)
        return OK;
    s->forced = reallocarray(NULL, r->n_forced, sizeof *s->forced);
    if (s->forced == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the forced reply");
    memcpy(s->forced, r->forced, r->n_forced * sizeof *s->forced);
    s->n_forced = r->n_forced;
    s->forced_agreement = r->forced_agreement;
    return OK;
}

/* The tokens that may not follow before the reply has its least length. */
static error_code find_ends(sequence *s, const sequence_request *r, failure *fail)
{
    const tokenizer *t = s->engine->model->tokenizer;
    size_t n = r->min_tokens > 0 ? tokenizer_size(t) : 0;
    s->min_tokens = r->min_tokens;
    for (size_t id = 0; id < n; id++)
        if (tokenizer_is_end(t, (int32_t)id) && token_list_add(&s->ends, (int32_t)id) != OK)
            return failure_set(fail, ERR_MEMORY, "no memory for the reply");
    return OK;
}

static error_code prepare_generation(sequence *s, const sequence_request *r, failure *fail)
{
    const model *m = s->engine->model;
    s->max_tokens = choose_max_tokens(s->engine, r);
    error_code code = check_memory(s, r->n_prompt + s->max_tokens, fail);
    if (code == OK)
        code = output_init(&s->output, m->tokenizer, r->stops, r->n_stops, fail);
    s->output.decoder.specials = r->shows_control;
    if (code == OK)
        code = find_ends(s, r, fail);
    if (code == OK)
        code = reserve_reply(s, fail);
    if (code == OK)
        code = sampler_create(&s->sampler, &r->sampling, m->config.n_vocab, fail);
    if (code == OK)
        code = draft_init(&s->draft, &r->lookup, acceptance_pool(s->engine, &r->lookup),
                          r->n_prompt + s->max_tokens, fail);
    if (code == OK)
        code = copy_forced(s, r, fail);
    if (code == OK && r->grammar != NULL)
        code = mask_lane_create(&s->masks, s->engine->conductor->masker, r->grammar, fail);
    for (size_t i = 0; code == OK && i < r->n_prompt; i++)
        sampler_see_prompt(s->sampler, r->prompt[i]);
    return code;
}

static error_code prepare_embedding(sequence *s, const sequence_request *r, failure *fail)
{
    size_t n = r->n_layers * s->engine->model->config.n_embd;
    s->layers = reallocarray(NULL, r->n_layers, sizeof *s->layers);
    s->sums = calloc(n, sizeof *s->sums);
    s->states = calloc(n, sizeof *s->states);
    if (s->layers == NULL || s->sums == NULL || s->states == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for an embedding");
    memcpy(s->layers, r->layers, r->n_layers * sizeof *s->layers);
    s->n_layers = r->n_layers;
    s->pooling = r->pooling;
    return OK;
}

/* After the prompt. */
static error_code prepare(sequence *s, const sequence_request *r, failure *fail)
{
    if (r->kind == SEQUENCE_REPLY)
        return prepare_generation(s, r, fail);
    error_code code = check_memory(s, r->n_prompt, fail);
    return code == OK && r->kind == SEQUENCE_EMBEDDING ? prepare_embedding(s, r, fail) : code;
}

static void init_sequence(sequence *s, engine *e, const sequence_request *r)
{
    s->engine = e;
    s->kind = r->kind;
    s->is_urgent =
        r->kind == SEQUENCE_CLASSIFICATION || (r->kind == SEQUENCE_EMBEDDING && r->is_urgent);
    s->n_prompt = r->n_prompt;
    s->n_labels = r->n_labels;
    if (r->n_labels > 0)
        memcpy(s->labels, r->labels, r->n_labels * sizeof *r->labels);
    s->n_scored = r->n_scored;
    s->wants_scores = r->kind == SEQUENCE_REPLY && r->wants_scores;
    s->scores_drawn = r->scores_drawn;
    s->n_top = s->scores.n_top = s->polled.n_top = r->n_top;
    s->is_alone = r->is_alone;
    s->wake = r->wake;
    s->wake_context = r->wake_context;
    s->priority = r->priority;
    s->submitted_ms = s->waiting_ms = clock_ms();
    s->end_ms = r->deadline_ms > 0 ? s->submitted_ms + r->deadline_ms : 0;
    s->progress.prompt_tokens = r->n_prompt;
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->wake_lock, NULL);
    buffer_init(&s->text, REPLY_TEXT_LIMIT);
    atomic_init(&s->references, 1);
}

error_code sequence_create(sequence **out, engine *e, const sequence_request *r, failure *fail)
{
    error_code code = sequence_check(e, r, fail);
    if (code != OK)
        return code;
    sequence *s = calloc(1, sizeof *s);
    if (s == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a sequence");
    init_sequence(s, e, r);
    code = token_list_append(&s->tokens, r->prompt, r->n_prompt);
    if (code != OK)
        failure_set(fail, code, "no memory for the prompt");
    if (code == OK)
        code = prepare(s, r, fail);
    if (code != OK) {
        sequence_unreference(s);
        return code;
    }
    *out = s;
    return OK;
}

size_t sequence_most_tokens(const sequence *s)
{
    return s->n_prompt + s->max_tokens;
}

bool sequence_scores_at(const sequence *s, size_t position)
{
    return position + 1 >= s->n_prompt - s->n_scored + s->scored && position + 1 < s->n_prompt;
}

bool sequence_wants_logits(const sequence *s, size_t position)
{
    bool goes_on = s->kind == SEQUENCE_REPLY || s->kind == SEQUENCE_CLASSIFICATION;
    return sequence_scores_at(s, position) || (goes_on && position + 1 == s->tokens.length);
}

bool sequence_is_decoding(const sequence *s)
{
    return s->slot->tokens.length + 1 == s->tokens.length && s->tokens.length > s->n_prompt;
}

size_t sequence_first_wanted(const sequence *s)
{
    if (s->kind == SEQUENCE_EMBEDDING && s->pooling == POOL_MEAN)
        return s->summed;
    if (s->scored < s->n_scored)
        return s->n_prompt - s->n_scored + s->scored - 1;
    return s->tokens.length - 1;
}

void sequence_unreference(sequence *s)
{
    if (atomic_fetch_sub(&s->references, 1) != 1)
        return;
    token_list_free(&s->tokens);
    token_list_free(&s->reply);
    token_list_free(&s->ends);
    score_list_free(&s->scores);
    score_list_free(&s->polled);
    free(s->layers);
    free(s->sums);
    free(s->states);
    buffer_free(&s->text);
    sampler_destroy(s->sampler);
    mask_lane_destroy(s->masks);
    draft_free(&s->draft);
    free(s->forced);
    output_free(&s->output);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->wake_lock);
    free(s);
}

/* ---- the owner's side ------------------------------------------------------------------------ */

error_code sequence_poll(sequence *s, sequence_poll_result *out, buffer *text, token_list *tokens)
{
    error_code code = OK;
    pthread_mutex_lock(&s->lock);
    *out = s->result;
    if (text != NULL)
        code = buffer_add(text, s->text.data, s->text.length);
    if (code == OK && tokens != NULL)
        code = token_list_append(tokens, s->reply.ids, s->reply.length);
    if (code == OK) {
        buffer_clear(&s->text);
        s->reply.length = 0;
        score_list came = s->scores;
        s->scores = s->polled;
        s->polled = came;
        score_list_clear(&s->scores);
    }
    pthread_mutex_unlock(&s->lock);
    return code;
}

const score_list *sequence_scores(const sequence *s)
{
    return &s->polled;
}

const float *sequence_states(const sequence *s)
{
    return s->states;
}

/* ---- the conductor's side -------------------------------------------------------------------- */

static void call_wake(sequence *s)
{
    pthread_mutex_lock(&s->wake_lock);
    if (s->wake != NULL)
        s->wake(s->wake_context);
    pthread_mutex_unlock(&s->wake_lock);
}

void sequence_publish(sequence *s)
{
    pthread_mutex_lock(&s->lock);
    s->result.stats = s->progress;
    if (s->first_token_ms > 0)
        s->result.stats.decode_ms = clock_ms() - s->first_token_ms;
    pthread_mutex_unlock(&s->lock);
    call_wake(s);
}

static void close_sequence(sequence *s, sequence_state state)
{
    double now = clock_ms();
    if (s->first_token_ms > 0)
        s->progress.decode_ms = now - s->first_token_ms;
    s->result.state = state;
    s->result.stats = s->progress;
    pthread_mutex_unlock(&s->lock);
    call_wake(s);
}

void sequence_finish(sequence *s, finish_reason reason)
{
    pthread_mutex_lock(&s->lock);
    s->result.finish = reason;
    close_sequence(s, SEQUENCE_FINISHED);
}

void sequence_fail(sequence *s, error_code code, const char *text)
{
    pthread_mutex_lock(&s->lock);
    failure_set(&s->result.failure, code, "%s", text);
    close_sequence(s, SEQUENCE_FAILED);
}

/* Puts the token and the text it makes certain where the owner reads them. */
static error_code give_out(sequence *s, int32_t token, bool *stopped)
{
    pthread_mutex_lock(&s->lock);
    error_code code = token_list_add(&s->reply, token);
    if (code == OK && s->wants_scores)
        code = score_list_add(&s->scores, &s->latest);
    if (code == OK)
        code = output_push(&s->output, token, &s->text, stopped);
    if (*stopped)
        s->result.stop = s->output.found;
    pthread_mutex_unlock(&s->lock);
    return code;
}

static void give_out_rest(sequence *s)
{
    pthread_mutex_lock(&s->lock);
    output_finish(&s->output, &s->text);
    pthread_mutex_unlock(&s->lock);
}

bool sequence_score(sequence *s, float *logits)
{
    const model *m = s->engine->model;
    int32_t token = s->tokens.ids[s->n_prompt - s->n_scored + s->scored];
    scored_token scored;
    score_token(&scored, logits, m->config.n_vocab, token, s->n_top);
    pthread_mutex_lock(&s->lock);
    error_code code = score_list_add(&s->scores, &scored);
    pthread_mutex_unlock(&s->lock);
    if (code != OK) {
        sequence_fail(s, code, "no memory for the prompt's scores");
        return false;
    }
    s->scored++;
    return true;
}

bool sequence_reads_all_logits(const sequence *s)
{
    return s->masks == NULL || (s->wants_scores && !s->scores_drawn);
}

void sequence_fail_numbers(sequence *s)
{
    sequence_fail(s, ERR_INTERNAL,
                  "the model computed a logit that is not a number (NaN or infinite): its weights "
                  "or its file's settings are broken");
}

/* What the model samples, or what was chosen for it beforehand. */
static int32_t choose_token(sequence *s, float *logits)
{
    int32_t token = sampler_sample(s->sampler, logits, s->tokens.length);
    size_t at = s->tokens.length - s->n_prompt;
    if (at >= s->n_forced)
        return token;
    const uint64_t fnv_prime = 0x100000001b3;
    s->progress.sampled_hash = (s->progress.sampled_hash ^ (uint32_t)token) * fnv_prime + 1;
    return s->forced[at];
}

/* Too early a reply does not end. */
static void ban_ends(const sequence *s, float *logits)
{
    bool is_early = s->tokens.length - s->n_prompt < s->min_tokens;
    for (size_t i = 0; is_early && i < s->ends.length; i++)
        logits[s->ends.ids[i]] = -INFINITY;
}

int32_t sequence_sample(sequence *s, size_t row, float *logits)
{
    failure fail;
    size_t n_vocab = s->engine->model->config.n_vocab;
    float *own = s->engine->own_logits;
    if (s->wants_scores && !s->scores_drawn)
        memcpy(own, logits, n_vocab * sizeof *own); /* sampling changes them */
    bool is_finite = true;
    if (s->masks != NULL &&
        mask_lane_apply(s->masks, row, logits, n_vocab, &is_finite, &fail) != OK) {
        sequence_fail(s, fail.code, fail.text);
        return -1;
    }
    if (!is_finite) {
        sequence_fail_numbers(s);
        return -1;
    }
    ban_ends(s, logits);
    int32_t token = choose_token(s, logits);
    if (s->wants_scores && s->scores_drawn)
        sampler_score(s->sampler, logits, token, &s->latest, s->n_top);
    else if (s->wants_scores)
        score_token(&s->latest, own, n_vocab, token, s->n_top);
    return token;
}

bool sequence_accept(sequence *s, int32_t token)
{
    bool stopped = false, complete = false;
    failure fail;
    if (s->first_token_ms == 0) {
        s->first_token_ms = clock_ms();
        s->progress.prefill_ms = s->first_token_ms - s->started_ms;
    }
    sampler_accept(s->sampler, token);
    s->tokens.ids[s->tokens.length++] = token; /* reserved at submission */
    if (tokenizer_is_end(s->engine->model->tokenizer, token)) {
        give_out_rest(s);
        sequence_finish(s, FINISH_STOP);
        return true;
    }
    s->progress.reply_tokens++;
    if (s->masks != NULL && mask_lane_accept(s->masks, token, &complete, &fail) != OK) {
        sequence_fail(s, fail.code, fail.text);
        return true;
    }
    error_code code = give_out(s, token, &stopped);
    if (code != OK) {
        sequence_fail(s, code,
                      code == ERR_MEMORY ? "no memory for the reply's text"
                                         : "the reply's text does not fit its limit");
        return true;
    }
    if (complete && !stopped)
        give_out_rest(s);
    if (stopped || complete) {
        sequence_finish(s, FINISH_STOP);
        return true;
    }
    if (s->tokens.length - s->n_prompt >= s->max_tokens) {
        give_out_rest(s);
        sequence_finish(s, FINISH_LENGTH);
        return true;
    }
    return false;
}
