/*
 * run_house.h: the orchestra above pretended backends, which answer from threads of their own
 * and fail where a test says so.
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/operations.h"
#include "base/random.h"
#include "orchestra/orchestra.h"

/* ---- the pretended room below ---------------------------------------------------------------- */

/* By name: s, l, and m for a third between them. */
typedef struct fake_backend {
    backend base;
    size_t at; /* in the world's lists */
} fake_backend;

#define FAKES 3

#define PREPARING_MS 0.25

typedef struct fake_prompt {
    prepared_prompt base;
    size_t at;
} fake_prompt;

static struct {
    size_t asked;         /* that the probe may ask */
    size_t tokens[FAKES]; /* what a prompt counts: s, l, m */
    size_t context[FAKES];
    size_t running[FAKES];
    size_t slots; /* of each; 0: not said */
    float logits[3];
    error_code classify_code, classification_code, submit_code, reply_code, label_code, load_code;
    double deadline_ms; /* of the requests */
    useconds_t part_us; /* of a worker's three, each; 0: 500 */
    double left_ms;     /* of it, when the reply was started */
    lookup_wish lookup; /* that the reply was started with */
    char prompt[64];
    sampling_params sampling;
    size_t max_tokens;
    double probe_left_ms;
    int n_probes;
    int n_prepared[FAKES]; /* prompts */
    int alive;             /* handles not given back */
} world;

static pthread_mutex_t world_lock = PTHREAD_MUTEX_INITIALIZER;

static void reset_world(void)
{
    memset(&world, 0, sizeof world);
    world.tokens[0] = world.tokens[1] = world.tokens[2] = 10;
    world.context[0] = 100;
    world.context[1] = 1000;
    world.context[2] = 200;
    world.logits[0] = 9; /* surely code */
}

static void count_alive(int change)
{
    pthread_mutex_lock(&world_lock);
    world.alive += change;
    pthread_mutex_unlock(&world_lock);
}

/* A thread that works in three parts and wakes after each. */
typedef struct worker {
    pthread_t thread;
    pthread_mutex_t lock;
    int parts, taken;
    bool cancelled;
    wakeup wake;
} worker;

static void *work(void *context)
{
    worker *w = context;
    for (int i = 0; i < 3; i++) {
        usleep(world.part_us > 0 ? world.part_us : 500);
        pthread_mutex_lock(&w->lock);
        w->parts++;
        pthread_mutex_unlock(&w->lock);
        w->wake.call(w->wake.context);
    }
    return NULL;
}

static void start_worker(worker *w, wakeup wake)
{
    *w = (worker){.wake = wake};
    pthread_mutex_init(&w->lock, NULL);
    count_alive(1);
    assert_int_equal(pthread_create(&w->thread, NULL, work, w), 0);
}

static void stop_worker(worker *w)
{
    pthread_join(w->thread, NULL);
    pthread_mutex_destroy(&w->lock);
    count_alive(-1);
}

typedef struct fake_classification {
    classification base;
    worker worker;
} fake_classification;

typedef struct fake_reply {
    reply base;
    worker worker;
    score_list scores;
} fake_reply;

static size_t place_of(const backend *b)
{
    return ((const fake_backend *)b)->at;
}

static void fake_destroy(backend *b)
{
    free(b);
    count_alive(-1);
}

static size_t fake_context(const backend *b)
{
    return world.context[place_of(b)];
}

static void fake_read_load(backend *b, backend_load *out)
{
    *out = (backend_load){
        .running = world.running[place_of(b)], .slots = world.slots, .retry_after_s = 3};
}

static bool fake_has_template(const backend *b)
{
    (void)b;
    return true;
}

static error_code fake_check_length(const backend *b, const request *r, failure *fail)
{
    (void)b;
    (void)r;
    (void)fail;
    return OK;
}

static const backend_operations fake_operations;

