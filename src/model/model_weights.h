/* model_weights.h: inside the model room only: from a file's tensors to a model's weights. */
#ifndef MODEL_MODEL_WEIGHTS_H
#define MODEL_MODEL_WEIGHTS_H

#include "model/architecture.h"

/* Loads all weights of m, whose file and configuration are there. Every tensor of the file must be
 * used: one that is not would mean that this forward pass computes something else than the file's
 * author did. What was made until a failure is m's, for model_destroy. */
error_code model_weights_load(model *m, const architecture *a, const model_options *options,
                              failure *fail);
void model_weights_destroy(model *m);

#endif
