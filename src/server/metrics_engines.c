/* metrics_engines.c: what each model's engine says of itself now. */
#include <stdio.h>

#include "server/metrics_parts.h"

static void write_sequences(const metrics *m, metrics_text *t, const backend_load *statuses)
{
    static const char *const states[] = {"running", "waiting", "parked"};
    const char *name = "a_io_sequences";
    put_head(t, name, "gauge", "Replies and probes in the engines, by state.");
    for (size_t k = 0; k < orchestra_model_count(m->orchestra); k++) {
        const backend_load *s = &statuses[k];
        const size_t counts[] = {s->running, s->waiting, s->parked};
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            put(t, name);
            put_label(t, "{", "model", orchestra_model_name(m->orchestra, k));
            put_label(t, ",", "state", states[i]);
            put(t, "}");
            put_count(t, counts[i]);
        }
    }
}

static void write_step_cost(const metrics *m, metrics_text *t, const backend_load *statuses)
{
    const char *name = "a_io_step_seconds";
    put_head(t, name, "gauge", "Measured cost of a decode step, by its rows.");
    for (size_t k = 0; k < orchestra_model_count(m->orchestra); k++) {
        for (size_t n = 1; n < sizeof statuses->step_ms / sizeof *statuses->step_ms; n++) {
            char rows[24];
            snprintf(rows, sizeof rows, "%zu", n);
            if (statuses[k].step_ms[n] == 0)
                continue;
            put(t, name);
            put_label(t, "{", "model", orchestra_model_name(m->orchestra, k));
            put_label(t, ",", "rows", rows);
            put(t, "}");
            put_seconds(t, statuses[k].step_ms[n]);
        }
    }
}

static void write_delays(const metrics *m, metrics_text *t)
{
    const char *name = "a_io_expected_delay_seconds";
    put_head(t, name, "gauge", "Expected now, from a reply's submission to its first token.");
    for (size_t k = 0; k < orchestra_model_count(m->orchestra); k++) {
        put(t, name);
        put_label(t, "{", "model", orchestra_model_name(m->orchestra, k));
        put(t, "}");
        put_seconds(t, orchestra_delay_ms(m->orchestra, k));
    }
}

typedef struct gauge {
    const char *name, *type, *help;
    double (*read)(const backend_load *s);
} gauge;

static double read_kv_bytes(const backend_load *s)
{
    return (double)s->kv_bytes;
}

static double read_kv_limit(const backend_load *s)
{
    return (double)s->kv_limit_bytes;
}

static double read_pauses(const backend_load *s)
{
    return (double)s->pauses;
}

static double read_tokens(const backend_load *s)
{
    return (double)s->reply_tokens;
}

static double read_bytes(const backend_load *s)
{
    return (double)s->read_bytes;
}

static double read_switch(const backend_load *s)
{
    return s->switch_ms / 1e3;
}

static double read_prefill_row(const backend_load *s)
{
    return s->prefill_row_ms / 1e3;
}

static double read_reply(const backend_load *s)
{
    return s->reply_ms / 1e3;
}

static double read_retry_after(const backend_load *s)
{
    return s->retry_after_s;
}

static const gauge gauges[] = {
    {"a_io_kv_bytes", "gauge", "Memory that KV takes, with that of finished replies.",
     read_kv_bytes},
    {"a_io_kv_limit_bytes", "gauge", "What the KV of all models may take; 0: no limit.",
     read_kv_limit},
    {"a_io_step_pauses_total", "counter", "Pauses of steps for probes.", read_pauses},
    {"a_io_generated_tokens_total", "counter", "Tokens of replies, as they come.", read_tokens},
    {"a_io_read_bytes_total", "counter", "Weights and KV that steps read, as they run.",
     read_bytes},
    {"a_io_switch_seconds", "gauge", "The last change to the model.", read_switch},
    {"a_io_prefill_row_seconds", "gauge", "Measured cost of a prompt's token.", read_prefill_row},
    {"a_io_reply_seconds", "gauge", "Mean of the latest replies, queue excluded.", read_reply},
    {"a_io_retry_after_seconds", "gauge", "When a place should be free for one more.",
     read_retry_after},
};

static void write_gauges(const metrics *m, metrics_text *t, const backend_load *statuses)
{
    for (size_t i = 0; i < sizeof gauges / sizeof *gauges; i++) {
        put_head(t, gauges[i].name, gauges[i].type, gauges[i].help);
        for (size_t k = 0; k < orchestra_model_count(m->orchestra); k++) {
            put(t, gauges[i].name);
            put_label(t, "{", "model", orchestra_model_name(m->orchestra, k));
            put(t, "}");
            put_number(t, gauges[i].read(&statuses[k]));
        }
    }
}

void write_engines(const metrics *m, metrics_text *t, const backend_load *statuses)
{
    write_sequences(m, t, statuses);
    write_delays(m, t);
    write_gauges(m, t, statuses);
    write_step_cost(m, t, statuses);
    double peak = orchestra_read_peak(m->orchestra);
    if (peak > 0)
        put_plain(t, "a_io_read_peak_bytes_per_second", "gauge",
                  "The most that this machine's memory gives, as a-io calibrate measured it.",
                  peak);
}
