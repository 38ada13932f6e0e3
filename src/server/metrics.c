#include "server/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestra/online_limit.h"

#define MAX_STATUSES 16 /* more than there are */

typedef struct summary {
    double sum_ms;
    uint64_t count;
} summary;

/* Of the replies of one model. */
typedef struct totals {
    uint64_t prompt_tokens, cached_tokens, reply_tokens, drafted, accepted, refilled_tokens, parked;
    uint64_t weight_bytes, kv_bytes;
    summary queue, prefill, decode;
} totals;

/* How often a decision was made; its texts live as long as the orchestra. */
typedef struct decision {
    const char *model, *intent, *rule;
    uint64_t count;
} decision;

enum { PHASE_TEMPLATE, PHASE_PREFILL, PHASE_DECIDE, PHASE_SWITCH, PHASE_TOTAL, N_PHASES };

struct metrics {
    orchestra *orchestra;
    pthread_mutex_t lock; /* guards what follows */
    struct {
        int status;
        uint64_t count;
    } answers[MAX_STATUSES];
    decision *decisions; /* as many as the configuration has combinations of, at most */
    size_t n_decisions;
    summary phases[N_PHASES];
    totals *models; /* in the orchestra's order */
};

/* ---- counting ------------------------------------------------------------------------------- */

error_code metrics_create(metrics **out, orchestra *o, failure *fail)
{
    metrics *m = calloc(1, sizeof *m);
    totals *models = calloc(orchestra_model_count(o), sizeof *models);
    if (m == NULL || models == NULL) {
        free(m);
        free(models);
        return failure_set(fail, ERR_MEMORY, "no memory for the metrics");
    }
    m->orchestra = o;
    m->models = models;
    pthread_mutex_init(&m->lock, NULL);
    *out = m;
    return OK;
}

void metrics_destroy(metrics *m)
{
    if (m == NULL)
        return;
    pthread_mutex_destroy(&m->lock);
    free(m->decisions);
    free(m->models);
    free(m);
}

void metrics_count_answer(metrics *m, int status)
{
    pthread_mutex_lock(&m->lock);
    size_t i = 0;
    while (i < MAX_STATUSES - 1 && m->answers[i].count > 0 && m->answers[i].status != status)
        i++;
    m->answers[i].status = status;
    m->answers[i].count++;
    pthread_mutex_unlock(&m->lock);
}

/* Without memory for a new kind of decision it goes uncounted. */
static void count_decision(metrics *m, decision made)
{
    for (size_t i = 0; i < m->n_decisions; i++) {
        decision *d = &m->decisions[i];
        if (strcmp(d->model, made.model) == 0 && strcmp(d->intent, made.intent) == 0 &&
            strcmp(d->rule, made.rule) == 0) {
            d->count++;
            return;
        }
    }
    decision *more = realloc(m->decisions, (m->n_decisions + 1) * sizeof *more);
    if (more == NULL)
        return;
    made.count = 1;
    m->decisions = more;
    more[m->n_decisions++] = made;
}

static void add(summary *s, double ms)
{
    s->sum_ms += ms;
    s->count++;
}

static void count_overhead(metrics *m, const overhead *o)
{
    add(&m->phases[PHASE_TEMPLATE], o->template_ms);
    add(&m->phases[PHASE_PREFILL], o->prefill_ms);
    add(&m->phases[PHASE_DECIDE], o->decide_ms);
    add(&m->phases[PHASE_SWITCH], o->switch_ms);
    add(&m->phases[PHASE_TOTAL], o->total_ms);
}

static void count_reply(totals *t, const sequence_stats *s)
{
    if (s->prompt_tokens == 0)
        return; /* it never began, or was not to */
    t->prompt_tokens += s->prompt_tokens;
    t->cached_tokens += s->cached_tokens;
    t->reply_tokens += s->reply_tokens;
    t->drafted += s->drafted;
    t->accepted += s->accepted;
    t->refilled_tokens += s->refilled_tokens;
    t->parked += s->parked;
    t->weight_bytes += s->weight_bytes;
    t->kv_bytes += s->kv_bytes;
    add(&t->queue, s->queue_ms);
    add(&t->prefill, s->prefill_ms);
    add(&t->decode, s->decode_ms);
}

void metrics_count_run(metrics *m, const run *r)
{
    const plan *p = run_plan(r);
    const intent *i = run_intent(r);
    pthread_mutex_lock(&m->lock);
    count_decision(m, (decision){p->model, i->known ? i->labels[i->best] : "", p->rule, 0});
    count_overhead(m, &run_receipt(r)->overhead);
    for (size_t k = 0; k < orchestra_model_count(m->orchestra); k++)
        if (strcmp(p->model, orchestra_model_name(m->orchestra, k)) == 0)
            count_reply(&m->models[k], &run_receipt(r)->reply);
    pthread_mutex_unlock(&m->lock);
}

