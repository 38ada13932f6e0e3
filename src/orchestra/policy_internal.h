/* policy_internal.h: what the files of the policy share. For them only.
 *
 *   policy.c         a policy from its configuration: the built-in tables, limits; what it reads
 *   policy_decide.c  from facts to a plan
 *   policy_holds.c   whether a rule holds
 *   policy_reason.c  a decision in words
 */
#ifndef ORCHESTRA_POLICY_INTERNAL_H
#define ORCHESTRA_POLICY_INTERNAL_H

#include "orchestra/policy.h"

#define POLICY_MAX_HEADERS (CONFIG_MAX_RULES * CONFIG_MAX_HEADERS)

typedef enum truth { NO, YES, UNKNOWN } truth;

typedef struct known_model {
    const char *word; /* config_role */
    size_t context;   /* tokens */
    config_price price;
} known_model;

struct policy {
    const config_label *labels;
    size_t n_labels;
    known_model models[CONFIG_MAX_MODELS]; /* in the order of escalation */
    size_t n_models;
    size_t asked;                            /* the model that the probe asks */
    const char *headers[POLICY_MAX_HEADERS]; /* the names that rules look at */
    size_t n_headers;
    bool is_configured; /* the rules are the user's */
    bool is_learned;    /* the intent needs the whole prompt, as success does */
    size_t n_rules;
    config_rule rules[]; /* their texts are the config's or static; the last one holds always */
};

/* How many of the quantities there are for so many models. */
static inline config_quantity policy_quantities(const policy *p)
{
    return config_load_of(p->n_models, 0);
}

/* ---- policy_holds.c -------------------------------------------------------------------------- */

/* Its place among the names that rules look at, or n_headers. */
size_t policy_find_header(const policy *p, const char *name);
bool bound_exists(const config_bound *b);
/* As far as it is known: NAN where it is not. */
double policy_value(config_quantity q, const policy_facts *f);
/* The rule's, with the limit that counts now. */
config_bound policy_bound(const config_rule *r, config_quantity q, const policy_facts *f);
/* What a rule asks of the request itself: session and headers. */
bool policy_request_fits(const policy *p, const config_rule *r, const policy_facts *f);
truth policy_holds(const policy *p, const config_rule *r, const policy_facts *f);
/* One above the conversation's model; of a new one, above the model that is asked. */
size_t policy_next_up(const policy *p, const policy_facts *f);
/* Whether the prompt fits the model: by the model's own count, where there is one; else it does. */
bool policy_fits(const policy *p, size_t level, const policy_facts *f);
/* The number of the model that a rule means; n_models: there is none now. */
size_t policy_level_of(const policy *p, const config_rule *r, const policy_facts *f);

/* ---- policy_reason.c ------------------------------------------------------------------------- */

/* Why a rule, the first of all or not, was the one. */
void policy_explain(const policy *p, const config_rule *r, bool is_first, const policy_facts *f,
                    char reason[PLAN_REASON_SIZE]);

#endif
