/*
 * One request on its way: the orchestra and its runs above two pretended backends, which answer
 * from threads of their own and fail where a test says so. What is below backend.h is replaced at
 * link time.
 */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "orchestra/orchestra.h"

/* ---- the pretended room below ------------------------------------------------------------------
 */

struct backend {
    const char *name;
    bool is_small;
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
    int alive; /* handles not given back */
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

error_code backend_count_tokens(backend *b, const request *r, size_t *count, failure *fail)
{
    (void)r, (void)fail;
    *count = world.tokens[b->is_small ? 0 : 1];
    return OK;
}

error_code backend_check_labels(backend *b, const probe_template *t, const char *const *labels,
                                size_t n_labels, failure *fail)
{
    assert_true(b->is_small);
    assert_string_equal(t->text, "{conversation}Intent:");
    assert_string_equal(labels[n_labels - 1], " math");
    return world.label_code == OK ? OK : failure_set(fail, world.label_code, "two tokens");
}

error_code backend_classify(backend *b, const request *r, const probe_template *t,
                            const char *const *labels, size_t n_labels, wakeup wake,
                            classification **out, failure *fail)
{
    (void)r, (void)t, (void)labels, (void)n_labels;
    assert_true(b->is_small);
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

error_code backend_submit(backend *b, const request *r, const lookup_setting *lookup, wakeup wake,
                          reply **out, failure *fail)
{
    if (world.submit_code != OK)
        return failure_set(fail, world.submit_code, "%s refuses", b->name);
    world.lookup = *lookup;
    world.left_ms = r->deadline_ms;
    const char *text = r->prompt != NULL ? r->prompt : r->messages[r->n_messages - 1].content;
    snprintf(world.prompt, sizeof world.prompt, "%s|%s|%.1f", text,
             r->n_stops > 0 ? r->stops[r->n_stops - 1] : "",
             r->sampling.n_biases > 0 ? (double)r->sampling.biases[0].bias : 0.0);
    *out = calloc(1, sizeof **out);
    start_worker(&(*out)->worker, wake);
    return OK;
}

error_code reply_poll(reply *r, reply_status *status, buffer *text, token_list *tokens)
{
    worker *w = &r->worker;
    *status = (reply_status){.state = SEQUENCE_RUNNING, .stats = {.switch_ms = 4}};
    pthread_mutex_lock(&w->lock);
    for (; w->taken < w->parts; w->taken++) {
        buffer_add_format(text, "%d", w->taken);
        token_list_add(tokens, w->taken);
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

static error_code try_open(stage *s, const char *policy, failure *fail)
{
    char text[512];
    snprintf(text, sizeof text,
             "version: 1\nmodels:\n  - {name: l, role: large, path: l}\n"
             "  - {name: s, role: small, path: s}\npolicy: %s\n",
             policy);
    *s = (stage){.config = NULL};
    assert_int_equal(config_parse(&s->config, text, strlen(text), "x", fail), OK);
    orchestra_progress progress = {.call = count_progress, .context = s};
    return orchestra_create(&s->orchestra, s->config, progress, fail);
}

static void open_stage(stage *s, const char *policy)
{
    failure fail;
    if (try_open(s, policy, &fail) != OK)
        fail_msg("%s", fail.text);
    assert_int_equal(s->progress_calls, 2);
}

static void close_stage(stage *s)
{
    orchestra_destroy(s->orchestra);
    config_free(s->config);
    assert_int_equal(world.alive, 0);
}

static error_code submit(stage *s, const run_options *options, run **r, failure *fail)
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
static run *perform(stage *s, run_options options, run_state expected)
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

/* ---- tests -------------------------------------------------------------------------------- */

static void test_routed(void **state)
{
    (void)state;
    reset_world();
    stage s;
    open_stage(&s, "{name: adaptive}");
    run *r = perform(&s, (run_options){.model = "auto"}, RUN_FINISHED);
    check_plan(r, "s", "code");
    assert_true(run_intent(r)->known && run_intent(r)->windowed);
    assert_string_equal(run_intent(r)->labels[run_intent(r)->best], "code");
    assert_int_equal(run_finish_reason(r), FINISH_LENGTH);
    const overhead *o = &run_receipt(r)->overhead;
    assert_true(o->template_ms >= 1 && o->template_ms < 1 + o->total_ms);
    assert_true(o->prefill_ms == 2 && o->switch_ms == 4 && o->decide_ms >= 0);
    assert_true(o->total_ms > 4);
    assert_int_equal(world.lookup.mode, LOOKUP_AUTO);
    assert_int_equal(world.lookup.prior, 0);
    run_release(r);

    world.logits[2] = 12; /* now math */
    lookup_setting fixed = {.mode = LOOKUP_FIXED, .length = 3};
    r = perform(&s, (run_options){.lookup = &fixed}, RUN_FINISHED);
    check_plan(r, "l", "math");
    assert_int_equal(world.lookup.mode, LOOKUP_FIXED);
    assert_int_equal(world.lookup.length, 3);
    run_release(r);
    close_stage(&s);
}

static void test_pinned(void **state)
{
    (void)state;
    reset_world();
    world.classify_code = ERR_INTERNAL; /* must not matter */
    stage s;
    open_stage(&s, "{name: adaptive}");
    run *r = perform(&s, (run_options){.model = "s"}, RUN_FINISHED);
    check_plan(r, "s", "pinned");
    assert_false(run_intent(r)->known);
    run_release(r);
    failure fail;
    assert_int_equal(submit(&s, &(run_options){.model = "gpt"}, &r, &fail), ERR_NOT_FOUND);
    assert_string_equal(fail.text, "no model \"gpt\"; there are: auto, l, s");
    assert_null(r);
    world.submit_code = ERR_CONTEXT;
    assert_int_equal(submit(&s, &(run_options){.model = "s"}, &r, &fail), ERR_CONTEXT);
    close_stage(&s);
}

static void test_decide_only(void **state)
{
    (void)state;
    reset_world();
    world.submit_code = ERR_INTERNAL; /* nothing may be submitted */
    stage s;
    open_stage(&s, "{name: paper}");
    run *r = perform(&s, (run_options){.decide_only = true}, RUN_FINISHED);
    check_plan(r, "s", "code");
    assert_int_equal(run_plan(r)->lookup.mode, LOOKUP_OFF);
    run_release(r);
    close_stage(&s);
}

static void test_no_probe_needed(void **state)
{
    (void)state;
    reset_world();
    world.classify_code = ERR_INTERNAL;
    world.tokens[0] = 101;
    stage s;
    open_stage(&s, "{name: adaptive}");
    run *r = perform(&s, (run_options){.model = NULL}, RUN_FINISHED);
    check_plan(r, "l", "long_context");
    assert_string_equal(run_plan(r)->reason, "101 prompt tokens > 100");
    run_release(r);
    close_stage(&s);

    world.label_code = ERR_CONFIG; /* a policy that never asks needs no usable labels */
    open_stage(&s, "{name: small}");
    world.tokens[0] = 10;
    r = perform(&s, (run_options){.model = NULL}, RUN_FINISHED);
    check_plan(r, "s", "small");
    run_release(r);
    world.tokens[0] = 100; /* no room for a reply */
    r = perform(&s, (run_options){.model = NULL}, RUN_FINISHED);
    check_plan(r, "l", "long_context");
    assert_non_null(strstr(run_plan(r)->reason, "100 prompt tokens do not fit"));
    run_release(r);
    close_stage(&s);
}

static void test_fits_neither(void **state)
{
    (void)state;
    reset_world();
    world.tokens[0] = world.tokens[1] = 1000;
    stage s;
    open_stage(&s, "{name: adaptive}");
    run *r = NULL;
    failure fail;
    assert_int_equal(submit(&s, &(run_options){.model = NULL}, &r, &fail), ERR_CONTEXT);
    assert_non_null(strstr(fail.text, "1000 tokens"));
    assert_non_null(strstr(fail.text, "holds 100,"));
    assert_non_null(strstr(fail.text, "one's 1000,"));
    close_stage(&s);
}

static void test_random(void **state)
{
    (void)state;
    reset_world();
    stage s;
    open_stage(&s, "{name: random, seed: 0}"); /* coins 0, 0.4, 0.8, 0.2 */
    const char *expected[] = {"s", "s", "l", "s"};
    for (size_t i = 0; i < 4; i++) {
        run *r = perform(&s, (run_options){.model = "auto"}, RUN_FINISHED);
        check_plan(r, expected[i], "random");
        run_release(r);
    }
    close_stage(&s);
}

static void test_probe_failures(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        reset_world();
        world.classify_code = kind == 0 ? ERR_BUSY : OK;
        world.classification_code = kind == 1 ? ERR_INTERNAL : OK;
        if (kind == 2)
            world.logits[1] = NAN;
        stage s;
        open_stage(&s, "{name: adaptive}");
        run *r = perform(&s, (run_options){.model = NULL}, RUN_FINISHED);
        check_plan(r, "l", "probe_error");
        const char *says[] = {"no slot", "lost", "not finite"};
        assert_non_null(strstr(run_plan(r)->reason, says[kind]));
        assert_false(run_intent(r)->known);
        run_release(r);
        close_stage(&s);
    }
}

static void test_reply_failures(void **state)
{
    (void)state;
    reset_world();
    world.submit_code = ERR_BUSY;
    stage s;
    open_stage(&s, "{name: adaptive}");
    run *r = perform(&s, (run_options){.model = NULL}, RUN_FAILED);
    assert_int_equal(run_failure(r)->code, ERR_BUSY);
    run_release(r);
    world.submit_code = OK;
    world.reply_code = ERR_MEMORY;
    r = perform(&s, (run_options){.model = NULL}, RUN_FAILED);
    assert_int_equal(run_failure(r)->code, ERR_MEMORY);
    run_release(r);
    close_stage(&s);
}

static void test_deadline(void **state)
{
    (void)state;
    reset_world();
    stage s;
    open_stage(&s, "{name: adaptive}");
    world.deadline_ms = 1; /* a probe takes longer: no reply is started, whatever it says */
    for (int failed = 0; failed < 2; failed++) {
        world.classification_code = failed ? ERR_TIMEOUT : OK;
        run *r = perform(&s, (run_options){.model = NULL}, RUN_FAILED);
        assert_int_equal(run_failure(r)->code, ERR_TIMEOUT);
        assert_string_equal(world.prompt, "");
        run_release(r);
    }
    world.classification_code = OK;
    world.deadline_ms = 60000; /* the probe's time is taken off */
    run_release(perform(&s, (run_options){.model = NULL}, RUN_FINISHED));
    assert_true(world.left_ms > 0 && world.left_ms < 59999);
    close_stage(&s);
}

static void test_cancel(void **state)
{
    (void)state;
    reset_world();
    stage s;
    open_stage(&s, "{name: adaptive}");
    const char *models[] = {"auto", "s"}; /* cancelled while probing, and while replying */
    for (size_t i = 0; i < 2; i++) {
        run *r = NULL;
        failure fail;
        buffer text;
        token_list tokens = {0};
        buffer_init(&text, 100);
        assert_int_equal(submit(&s, &(run_options){.model = models[i]}, &r, &fail), OK);
        run_cancel(r);
        assert_int_equal(finish(r, &text, &tokens), RUN_FAILED);
        assert_int_equal(run_failure(r)->code, ERR_CANCELLED);
        run_release(r);
        assert_int_equal(submit(&s, &(run_options){.model = models[i]}, &r, &fail), OK);
        run_release(r); /* in the middle */
        buffer_free(&text);
        token_list_free(&tokens);
    }
    close_stage(&s);
}

static void *perform_some(void *context)
{
    for (int i = 0; i < 5; i++)
        run_release(
            perform(context, (run_options){.model = NULL, .decide_only = true}, RUN_FINISHED));
    return NULL;
}

static void test_many_at_once(void **state)
{
    (void)state;
    reset_world();
    stage s;
    open_stage(&s, "{name: adaptive}");
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, perform_some, &s), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    close_stage(&s);
}

static void test_one_model(void **state)
{
    (void)state;
    reset_world();
    stage s = {.config = NULL};
    failure fail;
    assert_int_equal(config_for_model(&s.config, "s", &fail), OK);
    assert_int_equal(
        orchestra_create(&s.orchestra, s.config, (orchestra_progress){.call = NULL}, &fail), OK);
    run *r = perform(&s, (run_options){.model = "auto"}, RUN_FINISHED);
    check_plan(r, "s", "pinned");
    run_release(r);
    assert_int_equal(submit(&s, &(run_options){.model = "l"}, &r, &fail), ERR_NOT_FOUND);
    close_stage(&s);
}

static void test_start_failures(void **state)
{
    (void)state;
    reset_world();
    stage s;
    failure fail;
    world.label_code = ERR_CONFIG;
    assert_int_equal(try_open(&s, "{name: adaptive}", &fail), ERR_CONFIG);
    assert_string_equal(fail.text, "probe: two tokens");
    close_stage(&s);
    world.load_code = ERR_FORMAT;
    assert_int_equal(try_open(&s, "{name: adaptive}", &fail), ERR_FORMAT);
    assert_string_equal(fail.text, "model l: cut short");
    close_stage(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routed),         cmocka_unit_test(test_pinned),
        cmocka_unit_test(test_decide_only),    cmocka_unit_test(test_no_probe_needed),
        cmocka_unit_test(test_fits_neither),   cmocka_unit_test(test_random),
        cmocka_unit_test(test_probe_failures), cmocka_unit_test(test_reply_failures),
        cmocka_unit_test(test_cancel),         cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_one_model),      cmocka_unit_test(test_start_failures),
        cmocka_unit_test(test_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
