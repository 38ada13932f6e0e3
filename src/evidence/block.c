/* block.c: keeping requests in flight on an orchestra and noting what became of them. */
#include "evidence/block.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "evidence/item.h"
#include "evidence/workload.h"
#include "orchestra/describe.h"
#include "orchestra/policy.h"

#define ANSWER_LIMIT ((size_t)64 << 20) /* bytes */

/* One request in flight. */
typedef struct flight {
    size_t task;
    run *run;
    bool only_decides; /* ARM_PROBED_LARGE: the answer comes from a second run */
    overhead decided;  /* of the first */
    reply_stats probed;
    intent sensed;
    double due_ms, first_ms, last_ms;
    size_t tokens;
    buffer text;
    token_list ids;
} flight;

typedef struct block {
    orchestra *orchestra;
    const config *config;
    const arm *arm;
    workload load;
    const char *pinned, *large; /* names of ARM_PINNED's model and of the last one */
    config_lookup lookup;
    flight *flights;
    int wake;
} block;

/* ---- waiting ------------------------------------------------------------------------------ */

static void wake_up(void *context)
{
    block *b = context;
    uint64_t one = 1;
    ssize_t ignored = write(b->wake, &one, sizeof one);
    (void)ignored; /* it fails only when 2^64 - 2 wakes are waiting */
}

/* Until news, a signal, or so many milliseconds (negative: no end). */
static void wait_for_news(block *b, double ms)
{
    struct pollfd wanted = {.fd = b->wake, .events = POLLIN};
    struct timespec limit = {.tv_sec = (time_t)(ms / 1e3), .tv_nsec = (long)(fmod(ms, 1e3) * 1e6)};
    uint64_t count;
    if (ppoll(&wanted, 1, ms >= 0 ? &limit : NULL, NULL) > 0 &&
        read(b->wake, &count, sizeof count) < 0)
        return; /* nothing was there after all */
}

/* ---- items -------------------------------------------------------------------------------- */

static bool is_fallback(const plan *p)
{
    return p->fallback != FALLBACK_NONE && p->fallback != FALLBACK_PINNED;
}

static void describe_plan(json_t *item, const flight *f, const block *b)
{
    const plan *p = run_plan(f->run);
    const intent *i = f->sensed.known ? &f->sensed : run_intent(f->run);
    const arm *a = b->arm;
    bool is_pinned = a->way == ARM_PINNED || a->way == ARM_ORACLE;
    if (i->known) {
        json_object_set_new(item, "label", json_string(i->labels[i->best]));
        item_put_real(item, "entropy", i->entropy);
    }
    json_object_set_new(item, "model", json_string(config_role(b->config, p->level)));
    json_object_set_new(item, "lookup", lookup_json(&p->lookup));
    json_object_set_new(item, "rule", json_string(is_pinned ? a->name : p->rule));
    json_object_set_new(item, "fallback", json_boolean(is_fallback(p)));
}

static void describe_times(json_t *ms, const flight *f, const overhead *o)
{
    item_put_real(ms, "ttft", f->first_ms > 0 ? f->first_ms - f->due_ms : 0);
    item_put_real(ms, "latency", f->last_ms - f->due_ms);
    item_put_real(ms, "between",
                  f->tokens > 1 ? (f->last_ms - f->first_ms) / (double)(f->tokens - 1) : 0);
    item_put_real(ms, "template", o->template_ms);
    item_put_real(ms, "prefill", o->prefill_ms);
    item_put_real(ms, "decide", o->decide_ms);
    item_put_real(ms, "switch", o->switch_ms);
    item_put_real(ms, "overhead", o->total_ms);
}

static void describe_work(json_t *work, const reply_stats *s, const reply_stats *probe)
{
    item_put_integer(work, "cached_tokens", s->cached_tokens);
    item_put_integer(work, "steps", s->steps);
    item_put_integer(work, "drafted", s->drafted);
    item_put_integer(work, "accepted", s->accepted);
    item_put_integer(work, "weight_bytes", s->weight_bytes + probe->weight_bytes);
    item_put_integer(work, "kv_bytes", s->kv_bytes + probe->kv_bytes);
}

/* What a pinned run costs before its first step is no decision: only the switch is counted. */
static overhead overhead_of(const flight *f, const arm *a)
{
    overhead own = run_receipt(f->run)->overhead;
    if (f->decided.total_ms > 0) {
        overhead first = f->decided;
        first.switch_ms = own.switch_ms;
        first.total_ms += own.switch_ms;
        return first;
    }
    if (a->way == ARM_ROUTED)
        return own;
    return (overhead){.switch_ms = own.switch_ms, .total_ms = own.switch_ms};
}

static void note_error(block *b, const flight *f, const failure *why)
{
    json_t *item = b->load.items[f->task];
    json_object_set_new(item, "error", json_string(error_code_text(why->code)));
    item_put_real(json_object_get(item, "ms"), "latency", clock_ms() - f->due_ms);
}