static error_code fake_prepare(backend *b, const request *r, prepared_prompt **out, failure *fail)
{
    (void)r, (void)fail;
    fake_prompt *p = calloc(1, sizeof *p);
    p->base = (prepared_prompt){.operations = &fake_operations,
                                .n_tokens = world.tokens[place_of(b)],
                                .template_ms = PREPARING_MS};
    p->at = place_of(b);
    *out = &p->base;
    pthread_mutex_lock(&world_lock);
    world.n_prepared[place_of(b)]++;
    pthread_mutex_unlock(&world_lock);
    count_alive(1);
    return OK;
}

static void fake_destroy_prompt(prepared_prompt *p)
{
    free(p);
    count_alive(-1);
}

static error_code fake_check_labels(backend *b, const probe_template *t, const char *const *labels,
                                    size_t n_labels, failure *fail)
{
    assert_int_equal(place_of(b), world.asked);
    assert_string_equal(t->text, "{conversation}Intent:");
    assert_string_equal(labels[n_labels - 1], " math");
    return world.label_code == OK ? OK : failure_set(fail, world.label_code, "two tokens");
}

static error_code fake_classify(backend *b, const request *r, const prepared_prompt *p,
                                const probe_template *t, const char *const *labels, size_t n_labels,
                                wakeup wake, classification **out, failure *fail)
{
    (void)t, (void)labels, (void)n_labels;
    assert_true(place_of(b) == world.asked && ((const fake_prompt *)p)->at == world.asked);
    pthread_mutex_lock(&world_lock);
    world.probe_left_ms = r->deadline_ms;
    world.n_probes++;
    pthread_mutex_unlock(&world_lock);
    if (world.classify_code != OK)
        return failure_set(fail, world.classify_code, "no slot");
    fake_classification *c = calloc(1, sizeof *c);
    c->base.operations = &fake_operations;
    *out = &c->base;
    start_worker(&c->worker, wake);
    return OK;
}

static error_code fake_poll_classification(classification *base, classification_result *out)
{
    fake_classification *c = (fake_classification *)base;
    *out = (classification_result){.state = WORK_RUNNING, .n_labels = 3};
    pthread_mutex_lock(&c->worker.lock);
    bool done = c->worker.parts == 3;
    pthread_mutex_unlock(&c->worker.lock);
    if (!done)
        return OK;
    out->state = world.classification_code == OK ? WORK_FINISHED : WORK_FAILED;
    if (world.classification_code != OK)
        failure_set(&out->failure, world.classification_code, "lost");
    memcpy(out->logits, world.logits, sizeof world.logits);
    out->log_sum_exp = 9;
    out->template_ms = 1;
    out->stats.prefill_ms = 2;
    out->windowed = true;
    return OK;
}

static void fake_release_classification(classification *base)
{
    fake_classification *c = (fake_classification *)base;
    stop_worker(&c->worker);
    free(c);
}

static error_code fake_submit(backend *b, const request *r, const prepared_prompt *p,
                              const lookup_wish *lookup, wakeup wake, reply **out, failure *fail)
{
    assert_int_equal(((const fake_prompt *)p)->at, place_of(b));
    if (world.submit_code != OK)
        return failure_set(fail, world.submit_code, "%s refuses", b->name);
    pthread_mutex_lock(&world_lock);
    world.lookup = *lookup;
    world.sampling = r->sampling;
    world.max_tokens = r->max_tokens;
    world.left_ms = r->deadline_ms;
    const char *text = r->prompt != NULL ? r->prompt : r->messages[r->n_messages - 1].content;
    snprintf(world.prompt, sizeof world.prompt, "%s|%s|%.1f", text,
             r->n_stops > 0 ? r->stops[r->n_stops - 1] : "",
             r->sampling.n_biases > 0 ? (double)r->sampling.biases[0].bias : 0.0);
    pthread_mutex_unlock(&world_lock);
    fake_reply *handle = calloc(1, sizeof *handle);
    handle->base.operations = &fake_operations;
    *out = &handle->base;
    start_worker(&handle->worker, wake);
    return OK;
}

