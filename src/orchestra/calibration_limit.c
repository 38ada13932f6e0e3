/* calibration_limit.c: the entropy limit for a target, and what a limit does. */
#include <math.h>
#include <stdlib.h>

#include "orchestra/calibration_score.h"

/* The probability of k or fewer of n. */
static double binomial_cdf(size_t k, size_t n, double p)
{
    double sum = 0, all = lgamma((double)n + 1);
    for (size_t i = 0; i <= k; i++)
        sum += exp(all - lgamma((double)i + 1) - lgamma((double)(n - i) + 1) + (double)i * log(p) +
                   (double)(n - i) * log1p(-p));
    return sum;
}

double binomial_upper(size_t k, size_t n)
{
    if (k >= n)
        return 1;
    double low = (double)k / (double)n, high = 1;
    for (int i = 0; i < 60; i++) { /* the CDF falls with p */
        double p = (low + high) / 2;
        if (p > 0 && binomial_cdf(k, n, p) > 1 - CONFIDENCE)
            low = p;
        else
            high = p;
    }
    return high;
}

static limit_effect effect(double limit, size_t n, size_t n_small, size_t n_misrouted)
{
    return (limit_effect){.limit = limit,
                          .n = n,
                          .n_small = n_small,
                          .n_misrouted = n_misrouted,
                          .misroute_upper = binomial_upper(n_misrouted, n),
                          .large_upper = binomial_upper(n - n_small, n)};
}

limit_effect limit_judge(double limit, const limit_case *cases, size_t n)
{
    size_t n_small = 0, n_misrouted = 0;
    for (size_t i = 0; i < n; i++) {
        bool small = cases[i].small && cases[i].entropy <= limit;
        n_small += small;
        n_misrouted += small && cases[i].wrong;
    }
    return effect(limit, n, n_small, n_misrouted);
}

static int by_entropy(const void *a, const void *b)
{
    double x = ((const limit_case *)a)->entropy, y = ((const limit_case *)b)->entropy;
    return (x > y) - (x < y);
}

/* The last of the cases that share the entropy of case i. */
static size_t last_equal(const limit_case *cases, size_t n, size_t i)
{
    while (i + 1 < n && !(cases[i + 1].entropy > cases[i].entropy))
        i++;
    return i;
}

error_code limit_for_misroute(double target, double highest, limit_case *cases, size_t n,
                              limit_effect *out, failure *fail)
{
    if (n == 0 || binomial_upper(0, n) > target)
        return failure_set(fail, ERR_INVALID,
                           "%zu requests cannot show a misroute share of at most %.3g %%, even "
                           "without a single misroute: %.0f are needed to choose the limit",
                           n, 100 * target, ceil(log(1 - CONFIDENCE) / log1p(-target)));
    qsort(cases, n, sizeof *cases, by_entropy);
    size_t n_misrouted = 0, allowed = 0;
    while (allowed < n && binomial_upper(allowed + 1, n) <= target)
        allowed++;
    double limit = 0; /* of those seen, the largest that misroutes no more than is allowed */
    for (size_t i = 0; i < n && n_misrouted <= allowed; i++) {
        size_t last = last_equal(cases, n, i);
        for (; i <= last; i++)
            n_misrouted += cases[i].small && cases[i].wrong;
        i = last;
        if (n_misrouted <= allowed)
            limit = last + 1 == n ? highest : cases[last].entropy;
    }
    *out = limit_judge(limit, cases, n);
    return OK;
}

error_code limit_for_share(double target, double highest, limit_case *cases, size_t n,
                           limit_effect *out, failure *fail)
{
    limit_effect most = limit_judge(highest, cases, n);
    if (n == 0 || most.large_upper > target)
        return failure_set(fail, ERR_INVALID,
                           "the large model's share cannot be held at %.3g %%: with no entropy "
                           "limit it is %.1f %% of these %zu requests (95 %%: up to %.1f %%)",
                           100 * target,
                           n > 0 ? 100 * (double)(n - most.n_small) / (double)n : 100.0, n,
                           100 * most.large_upper);
    qsort(cases, n, sizeof *cases, by_entropy);
    size_t needed = most.n_small; /* answers of the small model; fewer are not enough */
    while (needed > 0 && binomial_upper(n - needed + 1, n) <= target)
        needed--;
    double limit = 0;
    size_t n_small = 0;
    for (size_t i = 0; i < n && n_small < needed; i++) {
        n_small += cases[i].small;
        limit = cases[i].entropy;
    }
    *out = limit_judge(limit, cases, n);
    return OK;
}
