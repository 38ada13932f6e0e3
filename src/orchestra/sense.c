/* sense.c: the two passes, the second only where the first has not decided. */
#include <math.h>

#include "base/clock.h"
#include "orchestra/internal.h"
#include "orchestra/probe.h"

/* ---- what to ask ---------------------------------------------------------------------------- */

static bool has_head(const head_record *r)
{
    return r->head.width > 0;
}

/* The heads' layers in order, each once; their number. */
static size_t list_layers(const routing *g, uint32_t layers[2])
{
    uint32_t kind = (uint32_t)g->kind.head.layer, success = (uint32_t)g->success.head.layer;
    size_t n = 0;
    if (has_head(&g->kind) && (!has_head(&g->success) || kind <= success))
        layers[n++] = kind;
    if (has_head(&g->success) && (n == 0 || success != kind))
        layers[n++] = success;
    if (has_head(&g->kind) && kind > layers[n - 1])
        layers[n++] = kind;
    return n;
}

static bool knows_states(const routing *g, const sensed *known)
{
    return has_head(&g->kind) ? known->intent.known : !isnan(known->success);
}

error_code sense_start(sensing *s, orchestra *o, const routing *g, const sensed *known,
                       const request *timed, const prepared_prompt *p, wakeup wake, failure *why)
{
    backend *asked = o->players[g->asked].backend;
    atomic_fetch_add(&o->counts.probes, 1);
    if (!g->reads_states || knows_states(g, known))
        return backend_classify(asked, timed, p, &g->template, g->label_tokens, g->n_labels, wake,
                                &s->labels, why);
    uint32_t layers[2] = {0};
    const embedding_request wanted = {.layers = layers,
                                      .n_layers = list_layers(g, layers),
                                      .pooling = EMBEDDING_LAST,
                                      .is_urgent = true,
                                      .is_alone = g->template.is_alone,
                                      .deadline_ms = timed->deadline_ms};
    return backend_embed(asked, p, &wanted, wake, &s->states, why);
}

/* ---- what it says --------------------------------------------------------------------------- */

static const float *state_of(const routing *g, const linear_head *h, const float *states)
{
    uint32_t layers[2] = {0};
    size_t n = list_layers(g, layers);
    return states + (n > 1 && layers[1] == h->layer ? h->width : 0);
}

static error_code read_success(const routing *g, const float *states, double *out, failure *why)
{
    const linear_head *h = &g->success.head;
    double z[SUCCESS_LABELS];
    error_code code = head_apply(h, state_of(g, h, states), z, why);
    if (code == OK)
        *out = 1 / (1 + exp(z[1 - SUCCESS_RIGHT] - z[SUCCESS_RIGHT]));
    return code;
}

static void read_heads(const routing *g, const embedding_result *r, sensed *known, failure *why)
{
    const linear_head *kind = &g->kind.head;
    error_code code = OK;
    if (has_head(&g->kind))
        code = probe_read_head(kind, state_of(g, kind, r->states), g->label_names, &known->intent,
                               why);
    known->intent.probe_tokens = r->stats.prompt_tokens;
    if (code == OK && has_head(&g->success))
        read_success(g, r->states, &known->success, why);
}

static const calibration *calibration_of(const routing *g)
{
    return g->calibration.calibration.n_labels > 0 ? &g->calibration.calibration : NULL;
}

/* ---- polling -------------------------------------------------------------------------------- */

/* Of a second pass only what adds up is added. */
static void add_cost(receipt *cost, const reply_stats *s)
{
    reply_stats sum = *s;
    const reply_stats *before = &cost->probe;
    sum.queue_ms += before->queue_ms;
    sum.prefill_ms += before->prefill_ms;
    sum.weight_bytes += before->weight_bytes;
    sum.kv_bytes += before->kv_bytes;
    cost->probe = sum;
    cost->overhead.prefill_ms = sum.prefill_ms;
}

bool sense_poll(sensing *s, const routing *g, sensed *known, receipt *cost, failure *why)
{
    embedding_result states = {.state = WORK_FAILED};
    classification_result labels = {.state = WORK_FAILED};
    bool is_of_states = s->states != NULL;
    error_code code =
        is_of_states ? embedding_poll(s->states, &states) : classification_poll(s->labels, &labels);
    work_state state = is_of_states ? states.state : labels.state;
    why->code = OK;
    if (code == OK && state == WORK_RUNNING)
        return false;
    double start = clock_ms();
    if (code != OK)
        failure_set(why, code, "%s", error_code_text(code));
    else if (state == WORK_FAILED)
        *why = is_of_states ? states.failure : labels.failure;
    else if (is_of_states)
        read_heads(g, &states, known, why);
    else
        probe_read(&labels, g->label_names, calibration_of(g), &known->intent, why);
    cost->overhead.template_ms += labels.template_ms;
    add_cost(cost, is_of_states ? &states.stats : &labels.stats);
    cost->overhead.decide_ms += clock_ms() - start;
    sense_drop(s);
    return true;
}

void sense_drop(sensing *s)
{
    if (s->states != NULL)
        embedding_release(s->states);
    if (s->labels != NULL)
        classification_release(s->labels);
    *s = (sensing){.states = NULL};
}
