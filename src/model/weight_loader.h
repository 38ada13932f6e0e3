/*
 * weight_loader.h: inside the model room only: finding single tensors, and adding what is to be
 * made of them to a packer's jobs. Weights are there when that has finished.
 *
 * After the first failure every further call does nothing, so that a layer can be read as a list.
 */
#ifndef MODEL_WEIGHT_LOADER_H
#define MODEL_WEIGHT_LOADER_H

#include "kernel/packer.h"
#include "model/architecture.h"

#define MAX_PARTS 3 /* matrices stacked in one: q, k and v */

typedef struct weight_loader {
    model *m;
    const architecture *architecture;
    const model_options *options;
    packer *packer;
    failure *fail;
    error_code code; /* of the first failure */
    size_t used;     /* tensors bound so far */
} weight_loader;

/* Makes room for the weights, and the packer, which is the caller's. */
void loader_start(weight_loader *l);

bool loader_has(const weight_loader *l, const char *name);

/* n_parts vectors one after the other as one f32 vector that the model owns. */
void loader_vectors(weight_loader *l, const char *const *names, const size_t *lengths,
                    size_t n_parts, const float **out);
/* One, which may have no place or be absent: then *out stays. */
void loader_vector(weight_loader *l, const char *name, presence wanted, size_t length,
                   const float **out);

/* The embedding as the file has it, copied, for reading single rows. */
void loader_embedding(weight_loader *l, const char *name, size_t rows, size_t cols);

/* n_parts matrices stacked, and the same from one tensor that holds them all. */
void loader_matrix(weight_loader *l, const char *const *names, const size_t *rows, size_t n_parts,
                   size_t cols, matrix **out);
void loader_divided_matrix(weight_loader *l, const char *name, const size_t *rows, size_t n_parts,
                           size_t cols, matrix **out);
void loader_one_matrix(weight_loader *l, const char *name, size_t rows, size_t cols, matrix **out);

/* The output matrix, in options->head where that is given: then `counted` says whether the tensor
 * counts as used by it. */
void loader_head(weight_loader *l, const char *name, size_t rows, size_t cols, bool counted,
                 matrix **out);

/* One matrix an expert, of n_parts tensors' planes stacked, each of `rows` rows. */
void loader_experts(weight_loader *l, const char *const *names, size_t n_parts, size_t rows,
                    size_t cols, matrix ***out);
/* n_experts vectors, each of n_parts tensors' rows one after the other. */
void loader_expert_bias(weight_loader *l, const char *const *names, size_t n_parts, size_t length,
                        const float **out);

#endif
