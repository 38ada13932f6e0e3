/* arm.c: the table of arms and what each changes of a configuration. */
#include "evidence/arm.h"

#include <string.h>

#include "base/buffer.h"

static const arm arms[] = {
    {"small", "the small model alone, lookup off", ARM_SMALL, "small", "off", false, false},
    {"large", "the large model alone, lookup off", ARM_LARGE, "large", "off", false, false},
    {"small-lookup", "the small model alone, lookup auto", ARM_SMALL, "small", "auto", false,
     false},
    {"large-lookup", "the large model alone, lookup auto", ARM_LARGE, "large", "auto", false,
     false},
    {"random", "one or the other by a coin, lookup off", ARM_ROUTED, "random", "off", false, false},
    {"paper", "the published rule", ARM_ROUTED, "paper", NULL, false, false},
    {"adaptive", "A-IO: models by the published rule, lookup auto", ARM_ROUTED, "adaptive", NULL,
     false, false},
    {"rules", "the configuration's own rules", ARM_ROUTED, "rules", NULL, false, false},
    {"always-lookup", "adaptive with two tokens drafted in every step", ARM_ROUTED, "adaptive", "2",
     false, false},
    {"oracle", "adaptive, told the true label: no probe, no error", ARM_ORACLE, "adaptive", NULL,
     false, false},
    {"best-single", "the static arm with the better accuracy, chosen afterwards", ARM_DERIVED, NULL,
     NULL, false, false},
    {"without-routing", "adaptive, but the large model answers everything", ARM_PROBED_LARGE,
     "adaptive", NULL, false, false},
    {"without-lookup-switch", "adaptive with lookup off", ARM_ROUTED, "adaptive", "off", false,
     false},
    {"without-entropy-fallback", "adaptive, sure of every probe", ARM_ROUTED, "adaptive", NULL,
     true, false},
    {"without-probe-reuse", "adaptive without prefix cache: an answer takes nothing from the probe",
     ARM_ROUTED, "adaptive", NULL, false, true},
};
#define N_ARMS (sizeof arms / sizeof arms[0])

const arm *arm_find(const char *name)
{
    for (size_t i = 0; i < N_ARMS; i++)
        if (strcmp(arms[i].name, name) == 0)
            return &arms[i];
    return NULL;
}

static error_code refuse_name(const char *name, failure *fail)
{
    buffer names;
    buffer_init(&names, 4096);
    for (size_t i = 0; i < N_ARMS; i++)
        buffer_add_format(&names, "%s%s", i > 0 ? ", " : "", arms[i].name);
    failure_set(fail, ERR_NOT_FOUND, "no policy \"%.40s\"; there are: %s, or all", name,
                names.data != NULL ? names.data : "");
    buffer_free(&names);
    return fail->code;
}

/* "all" leaves out `rules`: most configurations have none. */
static size_t take_all(const arm **out)
{
    size_t n = 0;
    for (size_t i = 0; i < N_ARMS; i++)
        if (strcmp(arms[i].name, "rules") != 0)
            out[n++] = &arms[i];
    return n;
}

error_code arm_list(const char *text, const arm **out, size_t *n, failure *fail)
{
    *n = strcmp(text, "all") == 0 ? take_all(out) : 0;
    if (*n > 0)
        return OK;
    for (const char *at = text;; at++) {
        char name[64];
        size_t length = strcspn(at, ",");
        if (length == 0 || length >= sizeof name || *n == ARM_MAX)
            return failure_set(fail, ERR_INVALID,
                               "\"%.60s\": names of policies with commas between them are needed",
                               text);
        memcpy(name, at, length);
        name[length] = '\0';
        const arm *found = arm_find(name);
        if (found == NULL)
            return refuse_name(name, fail);
        for (size_t i = 0; i < *n; i++)
            if (out[i] == found)
                return failure_set(fail, ERR_INVALID, "the policy %s is named twice", name);
        out[(*n)++] = found;
        at += length;
        if (*at == '\0')
            return OK;
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
