/* stress_question.c: what is asked, and what it answers alone. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stress.h"

enum {
    STEMS = 6,        /* beginnings that prompts of a model share */
    PHRASES = 32,     /* that prompts repeat, so that there is something to look up */
    FIRST_TOKEN = 30, /* the ones below are single bytes and marks */
    TOKENS = 1500,
};

/* What a draw decides. */
enum {
    WHERE,
    CLASSIFY,
    GOES_ON,
    STEM,
    STEM_LENGTH,
    TAIL_LENGTH,
    LONG,
    REPLY_LENGTH,
    NO_END,
    GREEDY,
    TEMPERATURE,
    FILTER,
    PENALTIES,
    STOP,
    STOP_PLACE,
    TEXT, /* from here on */
};

double stress_draw(uint64_t seed, uint64_t number, uint64_t field)
{
    return random_uniform(seed, number, field);
}

void stress_must(error_code code, const failure *fail)
{
    if (code == OK)
        return;
    fprintf(stderr, "stress: %s\n", fail->text);
    exit(error_code_exit(code));
}

static void must_have_memory(error_code code)
{
    failure fail;
    stress_must(code == OK ? OK : failure_set(&fail, code, "no memory"), &fail);
}

/* ---- prompts -------------------------------------------------------------------------------- */

static size_t draw_below(uint64_t seed, uint64_t number, uint64_t field, size_t n)
{
    return (size_t)(stress_draw(seed, number, field) * (double)n);
}

