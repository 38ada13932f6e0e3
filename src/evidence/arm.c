/* arm.c: the table of arms and what each changes of a configuration. */
#include "evidence/arm.h"

#include <stdio.h>
#include <string.h>

#include "base/buffer.h"

static const arm arms[] = {
    {"small", "the small model alone, lookup off", ARM_PINNED, "small", "small", "off", false,
     false},
    {"large", "the large model alone, lookup off", ARM_PINNED, "large", "large", "off", false,
     false},
    {"small-lookup", "the small model alone, lookup auto", ARM_PINNED, "small", "small", "auto",
     false, false},
    {"large-lookup", "the large model alone, lookup auto", ARM_PINNED, "large", "large", "auto",
     false, false},
    {"random", "any of the models by a coin, lookup off", ARM_ROUTED, NULL, "random", "off", false,
     false},
    {"paper", "the published rule, of a pair", ARM_ROUTED, NULL, "paper", NULL, false, false},
    {"adaptive", "A-IO: models by the published rule, lookup auto", ARM_ROUTED, NULL, "adaptive",
     NULL, false, false},
    {"rules", "the configuration's own rules", ARM_ROUTED, NULL, "rules", NULL, false, false},
    {"always-lookup", "adaptive with two tokens drafted in every step", ARM_ROUTED, NULL,
     "adaptive", "2", false, false},
    {"oracle", "adaptive, told the true label: no probe, no error", ARM_ORACLE, NULL, "adaptive",
     NULL, false, false},
    {"best-single", "the model with the best accuracy alone, chosen afterwards", ARM_DERIVED, NULL,
     NULL, NULL, false, false},
    {"without-routing", "adaptive, but the large model answers everything", ARM_PROBED_LARGE, NULL,
     "adaptive", NULL, false, false},
    {"without-lookup-switch", "adaptive with lookup off", ARM_ROUTED, NULL, "adaptive", "off",
     false, false},
    {"without-entropy-fallback", "adaptive, sure of every probe", ARM_ROUTED, NULL, "adaptive",
     NULL, true, false},
    {"without-probe-reuse", "adaptive without prefix cache: an answer takes nothing from the probe",
     ARM_ROUTED, NULL, "adaptive", NULL, false, true},
};
#define N_ARMS (sizeof arms / sizeof arms[0])

const arm *arm_find(const char *name)
{
    for (size_t i = 0; i < N_ARMS; i++)
        if (strcmp(arms[i].name, name) == 0)
            return &arms[i];
    return NULL;
}

arm arm_of_model(const char *name)
{
    return (arm){.name = name,
                 .what = "one model alone",
                 .way = ARM_PINNED,
                 .model = name,
                 .policy = "large", /* it asks nothing */
                 .lookup = "off"};
}

static error_code refuse_name(const char *name, const config *c, failure *fail)
{
    buffer names;
    buffer_init(&names, 4096);
    for (size_t i = 0; i < N_ARMS; i++)
        buffer_add_format(&names, "%s%s", i > 0 ? ", " : "", arms[i].name);
    for (size_t i = 0; c != NULL && i < c->n_models; i++)
        buffer_add_format(&names, ", %s", c->models[i].name);
    failure_set(fail, ERR_NOT_FOUND, "no policy \"%.40s\"; there are: %s, or all", name,
                names.data != NULL ? names.data : "");
    buffer_free(&names);
    return fail->code;
}

/* "" or "-lookup" at its end; the length before it. */
static const char *lookup_of(const char *name, size_t *length)
{
    static const char end[] = "-lookup";
    size_t n = strlen(name), of_end = sizeof end - 1;
    bool has_end = n > of_end && strcmp(name + n - of_end, end) == 0;
    *length = has_end ? n - of_end : n;
    return has_end ? "auto" : "off";
}

/* A model's name, with or without -lookup; NULL: none. */
static const arm *make_arm(arm_made *m, const char *name, const config *c)
{
    size_t length, number;
    const char *lookup = "off";
    snprintf(m->name, sizeof m->name, "%s", name);
    snprintf(m->model, sizeof m->model, "%s", name);
    if (!config_find_model(c, m->model, &number)) {
        lookup = lookup_of(m->name, &length);
        m->model[length] = '\0';
        if (strcmp(lookup, "off") == 0 || !config_find_model(c, m->model, &number))
            return NULL;
    }
    m->arm = arm_of_model(m->model);
    m->arm.name = m->name;
    m->arm.lookup = lookup;
    return &m->arm;
}

