/* interval.c: Wilson's formula. */
#include "evidence/interval.h"

#include <math.h>

void interval_of_share(double right, double n, double *low, double *high)
{
    double z = 1.96, p = right / n, middle = p + z * z / (2 * n);
    double half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n));
    *low = 100 * (middle - half) / (1 + z * z / n);
    *high = 100 * (middle + half) / (1 + z * z / n);
}
