/* routing.c: what a configuration says of routing, made ready: probe, calibrations, limits, policy.
 */
#include <math.h>
#include <stdlib.h>

#include "base/log.h"
#include "orchestra/internal.h"

#define MAX_HEAD ((size_t)1 << 20) /* bytes; 64 rules take some 30 KB */
#define MAX_CONVERSATIONS 8192     /* whose plans are kept; the least recently used are forgotten */

static void warn_of_rules(const routing *g)
{
    for (size_t i = 0; i < policy_rule_count(g->policy); i++)
        if (i < g->config->policy.n_rules && !policy_reachable(g->policy, i))
            log_warn("policy.rules[%zu] (%s) takes no request: a rule before it has no conditions",
                     i, policy_rule(g->policy, i)->name);
}

static error_code read_probe(routing *g, const model *asked, failure *fail)
{
    const config *c = g->config;
    const probe_record *r = &g->calibration;
    const head_record *h = &g->kind;
    error_code code = OK;
    if (c->probe.kind == CONFIG_PROBE_LEARNED) {
        code = calibration_file_read_head(&g->kind, "kind", c->probe.calibration, c, asked, fail);
        g->certain = h->limits;
    } else if (c->probe.calibration != NULL) {
        code = calibration_file_read_probe(&g->calibration, c->probe.calibration, c, asked, fail);
        g->certain = r->limits;
    }
    return code;
}

static error_code read_calibration(routing *g, const model *asked, failure *fail)
{
    const config *c = g->config;
    bool has_file = c->probe.calibration != NULL || c->success.calibration != NULL;
    if (asked == NULL && has_file)
        return failure_set(fail, ERR_UNSUPPORTED,
                           "a calibration is of a model in this process, not at another server");
    error_code code = read_probe(g, asked, fail);
    g->entropy_limit = c->policy.entropy_limit;
    if (code == OK && g->certain.goal != LIMIT_NONE && !c->policy.is_limit_given)
        g->entropy_limit = g->certain.effects[0].limit;
    if (code != OK || c->success.calibration == NULL)
        return code;
    code =
        calibration_file_read_head(&g->success, "success", c->success.calibration, c, asked, fail);
    g->likely = g->success.limits;
    return code;
}

static config_limits limits_of(const chosen_limits *l)
{
    config_limits out = {.n = l->goal == LIMIT_NONE ? 0 : l->n};
    for (size_t i = 0; i < out.n; i++)
        out.at[i] = l->effects[i].limit;
    return out;
}

/* The limit that counts in place of the configuration's. */
static error_code create_policy(routing *g, failure *fail)
{
    config changed = *g->config; /* its lists stay the config's */
    changed.policy.entropy_limit = g->entropy_limit;
    changed.policy.certain = limits_of(&g->certain);
    changed.policy.likely = limits_of(&g->likely);
    error_code code = policy_create(&g->policy, &changed, g->contexts, fail);
    if (code != OK)
        return code;
    bool is_learned = g->config->probe.kind == CONFIG_PROBE_LEARNED;
    bool reads_intent = policy_reads_intent(g->policy);
    g->reads_labels = reads_intent && !is_learned;
    g->reads_states = (reads_intent && is_learned) || policy_reads_success(g->policy);
    return OK;
}

static error_code refuse_steps(const char *key, const char *file, size_t n, failure *fail)
{
    return failure_set(fail, ERR_CONFIG,
                       "%s: it moves one limit, and %s has %zu, one for each step between models; "
                       "calibrate with one target",
                       key, file, n);
}

/* After the policy. */
static error_code create_online(routing *g, failure *fail)
{
    const config_probe *p = &g->config->probe;
    if (!p->is_online)
        return OK;
    if (g->certain.goal != LIMIT_MISROUTE)
        return failure_set(fail, ERR_CONFIG,
                           "probe.online: %s has no target for misroutes to hold; calibrate with "
                           "--max-misroute",
                           p->calibration);
    if (!policy_follows_limit(g->policy)) {
        log_warn("probe.online: the policy %s does not look at the calibration's limit: nothing "
                 "moves",
                 g->config->policy.name);
        return OK;
    }
    if (g->certain.n > 1)
        return refuse_steps("probe.online", p->calibration, g->certain.n, fail);
    const online_limit_options options = {.start = g->certain.effects[0].limit,
                                          .highest = log((double)g->n_labels),
                                          .target = g->certain.targets[0],
                                          .step = p->online_step};
    return online_limit_create(&g->online, &options, fail);
}

