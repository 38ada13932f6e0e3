/*
 * synthetic.h: models of named real shapes with random weights, so that anyone can measure speed
 * without downloading anything. Their replies mean nothing, but every number stays finite: matrices
 * have a standard deviation of 1/sqrt(columns), as trained ones have roughly.
 *
 * The vocabulary is byte-level BPE: tokens 0 … 255 are the bytes, the others words that only
 * decode.
 */
#ifndef MODEL_SYNTHETIC_H
#define MODEL_SYNTHETIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"
#include "model/weight_mix.h"

typedef struct synthetic_options {
    const char *shape; /* a synthetic_shape_name */
    weight_mix mix;
    uint64_t seed;     /* the same file for the same seed */
    bool (*progress)(void *context, double fraction); /* or NULL; false stops: ERR_CANCELLED */
    void *progress_context;
} synthetic_options;

/* Names of the shapes; NULL past the last. "…-llama" is the shape written as a plain llama block
 * (no biases, a vocabulary of 151,936) for engines that do not know the architecture. */
const char *synthetic_shape_name(size_t index);

/* Writes the GGUF file `path`, whole or not at all (gguf_write.h). ERR_INVALID for an unknown shape
 * or one whose rows are not whole blocks of a type. */
error_code synthetic_write(const synthetic_options *options, const char *path, failure *fail);

#endif
