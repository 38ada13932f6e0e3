/* sampling.c: what stands for nothing asked, and the ranges of what may be. */
#include "base/sampling.h"

sampling_params sampling_defaults(void)
{
    return (sampling_params){.temperature = 1.0f, .top_p = 1.0f, .repetition_penalty = 1.0f};
}

/* Limits are floats as the values are: 0.01 as a float is less than 0.01. */
static error_code check_range(const char *name, float value, float low, float high, failure *fail)
{
    if (value >= low && value <= high)
        return OK;
    return failure_set(fail, ERR_INVALID, "%s is %g, must be from %g to %g", name, (double)value,
                       (double)low, (double)high);
}

error_code sampling_check(const sampling_params *p, size_t n_vocab, failure *fail)
{
    error_code code = check_range("temperature", p->temperature, 0, 100, fail);
    if (code == OK)
        code = check_range("top_p", p->top_p, 1e-6f, 1, fail);
    if (code == OK)
        code = check_range("min_p", p->min_p, 0, 1, fail);
    if (code == OK)
        code = check_range("repetition_penalty", p->repetition_penalty, 0.01f, 100, fail);
    if (code == OK)
        code = check_range("presence_penalty", p->presence_penalty, -2, 2, fail);
    if (code == OK)
        code = check_range("frequency_penalty", p->frequency_penalty, -2, 2, fail);
    if (code == OK)
        code = check_range("logit_bias entries", (float)p->n_biases, 0, SAMPLING_MAX_BIASES, fail);
    for (size_t i = 0; code == OK && i < p->n_biases; i++) {
        if (p->biases[i].token < 0 || (size_t)p->biases[i].token >= n_vocab)
            return failure_set(fail, ERR_INVALID,
                               "logit_bias token %d is not in the vocabulary of %zu",
                               p->biases[i].token, n_vocab);
        code = check_range("logit_bias", p->biases[i].bias, -100, 100, fail);
    }
    return code;
}
