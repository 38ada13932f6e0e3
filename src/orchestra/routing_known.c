/* routing_known.c: what there is to know of a routing. */
#include "orchestra/internal.h"

const config *routing_config(const routing *g)
{
    return g->config;
}

const policy *routing_policy(const routing *g)
{
    return g->policy;
}

const probe_record *routing_calibration(const routing *g)
{
    return g->calibration.calibration.n_labels > 0 ? &g->calibration : NULL;
}

const head_record *routing_kind_head(const routing *g)
{
    return g->kind.head.width > 0 ? &g->kind : NULL;
}

const head_record *routing_success_head(const routing *g)
{
    return g->success.head.width > 0 ? &g->success : NULL;
}

double routing_entropy_limit(const routing *g)
{
    return g->entropy_limit;
}

online_limit *routing_online_limit(const routing *g)
{
    return g->online;
}

online_limit *routing_online_doubt(const routing *g)
{
    return g->online_doubt;
}

size_t routing_label_count(const routing *g)
{
    return g->n_labels;
}

const char *routing_label_name(const routing *g, size_t index)
{
    return g->label_names[index];
}

uint64_t routing_intent_count(const routing *g, size_t label)
{
    return atomic_load(&g->intents[label]);
}
