/* policy_reach.c: which rules some request can reach. */
#include <math.h>
#include <string.h>

#include "orchestra/policy_internal.h"

/* A set of requests: what one rule takes, or what is left of it. Headers and what the
 * cheapest model is are left out: a rule that looks at them is not counted on to take anything from
 * a later rule. */
typedef struct region {
    uint64_t intents;
    unsigned sessions; /* bit 0: unnamed, bit 1: named */
    config_bound bounds[CONFIG_QUANTITIES];
} region;

static region region_of(const policy *p, const config_rule *r)
{
    uint64_t all = p->n_labels < 64 ? (UINT64_C(1) << p->n_labels) - 1 : UINT64_MAX;
    region g = {.intents = r->intents & all,
                .sessions = r->session == CONFIG_SESSION_ANY
                                ? 3u
                                : 1u + (r->session == CONFIG_SESSION_NAMED)};
    memcpy(g.bounds, r->bounds, sizeof g.bounds);
    return g;
}

/* Takes away what no request can be. */
static void clip(const policy *p, region *g)
{
    const double most[CONFIG_LOADS] = {[CONFIG_ENTROPY] = log((double)p->n_labels) + 1e-9,
                                       [CONFIG_MARGIN] = 1,
                                       [CONFIG_SUCCESS] = 1,
                                       [CONFIG_PROMPT_TOKENS] = INFINITY,
                                       [CONFIG_TURN] = INFINITY,
                                       [CONFIG_COIN] = 1};
    for (size_t q = 0; q < CONFIG_QUANTITIES; q++) {
        config_bound *b = &g->bounds[q];
        b->max = q < CONFIG_LOADS ? fmin(b->max, most[q]) : b->max;
        b->above = b->above < 0 ? -INFINITY : b->above;
    }
}

static bool is_empty(const region *g)
{
    bool empty = g->intents == 0 || g->sessions == 0;
    for (size_t q = 0; q < CONFIG_QUANTITIES; q++)
        empty = empty || g->bounds[q].above >= g->bounds[q].max;
    return empty;
}

static bool is_covered(const policy *p, const region *g, size_t from, size_t to, size_t *effort);

/* Goes on with what the rule `at` leaves of the region: cut along one condition after another, a
 * piece at a time. */
static bool is_rest_covered(const policy *p, region left, size_t at, size_t to, size_t *effort)
{
    region taken = region_of(p, &p->rules[at]);
    region piece = left;
    piece.intents = left.intents & ~taken.intents;
    if (!is_covered(p, &piece, at + 1, to, effort))
        return false;
    left.intents &= taken.intents;
    piece = left;
    piece.sessions = left.sessions & ~taken.sessions;
    if (!is_covered(p, &piece, at + 1, to, effort))
        return false;
    left.sessions &= taken.sessions;
    for (size_t q = 0; q < CONFIG_QUANTITIES; q++) {
        config_bound *b = &left.bounds[q];
        const config_bound *t = &taken.bounds[q];
        if (!bound_exists(t))
            continue;
        piece = left;
        piece.bounds[q].max = fmin(b->max, t->above);
        if (!is_covered(p, &piece, at + 1, to, effort))
            return false;
        piece = left;
        piece.bounds[q].above = fmax(b->above, t->max);
        if (!is_covered(p, &piece, at + 1, to, effort))
            return false;
        b->above = fmax(b->above, t->above);
        b->max = fmin(b->max, t->max);
    }
    return true;
}

static bool is_covered(const policy *p, const region *g, size_t from, size_t to, size_t *effort)
{
    if (is_empty(g))
        return true;
    while (from < to &&
           (p->rules[from].n_headers > 0 || p->rules[from].choice == CONFIG_MODEL_CHEAPEST))
        from++;
    if (from == to || *effort == 0)
        return false;
    --*effort;
    return is_rest_covered(p, *g, from, to, effort);
}

bool policy_reachable(const policy *p, size_t index)
{
    size_t effort =
        100000; /* pieces; a hostile table would make more of them than anybody waits for */
    region g = region_of(p, &p->rules[index]);
    clip(p, &g);
    return !is_covered(p, &g, 0, index, &effort);
}
