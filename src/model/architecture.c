/* architecture.c: what each supported architecture is, as data. What an entry does not name is
 * zero: no such part, no such scale. Sources are the models' published configurations and the
 * tensors and keys that the converters of GGUF files write for them. */
#include "model/architecture.h"

#include <stdio.h>
#include <string.h>

static const architecture architectures[] = {
    {.name = "llama",
     .rope = ROTATE_ADJACENT,
     .window = WINDOW_EVERY_LAYER,
     .qkv_bias = OPTIONAL,
     .attn_output_bias = OPTIONAL,
     .ffn_bias = OPTIONAL,
     .experts = OPTIONAL},
    {.name = "mistral3",
     .rope = ROTATE_ADJACENT,
     .qkv_bias = OPTIONAL,
     .attn_output_bias = OPTIONAL,
     .ffn_bias = OPTIONAL,
     .experts = OPTIONAL,
     .temperature = true},
    {.name = "qwen2", .rope = ROTATE_HALVES, .qkv_bias = REQUIRED},
    {.name = "qwen2moe",
     .rope = ROTATE_HALVES,
     .qkv_bias = REQUIRED,
     .experts = REQUIRED,
     .experts_keep_softmax = true,
     .shared_expert = REQUIRED,
     .shared_gate = true},
    {.name = "qwen3", .rope = ROTATE_HALVES, .qk_norm = QK_NORM_HEAD},
    {.name = "qwen3moe", .rope = ROTATE_HALVES, .qk_norm = QK_NORM_HEAD, .experts = REQUIRED},
    {.name = "gemma", .rope = ROTATE_HALVES, .activation = ACTIVATE_GELU, .embedding_root = true},
    {.name = "gemma2",
     .rope = ROTATE_HALVES,
     .window = WINDOW_PATTERN,
     .window_pattern = 2,
     .default_window = 4096,
     .post_norms = true,
     .activation = ACTIVATE_GELU,
     .embedding_root = true,
     .soft_caps = true,
     .attention_soft_cap = 50.0f,
     .logit_soft_cap = 30.0f,
     .layers_scaled_by_width = 46},
    {.name = "gemma3",
     .rope = ROTATE_HALVES,
     .window_rope_base = 10000.0f,
     .window_rope_is_unscaled = true,
     .window = WINDOW_PATTERN,
     .window_pattern = 6,
     .qk_norm = QK_NORM_HEAD,
     .post_norms = true,
     .activation = ACTIVATE_GELU,
     .embedding_root = true,
     .soft_caps = true,
     .layers_scaled_by_width = 62},
    {.name = "phi3", .rope = ROTATE_HALVES, .window = WINDOW_EVERY_LAYER},
    {.name = "smollm3", .rope = ROTATE_ADJACENT, .rope_use = ROPE_EXCEPT_FOURTH},
    {.name = "granite",
     .rope = ROTATE_ADJACENT,
     .rope_use = ROPE_SWITCHED,
     .qkv_bias = OPTIONAL,
     .attn_output_bias = OPTIONAL,
     .ffn_bias = OPTIONAL,
     .experts = OPTIONAL,
     .shared_expert = OPTIONAL,
     .scales = true,
     .logit_scaling = LOGITS_DIVIDED},
    {.name = "granitemoe",
     .rope = ROTATE_ADJACENT,
     .qkv_bias = OPTIONAL,
     .attn_output_bias = OPTIONAL,
     .experts = REQUIRED,
     .shared_expert = OPTIONAL,
     .scales = true,
     .logit_scaling = LOGITS_DIVIDED},
    {.name = "olmo2",
     .rope = ROTATE_HALVES,
     .window_rope_is_unscaled = true,
     .yarn_factor_is_whole = true,
     .window = WINDOW_PATTERN,
     .window_pattern = 4,
     .qk_norm = QK_NORM_ROW,
     .no_input_norms = true,
     .post_norms = true},
    {.name = "olmoe",
     .rope = ROTATE_HALVES,
     .qk_norm = QK_NORM_ROW,
     .experts = REQUIRED,
     .experts_keep_softmax = true},
    {.name = "glm4", .rope = ROTATE_ADJACENT, .qkv_bias = OPTIONAL, .post_norms = true},
    {.name = "exaone4",
     .rope = ROTATE_HALVES,
     .rope_use = ROPE_IN_WINDOWS,
     .window = WINDOW_PATTERN,
     .window_pattern = 4,
     .default_window = 4096,
     .default_window_layers = 64,
     .qk_norm = QK_NORM_HEAD,
     .no_input_norms = true,
     .post_norms = true},
    {.name = "cohere2",
     .rope = ROTATE_ADJACENT,
     .rope_use = ROPE_IN_WINDOWS,
     .window = WINDOW_PATTERN,
     .window_pattern = 4,
     .is_parallel = true,
     .layer_norm = true,
     .logit_scaling = LOGITS_MULTIPLIED},
    {.name = "internlm2", .rope = ROTATE_ADJACENT, .qkv_bias = OPTIONAL},
    {.name = "ernie4_5", .rope = ROTATE_ADJACENT, .qkv_bias = OPTIONAL},
    {.name = "seed_oss",
     .rope = ROTATE_HALVES,
     .qkv_bias = OPTIONAL,
     .ffn_norm_name = "post_attention_norm.weight"},
    {.name = "gpt-oss",
     .rope = ROTATE_HALVES,
     .window = WINDOW_PATTERN,
     .window_pattern = 2,
     .qkv_bias = REQUIRED,
     .attn_output_bias = REQUIRED,
     .sinks = true,
     .ffn_norm_name = "post_attention_norm.weight",
     .activation = ACTIVATE_SWIGLU_OAI,
     .experts = REQUIRED,
     .router_bias = true,
     .expert_bias = true},
    {.name = "pangu-embedded",
     .default_chat = "pangu",
     .rope = ROTATE_HALVES,
     .qkv_bias = REQUIRED,
     .attn_output_bias = REQUIRED},
};

#define N_ARCHITECTURES (sizeof architectures / sizeof architectures[0])

static error_code refuse_unknown(gguf_string name, failure *fail)
{
    char known[400] = "";
    size_t length = 0;
    for (size_t i = 0; i < N_ARCHITECTURES; i++)
        length += (size_t)snprintf(known + length, sizeof known - length, "%s%s",
                                   i == 0 ? "" : ", ", architectures[i].name);
    int shown = name.length > 64 ? 64 : (int)name.length;
    return failure_set(fail, ERR_UNSUPPORTED, "architecture '%.*s' is not supported (known: %s)",
                       shown, name.data, known);
}

error_code architecture_find(const architecture **out, const gguf *file, failure *fail)
{
    gguf_string name;
    if (!gguf_text(file, "general.architecture", &name))
        return failure_set(fail, ERR_FORMAT, "key general.architecture is missing");
    for (size_t i = 0; i < N_ARCHITECTURES; i++) {
        if (strlen(architectures[i].name) == name.length &&
            memcmp(architectures[i].name, name.data, name.length) == 0) {
            *out = &architectures[i];
            return OK;
        }
    }
    return refuse_unknown(name, fail);
}
