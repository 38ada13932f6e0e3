#include "orchestra/probe.h"

#include <math.h>

static error_code check_logits(const classification_result *c, failure *fail)
{
    bool ok = c->n_labels >= 1 && c->n_labels <= SEQUENCE_MAX_LABELS && isfinite(c->log_sum_exp);
    for (size_t i = 0; ok && i < c->n_labels; i++)
        ok = isfinite(c->logits[i]);
    return ok ? OK : failure_set(fail, ERR_INTERNAL, "the probe's logits are not finite numbers");
}

static size_t best_of(const double *values, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (values[i] > values[best])
            best = i;
    return best;
}

error_code probe_read(const classification_result *c, const char *const *labels, intent *out,
                      failure *fail)
{
    *out = (intent){.known = false};
    error_code code = check_logits(c, fail);
    if (code != OK)
        return code;
    double inside = 0, sum = 0, highest = c->logits[0];
    for (size_t i = 1; i < c->n_labels; i++)
        highest = fmax(highest, c->logits[i]);
    for (size_t i = 0; i < c->n_labels; i++) {
        out->labels[i] = labels[i];
        out->logits[i] = c->logits[i];
        out->probabilities[i] = exp((double)c->logits[i] - highest);
        sum += out->probabilities[i];
        inside += exp((double)c->logits[i] - (double)c->log_sum_exp);
    }
    double second = 0;
    for (size_t i = 0; i < c->n_labels; i++)
        out->probabilities[i] /= sum;
    out->best = best_of(out->probabilities, c->n_labels);
    for (size_t i = 0; i < c->n_labels; i++) {
        double p = out->probabilities[i];
        out->entropy -= p > 0 ? p * log(p) : 0; /* p ln p → 0 */
        if (i != out->best && p > second)
            second = p;
    }
    out->entropy = fmax(out->entropy, 0); /* not -0 */
    out->margin = out->probabilities[out->best] - second;
    out->outside = fmin(fmax(1 - inside, 0), 1); /* the sums round */
    out->n_labels = c->n_labels;
    out->log_sum_exp = c->log_sum_exp;
    out->windowed = c->windowed;
    out->probe_tokens = c->probe_tokens;
    out->known = true;
    return OK;
}