static const char *finish_of(const run *r)
{
    return run_finish_reason(r) == END_LENGTH ? "length" : "stop";
}

static void note_answer(block *b, flight *f)
{
    json_t *item = b->load.items[f->task];
    const receipt *cost = run_receipt(f->run);
    overhead o = overhead_of(f, b->arm);
    describe_plan(item, f, b);
    describe_times(json_object_get(item, "ms"), f, &o);
    describe_work(json_object_get(item, "work"), &cost->reply,
                  f->decided.total_ms > 0 ? &f->probed : &cost->probe);
    json_object_set_new(item, "finish", json_string(finish_of(f->run)));
    item_put_integer(item, "prompt_tokens", cost->reply.prompt_tokens);
    item_put_integer(item, "tokens", cost->reply.reply_tokens);
    item_put_integer(item, "digest", item_digest(f->text.data));
    workload_keep_answer(&b->load, f->task, f->text.data);
}

/* ---- submitting --------------------------------------------------------------------------- */

static request request_of(const block *b, const task *t)
{
    request q = {.messages = t->messages,
                 .n_messages = t->n_messages,
                 .sampling = sampling_defaults(),
                 .max_tokens = t->max_tokens > 0 ? t->max_tokens : b->load.options->max_tokens};
    q.sampling.temperature = b->load.options->temperature;
    q.sampling.seed = b->load.options->seed;
    return q;
}

/* The policy's plan for the true label, as if the probe had been sure of it. */
static error_code consult_oracle(block *b, const task *t, const request *q, plan *out,
                                 failure *fail)
{
    const config_probe *probe = &b->config->probe;
    intent known = {.known = true, .n_labels = probe->n_labels, .margin = 1};
    bool found = false;
    for (size_t i = 0; i < probe->n_labels; i++) {
        known.labels[i] = probe->labels[i].name;
        if (t->intent != NULL && strcmp(t->intent, known.labels[i]) == 0) {
            known.best = i;
            known.probabilities[i] = 1;
            found = true;
        }
    }
    if (!found)
        return failure_set(fail, ERR_INVALID,
                           "task %s: the oracle needs the true intent, one of the probe's labels",
                           t->id);
    policy_facts facts = {.intent = &known, .turn = 1};
    error_code code = backend_count_tokens(orchestra_backend(b->orchestra, b->config->probe.model),
                                           q, &facts.prompt_tokens, fail);
    if (code == OK && !policy_decide(routing_policy(orchestra_routing(b->orchestra)), &facts, out))
        return failure_set(fail, ERR_INTERNAL, "the policy does not decide a known intent");
    return code;
}

/* What the arm says beyond the request itself. `setting` is the storage of a lookup. */
static error_code options_of(block *b, const task *t, const request *q, run_options *out,
                             lookup_wish *setting, failure *fail)
{
    plan told;
    error_code code = OK;
    *out = (run_options){.decide_only = b->arm->way == ARM_PROBED_LARGE};
    *setting = policy_lookup(&b->lookup, 0);
    switch (b->arm->way) {
    case ARM_PINNED:
        out->model = b->pinned;
        break;
    case ARM_ORACLE:
        code = consult_oracle(b, t, q, &told, fail);
        if (code == OK) {
            out->model = b->config->models[told.level].name;
            *setting = told.lookup;
        }
        break;
    default:
        break;
    }
    if (b->arm->lookup != NULL || b->arm->way == ARM_ORACLE)
        out->lookup = setting;
    return code;
}

