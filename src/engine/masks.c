/* masks.c: the masker's thread, its queue of lanes, and giving them masks in time. */
#include "engine/masks.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ROWS (LOOKUP_MAX_DRAFT + 1)

struct masker {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t given;    /* a lane, or the end */
    pthread_cond_t advanced; /* some lane */
    mask_lane *first, *last; /* to be worked on */
    bool stop;
};

struct mask_lane {
    masker *masker;
    token_constraint *constraint; /* the masker's thread's while the lane is at work */
    size_t n_words;
    uint32_t *masks; /* MAX_ROWS of n_words */

    /* The conductor's, which are fixed while the lane is at work. */
    int32_t draft[LOOKUP_MAX_DRAFT];
    size_t n_draft;
    size_t n_taken; /* tokens of this step that the reply has */

    /* Under the masker's lock. */
    mask_lane *next;
    bool at_work;
    bool stop;
    size_t n_masks;  /* that are there */
    size_t n_ahead;  /* drafted tokens that the constraint has accepted */
    bool complete;   /* nothing may follow the last of them */
    failure failure; /* of what would have come next, or code OK */
};

/* ---- the masker's thread -------------------------------------------------------------------- */

/* Publishes what the thread found out about the lane; false: nobody wants more. */
static bool publish(mask_lane *l, size_t n_ahead, size_t n_masks, bool complete, failure fail)
{
    masker *m = l->masker;
    pthread_mutex_lock(&m->lock);
    l->n_ahead = n_ahead;
    l->n_masks = n_masks;
    l->complete = complete;
    l->failure = fail;
    bool go_on = !l->stop && !complete && fail.code == OK;
    pthread_cond_broadcast(&m->advanced);
    pthread_mutex_unlock(&m->lock);
    return go_on;
}

static void work(mask_lane *l)
{
    failure fail = {.code = OK};
    for (size_t row = 0; row <= l->n_draft; row++) {
        if (row > 0) {
            bool ok = token_constraint_accept(l->constraint, l->draft[row - 1], &fail) == OK;
            bool complete = ok && token_constraint_is_complete(l->constraint);
            if (!publish(l, ok ? row : row - 1, row, complete, fail))
                return;
        }
        bool ok = token_constraint_mask(l->constraint, l->masks + row * l->n_words, &fail) == OK;
        if (!publish(l, row, ok ? row + 1 : row, false, fail))
            return;
    }
}

static mask_lane *take_lane(masker *m)
{
    while (m->first == NULL && !m->stop)
        pthread_cond_wait(&m->given, &m->lock);
    mask_lane *l = m->first;
    if (l != NULL)
        m->first = l->next;
    return l;
}