/* ---- writing -------------------------------------------------------------------------------- */

typedef struct page {
    metrics *metrics;
    buffer *out;
    error_code code; /* the first one that was not OK */
} page;

static void put(page *p, const char *text)
{
    if (p->code == OK)
        p->code = buffer_add_text(p->out, text);
}

static void put_head(page *p, const char *name, const char *type, const char *help)
{
    if (p->code == OK)
        p->code = buffer_add_format(p->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* "{" or "," is the caller's, because it depends on what stands before. */
static void put_label(page *p, const char *before, const char *name, const char *value)
{
    put(p, before);
    put(p, name);
    put(p, "=\"");
    for (const char *c = value; *c != '\0'; c++) {
        const char one[] = {*c, '\0'};
        put(p, *c == '\\' ? "\\\\" : *c == '"' ? "\\\"" : *c == '\n' ? "\\n" : one);
    }
    put(p, "\"");
}

static void put_count(page *p, uint64_t value)
{
    if (p->code == OK)
        p->code = buffer_add_format(p->out, " %" PRIu64 "\n", value);
}

static void put_seconds(page *p, double ms)
{
    if (p->code == OK)
        p->code = buffer_add_format(p->out, " %.9g\n", ms / 1e3);
}

static const char *model_name(const page *p, size_t index)
{
    return orchestra_model_name(p->metrics->orchestra, index);
}

static size_t model_count(const page *p)
{
    return orchestra_model_count(p->metrics->orchestra);
}

/* ---- what was counted ----------------------------------------------------------------------- */

static void write_load(page *p, const server_load *load)
{
    put_head(p, "a_io_connections", "gauge", "Open connections.");
    put(p, "a_io_connections");
    put_count(p, load->connections);
    put_head(p, "a_io_requests_running", "gauge", "Requests with work in the engines.");
    put(p, "a_io_requests_running");
    put_count(p, load->running);
}

static void write_answers(page *p)
{
    const char *name = "a_io_http_requests_total";
    put_head(p, name, "counter", "Requests answered, by HTTP status; 499: the client went away.");
    for (size_t i = 0; i < MAX_STATUSES && p->metrics->answers[i].count > 0; i++) {
        char status[16];
        snprintf(status, sizeof status, "%d", p->metrics->answers[i].status);
        put(p, name);
        put_label(p, "{", "code", status);
        put(p, "}");
        put_count(p, p->metrics->answers[i].count);
    }
}

static void write_decisions(page *p)
{
    const char *name = "a_io_decisions_total";
    put_head(p, name, "counter", "Plans made, by model, intent (empty: no probe) and rule.");
    for (size_t i = 0; i < p->metrics->n_decisions; i++) {
        const decision *d = &p->metrics->decisions[i];
        put(p, name);
        put_label(p, "{", "model", d->model);
        put_label(p, ",", "intent", d->intent);
        put_label(p, ",", "rule", d->rule);
        put(p, "}");
        put_count(p, d->count);
    }
}

static void write_fallbacks(page *p)
{
    const char *name = "a_io_fallbacks_total";
    orchestra_counts c;
    orchestra_read_counts(p->metrics->orchestra, &c);
    put_head(p, name, "counter", "Decisions that are not what the intent alone would have given.");
    for (fallback f = FALLBACK_NONE + 1; f < N_FALLBACKS; f++) {
        if (f == FALLBACK_PINNED) /* falls back from nothing */
            continue;
        put(p, name);
        put_label(p, "{", "reason", fallback_name(f));
        put(p, "}");
        put_count(p, c.fallbacks[f]);
    }
    put_head(p, "a_io_probes_total", "counter", "Forward passes for an intent.");
    put(p, "a_io_probes_total");
    put_count(p, c.probes);
    put_head(p, "a_io_cached_probes_total", "counter", "Intents known from an earlier probe.");
    put(p, "a_io_cached_probes_total");
    put_count(p, c.cached_probes);
    put_head(p, "a_io_kept_plans_total", "counter", "Decisions that the conversation kept.");
    put(p, "a_io_kept_plans_total");
    put_count(p, c.kept);
}

static void write_online_limit(page *p)
{
    online_limit *l = orchestra_online_limit(p->metrics->orchestra);
    if (l == NULL)
        return;
    online_limit_counts c;
    online_limit_read(l, &c);
    const struct {
        const char *verdict;
        uint64_t count;
    } verdicts[] = {
        {"right", c.right}, {"wrong", c.wrong - c.misrouted}, {"misrouted", c.misrouted}};
    const char *name = "a_io_feedback_total";
    put_head(
        p, name, "counter",
        "Truths told, by verdict on the intent; misrouted: wrong, and sent to the small model.");
    for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++) {
        put(p, name);
        put_label(p, "{", "verdict", verdicts[i].verdict);
        put(p, "}");
        put_count(p, verdicts[i].count);
    }
    put_head(p, "a_io_entropy_limit", "gauge", "The entropy limit as it is now, nats.");
    if (p->code == OK)
        p->code = buffer_add_format(p->out, "a_io_entropy_limit %.9g\n", c.limit);
}

static void put_summary(page *p, const char *name, const char *label, const char *value,
                        const summary *s)
{
    put(p, name);
    put_label(p, "_sum{", label, value);
    put(p, "}");
    put_seconds(p, s->sum_ms);
    put(p, name);
    put_label(p, "_count{", label, value);
    put(p, "}");
    put_count(p, s->count);
}

static void write_overhead(page *p)
{
    static const char *const names[N_PHASES] = {"template", "prefill", "decide", "switch", "total"};
    const char *name = "a_io_overhead_seconds";
    put_head(p, name, "summary", "What decisions took, by phase; total has the waiting, too.");
    for (size_t i = 0; i < N_PHASES; i++)
        put_summary(p, name, "phase", names[i], &p->metrics->phases[i]);
}

static void write_reply_times(page *p)
{
    static const struct {
        const char *name, *help;
        size_t offset;
    } times[] = {
        {"a_io_queue_seconds", "From a reply's submission to its first step.",
         offsetof(totals, queue)},
        {"a_io_prefill_seconds", "From a reply's first step to its first token.",
         offsetof(totals, prefill)},
        {"a_io_decode_seconds", "From a reply's first token to its last.",
         offsetof(totals, decode)},
    };
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        put_head(p, times[i].name, "summary", times[i].help);
        for (size_t k = 0; k < model_count(p); k++) {
            const char *at = (const char *)&p->metrics->models[k] + times[i].offset;
            put_summary(p, times[i].name, "model", model_name(p, k),
                        (const summary *)(const void *)at);
        }
    }
}