/* What is told is whether an answer was right, so a target about wrong answers can be held. */
static error_code create_online_doubt(routing *g, failure *fail)
{
    const config_success *s = &g->config->success;
    if (!s->is_online)
        return OK;
    if (g->likely.goal != LIMIT_WRONG)
        return failure_set(fail, ERR_CONFIG,
                           "success.online: %s has no target for wrong answers to hold; calibrate "
                           "with --max-wrong",
                           s->calibration);
    if (!policy_follows_success(g->policy)) {
        log_warn("success.online: no rule says likely: nothing moves");
        return OK;
    }
    if (g->likely.n > 1)
        return refuse_steps("success.online", s->calibration, g->likely.n, fail);
    const online_limit_options options = {.start = 1 - g->likely.effects[0].limit,
                                          .highest = 1,
                                          .target = g->likely.targets[0],
                                          .step = s->online_step};
    return online_limit_create(&g->online_doubt, &options, fail);
}

static error_code prepare(routing *g, const player *players, failure *fail)
{
    const config *c = g->config;
    const player *asked = &players[c->probe.model];
    g->template = (probe_template){.text = c->probe.template,
                                   .window_head = c->probe.window_head,
                                   .window_tail = c->probe.window_tail,
                                   .is_alone = !c->probe.reuse};
    g->asked = c->probe.model;
    for (size_t i = 0; i < c->n_models; i++)
        g->contexts[i] = backend_context(players[i].backend);
    g->n_labels = c->probe.n_labels;
    for (size_t i = 0; i < g->n_labels; i++) {
        g->label_names[i] = c->probe.labels[i].name;
        g->label_tokens[i] = c->probe.labels[i].token;
    }
    error_code code = read_calibration(g, backend_local_model(asked->backend), fail);
    if (code == OK)
        code = create_policy(g, fail);
    if (code == OK)
        code = create_online(g, fail);
    if (code == OK)
        code = create_online_doubt(g, fail);
    if (code == OK && c->policy.sticky)
        code = recent_create(&g->conversations, MAX_CONVERSATIONS, sizeof(policy_kept), fail);
    if (code == OK && c->probe.cache > 0)
        code = recent_create(&g->probes, c->probe.cache, sizeof(sensed), fail);
    if (code == OK)
        warn_of_rules(g);
    if (code != OK || !g->reads_labels)
        return code;
    code = backend_check_labels(asked->backend, &g->template, g->label_tokens, g->n_labels, fail);
    return code == OK ? OK : failure_prefix(fail, "probe");
}

error_code routing_create(routing **out, const config *c, const player *players, failure *fail)
{
    *out = NULL;
    routing *g = calloc(1, sizeof *g);
    if (g == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the policy");
    atomic_init(&g->references, 1);
    g->config = c;
    buffer_init(&g->head, MAX_HEAD);
    error_code code = players != NULL ? prepare(g, players, fail) : OK;
    if (code == OK)
        code = record_head(g, &g->head, fail);
    if (code != OK)
        routing_release(g);
    else
        *out = g;
    return code;
}

routing *routing_hold(routing *g)
{
    atomic_fetch_add(&g->references, 1);
    return g;
}

void routing_release(routing *g)
{
    if (g == NULL || atomic_fetch_sub(&g->references, 1) > 1)
        return;
    recent_destroy(g->conversations);
    recent_destroy(g->probes);
    policy_destroy(g->policy);
    online_limit_destroy(g->online);
    online_limit_destroy(g->online_doubt);
    head_record_free(&g->kind);
    head_record_free(&g->success);
    buffer_free(&g->head);
    config_free(g->owned);
    free(g);
}
