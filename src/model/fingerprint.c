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

static uint64_t mix_tensor(uint64_t hash, const gguf_tensor *t)
{
    hash = mix_text(hash, t->name.data, t->name.length);
    hash = mix_text(hash, t->type->name, strlen(t->type->name));
    hash = mix(hash, t->dims, sizeof t->dims);
    return mix(hash, t->data, t->bytes < SAMPLE_BYTES ? t->bytes : SAMPLE_BYTES);
}

uint64_t fingerprint_of(const gguf *file)
{
    uint64_t hash = 0xcbf29ce484222325u;
    const gguf_string *tokens;
    size_t n_tokens;
    if (gguf_text_array(file, "tokenizer.ggml.tokens", &tokens, &n_tokens))
        for (size_t i = 0; i < n_tokens; i++)
            hash = mix_text(hash, tokens[i].data, tokens[i].length);
    for (size_t i = 0; i < gguf_tensor_count(file); i++) {
        hash = mix_tensor(hash, gguf_tensor_at(file, i));
        gguf_drop_pages(file); /* the system maps what lies around a page, up to megabytes */
    }
    return hash;
}

uint64_t fingerprint_with_head(uint64_t fingerprint, const tensor_type_info *head)
{
    return mix_text(fingerprint, head->name, strlen(head->name));
}