const arm *arm_take(arm_made *store, const char *name, const config *c)
{
    const arm *found = arm_find(name);
    bool is_name = c != NULL && strlen(name) < sizeof store->name;
    return found == NULL && is_name ? make_arm(store, name, c) : found;
}

static error_code add_arm(arm_set *out, const char *name, const config *c, failure *fail)
{
    if (out->n == ARM_MAX)
        return failure_set(fail, ERR_INVALID, "more than %d policies", ARM_MAX);
    const arm *found = arm_take(&out->made[out->n], name, c);
    if (found == NULL)
        return refuse_name(name, c, fail);
    for (size_t i = 0; i < out->n; i++)
        if (strcmp(out->arms[i]->name, name) == 0)
            return failure_set(fail, ERR_INVALID, "the policy %s is named twice", name);
    out->arms[out->n++] = found;
    return OK;
}

/* Those between the first and the last one, which have rows of the table. */
static error_code add_middle(arm_set *out, const config *c, bool has_lookup, failure *fail)
{
    error_code code = OK;
    for (size_t i = 1; c != NULL && code == OK && i + 1 < c->n_models; i++) {
        char name[ARM_NAME_SIZE];
        snprintf(name, sizeof name, "%s%s", c->models[i].name, has_lookup ? "-lookup" : "");
        code = add_arm(out, name, c, fail);
    }
    return code;
}

/* Of the table, the models alone or the rest. "all" leaves out `rules`, which most configurations
 * lack, and what is of a pair where there are more. */
static error_code add_rows(arm_set *out, const config *c, bool are_pinned, failure *fail)
{
    bool is_pair = c == NULL || c->n_models <= 2;
    error_code code = OK;
    for (size_t i = 0; code == OK && i < N_ARMS; i++) {
        bool is_left_out =
            strcmp(arms[i].name, "rules") == 0 || (!is_pair && strcmp(arms[i].name, "paper") == 0);
        if (!is_left_out && (arms[i].way == ARM_PINNED) == are_pinned)
            code = add_arm(out, arms[i].name, c, fail);
    }
    return code;
}

/* Models alone go first: best-single looks at those before it. */
static error_code take_all(arm_set *out, const config *c, failure *fail)
{
    error_code code = add_rows(out, c, true, fail);
    if (code == OK)
        code = add_middle(out, c, false, fail);
    if (code == OK)
        code = add_middle(out, c, true, fail);
    return code == OK ? add_rows(out, c, false, fail) : code;
}

static error_code take_usual(arm_set *out, const config *c, failure *fail)
{
    error_code code = add_arm(out, "small", c, fail);
    if (code == OK)
        code = add_middle(out, c, false, fail);
    if (code == OK)
        code = add_arm(out, "large", c, fail);
    return code == OK ? add_arm(out, "adaptive", c, fail) : code;
}

error_code arm_list(arm_set *out, const char *text, const config *c, failure *fail)
{
    out->n = 0;
    if (text == NULL)
        return take_usual(out, c, fail);
    if (strcmp(text, "all") == 0)
        return take_all(out, c, fail);
    for (const char *at = text;; at++) {
        char name[ARM_NAME_SIZE];
        size_t length = strcspn(at, ",");
        if (length == 0 || length >= sizeof name)
            return failure_set(fail, ERR_INVALID,
                               "\"%.60s\": names of policies with commas between them are needed",
                               text);
        memcpy(name, at, length);
        name[length] = '\0';
        error_code code = add_arm(out, name, c, fail);
        at += length;
        if (code != OK || *at == '\0')
            return code;
    }
}

#define ANY_ENTROPY 1e9 /* nats; ln of the number of labels is the most there can be */

error_code arm_apply(const arm *a, config *c, failure *fail)
{
    error_code code = a->policy != NULL ? config_set_policy(c, a->policy, fail) : OK;
    if (a->without_entropy_limit) {
        c->policy.entropy_limit = ANY_ENTROPY;
        c->policy.is_limit_given = true; /* before a calibration's */
        c->probe.is_online = false;      /* nor one that moves */
    }
    if (a->without_prefix_cache)
        c->engine.prefix_cache = false;
    return code;
}
