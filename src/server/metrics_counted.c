/* metrics_counted.c: what the server counted since its start. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "orchestra/online_limit.h"
#include "server/metrics_parts.h"

static void write_answers(const metrics *m, metrics_text *t)
{
    const char *name = "a_io_http_requests_total";
    put_head(t, name, "counter", "Requests answered, by HTTP status; 499: the client went away.");
    for (size_t i = 0; i < MAX_STATUSES && m->answers[i].count > 0; i++) {
        char status[16];
        snprintf(status, sizeof status, "%d", m->answers[i].status);
        put(t, name);
        put_label(t, "{", "code", status);
        put(t, "}");
        put_count(t, m->answers[i].count);
    }
}

static void write_decisions(const metrics *m, metrics_text *t)
{
    const char *name = "a_io_decisions_total";
    put_head(t, name, "counter", "Plans made, by model, intent (empty: no probe) and rule.");
    for (size_t i = 0; i < m->n_decisions; i++) {
        const decision *d = &m->decisions[i];
        put(t, name);
        put_label(t, "{", "model", d->model);
        put_label(t, ",", "intent", d->intent);
        put_label(t, ",", "rule", d->rule);
        put(t, "}");
        put_count(t, d->count);
    }
}

static void write_fallbacks(const metrics *m, metrics_text *t)
{
    const char *name = "a_io_fallbacks_total";
    orchestra_counts c;
    orchestra_read_counts(m->orchestra, &c);
    put_head(t, name, "counter", "Decisions that are not what the intent alone would have given.");
    for (fallback f = FALLBACK_NONE + 1; f < N_FALLBACKS; f++) {
        if (f == FALLBACK_PINNED) /* falls back from nothing */
            continue;
        put(t, name);
        put_label(t, "{", "reason", fallback_name(f));
        put(t, "}");
        put_count(t, c.fallbacks[f]);
    }
    put_head(t, "a_io_probes_total", "counter", "Forward passes for an intent.");
    put(t, "a_io_probes_total");
    put_count(t, c.probes);
    put_head(t, "a_io_cached_probes_total", "counter", "Intents known from an earlier probe.");
    put(t, "a_io_cached_probes_total");
    put_count(t, c.cached_probes);
    put_head(t, "a_io_kept_plans_total", "counter", "Decisions that the conversation kept.");
    put(t, "a_io_kept_plans_total");
    put_count(t, c.kept);
}

static void write_lessons(metrics_text *t, const char *name, const char *help,
                          const online_limit_counts *c)
{
    const struct {
        const char *verdict;
        uint64_t count;
    } verdicts[] = {
        {"right", c->right}, {"wrong", c->wrong - c->misrouted}, {"misrouted", c->misrouted}};
    put_head(t, name, "counter", help);
    for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++) {
        put(t, name);
        put_label(t, "{", "verdict", verdicts[i].verdict);
        put(t, "}");
        put_count(t, verdicts[i].count);
    }
}

static void write_online_limits(const routing *g, metrics_text *t)
{
    online_limit *entropy = routing_online_limit(g);
    online_limit *doubt = routing_online_doubt(g);
    online_limit_counts c;
    if (entropy != NULL) {
        online_limit_read(entropy, &c);
        write_lessons(t, "a_io_feedback_total",
                      "Truths told, by verdict on the intent; misrouted: wrong, and sent to the "
                      "small model.",
                      &c);
        put_plain(t, "a_io_entropy_limit", "gauge", "The entropy limit as it is now, nats.",
                  c.limit);
    }
    if (doubt != NULL) {
        online_limit_read(doubt, &c);
        write_lessons(t, "a_io_answer_feedback_total",
                      "Truths told, by verdict on the answer; misrouted: wrong, and the small "
                      "model's.",
                      &c);
        put_plain(t, "a_io_success_limit", "gauge",
                  "The least success that is likely enough now, a probability.", 1 - c.limit);
    }
}

static void write_success(const metrics *m, const routing *g, metrics_text *t)
{
    if (routing_success_head(g) == NULL)
        return;
    put_head(t, "a_io_success", "summary",
             "Estimated probability that the small model's answer is right.");
    put(t, "a_io_success_sum");
    put_number(t, m->success_sum);
    put(t, "a_io_success_count");
    put_count(t, m->success_count);
}

static void write_overhead(const metrics *m, metrics_text *t)
{
    static const char *const names[N_PHASES] = {"template", "prefill", "decide", "switch", "total"};
    const char *name = "a_io_overhead_seconds";
    put_head(t, name, "histogram", "What decisions took, by phase; total has the waiting, too.");
    for (size_t i = 0; i < N_PHASES; i++)
        put_histogram(t, name, "phase", names[i], &m->phases[i]);
}

static void write_reply_times(const metrics *m, metrics_text *t)
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
        {"a_io_time_to_first_token_seconds", "Decision, queue and prefill together.",
         offsetof(totals, first_token)},
        {"a_io_time_per_output_token_seconds", "Mean time between two tokens of a reply.",
         offsetof(totals, per_token)},
        {"a_io_request_seconds", "From the complete request to the reply's last token.",
         offsetof(totals, whole)},
    };
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        put_head(t, times[i].name, "histogram", times[i].help);
        for (size_t k = 0; k < orchestra_model_count(m->orchestra); k++) {
            const char *at = (const char *)&m->models[k] + times[i].offset;
            put_histogram(t, times[i].name, "model", orchestra_model_name(m->orchestra, k),
                          (const histogram *)(const void *)at);
        }
    }
}

static void write_reply_counts(const metrics *m, metrics_text *t)
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
        put_head(t, counts[i].name, "counter", counts[i].help);
        for (size_t k = 0; k < orchestra_model_count(m->orchestra); k++) {
            uint64_t value;
            memcpy(&value, (const char *)&m->models[k] + counts[i].offset, sizeof value);
            put(t, counts[i].name);
            put_label(t, "{", "model", orchestra_model_name(m->orchestra, k));
            put(t, "}");
            put_count(t, value);
        }
    }
}

static void write_costs(const metrics *m, metrics_text *t)
{
    const char *name = "a_io_cost_total";
    put_head(t, name, "counter",
             "What requests cost by the models' prices, with their probes, by who answered.");
    for (size_t k = 0; k < orchestra_model_count(m->orchestra); k++) {
        put(t, name);
        put_label(t, "{", "model", orchestra_model_name(m->orchestra, k));
        put(t, "}");
        put_number(t, m->models[k].cost);
    }
}

void write_counted(const metrics *m, metrics_text *t)
{
    write_answers(m, t);
    write_decisions(m, t);
    write_fallbacks(m, t);
    routing *g = orchestra_hold_routing(m->orchestra);
    write_online_limits(g, t);
    write_success(m, g, t);
    routing_release(g);
    write_overhead(m, t);
    write_reply_times(m, t);
    write_reply_counts(m, t);
    write_costs(m, t);
}
