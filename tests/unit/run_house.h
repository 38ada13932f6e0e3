/*
 * run_house.h: the orchestra above two pretended backends, which answer from threads of their own
 * and fail where a test says so. What is below backend.h is replaced at link time.
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "orchestra/orchestra.h"

/* ---- the pretended room below ------------------------------------------------------------------
 */

struct backend {
    const char *name;
    bool is_small;
};

#define PREPARING_MS 0.25

struct prepared_prompt {
    bool is_small;
    size_t tokens;
};

static struct {
    size_t tokens[2]; /* what a prompt counts: small, large */
    size_t context[2];
    size_t running[2];
    float logits[3];
    error_code classify_code, classification_code, submit_code, reply_code, label_code, load_code;
    double deadline_ms;    /* of the requests */
    double left_ms;        /* of it, when the reply was started */
    lookup_setting lookup; /* that the reply was started with */
    char prompt[64];
    sampling_params sampling;
    size_t max_tokens;
    double probe_left_ms;
    int n_probes;
    int n_prepared[2]; /* prompts: small, large */
    int alive;         /* handles not given back */
} world;

static pthread_mutex_t world_lock = PTHREAD_MUTEX_INITIALIZER;

static void reset_world(void)
{
    memset(&world, 0, sizeof world);
    world.tokens[0] = world.tokens[1] = 10;
    world.context[0] = 100;
    world.context[1] = 1000;
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
        usleep(500);
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

struct classification {
    worker worker;
};
struct reply {
    worker worker;
    score_list scores;
};

engine_options engine_defaults(void)
{
    return (engine_options){.slots = 1};
}

error_code model_load(model **out, const char *path, const model_options *options, failure *fail)
{
    if (options->progress != NULL)
        options->progress(options->progress_context, 0.5);
    if (world.load_code != OK && strcmp(path, "l") == 0)
        return failure_set(fail, world.load_code, "cut short");
    *out = calloc(1, sizeof **out);
    count_alive(1);
    return OK;
}

void model_destroy(model *m)
{
    free(m);
    count_alive(-1);
}

error_code conductor_create(conductor **out, int n_threads, failure *fail)
{
    (void)n_threads, (void)fail;
    *out = malloc(1);
    count_alive(1);
    return OK;
}

error_code conductor_add(conductor *c, const model *m, const engine_options *options, engine **out,
                         failure *fail)
{
    (void)c, (void)m, (void)options, (void)fail;
    *out = NULL;
    return OK;
}

void conductor_limit_memory(conductor *c, size_t bytes)
{
    (void)c;
    (void)bytes;
}

error_code engine_set_draft_model(engine *e, const model *small, failure *fail)
{
    (void)e;
    (void)small;
    (void)fail;
    return OK;
}

error_code conductor_start(conductor *c, failure *fail)
{
    (void)c, (void)fail;
    return OK;
}

void conductor_destroy(conductor *c)
{
    free(c);
    count_alive(-1);
}

error_code backend_create_local(backend **out, const char *name, engine *e, failure *fail)
{
    (void)e, (void)fail;
    *out = calloc(1, sizeof **out);
    (*out)->name = name;
    (*out)->is_small = strcmp(name, "s") == 0;
    count_alive(1);
    return OK;
}

void backend_destroy(backend *b)
{
    free(b);
    count_alive(-1);
}

size_t backend_context(const backend *b)
{
    return world.context[b->is_small ? 0 : 1];
}

void backend_read_status(backend *b, engine_status *out)
{
    *out = (engine_status){.running = world.running[b->is_small ? 0 : 1]};
}

error_code backend_check_length(const backend *b, const request *r, failure *fail)
{
    (void)b;
    (void)r;
    (void)fail;
    return OK;
}

error_code backend_prepare(backend *b, const request *r, prepared_prompt **out, failure *fail)
{
    (void)r, (void)fail;
    *out = calloc(1, sizeof **out);
    **out = (prepared_prompt){b->is_small, world.tokens[b->is_small ? 0 : 1]};
    pthread_mutex_lock(&world_lock);
    world.n_prepared[b->is_small ? 0 : 1]++;
    pthread_mutex_unlock(&world_lock);
    count_alive(1);
    return OK;
}

size_t prompt_tokens(const prepared_prompt *p)
{
    return p->tokens;
}

double prompt_template_ms(const prepared_prompt *p)
{
    (void)p;
    return PREPARING_MS;
}

void prompt_destroy(prepared_prompt *p)
{
    if (p == NULL)
        return;
    free(p);
    count_alive(-1);
}

error_code backend_check_labels(backend *b, const probe_template *t, const char *const *labels,
                                size_t n_labels, failure *fail)
{
    assert_true(b->is_small);
    assert_string_equal(t->text, "{conversation}Intent:");
    assert_string_equal(labels[n_labels - 1], " math");
    return world.label_code == OK ? OK : failure_set(fail, world.label_code, "two tokens");
}

error_code backend_classify(backend *b, const request *r, const prepared_prompt *p,
                            const probe_template *t, const char *const *labels, size_t n_labels,
                            wakeup wake, classification **out, failure *fail)
{
    (void)t, (void)labels, (void)n_labels;
    assert_true(b->is_small && p->is_small);
    pthread_mutex_lock(&world_lock);
    world.probe_left_ms = r->deadline_ms;
    world.n_probes++;
    pthread_mutex_unlock(&world_lock);
    if (world.classify_code != OK)
        return failure_set(fail, world.classify_code, "no slot");
    *out = calloc(1, sizeof **out);
    start_worker(&(*out)->worker, wake);
    return OK;
}

error_code classification_poll(classification *c, classification_result *out)
{
    *out = (classification_result){.state = SEQUENCE_RUNNING, .n_labels = 3};
    pthread_mutex_lock(&c->worker.lock);
    bool done = c->worker.parts == 3;
    pthread_mutex_unlock(&c->worker.lock);
    if (!done)
        return OK;
    out->state = world.classification_code == OK ? SEQUENCE_FINISHED : SEQUENCE_FAILED;
    if (world.classification_code != OK)
        failure_set(&out->failure, world.classification_code, "lost");
    memcpy(out->logits, world.logits, sizeof world.logits);
    out->log_sum_exp = 9;
    out->template_ms = 1;
    out->stats.prefill_ms = 2;
    out->windowed = true;
    return OK;
}

void classification_release(classification *c)
{
    stop_worker(&c->worker);
    free(c);
}

/* Nobody asks for states here: test_heads does, of real models. */
error_code backend_embed(backend *b, const prepared_prompt *p, const embedding_request *e,
                         wakeup wake, embedding_job **out, failure *fail)
{
    (void)b, (void)p, (void)e, (void)wake, (void)out;
    return failure_set(fail, ERR_UNSUPPORTED, "no states");
}

error_code embedding_poll(embedding_job *e, embedding_result *out)
{
    (void)e, (void)out;
    return ERR_INTERNAL;
}

void embedding_release(embedding_job *e)
{
    (void)e;
}

error_code backend_submit(backend *b, const request *r, const prepared_prompt *p,
                          const lookup_setting *lookup, wakeup wake, reply **out, failure *fail)
{
    assert_int_equal(p->is_small, b->is_small);
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
    *out = calloc(1, sizeof **out);
    start_worker(&(*out)->worker, wake);
    return OK;
}

error_code reply_poll(reply *r, reply_status *status, buffer *text, token_list *tokens)
{
    worker *w = &r->worker;
    *status = (reply_status){.state = SEQUENCE_RUNNING, .stats = {.switch_ms = 4}};
    r->scores.length = 0;
    pthread_mutex_lock(&w->lock);
    for (; w->taken < w->parts; w->taken++) {
        buffer_add_format(text, "%d", w->taken);
        token_list_add(tokens, w->taken);
        r->scores.length++;
    }
    if (w->cancelled) {
        status->state = SEQUENCE_FAILED;
        failure_set(&status->failure, ERR_CANCELLED, "cancelled");
    } else if (w->parts == 3) {
        status->state = world.reply_code == OK ? SEQUENCE_FINISHED : SEQUENCE_FAILED;
        status->failure.code = world.reply_code;
        status->finish = FINISH_LENGTH;
    }
    pthread_mutex_unlock(&w->lock);
    return OK;
}

const score_list *reply_scores(const reply *r)
{
    return &r->scores;
}

reply_style reply_style_of(const reply *r)
{
    (void)r;
    return (reply_style){.is_in_thought = false};
}

void reply_cancel(reply *r)
{
    pthread_mutex_lock(&r->worker.lock);
    r->worker.cancelled = true;
    pthread_mutex_unlock(&r->worker.lock);
}

void reply_release(reply *r)
{
    stop_worker(&r->worker);
    free(r);
}

double random_uniform(uint64_t seed, uint64_t choice, uint64_t position)
{
    return fmod((double)(seed + choice + position) * 0.4, 1.0);
}

/* ---- fixture ------------------------------------------------------------------------------ */

typedef struct stage {
    config *config;
    orchestra *orchestra;
    int progress_calls;
} stage;

static void count_progress(void *context, const char *name, double fraction)
{
    stage *s = context;
    assert_true(fraction == 0.5 && (strcmp(name, "s") == 0 || strcmp(name, "l") == 0));
    s->progress_calls++;
}

static inline error_code try_open(stage *s, const char *rules, failure *fail)
{
    char text[4096];
    snprintf(text, sizeof text,
             "version: 1\nmodels:\n  - {name: l, role: large, path: l}\n"
             "  - {name: s, role: small, path: s}\npolicy: %s\n",
             rules);
    *s = (stage){.config = NULL};
    assert_int_equal(config_parse(&s->config, text, strlen(text), "x", fail), OK);
    orchestra_progress progress = {.call = count_progress, .context = s};
    return orchestra_create(&s->orchestra, s->config, progress, fail);
}

static void open_stage(stage *s, const char *rules)
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