static void write_reply_counts(page *p)
{
    static const struct {
        const char *name, *help;
        size_t offset;
    } counts[] = {
        {"a_io_prompt_tokens_total", "Tokens of prompts.", offsetof(totals, prompt_tokens)},
        {"a_io_cached_tokens_total", "Of them, those whose KV was there.",
         offsetof(totals, cached_tokens)},
        {"a_io_reply_tokens_total", "Tokens of replies.", offsetof(totals, reply_tokens)},
        {"a_io_drafted_tokens_total", "Tokens drafted by lookup.", offsetof(totals, drafted)},
        {"a_io_accepted_tokens_total", "Of them, those accepted.", offsetof(totals, accepted)},
        {"a_io_refilled_tokens_total", "Tokens computed again after their KV was given up.",
         offsetof(totals, refilled_tokens)},
        {"a_io_parked_total", "Times a batch reply made room for an interactive one.",
         offsetof(totals, parked)},
        {"a_io_weight_read_bytes_total", "Weights read for replies.",
         offsetof(totals, weight_bytes)},
        {"a_io_kv_read_bytes_total", "KV read for replies.", offsetof(totals, kv_bytes)},
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        put_head(p, counts[i].name, "counter", counts[i].help);
        for (size_t k = 0; k < model_count(p); k++) {
            uint64_t value;
            memcpy(&value, (const char *)&p->metrics->models[k] + counts[i].offset, sizeof value);
            put(p, counts[i].name);
            put_label(p, "{", "model", model_name(p, k));
            put(p, "}");
            put_count(p, value);
        }
    }
}

/* ---- what the engines say ------------------------------------------------------------------- */

static void write_sequences(page *p, const engine_status *statuses)
{
    static const char *const states[] = {"running", "waiting", "parked"};
    const char *name = "a_io_sequences";
    put_head(p, name, "gauge", "Replies and probes in the engines, by state.");
    for (size_t k = 0; k < model_count(p); k++) {
        const engine_status *s = &statuses[k];
        const size_t counts[] = {s->running, s->waiting, s->parked};
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            put(p, name);
            put_label(p, "{", "model", model_name(p, k));
            put_label(p, ",", "state", states[i]);
            put(p, "}");
            put_count(p, counts[i]);
        }
    }
}