static error_code fake_poll_reply(reply *base, reply_status *status, buffer *text,
                                  token_list *tokens)
{
    fake_reply *r = (fake_reply *)base;
    worker *w = &r->worker;
    *status = (reply_status){.state = WORK_RUNNING, .stats = {.switch_ms = 4}};
    r->scores.length = 0;
    pthread_mutex_lock(&w->lock);
    for (; w->taken < w->parts; w->taken++) {
        buffer_add_format(text, "%d", w->taken);
        token_list_add(tokens, w->taken);
        r->scores.length++;
    }
    if (w->cancelled) {
        status->state = WORK_FAILED;
        failure_set(&status->failure, ERR_CANCELLED, "cancelled");
    } else if (w->parts == 3) {
        status->state = world.reply_code == OK ? WORK_FINISHED : WORK_FAILED;
        status->failure.code = world.reply_code;
        status->finish = END_LENGTH;
    }
    pthread_mutex_unlock(&w->lock);
    return OK;
}

static const score_list *fake_scores(const reply *r)
{
    return &((const fake_reply *)r)->scores;
}

static void fake_cancel(reply *base)
{
    fake_reply *r = (fake_reply *)base;
    pthread_mutex_lock(&r->worker.lock);
    r->worker.cancelled = true;
    pthread_mutex_unlock(&r->worker.lock);
}

static void fake_release(reply *base)
{
    stop_worker(&((fake_reply *)base)->worker);
    free(base);
}

/* No states: test_heads asks for them, of real models. */
static const backend_operations fake_operations = {
    .destroy = fake_destroy,
    .context = fake_context,
    .read_load = fake_read_load,
    .has_template = fake_has_template,
    .check_length = fake_check_length,
    .prepare = fake_prepare,
    .destroy_prompt = fake_destroy_prompt,
    .submit = fake_submit,
    .poll_reply = fake_poll_reply,
    .reply_scores = fake_scores,
    .cancel_reply = fake_cancel,
    .release_reply = fake_release,
    .check_labels = fake_check_labels,
    .classify = fake_classify,
    .poll_classification = fake_poll_classification,
    .release_classification = fake_release_classification,
};

/* ---- where they come from ------------------------------------------------------------------- */

static bool fake_takes(const config_model *m)
{
    (void)m;
    return true;
}

static const house_kind fake_house;

static error_code fake_open(backend_house **out, const house_setting *setting, failure *fail)
{
    (void)setting, (void)fail;
    *out = malloc(sizeof **out);
    (*out)->kind = &fake_house;
    count_alive(1);
    return OK;
}

static error_code fake_add(backend_house *h, const config_model *m, const house_progress *progress,
                           backend **out, failure *fail)
{
    (void)h;
    progress->call(progress->context, m->name, 0.5);
    if (world.load_code != OK && strcmp(m->name, "l") == 0)
        return failure_set(fail, world.load_code, "cut short");
    fake_backend *b = calloc(1, sizeof *b);
    b->base = (backend){.operations = &fake_operations, .name = m->name};
    b->at = m->name[0] == 's' ? 0 : m->name[0] == 'l' ? 1 : 2;
    *out = &b->base;
    count_alive(1);
    return OK;
}

static error_code fake_start(backend_house *h, failure *fail)
{
    (void)h, (void)fail;
    return OK;
}

static void fake_close(backend_house *h)
{
    free(h);
    count_alive(-1);
}

static const house_kind fake_house = {.takes = fake_takes,
                                      .open = fake_open,
                                      .add = fake_add,
                                      .start = fake_start,
                                      .close = fake_close};
static const house_kind *const fake_houses[] = {&fake_house, NULL};

/* ---- fixture ------------------------------------------------------------------------------ */

typedef struct stage {
    config *config;
    orchestra *orchestra;
    int progress_calls;
} stage;

