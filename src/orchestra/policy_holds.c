/* policy_holds.c: whether a rule holds, as far as it is known, and which model it means. */
#include <math.h>
#include <string.h>
#include <strings.h>

#include "orchestra/policy_internal.h"

#define USUAL_REPLY 256 /* tokens that costs are compared with: how long it gets is not known */

bool bound_exists(const config_bound *b)
{
    return b->above > -INFINITY || b->max < INFINITY;
}

size_t policy_find_header(const policy *p, const char *name)
{
    size_t i = 0;
    while (i < p->n_headers && strcasecmp(p->headers[i], name) != 0)
        i++;
    return i;
}

static double load_of(config_quantity q, const policy_facts *f)
{
    const policy_load *l = &f->load[(q - CONFIG_LOADS) / CONFIG_LOAD_KINDS];
    switch ((q - CONFIG_LOADS) % CONFIG_LOAD_KINDS) {
    case CONFIG_RUNNING:
        return l->running;
    case CONFIG_WAITING:
        return l->waiting;
    default:
        return l->delay_ms;
    }
}

double policy_value(config_quantity q, const policy_facts *f)
{
    if (q >= CONFIG_LOADS)
        return load_of(q, f);
    switch (q) {
    case CONFIG_ENTROPY:
        return f->intent != NULL ? f->intent->entropy : NAN;
    case CONFIG_MARGIN:
        return f->intent != NULL ? f->intent->margin : NAN;
    case CONFIG_SUCCESS:
        return f->success != NULL ? *f->success : NAN;
    case CONFIG_PROMPT_TOKENS:
        return f->lacks_count ? NAN : (double)f->prompt_tokens;
    case CONFIG_TURN:
        return (double)f->turn;
    default:
        return f->coin;
    }
}

/* The calibration's limit may have moved since the table was made. */
config_bound policy_bound(const config_rule *r, config_quantity q, const policy_facts *f)
{
    config_bound b = r->bounds[q];
    if (q == CONFIG_ENTROPY && f->entropy_limit != NULL && r->certain == CONFIG_CERTAIN)
        b.max = *f->entropy_limit;
    if (q == CONFIG_ENTROPY && f->entropy_limit != NULL && r->certain == CONFIG_UNCERTAIN)
        b.above = *f->entropy_limit;
    if (q == CONFIG_SUCCESS && f->success_limit != NULL && r->likely == CONFIG_LIKELY)
        b.above = config_number_before(*f->success_limit);
    if (q == CONFIG_SUCCESS && f->success_limit != NULL && r->likely == CONFIG_UNLIKELY)
        b.max = config_number_before(*f->success_limit);
    return b;
}

bool policy_request_fits(const policy *p, const config_rule *r, const policy_facts *f)
{
    if (r->session != CONFIG_SESSION_ANY && f->has_session != (r->session == CONFIG_SESSION_NAMED))
        return false;
    for (size_t k = 0; k < r->n_headers; k++) {
        const char *sent =
            f->headers != NULL ? f->headers[policy_find_header(p, r->headers[k].name)] : NULL;
        if (sent == NULL || (r->headers[k].value != NULL && strcmp(sent, r->headers[k].value) != 0))
            return false;
    }
    return true;
}

/* One condition that fails is enough to say no, whatever else is unknown. */
truth policy_holds(const policy *p, const config_rule *r, const policy_facts *f)
{
    truth result = YES;
    if (!policy_request_fits(p, r, f))
        return NO;
    if (r->choice == CONFIG_MODEL_CHEAPEST && f->lacks_count)
        result = UNKNOWN; /* what it costs depends on it */
    else if (r->choice == CONFIG_MODEL_CHEAPEST && policy_level_of(p, r, f) == p->n_models)
        return NO;
    for (config_quantity q = 0; q < policy_quantities(p); q++) {
        const config_bound b = policy_bound(r, q, f);
        double value = policy_value(q, f);
        if (!bound_exists(&b))
            continue;
        if (isnan(value))
            result = UNKNOWN;
        else if (value <= b.above || value > b.max)
            return NO;
    }
    if (r->intents == CONFIG_ANY_INTENT)
        return result;
    if (f->intent == NULL)
        return UNKNOWN;
    return (r->intents >> f->intent->best & 1) != 0 ? result : NO;
}

size_t policy_next_up(const policy *p, const policy_facts *f)
{
    size_t below = f->kept != NULL ? f->kept->level : p->asked;
    return below + 1 < p->n_models ? below + 1 : p->n_models - 1;
}

bool policy_fits(const policy *p, size_t level, const policy_facts *f)
{
    size_t tokens = level == p->asked ? f->prompt_tokens : f->tokens[level];
    return tokens < p->models[level].context;
}

/* Of what costs the same, the lower one. */
static size_t find_cheapest(const policy *p, const policy_facts *f, double within_ms)
{
    size_t best = p->n_models;
    double least = INFINITY;
    for (size_t i = 0; i < p->n_models; i++) {
        const config_price *price = &p->models[i].price;
        double cost = price->input * (double)f->prompt_tokens + price->output * USUAL_REPLY;
        if (f->load[i].delay_ms > within_ms || !policy_fits(p, i, f) || !(cost < least))
            continue;
        best = i;
        least = cost;
    }
    return best;
}

size_t policy_level_of(const policy *p, const config_rule *r, const policy_facts *f)
{
    if (r->choice == CONFIG_MODEL_CHEAPEST)
        return find_cheapest(p, f, r->within_ms);
    return r->choice == CONFIG_MODEL_NEXT ? policy_next_up(p, f) : r->model;
}