static void write_step_cost(page *p, const engine_status *statuses)
{
    const char *name = "a_io_step_seconds";
    put_head(p, name, "gauge", "Measured cost of a decode step, by its rows.");
    for (size_t k = 0; k < model_count(p); k++) {
        for (size_t n = 1; n < sizeof statuses->step_ms / sizeof *statuses->step_ms; n++) {
            char rows[24];
            snprintf(rows, sizeof rows, "%zu", n);
            if (statuses[k].step_ms[n] == 0)
                continue;
            put(p, name);
            put_label(p, "{", "model", model_name(p, k));
            put_label(p, ",", "rows", rows);
            put(p, "}");
            put_seconds(p, statuses[k].step_ms[n]);
        }
    }
}

typedef struct gauge {
    const char *name, *type, *label, *help;
    double (*read)(const engine_status *s); /* NAN: there is none */
} gauge;

static double read_kv_bytes(const engine_status *s)
{
    return (double)s->kv_bytes;
}

static double read_kv_limit(const engine_status *s)
{
    return (double)s->kv_limit_bytes;
}

static double read_pauses(const engine_status *s)
{
    return (double)s->pauses;
}

static double read_switch(const engine_status *s)
{
    return s->switch_ms / 1e3;
}

static double read_prefill_row(const engine_status *s)
{
    return s->prefill_row_ms / 1e3;
}

static double read_reply(const engine_status *s)
{
    return s->reply_ms / 1e3;
}

static double read_retry_after(const engine_status *s)
{
    return s->retry_after_s;
}

static double read_running(const engine_status *s)
{
    return (double)s->running;
}

static double read_waiting(const engine_status *s)
{
    return (double)(s->waiting + s->parked);
}

static double read_kv_usage(const engine_status *s)
{
    return s->kv_limit_bytes > 0 ? (double)s->kv_bytes / (double)s->kv_limit_bytes : NAN;
}

static const gauge gauges[] = {
    {"a_io_kv_bytes", "gauge", "model", "Memory that KV takes, with that of finished replies.",
     read_kv_bytes},
    {"a_io_kv_limit_bytes", "gauge", "model", "What the KV of all models may take; 0: no limit.",
     read_kv_limit},
    {"a_io_step_pauses_total", "counter", "model", "Pauses of steps for probes.", read_pauses},
    {"a_io_switch_seconds", "gauge", "model", "The last change to the model.", read_switch},
    {"a_io_prefill_row_seconds", "gauge", "model", "Measured cost of a prompt's token.",
     read_prefill_row},
    {"a_io_reply_seconds", "gauge", "model", "Mean of the latest replies, queue excluded.",
     read_reply},
    {"a_io_retry_after_seconds", "gauge", "model", "When a place should be free for one more.",
     read_retry_after},
    /* What cluster schedulers look for (Gateway API inference extension). */
    {"vllm:num_requests_running", "gauge", "model_name", "Sequences in a place.", read_running},
    {"vllm:num_requests_waiting", "gauge", "model_name", "Sequences without one.", read_waiting},
    {"vllm:kv_cache_usage_perc", "gauge", "model_name", "KV taken, of its limit; 1 is all of it.",
     read_kv_usage},
};

static void write_gauges(page *p, const engine_status *statuses)
{
    for (size_t i = 0; i < sizeof gauges / sizeof *gauges; i++) {
        put_head(p, gauges[i].name, gauges[i].type, gauges[i].help);
        for (size_t k = 0; k < model_count(p); k++) {
            double value = gauges[i].read(&statuses[k]);
            if (isnan(value))
                continue;
            put(p, gauges[i].name);
            put_label(p, "{", gauges[i].label, model_name(p, k));
            if (p->code == OK)
                p->code = buffer_add_format(p->out, "} %.12g\n", value);
        }
    }
}

error_code metrics_write(metrics *m, const server_load *load, buffer *out)
{
    page p = {.metrics = m, .out = out};
    engine_status *statuses = calloc(model_count(&p), sizeof *statuses);
    if (statuses == NULL)
        return ERR_MEMORY;
    for (size_t k = 0; k < model_count(&p); k++)
        backend_read_status(orchestra_backend(m->orchestra, k), &statuses[k]);
    pthread_mutex_lock(&m->lock);
    write_load(&p, load);
    write_answers(&p);
    write_decisions(&p);
    write_fallbacks(&p);
    write_online_limit(&p);
    write_overhead(&p);
    write_reply_times(&p);
    write_reply_counts(&p);
    pthread_mutex_unlock(&m->lock);
    write_sequences(&p, statuses);
    write_gauges(&p, statuses);
    write_step_cost(&p, statuses);
    free(statuses);
    return p.code;
}