static void count_progress(void *context, const char *name, double fraction)
{
    stage *s = context;
    assert_true(fraction == 0.5 && strlen(name) == 1 && strchr("sml", name[0]) != NULL);
    s->progress_calls++;
}

#define PAIR "  - {name: l, role: large, path: l}\n  - {name: s, role: small, path: s}\n"

static inline error_code try_open_of(stage *s, const char *models, const char *rules, failure *fail)
{
    char text[4096];
    snprintf(text, sizeof text, "version: 1\nmodels:\n%spolicy: %s\n", models, rules);
    *s = (stage){.config = NULL};
    assert_int_equal(config_parse(&s->config, text, strlen(text), "x", fail), OK);
    house_progress progress = {.call = count_progress, .context = s};
    return orchestra_create_of(&s->orchestra, fake_houses, s->config, progress, fail);
}

static inline error_code try_open(stage *s, const char *rules, failure *fail)
{
    return try_open_of(s, PAIR, rules, fail);
}

static inline void open_stage(stage *s, const char *rules)
{
    failure fail;
    if (try_open(s, rules, &fail) != OK)
        fail_msg("%s", fail.text);
    assert_int_equal(s->progress_calls, 2);
}

static void close_stage(stage *s)
{
    orchestra_destroy(s->orchestra);
    config_free(s->config);
    assert_int_equal(world.alive, 0);
}

static inline error_code submit(stage *s, const run_options *options, run **r, failure *fail)
{
    /* Everything lives on this stack only: what a run needs later it must have copied. */
    char content[] = "hello", role[] = "user", stop[] = "END";
    const char *stops[] = {stop};
    logit_bias biases[] = {{.token = 1, .bias = 2.5f}};
    chat_message messages[] = {{.role = role, .content = content, .content_length = 5}};
    request q = {.messages = messages, .n_messages = 1, .stops = stops, .n_stops = 1};
    q.deadline_ms = world.deadline_ms;
    q.sampling.biases = biases;
    q.sampling.n_biases = 1;
    error_code code = orchestra_submit(s->orchestra, &q, options, (wakeup){.call = NULL}, r, fail);
    memset(content, 'x', 5);
    memset(stop, 'x', 3);
    biases[0].bias = 0;
    return code;
}

/* Submits a conversation of user messages and replies in turns. */
static inline error_code submit_turns(stage *s, const char *const *turns, size_t n,
                                      const run_options *options, run **r, failure *fail)
{
    chat_message messages[16];
    for (size_t i = 0; i < n; i++)
        messages[i] = (chat_message){.role = i % 2 == 0 ? "user" : "assistant",
                                     .content = turns[i],
                                     .content_length = strlen(turns[i])};
    request q = {.messages = messages, .n_messages = n, .max_tokens = 100};
    q.sampling.temperature = 1;
    return orchestra_submit(s->orchestra, &q, options, (wakeup){.call = NULL}, r, fail);
}

static run_state finish(run *r, buffer *text, token_list *tokens)
{
    for (;;) {
        run_state state = run_poll(r, text, tokens);
        if (state == RUN_FINISHED || state == RUN_FAILED)
            return state;
        run_wait(r);
    }
}

/* Runs one request to its end. */
static inline run *perform(stage *s, run_options options, run_state expected)
{
    run *r = NULL;
    failure fail;
    buffer text;
    token_list tokens = {0};
    buffer_init(&text, 1000);
    if (submit(s, &options, &r, &fail) != OK)
        fail_msg("%s", fail.text);
    assert_int_equal(finish(r, &text, &tokens), expected);
    if (expected == RUN_FINISHED && !options.decide_only) {
        assert_string_equal(text.data, "012");
        assert_int_equal(tokens.length, 3);
        assert_string_equal(world.prompt, "hello|END|2.5");
    }
    buffer_free(&text);
    token_list_free(&tokens);
    return r;
}

static void check_plan(const run *r, const char *name, const char *rule)
{
    assert_string_equal(run_plan(r)->model, name);
    assert_string_equal(run_plan(r)->rule, rule);
}