static void *run(void *context)
{
    masker *m = context;
    pthread_mutex_lock(&m->lock);
    for (mask_lane *l; (l = take_lane(m)) != NULL;) {
        bool wanted = !l->stop;
        pthread_mutex_unlock(&m->lock);
        if (wanted)
            work(l);
        pthread_mutex_lock(&m->lock);
        l->at_work = false;
        pthread_cond_broadcast(&m->advanced);
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

error_code masker_create(masker **out, failure *fail)
{
    masker *m = calloc(1, sizeof *m);
    if (m == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a masker");
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->given, NULL);
    pthread_cond_init(&m->advanced, NULL);
    if (pthread_create(&m->thread, NULL, run, m) != 0) {
        free(m);
        return failure_set(fail, ERR_MEMORY, "cannot start a thread");
    }
    *out = m;
    return OK;
}

void masker_destroy(masker *m)
{
    if (m == NULL)
        return;
    pthread_mutex_lock(&m->lock);
    m->stop = true;
    pthread_cond_signal(&m->given);
    pthread_mutex_unlock(&m->lock);
    pthread_join(m->thread, NULL);
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->given);
    pthread_cond_destroy(&m->advanced);
    free(m);
}

/* ---- lanes ---------------------------------------------------------------------------------- */

error_code mask_lane_create(mask_lane **out, masker *m, const grammar *g, failure *fail)
{
    mask_lane *l = calloc(1, sizeof *l);
    if (l == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a grammar's masks");
    l->masker = m;
    error_code code = token_constraint_create(&l->constraint, g, fail);
    if (code == OK) {
        l->n_words = token_constraint_words(l->constraint);
        l->masks = reallocarray(NULL, MAX_ROWS * l->n_words, sizeof *l->masks);
        if (l->masks == NULL)
            code = failure_set(fail, ERR_MEMORY, "no memory for a grammar's masks");
    }
    if (code != OK)
        mask_lane_destroy(l);
    else
        *out = l;
    return code;
}

/* The thread does nothing more for the lane; what it has found out stays. */
static void call_off(mask_lane *l)
{
    masker *m = l->masker;
    pthread_mutex_lock(&m->lock);
    l->stop = true;
    while (l->at_work)
        pthread_cond_wait(&m->advanced, &m->lock);
    pthread_mutex_unlock(&m->lock);
}

void mask_lane_destroy(mask_lane *l)
{
    if (l == NULL)
        return;
    call_off(l);
    token_constraint_destroy(l->constraint);
    free(l->masks);
    free(l);
}

size_t mask_lane_count_valid(mask_lane *l, const int32_t *draft, size_t n)
{
    return token_constraint_count_valid(l->constraint, draft, n);
}

size_t mask_lane_forced(mask_lane *l, int32_t *tokens, size_t most)
{
    return token_constraint_forced(l->constraint, tokens, most);
}

void mask_lane_begin(mask_lane *l, const int32_t *draft, size_t n)
{
    masker *m = l->masker;
    memcpy(l->draft, draft, n * sizeof *draft);
    l->n_draft = n;
    l->n_taken = 0;
    pthread_mutex_lock(&m->lock);
    l->n_masks = l->n_ahead = 0;
    l->stop = l->complete = false;
    l->failure = (failure){.code = OK};
    l->at_work = true;
    l->next = NULL;
    if (m->first == NULL)
        m->first = l;
    else
        m->last->next = l;
    m->last = l;
    pthread_cond_signal(&m->given);
    pthread_mutex_unlock(&m->lock);
}

/* Waits for the mask of a row, or for the state after as many drafted tokens; *complete: nothing
 * may follow these. */
static error_code wait_for(mask_lane *l, const size_t *count, size_t least, bool *complete,
                           failure *fail)
{
    masker *m = l->masker;
    pthread_mutex_lock(&m->lock);
    while (*count < least && l->at_work)
        pthread_cond_wait(&m->advanced, &m->lock);
    error_code code = *count < least ? l->failure.code : OK;
    if (code != OK)
        *fail = l->failure;
    *complete = code == OK && l->complete && *count == least;
    pthread_mutex_unlock(&m->lock);
    return code;
}

const uint32_t *mask_lane_find(mask_lane *l, size_t row)
{
    pthread_mutex_lock(&l->masker->lock);
    bool is_there = row < l->n_masks;
    pthread_mutex_unlock(&l->masker->lock);
    return is_there ? l->masks + row * l->n_words : NULL;
}

/* True: those that are allowed are numbers. */
static bool leave_allowed(float *logits, size_t n, const uint32_t *mask)
{
    bool is_finite = true;
    for (size_t i = 0; i < n; i += 32) {
        uint32_t word = mask[i / 32];
        size_t end = n - i < 32 ? n : i + 32;
        if (word == UINT32_MAX)
            is_finite = vector_is_finite(logits + i, end - i) && is_finite;
        for (size_t k = i; word != UINT32_MAX && k < end; k++) {
            bool is_allowed = (word >> (k - i) & 1) != 0;
            is_finite = is_finite && (!is_allowed || isfinite(logits[k]));
            logits[k] = is_allowed ? logits[k] : -INFINITY;
        }
    }
    return is_finite;
}

error_code mask_lane_apply(mask_lane *l, size_t row, float *logits, size_t n_vocab, bool *is_finite,
                           failure *fail)
{
    bool complete;
    error_code code = wait_for(l, &l->n_masks, row + 1, &complete, fail);
    if (code == OK)
        *is_finite = leave_allowed(logits, n_vocab, l->masks + row * l->n_words);
    return code;
}

/* A token that was not drafted: what the thread did beyond those before it is undone. */
static error_code accept_other(mask_lane *l, int32_t token, bool *complete, failure *fail)
{
    call_off(l);
    error_code code = token_constraint_rollback(l->constraint, l->n_ahead - l->n_taken, fail);
    if (code == OK)
        code = token_constraint_accept(l->constraint, token, fail);
    *complete = code == OK && token_constraint_is_complete(l->constraint);
    return code;
}

error_code mask_lane_accept(mask_lane *l, int32_t token, bool *complete, failure *fail)
{
    size_t at = l->n_taken;
    if (at >= l->n_draft || token != l->draft[at])
        return accept_other(l, token, complete, fail);
    l->n_taken++;
    return wait_for(l, &l->n_ahead, at + 1, complete, fail);
}