/* Phrases of three to eight tokens, of which there are few. */
static void add_text(token_list *out, uint64_t seed, uint64_t number, size_t n)
{
    size_t end = out->length + n;
    for (uint64_t field = TEXT; out->length < end; field++) {
        size_t phrase = draw_below(seed, number, field, PHRASES), length = 3 + phrase % 6;
        for (size_t i = 0; i < length && out->length < end; i++) {
            size_t token = draw_below(seed, UINT64_MAX - phrase, i, TOKENS);
            must_have_memory(token_list_add(out, FIRST_TOKEN + (int32_t)token));
        }
    }
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Often a whole stem, sometimes its beginning, sometimes none; then something of its own. */
static void add_stem(question *q, uint64_t seed, size_t number)
{
    size_t stem = draw_below(seed, number, STEM, 2 * STEMS);
    uint64_t name = UINT64_MAX / 2 + (uint64_t)(2 * stem) + (uint64_t)q->where;
    double part = 4 * stress_draw(seed, number, STEM_LENGTH);
    if (stem >= STEMS)
        return;
    size_t length = 20 + draw_below(seed, name, STEM_LENGTH, 300);
    add_text(&q->prompt, seed, name, part < 1 ? (size_t)(part * (double)length) : length);
}

static void add_tail(question *q, uint64_t seed, size_t number)
{
    double u = stress_draw(seed, number, TAIL_LENGTH);
    bool is_long = stress_draw(seed, number, LONG) < 0.04;
    size_t tail = 1 + (size_t)(u * u * 60) + (is_long ? 400 : 0);
    add_text(&q->prompt, seed, number, least(tail, STRESS_PROMPT - q->prompt.length));
}

/* The next turn of a conversation. */
static bool go_on(question *q, uint64_t seed, size_t number, const question *before,
                  const answer *said)
{
    if (before == NULL || before->classify || stress_draw(seed, number, GOES_ON) > 0.4 ||
        before->prompt.length + said->tokens.length >= STRESS_PROMPT)
        return false;
    q->where = before->where;
    must_have_memory(token_list_append(&q->prompt, before->prompt.ids, before->prompt.length));
    must_have_memory(token_list_append(&q->prompt, said->tokens.ids, said->tokens.length));
    return true;
}

/* ---- sampling ------------------------------------------------------------------------------- */

static void choose_sampling(question *q, uint64_t seed, size_t number, const model *m)
{
    sampling_params *s = &q->sampling;
    size_t filter = draw_below(seed, number, FILTER, 6);
    *s = sampling_defaults();
    s->seed = number;
    s->choice = (uint32_t)(number % 3);
    s->temperature = 0.5f + 0.7f * (float)stress_draw(seed, number, TEMPERATURE);
    if (stress_draw(seed, number, GREEDY) < 0.4)
        s->temperature = 0;
    s->top_k = filter == 0 || filter == 3 ? 40 : 0;
    s->top_p = filter == 1 || filter == 3 ? 0.9f : 1;
    s->min_p = filter == 2 ? 0.05f : 0;
    if (stress_draw(seed, number, PENALTIES) < 0.25) {
        s->repetition_penalty = 1.1f;
        s->presence_penalty = 0.5f;
        s->frequency_penalty = 0.3f;
    }
    bool may_end = stress_draw(seed, number, NO_END) < 0.4;
    q->bias = (logit_bias){may_end ? -1 : tokenizer_eos(m->tokenizer), -100};
}

/* ---- asking --------------------------------------------------------------------------------- */

engine_options stress_options(int where)
{
    engine_options o = engine_defaults();
    o.context = STRESS_CONTEXT;
    o.prefill_chunk = 64;
    o.kv = where == SMALL ? KV_F16 : KV_Q8_0;
    return o;
}

error_code question_submit(const question *q, const manner *how, engine *e, void (*wake)(void *),
                           void *wake_context, sequence **out, failure *fail)
{
    static const int32_t labels[STRESS_LABELS] = {40, 41, 42};
    const char *stops[] = {q->stop};
    sequence_request r = {.kind = q->classify ? SEQUENCE_CLASSIFICATION : SEQUENCE_REPLY,
                          .prompt = q->prompt.ids,
                          .n_prompt = q->prompt.length,
                          .sampling = q->sampling,
                          .max_tokens = q->max_tokens,
                          .stops = stops,
                          .n_stops = q->stop[0] != '\0' ? 1 : 0,
                          .lookup = how->lookup,
                          .labels = labels,
                          .n_labels = q->classify ? STRESS_LABELS : 0,
                          .priority = how->priority,
                          .deadline_ms = how->deadline_ms,
                          .wake = wake,
                          .wake_context = wake_context};
    r.sampling.biases = &q->bias;
    r.sampling.n_biases = q->bias.token >= 0 ? 1 : 0;
    return engine_submit(e, &r, out, fail);
}

/* In an engine that nothing has run in, by one thread, without lookup. */
static void run_alone(const model *m, const question *q, answer *out)
{
    failure fail;
    conductor *c;
    engine *e;
    sequence *s;
    const manner plain = {.lookup = {LOOKUP_OFF, 0, 0}};
    engine_options o = stress_options(q->where);
    o.slots = 1;
    stress_must(conductor_create(&c, 1, &fail), &fail);
    stress_must(conductor_add(c, m, &o, &e, &fail), &fail);
    stress_must(conductor_start(c, &fail), &fail);
    stress_must(question_submit(q, &plain, e, NULL, NULL, &s, &fail), &fail);
    for (;;) {
        must_have_memory(sequence_poll(s, &out->last, &out->text, &out->tokens));
        if (out->last.state != SEQUENCE_RUNNING)
            break;
        usleep(100);
    }
    sequence_release(s);
    conductor_destroy(c);
    if (out->last.state == SEQUENCE_FAILED)
        stress_must(out->last.failure.code, &out->last.failure);
}

/* Something that the answer says, so that it ends there. False: nothing of the kind. */
static bool choose_stop(question *q, const answer *said, uint64_t seed, size_t number)
{
    size_t at = draw_below(seed, number, STOP_PLACE, said->text.length);
    if (q->classify || stress_draw(seed, number, STOP) > 0.2)
        return false;
    for (size_t n = 0; at + n < said->text.length && n + 1 < sizeof q->stop; n++) {
        if ((unsigned char)said->text.data[at + n] > 0x7f) /* a part of a longer character */
            break;
        q->stop[n] = said->text.data[at + n];
        q->stop[n + 1] = '\0';
    }
    return q->stop[0] != '\0';
}

void question_make(question *q, answer *solo, uint64_t seed, size_t number,
                   const model *const *models, const question *before, const answer *said)
{
    *q = (question){.where = stress_draw(seed, number, WHERE) < 0.5 ? SMALL : LARGE};
    *solo = (answer){0};
    buffer_init(&solo->text, SIZE_MAX);
    q->classify = stress_draw(seed, number, CLASSIFY) < 0.15;
    q->goes_on = go_on(q, seed, number, before, said);
    if (!q->goes_on)
        add_stem(q, seed, number);
    add_tail(q, seed, number);
    q->max_tokens = q->classify ? 0 : 1 + draw_below(seed, number, REPLY_LENGTH, STRESS_REPLY);
    choose_sampling(q, seed, number, models[q->where]);
    run_alone(models[q->where], q, solo);
    if (!choose_stop(q, solo, seed, number))
        return;
    solo->tokens.length = 0;
    buffer_clear(&solo->text);
    run_alone(models[q->where], q, solo);
}

void question_free(question *q)
{
    token_list_free(&q->prompt);
}

void answer_free(answer *a)
{
    token_list_free(&a->tokens);
    buffer_free(&a->text);
}
