/* inspect.h: what `a-io inspect` knows of a file, gathered once, shown as text or JSON. */
#ifndef CLI_INSPECT_H
#define CLI_INSPECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "model/model.h"

typedef struct type_total {
    const char *name;
    size_t tensors;
    uint64_t bytes;
} type_total;

#define MAX_TYPES 16

/* Each part that could not be read says so in its failure (code other than OK); the rest is sound.
 */
typedef struct inspection {
    const gguf *file;
    bool vocabulary_only; /* no tensors: nothing but a tokenizer is expected */
    char architecture[64];
    char name[128];
    type_total types[MAX_TYPES];
    size_t n_types;
    uint64_t parameters;
    uint64_t tensor_bytes;

    model_config config; /* not for vocabulary-only files */
    failure config_failure;
    uint64_t context_length;               /* tokens; 0 when the file does not say */
    uint64_t weight_bytes_per_token;       /* what a step of one row reads, in the file's layout */
    uint64_t expert_bytes;                 /* of all experts, of which it reads some */
    uint64_t kv_bytes_per_token[KV_TYPES]; /* 0 where the type's blocks do not fit the heads */

    tokenizer *tokenizer; /* NULL when it could not be loaded */
    failure tokenizer_failure;
    bool has_chat_template;
    chat_template *chat; /* NULL when there is none or it cannot be used */
    failure chat_failure;
} inspection;

void inspection_print(const inspection *in, bool keys, FILE *out);
/* ERR_MEMORY, or ERR_IO when `out` cannot be written. */
error_code inspection_print_json(const inspection *in, bool keys, FILE *out);

#endif
