/* model_weights.h: inside the model room only: from a file's tensors to a model's weights. */
#ifndef MODEL_MODEL_WEIGHTS_H
#define MODEL_MODEL_WEIGHTS_H

#include "kernel/packer.h"
#include "model/architecture.h"

/* Finds places for all tensors of m's file, whose configuration is there, and starts packing their
 * weights, by other threads. Every tensor must be used: one that is not would mean that this
 * forward pass computes something else than the file's author did. *out is the caller's, whatever
 * is returned (NULL on entry): to be destroyed before the model. */
error_code model_weights_start(packer **out, model *m, const architecture *a,
                               const model_options *options, failure *fail);
/* Helps until all weights are there. */
error_code model_weights_finish(packer *p, const model_options *options, failure *fail);
void model_weights_destroy(model *m);

#endif
