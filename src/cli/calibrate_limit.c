/* calibrate_limit.c: what choosing a limit needs, of labels and of heads: which kinds are the small
 * model's, and the limit for a goal. */
#include <string.h>

#include "cli/calibrate.h"

static error_code mark_small(small_labels *out, const config_probe *p, const char *name,
                             size_t length, failure *fail)
{
    for (uint32_t k = 0; k < p->n_labels; k++)
        if (strlen(p->labels[k].name) == length && memcmp(p->labels[k].name, name, length) == 0) {
            out->is_small[k] = true;
            return OK;
        }
    return failure_set(fail, ERR_INVALID, "--small: \"%.*s\" is not a label of the probe",
                       (int)length, name);
}

error_code small_labels_find(small_labels *out, const calibrate_options *o, const config_probe *p,
                             failure *fail)
{
    const char *at = o->small != NULL ? o->small : CONFIG_LABEL_CODE;
    *out = (small_labels){.is_small = {false}};
    error_code code = OK;
    while (code == OK && o->goal != LIMIT_NONE) {
        size_t length = strcspn(at, ",");
        code = mark_small(out, p, at, length, fail);
        if (at[length] == '\0')
            break;
        at += length + 1;
    }
    return code;
}

error_code calibrate_limit(limit_goal goal, double target, double highest, limit_case *cases,
                           size_t n, limit_effect *out, failure *fail)
{
    return (goal == LIMIT_SHARE ? limit_for_share : limit_for_misroute)(target, highest, cases, n,
                                                                        out, fail);
}
