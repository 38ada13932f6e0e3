/* calibrate_limit.c: what choosing limits needs, of labels and of heads: which kinds are not the
 * last model's, what is to be held, and a limit for each step up between the models. */
#include <stdlib.h>
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
    while (code == OK && o->entropy_targets.goal != LIMIT_NONE) {
        size_t length = strcspn(at, ",");
        code = mark_small(out, p, at, length, fail);
        if (at[length] == '\0')
            break;
        at += length + 1;
    }
    return code;
}

/* ---- targets -------------------------------------------------------------------------------- */

/* One share, and the text after it. */
static error_code read_share(const char *option, const char **text, double *out, failure *fail)
{
    char *end = NULL;
    double percent = strtod(*text, &end);
    bool plain = **text >= '0' && **text <= '9' && *end == '%';
    if (!plain || (end[1] != '\0' && end[1] != ',') || !(percent > 0 && percent < 100))
        return failure_set(fail, ERR_INVALID, "%s: \"%s\" is not a share such as 2%%", option,
                           *text);
    *out = percent / 100;
    *text = end + 1;
    return OK;
}

error_code limit_targets_read(limit_targets *out, const char *option, const char *text,
                              limit_goal goal, failure *fail)
{
    *out = (limit_targets){.goal = goal};
    for (;; text++) {
        double *share = &out->shares[out->n];
        if (out->n + 1 == CONFIG_MAX_MODELS)
            return failure_set(fail, ERR_INVALID, "%s: more than %d shares", option,
                               CONFIG_MAX_MODELS - 1);
        error_code code = read_share(option, &text, share, fail);
        if (code != OK)
            return code;
        if (out->n > 0 && (goal == LIMIT_SHARE ? *share > share[-1] : *share < share[-1]))
            return failure_set(fail, ERR_INVALID,
                               "%s: of several shares, one for each step up between the models, "
                               "each is %s the one before",
                               option, goal == LIMIT_SHARE ? "at most" : "at least");
        out->n++;
        if (*text == '\0')
            return OK;
    }
}

error_code limit_targets_check(const limit_targets *t, const config *c, failure *fail)
{
    if (t->n <= 1 || t->n < c->n_models)
        return OK;
    return failure_set(fail, ERR_INVALID,
                       "%zu shares are for %zu models, one for each step up; the configuration has "
                       "%u",
                       t->n, t->n + 1, c->n_models);
}

/* ---- limits --------------------------------------------------------------------------------- */

/* Who answers a case within the limits of the steps before `step`, or else at it. */
static size_t who_answers(const step_case *c, const chosen_limits *before, size_t step)
{
    for (size_t i = 0; i < step; i++)
        if (c->doubt <= before->effects[i].limit)
            return i;
    return step;
}

/* The caller's to free: what one step looks at. */
static limit_case *cases_of_step(const step_case *cases, size_t n, const chosen_limits *before,
                                 size_t step, failure *fail)
{
    limit_case *out = calloc(n + 1, sizeof *out);
    if (out == NULL)
        failure_set(fail, ERR_MEMORY, "no memory for %zu requests", n);
    for (size_t i = 0; out != NULL && i < n; i++)
        out[i] = (limit_case){.entropy = cases[i].doubt,
                              .small = cases[i].is_theirs,
                              .wrong = cases[i].wrong >> who_answers(&cases[i], before, step) & 1};
    return out;
}

error_code calibrate_limits(chosen_limits *out, const limit_targets *t, const step_case *cases,
                            size_t n, double highest, failure *fail)
{
    error_code code = OK;
    *out = (chosen_limits){.goal = t->goal};
    for (size_t i = 0; code == OK && i < t->n; i++) {
        limit_case *of_step = cases_of_step(cases, n, out, i, fail);
        if (of_step == NULL)
            return fail->code;
        out->targets[i] = t->shares[i];
        code = (t->goal == LIMIT_SHARE ? limit_for_share : limit_for_misroute)(
            t->shares[i], highest, of_step, n, &out->effects[i], fail);
        out->n++;
        free(of_step);
    }
    return code;
}

error_code calibrate_judge_limits(chosen_limits *out, const chosen_limits *doubts,
                                  const step_case *cases, size_t n, failure *fail)
{
    *out = *doubts;
    for (size_t i = 0; i < doubts->n; i++) {
        limit_case *of_step = cases_of_step(cases, n, doubts, i, fail);
        if (of_step == NULL)
            return fail->code;
        out->effects[i] = limit_judge(doubts->effects[i].limit, of_step, n);
        free(of_step);
    }
    return OK;
}
