/*
 * fingerprint.h: telling model files apart without reading all of them.
 */
#ifndef MODEL_FINGERPRINT_H
#define MODEL_FINGERPRINT_H

#include "model/gguf.h"

/* FNV-1a (64 bits) over the vocabulary's texts and, of each tensor, its name, type, shape and first
 * 4 KiB: another vocabulary, another shape, other weights give another number. Not against
 * forgers. Errors as gguf_fetch. */
error_code fingerprint_of(const gguf *file, uint64_t *out, failure *fail);
/* Of the same model with its output matrix in another type. */
uint64_t fingerprint_with_head(uint64_t fingerprint, const tensor_type_info *head);

#endif
