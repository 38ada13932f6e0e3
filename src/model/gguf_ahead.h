/*
 * gguf_ahead.h: a model's file on its way into memory while its first weights are packed already.
 * A cold file is read about as fast as the disk gives it: without this the disk rests while weights
 * are packed, and the packing while the disk reads.
 */
#ifndef MODEL_GGUF_AHEAD_H
#define MODEL_GGUF_AHEAD_H

#include "model/gguf.h"

typedef struct gguf_ahead gguf_ahead;

/* A thread reads all parts of the file, from first to last; what the system holds already costs
 * it next to nothing. NULL, where there is no thread to be had: the file is then read as it
 * is needed. The file stays open, and its data is not released, until the end. */
gguf_ahead *gguf_ahead_start(const gguf *file);
void gguf_ahead_stop(gguf_ahead *a); /* NULL too */

#endif