static error_code launch(block *b, size_t index, double due_ms, failure *fail)
{
    flight *f = &b->flights[b->load.in_flight];
    const task *t = &b->load.tasks[index];
    request q = request_of(b, t);
    run_options options;
    lookup_wish setting;
    failure why;
    error_code code = options_of(b, t, &q, &options, &setting, fail);
    if (code != OK)
        return code;
    buffer text = f->text;
    token_list ids = f->ids;
    *f = (flight){.task = index, .due_ms = due_ms, .text = text, .ids = ids};
    f->only_decides = options.decide_only;
    buffer_clear(&f->text);
    b->load.items[index] = item_new(t);
    if (b->load.items[index] == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the results");
    code = orchestra_submit(b->orchestra, &q, &options, (wakeup){wake_up, b}, &f->run, &why);
    if (code == OK) {
        b->load.in_flight++;
        wake_up(b); /* the first poll tells the state */
    } else {
        note_error(b, f, &why);
        workload_count_done(&b->load);
    }
    return OK;
}

/* ARM_PROBED_LARGE: what was decided is known; the large model answers with the plan's lookup. */
static error_code answer_anyway(block *b, flight *f, failure *why)
{
    lookup_wish setting = run_plan(f->run)->lookup;
    run_options options = {.model = b->large, .lookup = &setting};
    request q = request_of(b, &b->load.tasks[f->task]);
    f->decided = run_receipt(f->run)->overhead;
    f->probed = run_receipt(f->run)->probe;
    f->sensed = *run_intent(f->run);
    f->only_decides = false;
    run_release(f->run);
    f->run = NULL;
    return orchestra_submit(b->orchestra, &q, &options, (wakeup){wake_up, b}, &f->run, why);
}

/* ---- the loop ----------------------------------------------------------------------------- */

/* True: it has ended, one way or the other. */
static bool advance(block *b, flight *f)
{
    f->ids.length = 0;
    run_state state = run_poll(f->run, &f->text, &f->ids);
    if (f->ids.length > 0) {
        f->last_ms = clock_ms();
        if (f->tokens == 0)
            f->first_ms = f->last_ms;
        f->tokens += f->ids.length;
    }
    if (state == RUN_FINISHED && f->only_decides) {
        failure why;
        if (answer_anyway(b, f, &why) == OK)
            return advance(b, f);
        note_error(b, f, &why);
        return true;
    }
    if (state == RUN_FAILED)
        note_error(b, f, run_failure(f->run));
    if (state == RUN_FINISHED) {
        if (f->last_ms == 0)
            f->last_ms = clock_ms(); /* an empty answer */
        note_answer(b, f);
    }
    return state == RUN_FINISHED || state == RUN_FAILED;
}

static void land(block *b, size_t index)
{
    flight ended = b->flights[index];
    b->flights[index] = b->flights[--b->load.in_flight];
    b->flights[b->load.in_flight] = ended; /* keeps its buffers */
    run_release(ended.run);
    workload_count_done(&b->load);
}

static void advance_all(block *b)
{
    for (size_t i = 0; i < b->load.in_flight;) {
        if (advance(b, &b->flights[i]))
            land(b, i);
        else
            i++;
    }
}

static error_code launch_due(block *b, failure *fail)
{
    size_t index;
    double due_ms;
    error_code code = OK;
    while (code == OK && workload_take_due(&b->load, &index, &due_ms))
        code = launch(b, index, due_ms, fail);
    return code;
}

static error_code fly(block *b, failure *fail)
{
    error_code code = OK;
    workload_begin(&b->load);
    while (code == OK && b->load.done < b->load.n_tasks) {
        code = launch_due(b, fail);
        if (code == OK)
            code = workload_check_stopped(&b->load, fail);
        if (code != OK || b->load.done == b->load.n_tasks)
            break;
        wait_for_news(b, workload_next_due(&b->load));
        advance_all(b);
    }
    for (size_t i = 0; i < b->load.in_flight; i++)
        run_release(b->flights[i].run);
    return code;
}

/* ---- preparing ---------------------------------------------------------------------------- */

static error_code name_models(block *b, failure *fail)
{
    const config *c = b->config;
    size_t pinned = 0;
    if (c->n_models < 2)
        return failure_set(fail, ERR_INVALID, "a small and a large model are needed");
    if (b->arm->way == ARM_PINNED && !config_find_model(c, b->arm->model, &pinned))
        return failure_set(fail, ERR_NOT_FOUND, "there is no model \"%.80s\"", b->arm->model);
    b->pinned = c->models[pinned].name;
    b->large = c->models[c->n_models - 1].name;
    return OK;
}

static error_code prepare(block *b, failure *fail)
{
    error_code code = name_models(b, fail);
    if (code != OK)
        return code;
    if (b->arm->lookup != NULL && !config_lookup_parse(b->arm->lookup, &b->lookup))
        return failure_set(fail, ERR_INTERNAL, "arm %s: bad lookup", b->arm->name);
    b->flights = calloc(b->load.capacity, sizeof b->flights[0]);
    if (b->flights == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the replay");
    for (size_t i = 0; i < b->load.capacity; i++)
        buffer_init(&b->flights[i].text, ANSWER_LIMIT);
    b->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (b->wake < 0)
        return failure_set(fail, ERR_IO, "cannot make an eventfd: %s", strerror(errno));
    return OK;
}

static void clean_up(block *b)
{
    for (size_t i = 0; b->flights != NULL && i < b->load.capacity; i++) {
        buffer_free(&b->flights[i].text);
        token_list_free(&b->flights[i].ids);
    }
    free(b->flights);
    workload_free(&b->load);
    if (b->wake >= 0)
        close(b->wake);
}

error_code block_run(orchestra *o, const config *c, const arm *a, const task *tasks, size_t n_tasks,
                     const block_options *options, checker *judge, json_t **items, double *seconds,
                     failure *fail)
{
    block b = {.orchestra = o, .config = c, .arm = a, .wake = -1};
    *items = NULL;
    error_code code = workload_prepare(&b.load, tasks, n_tasks, options, fail);
    if (code == OK)
        code = prepare(&b, fail);
    if (code == OK)
        code = fly(&b, fail);
    if (code == OK)
        code = workload_results(&b.load, judge, items, seconds, fail);
    clean_up(&b);
    return code;
}
