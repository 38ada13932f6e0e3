/*
 * sequence.h: inside the engine room only: what a sequence is made of and who may touch what.
 *
 * A sequence is referenced by its owner (until sequence_release) and by the engine (until it
 * finished). Fields are in three groups: fixed at submission; the conductor thread's own; shared
 * under `lock`.
 */
#ifndef ENGINE_SEQUENCE_H
#define ENGINE_SEQUENCE_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/engine.h"
#include "engine/kv.h"
#include "engine/masks.h"
#include "engine/output.h"
#include "engine/speculate.h"

struct step;

struct sequence {
    /* Fixed at submission. */
    engine *engine;
    sequence_kind kind;
    bool is_urgent; /* goes before all replies */
    size_t n_prompt;
    size_t max_tokens; /* of the reply; ≥ 1 for generation */
    size_t min_tokens; /* before which none of `ends` may follow */
    token_list ends;   /* tokens that end a reply; empty where min_tokens is 0 */
    int32_t *forced;   /* the reply, chosen beforehand; NULL: sampled */
    size_t n_forced;
    double forced_agreement;
    int32_t labels[SEQUENCE_MAX_LABELS];
    size_t n_labels;
    size_t n_scored; /* the prompt's last tokens */
    bool wants_scores, scores_drawn;
    size_t n_top;
    uint32_t *layers; /* of an embedding */
    size_t n_layers;
    sequence_pooling pooling;
    bool is_alone;
    request_priority priority;
    double submitted_ms;
    double end_ms; /* the deadline; 0: none */

    /* The conductor's. */
    sequence *next;         /* in the engine's list */
    token_list tokens;      /* prompt, then accepted tokens */
    kv_slot *slot;          /* NULL while waiting */
    struct step *step;      /* that has rows of it; then nothing here may change */
    size_t reserved;        /* positions whose memory is promised to it */
    size_t given_up;        /* tokens whose KV it had to give up */
    double waiting_ms;      /* when it began to wait, or was parked */
    double keeps_ms;        /* until then it is not parked again */
    sampler *sampler;       /* generation only */
    mask_lane *masks;       /* the grammar's; or NULL */
    draft draft;            /* of the step being composed */
    kv_slot *draft_slot;    /* the draft model's; or NULL */
    size_t steps_undrafted; /* since the draft model last guessed */
    output output;
    size_t scored;       /* of the prompt's tokens that are to be */
    scored_token latest; /* the reply's next token, where it is scored */
    double *sums;        /* of an embedding: n_layers × n_embd */
    size_t summed;       /* positions whose states are in them, from 0 on */
    float *states;       /* as sums; written before the end, then read by the owner */
    size_t n_rows;       /* in the step */
    size_t first_logits; /* index of its first logits */
    double started_ms, first_token_ms;
    sequence_stats progress;

    /* Shared, under lock. */
    pthread_mutex_t lock;
    sequence_poll_result result;
    buffer text;
    token_list reply;
    score_list scores;

    score_list polled; /* the polling thread's: the scores that the last poll took */

    pthread_mutex_t wake_lock; /* held while wake is called: sequence_release waits for it */
    void (*wake)(void *context);
    void *wake_context;

    atomic_bool cancelled;
    atomic_int references;
};

/* sequence_check.c: ERR_INVALID or ERR_CONTEXT says what is wrong with it. */
error_code sequence_check(const engine *e, const sequence_request *request, failure *fail);
/* Makes a sequence from a request, which it checks; the engine's fields are read, nothing is
 * queued. */
error_code sequence_create(sequence **out, engine *e, const sequence_request *request,
                           failure *fail);
void sequence_unreference(sequence *s);

/* Its KV lacks the last token alone, and that is of the reply. It has a slot. */
bool sequence_is_decoding(const sequence *s);
/* Tokens it may come to hold. */
size_t sequence_most_tokens(const sequence *s);
/* The first position that has to be computed whatever others left of the prefix: what is asked for
 * begins there. */
size_t sequence_first_wanted(const sequence *s);
/* Whether logits are read, of the rows its tokens are sampled from, that its mask does not allow.
 */
bool sequence_reads_all_logits(const sequence *s);
/* Whether the logits at the position score one of the prompt's tokens, or give what follows. */
bool sequence_scores_at(const sequence *s, size_t position);
bool sequence_wants_logits(const sequence *s, size_t position);

/* From the conductor's thread: publish and wake. */
void sequence_publish(sequence *s);
void sequence_finish(sequence *s, finish_reason reason);
void sequence_fail(sequence *s, error_code code, const char *text);
/* The model computed something that is no number. */
void sequence_fail_numbers(sequence *s);

/* Takes the score of the prompt's next token that is to be scored, by these logits (which are
 * changed). False: it failed. */
bool sequence_score(sequence *s, float *logits);
/* Generation, of the step's rows in order: the token that follows, by the logits of this one (which
 * are changed). Negative: none can be told, and the sequence has failed. */
int32_t sequence_sample(sequence *s, size_t row, float *logits);
/* Generation: takes one sampled token; true when the reply has ended (and is then finished). */
bool sequence_accept(sequence *s, int32_t token);

#endif
