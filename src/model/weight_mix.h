/*
 * weight_mix.h: which type each tensor of a file has, by the names that files are called by: one
 * type for all matrices ("q8_0"), or a mixture ("q4_k_m"), which keeps in more bits what loses most
 * by rounding.
 */
#ifndef MODEL_WEIGHT_MIX_H
#define MODEL_WEIGHT_MIX_H

#include "model/gguf_write.h"

typedef struct weight_mix {
    const char *name;
    const tensor_type_info *type;  /* of most matrices; NULL: no such type */
    const tensor_type_info *finer; /* of those that lose most; `type` where it is no mixture */
    int file_type;                 /* general.file_type; -1: has none */
} weight_mix;

/* Of the model whose tensors are to be written. */
typedef struct weight_setting {
    uint32_t n_layers;
    bool tied; /* the embedding is the output matrix, too */
} weight_setting;

weight_mix weight_mix_uniform(tensor_type type);
/* False: there is no type and no mixture of this name. Any case. */
bool weight_mix_find(const char *name, weight_mix *out);
/* Vectors, and the routers of experts, which are small and whose errors send a token to the wrong
 * expert, are F32 in each. */
const tensor_type_info *weight_mix_type(const weight_mix *mix, const weight_setting *model,
                                        gguf_string tensor, uint32_t n_dims);
/* From the names of the file's tensors. */
weight_setting weight_setting_of(const gguf *file);

/* general.file_type and, for a quantised type, general.quantization_version: what other readers
 * call such a file. */
void weight_mix_write_keys(const weight_mix *mix, gguf_writer *w);

#endif
