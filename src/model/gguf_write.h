/*
 * gguf_write.h: writing a GGUF file (version 3) as a stream: first keys and tensor descriptions,
 * then the tensors' data piece by piece, so that a file of any size needs little memory.
 *
 *   gguf_writer_create → keys and tensors in any number → gguf_writer_begin
 *                      → gguf_writer_data until every tensor is whole → gguf_writer_finish
 *
 * PATH appears, or changes, when the file is finished; what there is of it until then (whole_file.h)
 * gguf_writer_destroy removes. One thread at a time.
 */
#ifndef MODEL_GGUF_WRITE_H
#define MODEL_GGUF_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"
#include "model/gguf.h"

typedef struct gguf_writer gguf_writer;

/* Nothing is written yet. */
error_code gguf_writer_create(gguf_writer **out, const char *path, failure *fail);
void gguf_writer_destroy(gguf_writer *w); /* NULL is allowed */

/* Keys, copied. Names must differ from one another. What goes wrong here and in gguf_writer_tensor
 * is remembered and reported by gguf_writer_begin. */
void gguf_writer_u32(gguf_writer *w, const char *name, uint32_t value);
void gguf_writer_f32(gguf_writer *w, const char *name, float value);
void gguf_writer_bool(gguf_writer *w, const char *name, bool value);
void gguf_writer_text(gguf_writer *w, const char *name, const char *text);
void gguf_writer_text_array(gguf_writer *w, const char *name, const gguf_string *items, size_t n);
void gguf_writer_i32_array(gguf_writer *w, const char *name, const int32_t *values, size_t n);
/* Key `index` of an open file, of whatever type, byte for byte. A copied general.alignment is also
 * the alignment of the new file (32 otherwise). */
void gguf_writer_copy_key(gguf_writer *w, const gguf *file, size_t index);

/* The next tensor: n_dims (1 … 4) dimensions, dims[0] the contiguous one and whole blocks of
 * `type`.
 */
void gguf_writer_tensor(gguf_writer *w, gguf_string name, uint32_t n_dims, const uint64_t *dims,
                        const tensor_type_info *type);

/* Reserves the file's space and writes the header. ERR_INVALID when PATH is there and is not a
 * regular file. */
error_code gguf_writer_begin(gguf_writer *w, failure *fail);
/* Data of the tensors in the order in which they were described, in pieces of any size that end
 * where a tensor ends. Padding is written on the way. */
error_code gguf_writer_data(gguf_writer *w, const void *data, size_t bytes, failure *fail);
/* Waits until the file is on the disk. ERR_INTERNAL when a tensor is not whole. */
error_code gguf_writer_finish(gguf_writer *w, failure *fail);

/* Bytes of the whole file; known from gguf_writer_begin on. */
uint64_t gguf_writer_file_bytes(const gguf_writer *w);

#endif
