/* probe.c: softmax, entropy and margin, from label tokens or from a head. */
#include "orchestra/probe.h"

#include <math.h>

static error_code check_logits(const classification_result *c, failure *fail)
{
    bool ok = c->n_labels >= 1 && c->n_labels <= PROBE_MAX_LABELS && isfinite(c->log_sum_exp);
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

/* Entropy and margin of the probabilities that are there. */
static void judge_certainty(intent *out)
{
    double second = 0;
    out->best = best_of(out->probabilities, out->n_labels);
    for (size_t i = 0; i < out->n_labels; i++) {
        double p = out->probabilities[i];
        out->entropy -= p > 0 ? p * log(p) : 0; /* p ln p → 0 */
        if (i != out->best && p > second)
            second = p;
    }
    out->entropy = fmax(out->entropy, 0); /* not -0 */
    out->margin = out->probabilities[out->best] - second;
}

error_code probe_read(const classification_result *c, const char *const *labels,
                      const calibration *calibrated, intent *out, failure *fail)
{
    *out = (intent){.known = false};
    error_code code = check_logits(c, fail);
    if (code != OK)
        return code;
    const calibration none = calibration_identity(c->n_labels);
    double inside = 0, logits[PROBE_MAX_LABELS];
    for (size_t i = 0; i < c->n_labels; i++) {
        out->labels[i] = labels[i];
        out->logits[i] = c->logits[i];
        logits[i] = (double)c->logits[i];
        inside += exp(logits[i] - (double)c->log_sum_exp);
    }
    out->n_labels = c->n_labels;
    out->calibrated = calibrated != NULL;
    calibration_apply(calibrated != NULL ? calibrated : &none, logits, out->probabilities);
    judge_certainty(out);
    out->outside = fmin(fmax(1 - inside, 0), 1); /* the sums round */
    out->log_sum_exp = c->log_sum_exp;
    out->windowed = c->windowed;
    out->probe_tokens = c->probe_tokens;
    out->known = true;
    return OK;
}

error_code probe_read_head(const linear_head *h, const float *state, const char *const *labels,
                           intent *out, failure *fail)
{
    const calibration none = calibration_identity(h->n_labels);
    double logits[PROBE_MAX_LABELS], log_p[PROBE_MAX_LABELS];
    *out = (intent){.known = false};
    error_code code = head_apply(h, state, logits, fail);
    if (code != OK)
        return code;
    calibration_apply(&none, logits, out->probabilities);
    calibration_log_apply(&none, logits, log_p);
    for (size_t i = 0; i < h->n_labels; i++) {
        out->labels[i] = labels[i];
        out->logits[i] = (float)logits[i];
    }
    out->n_labels = h->n_labels;
    out->calibrated = true;
    judge_certainty(out);
    out->log_sum_exp = (float)(logits[0] - log_p[0]);
    out->known = true;
    return OK;
}
