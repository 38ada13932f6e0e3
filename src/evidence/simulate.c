/* simulate.c: decides every combination once and weighs it by its share. */
#include "evidence/simulate.h"

#include <math.h>
#include <string.h>

#include "base/buffer.h"
#include "orchestra/policy.h"

/* ---- the policy --------------------------------------------------------------------------- */

/* A configuration without models to load: names, labels and the policy are all that is read. */
static error_code make_config(const profile *p, const arm *a, config **out, failure *fail)
{
    buffer text;
    buffer_init(&text, 1 << 16);
    buffer_add_text(&text, "version: 1\nmodels:\n"
                           "  - {name: small, role: small, path: small}\n"
                           "  - {name: large, role: large, path: large}\n"
                           "probe:\n  labels:\n");
    for (uint32_t i = 0; i < p->n_labels; i++)
        buffer_add_format(&text, "    - {name: \"%s\", token: \"%s\"}\n", p->labels[i],
                          p->labels[i]);
    *out = NULL;
    error_code code = text.data == NULL
                          ? failure_set(fail, ERR_MEMORY, "no memory for the policy")
                          : config_parse(out, text.data, text.length, "the profile", fail);
    buffer_free(&text);
    arm published = *a;
    if (a->policy != NULL && strcmp(a->policy, "adaptive") == 0 && strcmp(a->name, "adaptive") != 0)
        published.policy = "paper";
    return code == OK ? arm_apply(&published, *out, fail) : code;
}

typedef struct decider {
    const profile *profile;
    const arm *arm;
    policy *policy;
    const char *labels[PROBE_MAX_LABELS];
    config_lookup lookup; /* where the arm says one */
} decider;

typedef struct choice {
    bool small, lookup;
} choice;

static choice decide(const decider *d, const profile_task *t, size_t label, double coin)
{
    intent sensed = {.known = true,
                     .n_labels = d->profile->n_labels,
                     .best = label,
                     .margin = 1}; /* no entropy is published: 0 */
    plan made = {.level = 0};
    memcpy(sensed.labels, d->labels, sizeof sensed.labels);
    sensed.probabilities[label] = 1;
    policy_facts facts = {
        .intent = &sensed, .prompt_tokens = t->prompt_tokens, .turn = 1, .coin = coin};
    policy_decide(d->policy, &facts, &made); /* always decides once the intent is known */
    if (d->arm->way == ARM_PINNED)
        made.level = strcmp(d->arm->model, "large") == 0;
    if (d->arm->way == ARM_PROBED_LARGE)
        made.level = 1;
    bool lookup =
        d->arm->lookup != NULL ? d->lookup.mode != CONFIG_LOOKUP_OFF : made.lookup.mode != WISH_OFF;
    return (choice){.small = made.level == 0, .lookup = lookup};
}

/* ---- means -------------------------------------------------------------------------------- */

typedef struct sums {
    double weight, accuracy, rate, time;
} sums;

static void add(sums *s, double weight, const profile_figure *f)
{
    bool is_given = f != NULL;
    s->weight += weight;
    s->accuracy += weight * (is_given && f->accuracy != NULL ? *f->accuracy : NAN);
    double rate = is_given && f->tokens_per_s != NULL ? *f->tokens_per_s : NAN;
    s->rate += weight * rate;
    s->time += weight / rate;
}

static simulated mean(const sums *s)
{
    return (simulated){.accuracy = s->accuracy / s->weight,
                       .mean_rate = s->rate / s->weight,
                       .tokens_per_s = s->weight / s->time};
}

/* Both sides of the coin count half; a policy without coin decides the same on both. */
static void add_label(const decider *d, const profile_task *t, size_t label, double weight, sums *s)
{
    static const double sides[] = {0.25, 0.75};
    for (size_t i = 0; weight > 0 && i < 2; i++) {
        choice c = decide(d, t, label, sides[i]);
        add(s, weight / 2, profile_find_figure(d->profile, c.small, c.lookup, t->name));
    }
}

static size_t label_of(const profile *p, const profile_task *t)
{
    size_t i = 0;
    while (strcmp(p->labels[i], t->intent) != 0)
        i++;
    return i; /* profile_load has checked that there is one */
}

static void add_probed(const decider *d, const profile_task *t, double weight, sums *s)
{
    const profile_row *row = profile_find_confusion(d->profile, t->intent);
    double total = 0;
    for (uint32_t i = 0; row != NULL && i < row->n_counts; i++)
        total += row->counts[i];
    if (row == NULL || total == 0) {
        add(s, weight, NULL);
        return;
    }
    for (uint32_t i = 0; i < row->n_counts; i++)
        add_label(d, t, i, weight * row->counts[i] / total, s);
}

static double pay(const profile *p, const arm *a, double rate)
{
    bool decides = a->way == ARM_ROUTED || a->way == ARM_PROBED_LARGE;
    if (!decides || strcmp(a->name, "random") == 0)
        return rate;
    if (p->overhead_ms == NULL || p->request_ms == NULL)
        return NAN;
    const profile_overhead *o = p->overhead_ms;
    return rate * (1 - (o->template + o->prefill + o->decide + o->switch_) / *p->request_ms);
}

error_code simulate_run(const profile *p, const profile_mix *mix, const arm *a, simulation *out,
                        failure *fail)
{
    config *c = NULL;
    decider d = {.profile = p, .arm = a};
    const size_t contexts[] = {p->small_context, SIZE_MAX};
    sums told = {.weight = 0}, probed = {.weight = 0};
    if (a->way == ARM_DERIVED || (a->policy != NULL && strcmp(a->policy, "rules") == 0))
        return failure_set(fail, ERR_INVALID, "%s cannot be simulated", a->name);
    error_code code = make_config(p, a, &c, fail);
    if (code == OK)
        code = policy_create(&d.policy, c, contexts, fail);
    if (code == OK && a->lookup != NULL)
        config_lookup_parse(a->lookup, &d.lookup);
    for (uint32_t i = 0; i < p->n_labels && i < PROBE_MAX_LABELS; i++)
        d.labels[i] = p->labels[i];
    for (uint32_t i = 0; code == OK && i < mix->n_parts; i++) {
        const profile_task *t = profile_find_task(p, mix->parts[i].task);
        add_label(&d, t, label_of(p, t), mix->parts[i].percent, &told);
        if (a->way == ARM_ORACLE)
            add_label(&d, t, label_of(p, t), mix->parts[i].percent, &probed);
        else
            add_probed(&d, t, mix->parts[i].percent, &probed);
    }
    if (code == OK) {
        *out = (simulation){.told = mean(&told), .probed = mean(&probed)};
        out->paid_rate = pay(p, a, out->probed.mean_rate);
    }
    policy_destroy(d.policy);
    config_free(c);
    return code;
}
