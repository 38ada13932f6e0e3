/*
 * requantise.h: a matrix in fewer bits than its file has, chosen at load: every token reads the
 * output matrix whole, and files keep it in more bits than the rest. What it costs is in answers:
 * the model is another one then, and its fingerprint says so.
 */
#ifndef MODEL_REQUANTISE_H
#define MODEL_REQUANTISE_H

#include "kernel/weight_memory.h"
#include "model/gguf.h"

/* "head=TYPE", TYPE one that tensor_can_encode. ERR_INVALID. */
error_code requant_parse(const char *text, const tensor_type_info **head, failure *fail);

typedef struct requantised {
    weight_memory *memory; /* owned: weight_memory_destroy */
    void *data;            /* the tensor in the layout of a file of that type */
    double error;          /* √(Σ(decoded − before)² / Σ before²) */
} requantised;

/* By as many threads as there are cores, which live for it alone. ERR_UNSUPPORTED when the type's
 * blocks do not fit the rows, takes no fewer bytes, or cannot express a value; ERR_IO as
 * gguf_fetch. */
error_code requantise(requantised *out, const gguf *file, const gguf_tensor *t,
                      const tensor_type_info *to, failure *fail);

#endif
