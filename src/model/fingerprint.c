/* fingerprint.c: one pass over descriptions and the first bytes of tensors. */
#include "model/fingerprint.h"

#include <string.h>

#define SAMPLE_BYTES 4096 /* of each tensor: one page */

static uint64_t mix(uint64_t hash, const void *data, size_t length)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}

/* Its length goes before it, so that two texts never read like two others. */
static uint64_t mix_text(uint64_t hash, const char *data, size_t length)
{
    uint64_t n = length;
    return mix(mix(hash, &n, sizeof n), data, length);
}

static error_code mix_tensor(uint64_t *hash, const gguf *file, const gguf_tensor *t, failure *fail)
{
    char sample[SAMPLE_BYTES];
    size_t n = t->bytes < SAMPLE_BYTES ? t->bytes : SAMPLE_BYTES;
    error_code code = gguf_fetch(file, t->data, sample, n, fail);
    if (code != OK)
        return code;
    uint64_t h = mix_text(*hash, t->name.data, t->name.length);
    h = mix_text(h, t->type->name, strlen(t->type->name));
    h = mix(h, t->dims, sizeof t->dims);
    *hash = mix(h, sample, n);
    return OK;
}

error_code fingerprint_of(const gguf *file, uint64_t *out, failure *fail)
{
    uint64_t hash = 0xcbf29ce484222325u;
    const gguf_string *tokens;
    size_t n_tokens;
    if (gguf_text_array(file, "tokenizer.ggml.tokens", &tokens, &n_tokens))
        for (size_t i = 0; i < n_tokens; i++)
            hash = mix_text(hash, tokens[i].data, tokens[i].length);
    error_code code = OK;
    for (size_t i = 0; i < gguf_tensor_count(file) && code == OK; i++)
        code = mix_tensor(&hash, file, gguf_tensor_at(file, i), fail);
    *out = hash;
    return code;
}

uint64_t fingerprint_with_head(uint64_t fingerprint, const tensor_type_info *head)
{
    return mix_text(fingerprint, head->name, strlen(head->name));
}
