/* rope.h: inside the model room only: how fast each pair of a head's values turns. */
#ifndef MODEL_ROPE_H
#define MODEL_ROPE_H

#include "model/layer_plan.h"

/* Radians a position, for each of the dims / 2 pairs. factors: divisors of them, where the plan is
 * divided; or NULL. */
void rope_frequencies(const rope_plan *p, const float *factors, double *out);

#endif
