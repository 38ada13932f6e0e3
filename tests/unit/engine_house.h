/* engine_house.h: for tests of the step loop: the demo pair under one conductor, requests made from
 * numbers, and what a request answers when it is alone. Include after cmocka.h. */
#ifndef TESTS_ENGINE_HOUSE_H
#define TESTS_ENGINE_HOUSE_H

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "engine/engine.h"
#include "engine/kv.h"

#define HOUSE_PROMPT 1600
#define HOUSE_LABELS 3

enum { SMALL, LARGE };

typedef struct house {
    model *models[2];
    conductor *c;
    engine *engines[2];
} house;

/* A request in numbers: the same numbers, the same answer. */
typedef struct errand {
    int where;
    size_t n_prompt, max_tokens;
    int32_t seed;
    bool classify;
    request_priority priority;
    double deadline_ms;
    lookup_setting lookup;
    bool greedy;
    const grammar *grammar; /* of the model's; or NULL */
    bool is_scored;         /* by the model's own distribution, which needs all logits */
} errand;

typedef struct outcome {
    token_list tokens;
    sequence_poll_result last;
} outcome;

static model *house_models[2];
static house solo_house; /* one request at a time runs there */

static inline engine_options house_options(void)
{
    engine_options o = engine_defaults();
    o.context = 2048;
    return o;
}

/* memory_limit 0: none. */
static inline error_code house_try(house *h, const engine_options *o, size_t memory_limit,
                                   failure *fail)
{
    assert_int_equal(conductor_create(&h->c, 2, fail), OK);
    conductor_limit_memory(h->c, memory_limit);
    for (int i = 0; i < 2; i++)
        if (conductor_add(h->c, house_models[i], o, &h->engines[i], fail) != OK)
            fail_msg("%s", fail->text);
    return conductor_start(h->c, fail);
}

static inline void house_open(house *h, const engine_options *o, size_t memory_limit)
{
    failure fail = {0};
    if (house_try(h, o, memory_limit, &fail) != OK)
        fail_msg("%s", fail.text);
}

static inline void house_close(house *h)
{
    conductor_destroy(h->c);
}

static inline int house_load_models(void **state)
{
    static const char *const paths[] = {"models/demo/small.gguf", "models/demo/large.gguf"};
    failure fail = {0};
    (void)state;
    assert_int_equal(kernel_init(NULL, &fail), OK);
    for (int i = 0; i < 2; i++)
        if (model_load(&house_models[i], paths[i], &(model_options){.chat_template = "none"},
                       &fail) != OK)
            fail_msg("%s", fail.text);
    engine_options options = house_options();
    options.slots = 1;
    house_open(&solo_house, &options, 0);
    return 0;
}

static inline int house_free_models(void **state)
{
    (void)state;
    house_close(&solo_house);
    for (int i = 0; i < 2; i++)
        model_destroy(house_models[i]);
    return 0;
}

static inline error_code house_submit(house *h, const errand *e, sequence **out, failure *fail)
{
    static const int32_t labels[HOUSE_LABELS] = {40, 41, 42};
    int32_t prompt[HOUSE_PROMPT];
    const model *m = house_models[e->where];
    const logit_bias no_end = {tokenizer_eos(m->tokenizer), -100};
    assert_true(e->n_prompt <= HOUSE_PROMPT);
    for (size_t i = 0; i < e->n_prompt; i++)
        prompt[i] = 30 + (int32_t)((i * i + (size_t)e->seed * 7 * (i + 1)) % 150);
    sequence_request r = {.prompt = prompt,
                          .n_prompt = e->n_prompt,
                          .max_tokens = e->max_tokens,
                          .lookup = e->lookup,
                          .grammar = e->grammar,
                          .wants_scores = e->is_scored,
                          .priority = e->priority,
                          .deadline_ms = e->deadline_ms};
    r.sampling = sampling_defaults();
    r.sampling.seed = (uint64_t)e->seed;
    r.sampling.temperature = e->greedy ? 0 : 1;
    r.sampling.biases = &no_end;
    r.sampling.n_biases = no_end.token >= 0 ? 1 : 0;
    if (e->classify) {
        r.kind = SEQUENCE_CLASSIFICATION;
        r.labels = labels;
        r.n_labels = HOUSE_LABELS;
    }
    return engine_submit(h->engines[e->where], &r, out, fail);
}

static inline sequence *house_start(house *h, const errand *e)
{
    failure fail = {0};
    sequence *s = NULL;
    if (house_submit(h, e, &s, &fail) != OK)
        fail_msg("%s", fail.text);
    return s;
}

/* True while it runs. */
static inline bool house_look(sequence *s, outcome *o)
{
    assert_int_equal(sequence_poll(s, &o->last, NULL, &o->tokens), OK);
    return o->last.state == SEQUENCE_RUNNING;
}

static inline void house_end(sequence *s, outcome *o)
{
    while (house_look(s, o))
        usleep(200);
    sequence_release(s);
}

static inline void house_run(house *h, const errand *e, outcome *o)
{
    house_end(house_start(h, e), o);
}

static inline void wait_for_tokens(sequence *s, outcome *o, size_t n)
{
    while (house_look(s, o) && o->tokens.length < n)
        usleep(100);
}

static inline engine_status read_status(const house *h, int where)
{
    engine_status status;
    engine_read_status(h->engines[where], &status);
    return status;
}

static inline void wait_until_empty(const house *h)
{
    for (int where = 0; where < 2; where++) {
        engine_status s;
        do {
            usleep(200);
            s = read_status(h, where);
        } while (s.running + s.waiting + s.parked > 0);
    }
}

/* What the errand answers alone and without lookup. */
static inline void solo(const errand *e, outcome *o)
{
    errand plain = *e;
    plain.lookup = (lookup_setting){LOOKUP_OFF, 0, 0};
    plain.deadline_ms = 0;
    house_run(&solo_house, &plain, o);
    assert_int_equal(o->last.state, SEQUENCE_FINISHED);
}

static inline void check_equal(const errand *e, const outcome *got, const outcome *expected)
{
    if (got->last.state != SEQUENCE_FINISHED)
        fail_msg("seed %d: %s", (int)e->seed, got->last.failure.text);
    if (e->classify) {
        assert_memory_equal(got->last.label_logits, expected->last.label_logits,
                            HOUSE_LABELS * sizeof(float));
        return;
    }
    if (got->tokens.length != expected->tokens.length ||
        memcmp(got->tokens.ids, expected->tokens.ids, got->tokens.length * sizeof(int32_t)) != 0)
        fail_msg("seed %d: the answer differs from its solo run", (int)e->seed);
}

static inline void check_solo(const errand *e, outcome *got)
{
    outcome expected = {0};
    solo(e, &expected);
    check_equal(e, got, &expected);
    token_list_free(&expected.tokens);
    token_list_free(&got->tokens);
}

/* Memory for the KV of one sequence, as the engine counts it. */
static inline size_t kv_bytes_of(int where, size_t tokens)
{
    kv_cache *kv;
    assert_int_equal(kv_create(&kv, &house_models[where]->config, KV_F16, 2048, 2048, 1, NULL), OK);
    size_t bytes = kv_sequence_bytes(kv, tokens);
    kv_destroy(kv);
    return bytes;
}

static inline size_t weight_bytes(void)
{
    return model_resident_bytes(house_models[0]) + model_resident_bytes(house_models[1]);
}

#endif
