/* score_truth.h: what the tests of scores and of embeddings share: requests, what comes of them,
 * and the model's own numbers. */
#ifndef TESTS_SCORE_TRUTH_H
#define TESTS_SCORE_TRUTH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#include "engine_house.h"

enum { TEXT = 160, TOP = 5, LONG_TEXT = 1500 };

static int32_t text[LONG_TEXT];

static inline int load(void **state)
{
    for (int i = 0; i < LONG_TEXT; i++)
        text[i] = 30 + i * i % 151;
    return house_load_models(state);
}

static inline sequence_request make_embedding(size_t n_prompt, const uint32_t *layers,
                                              size_t n_layers, sequence_pooling pooling)
{
    return (sequence_request){.kind = SEQUENCE_EMBEDDING,
                              .prompt = text,
                              .n_prompt = n_prompt,
                              .layers = layers,
                              .n_layers = n_layers,
                              .pooling = pooling};
}

static inline sequence *start(engine *e, const sequence_request *r)
{
    failure fail = {0};
    sequence *s = NULL;
    if (engine_submit(e, r, &s, &fail) != OK)
        fail_msg("%s", fail.text);
    return s;
}

typedef struct answer {
    sequence_poll_result last;
    token_list tokens;
    score_list scores;
} answer;

/* Of a reply's tokens and their scores those of one poll belong together; the first n_before scores
 * are the prompt's. */
static inline void take(sequence *s, size_t n_before, answer *a)
{
    *a = (answer){0};
    do {
        usleep(100);
        assert_int_equal(sequence_poll(s, &a->last, NULL, &a->tokens), OK);
        assert_int_equal(score_list_append(&a->scores, sequence_scores(s)), OK);
        if (a->tokens.length > 0)
            assert_true(a->scores.length == 0 || a->scores.length == n_before + a->tokens.length);
    } while (a->last.state == SEQUENCE_RUNNING);
}

static inline void run(engine *e, const sequence_request *r, answer *a)
{
    sequence *s = start(e, r);
    take(s, r->n_scored, a);
    sequence_release(s);
    if (a->last.state != SEQUENCE_FINISHED)
        fail_msg("%s", a->last.failure.text);
}

static inline void answer_free(answer *a)
{
    token_list_free(&a->tokens);
    score_list_free(&a->scores);
}

typedef struct truth {
    float *logits; /* of every position */
    double *states;
    size_t n_vocab, width, n_layers;
} truth;

static inline void ask_model(const model *m, size_t n, truth *t)
{
    failure fail;
    team *threads;
    forward *f;
    kv_cache *kv;
    uint32_t layers[MODEL_MAX_LAYERS + 1];
    forward_row *rows = calloc(n, sizeof *rows);
    state_reader *readers = calloc(n, sizeof *readers);
    *t = (truth){.n_vocab = m->config.n_vocab, .n_layers = model_last_state(m)};
    t->width = t->n_layers * m->config.n_embd;
    t->states = calloc(n * t->width, sizeof *t->states);
    t->logits = malloc(n * t->n_vocab * sizeof *t->logits);
    for (size_t i = 0; i < t->n_layers; i++)
        layers[i] = (uint32_t)i + 1;
    assert_int_equal(team_create(&threads, 2, &fail), OK);
    assert_int_equal(forward_create(&f, m, 2, n, n, &fail), OK);
    assert_int_equal(kv_create(&kv, &m->config, KV_F16, n, n, 1, &fail), OK);
    kv_slot *slot = kv_acquire(kv, text, 1);
    for (size_t i = 0; i < n; i++) {
        rows[i] = (forward_row){text[i], (uint32_t)i, &slot->view, WANT_LOGITS};
        readers[i] = (state_reader){i, 1, layers, t->n_layers, t->states + i * t->width};
    }
    forward_begin(f, rows, n);
    forward_read_states(f, readers, n);
    assert_true(forward_run(f, threads, NULL));
    memcpy(t->logits, forward_logits(f, 0), n * t->n_vocab * sizeof *t->logits);
    kv_destroy(kv);
    forward_destroy(f);
    team_destroy(threads);
    free(rows);
    free(readers);
}

static inline void truth_free(truth *t)
{
    free(t->logits);
    free(t->states);
}

/* An engine whose memory holds one long prompt, without a cache that would give back what a
 * sequence had to give up. */
static inline void open_narrow(house *h)
{
    engine_options options = house_options();
    options.prefix_cache = false;
    options.prefill_chunk = 32;
    house_open(h, &options, weight_bytes() + kv_bytes_of(SMALL, LONG_TEXT + 64));
}

/* Takes the memory of the batch sequence there. */
static inline void interrupt(house *h)
{
    errand e = {.where = SMALL, .n_prompt = 1000, .max_tokens = 2, .seed = 3};
    outcome o = {0};
    house_run(h, &e, &o);
    token_list_free(&o.tokens);
}

#endif
