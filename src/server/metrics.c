/* metrics.c: counting, and the order in which all is written. */
#include "server/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/metrics_parts.h"

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

static void free_decision(decision *d)
{
    free(d->intent);
    free(d->rule);
}

void metrics_destroy(metrics *m)
{
    if (m == NULL)
        return;
    pthread_mutex_destroy(&m->lock);
    for (size_t i = 0; i < m->n_decisions; i++)
        free_decision(&m->decisions[i]);
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
static void count_decision(metrics *m, const plan *p, const char *said)
{
    for (size_t i = 0; i < m->n_decisions; i++) {
        decision *d = &m->decisions[i];
        if (strcmp(d->model, p->model) == 0 && strcmp(d->intent, said) == 0 &&
            strcmp(d->rule, p->rule) == 0) {
            d->count++;
            return;
        }
    }
    decision *more = reallocarray(m->decisions, m->n_decisions + 1, sizeof *more);
    if (more == NULL)
        return;
    m->decisions = more;
    decision made = {p->model, strdup(said), strdup(p->rule), 1};
    if (made.intent != NULL && made.rule != NULL)
        more[m->n_decisions++] = made;
    else
        free_decision(&made);
}

static void count_overhead(metrics *m, const overhead *o)
{
    histogram_add(&m->phases[PHASE_TEMPLATE], o->template_ms);
    histogram_add(&m->phases[PHASE_PREFILL], o->prefill_ms);
    histogram_add(&m->phases[PHASE_DECIDE], o->decide_ms);
    histogram_add(&m->phases[PHASE_SWITCH], o->switch_ms);
    histogram_add(&m->phases[PHASE_TOTAL], o->total_ms);
}

static void count_times(totals *t, double decision_ms, const reply_stats *s)
{
    histogram_add(&t->queue, s->queue_ms);
    histogram_add(&t->prefill, s->prefill_ms);
    histogram_add(&t->decode, s->decode_ms);
    histogram_add(&t->first_token, decision_ms + s->queue_ms + s->prefill_ms);
    histogram_add(&t->whole, decision_ms + s->queue_ms + s->prefill_ms + s->decode_ms);
    if (s->reply_tokens > 1)
        histogram_add(&t->per_token, s->decode_ms / (double)(s->reply_tokens - 1));
}

static void count_reply(totals *t, const run *r, bool is_finished)
{
    const receipt *cost = run_receipt(r);
    const reply_stats *s = &cost->reply;
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
    t->steps += s->steps;
    if (is_finished)
        *(run_finish_reason(r) == END_STOP ? &t->stopped : &t->cut) += 1;
    count_times(t, cost->overhead.total_ms, s);
}

void metrics_count_run(metrics *m, const run *r, bool is_finished)
{
    const plan *p = run_plan(r);
    const intent *i = run_intent(r);
    pthread_mutex_lock(&m->lock);
    if (!run_follows(r)) {
        count_decision(m, p, i->known ? i->labels[i->best] : "");
        count_overhead(m, &run_receipt(r)->overhead);
    }
    if (!run_follows(r) && !isnan(p->success)) {
        m->success_sum += p->success;
        m->success_count++;
    }
    count_reply(&m->models[p->level], r, is_finished);
    if (!isnan(run_cost(r)))
        m->models[p->level].cost += run_cost(r);
    pthread_mutex_unlock(&m->lock);
}

void metrics_count_embedding(metrics *m, size_t tokens)
{
    pthread_mutex_lock(&m->lock);
    m->embeddings++;
    m->embedded_tokens += tokens;
    pthread_mutex_unlock(&m->lock);
}

/* ---- writing -------------------------------------------------------------------------------- */

static void write_load(metrics_text *t, const server_load *load)
{
    put_plain(t, "a_io_connections", "gauge", "Open connections.", (double)load->connections);
    put_plain(t, "a_io_requests_running", "gauge", "Requests with work in the engines.",
              (double)load->running);
}

error_code metrics_write(metrics *m, const server_load *load, buffer *out)
{
    metrics_text text = {.out = out};
    size_t n_models = orchestra_model_count(m->orchestra);
    backend_load *statuses = calloc(n_models, sizeof *statuses);
    if (statuses == NULL)
        return ERR_MEMORY;
    for (size_t k = 0; k < n_models; k++)
        backend_read_load(orchestra_backend(m->orchestra, k), &statuses[k]);
    write_load(&text, load);
    pthread_mutex_lock(&m->lock);
    write_counted(m, &text);
    write_peers(m, &text, statuses);
    pthread_mutex_unlock(&m->lock);
    write_engines(m, &text, statuses);
    write_replicas(m, &text);
    write_process(&text);
    free(statuses);
    return text.code;
}
