/* ranking.c: how well a score tells positives from negatives. */
#include <math.h>
#include <stdlib.h>

#include "base/random.h"
#include "orchestra/calibration_score.h"

#define RESAMPLES 2000
#define RESAMPLE_SEED 2

static int by_score(const void *a, const void *b)
{
    double x = ((const ranked_case *)a)->score, y = ((const ranked_case *)b)->score;
    return (x > y) - (x < y);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of cases in order of score, each counted times[i] times. */
static double area_of(const ranked_case *cases, const uint32_t *times, size_t n)
{
    double below = 0, won = 0, positives = 0; /* negatives below; pairs won; positives so far */
    for (size_t i = 0; i < n;) {
        double equal_negatives = 0, equal_positives = 0, score = cases[i].score;
        for (; i < n && !(cases[i].score > score); i++)
            *(cases[i].positive ? &equal_positives : &equal_negatives) += times[i];
        won += equal_positives * (below + equal_negatives / 2);
        below += equal_negatives;
        positives += equal_positives;
    }
    return positives > 0 && below > 0 ? won / (positives * below) : NAN;
}

/* Resamples of one kind only have no area and are left out. */
static interval resample(const ranked_case *cases, uint32_t *times, double *areas, size_t n)
{
    size_t found = 0;
    for (size_t r = 0; r < RESAMPLES; r++) {
        for (size_t i = 0; i < n; i++)
            times[i] = 0;
        for (size_t i = 0; i < n; i++)
            times[random_below(RESAMPLE_SEED, r, i, n)]++;
        double area = area_of(cases, times, n);
        if (!isnan(area))
            areas[found++] = area;
    }
    if (found == 0)
        return (interval){NAN, NAN};
    qsort(areas, found, sizeof *areas, by_value);
    size_t tail = (size_t)((double)found * (1 - CONFIDENCE) / 2);
    return (interval){areas[tail], areas[found - 1 - tail]};
}

error_code ranking_judge(ranking *out, ranked_case *cases, size_t n, failure *fail)
{
    *out = (ranking){NAN, {NAN, NAN}};
    uint32_t *times = calloc(n + 1, sizeof *times);
    double *areas = calloc(RESAMPLES, sizeof *areas);
    if (times == NULL || areas == NULL) {
        free(times);
        free(areas);
        return failure_set(fail, ERR_MEMORY, "no memory for %zu requests", n);
    }
    qsort(cases, n, sizeof *cases, by_score);
    for (size_t i = 0; i < n; i++)
        times[i] = 1;
    out->area = area_of(cases, times, n);
    if (!isnan(out->area))
        out->interval_95 = resample(cases, times, areas, n);
    free(times);
    free(areas);
    return OK;
}
