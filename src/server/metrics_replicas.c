/* metrics_replicas.c: what each model's servers are to it now. */
#include <stdlib.h>
#include <string.h>

#include "server/metrics_parts.h"

typedef struct row {
    const char *name, *type, *help;
    double (*read)(const backend_replica *r);
} row;

/* The replicas of all models, one model's after the other's. */
typedef struct listed {
    backend_replica replica;
    const char *model;
} listed;

static double read_requests(const backend_replica *r)
{
    return (double)r->requests;
}

static double read_refused(const backend_replica *r)
{
    return (double)r->refused;
}

static double read_failed(const backend_replica *r)
{
    return (double)r->failed;
}

static double read_hedged(const backend_replica *r)
{
    return (double)r->hedged;
}

static double read_in_flight(const backend_replica *r)
{
    return (double)r->in_flight;
}

static double read_limit(const backend_replica *r)
{
    return (double)r->limit;
}

static double read_delay(const backend_replica *r)
{
    return r->delay_ms / 1e3;
}

static double read_open(const backend_replica *r)
{
    return strcmp(r->state, "closed") != 0;
}

static const row rows[] = {
    {"a_io_replica_requests_total", "counter", "Requests sent to a model's server.", read_requests},
    {"a_io_replica_refused_total", "counter", "Of these, those it had no room for.", read_refused},
    {"a_io_replica_failed_total", "counter", "And those that came to nothing.", read_failed},
    {"a_io_replica_hedged_total", "counter", "And those sent because another was late.",
     read_hedged},
    {"a_io_replica_in_flight", "gauge", "Requests that it has now.", read_in_flight},
    {"a_io_replica_limit", "gauge", "Requests that it may have, as learned.", read_limit},
    {"a_io_replica_delay_seconds", "gauge", "Mean of the latest, to the first byte.", read_delay},
    {"a_io_replica_open", "gauge", "1: it is not asked, but for a trial (breaker).", read_open},
};

static size_t count_replicas(const metrics *m)
{
    size_t n = 0;
    for (size_t k = 0; k < orchestra_model_count(m->orchestra); k++)
        n += backend_read_replicas(orchestra_backend(m->orchestra, k), NULL, 0);
    return n;
}

/* Up to `most` of them, as a reload may have brought more. */
static size_t list_replicas(const metrics *m, listed *out, size_t most)
{
    size_t n = 0;
    backend_replica *found = calloc(most, sizeof *found);
    for (size_t k = 0; found != NULL && k < orchestra_model_count(m->orchestra); k++) {
        size_t here = backend_read_replicas(orchestra_backend(m->orchestra, k), found, most - n);
        for (size_t i = 0; i < here && n < most; i++)
            out[n++] = (listed){found[i], orchestra_model_name(m->orchestra, k)};
    }
    free(found);
    return n;
}

static void write_row(metrics_text *t, const row *w, const listed *list, size_t n)
{
    put_head(t, w->name, w->type, w->help);
    for (size_t i = 0; i < n; i++) {
        const backend_replica *r = &list[i].replica;
        put(t, w->name);
        put_label(t, "{", "model", list[i].model);
        put_label(t, ",", "replica", r->url);
        put_label(t, ",", "lookup", r->has_lookup ? "on" : "off");
        put(t, "}");
        put_number(t, w->read(r));
    }
}

void write_replicas(const metrics *m, metrics_text *t)
{
    size_t most = count_replicas(m);
    if (most == 0)
        return;
    listed *list = calloc(most, sizeof *list);
    if (list == NULL) {
        t->code = ERR_MEMORY;
        return;
    }
    size_t n = list_replicas(m, list, most);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        write_row(t, &rows[i], list, n);
    free(list);
}
