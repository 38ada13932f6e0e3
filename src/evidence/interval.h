/*
 * interval.h: what a share of so many tries says of the true one.
 */
#ifndef EVIDENCE_INTERVAL_H
#define EVIDENCE_INTERVAL_H

/* Wilson's interval at 95 %, in per cent. `n` above 0. */
void interval_of_share(double right, double n, double *low, double *high);

#endif
