/* weight_mix.c: llama.cpp's file types (its llama_ftype; the mixtures as its quantiser makes
 * them, llama-quant.cpp of October 2026). */
#include "model/weight_mix.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *name;
    tensor_type type, finer;
    int file_type;
} mixtures[] = {
    {"Q4_K_M", TENSOR_Q4_K, TENSOR_Q6_K, 15},
    {"Q5_K_M", TENSOR_Q5_K, TENSOR_Q6_K, 17},
};

/* K-quants without a mixture are the "small" kind. */
static int file_type_of(tensor_type type)
{
    static const struct {
        int tensor, file;
    } ids[] = {{0, 0},   {1, 1},   {2, 2},   {3, 3},   {6, 8},   {7, 9},   {8, 7},  {10, 10},
               {11, 11}, {12, 14}, {13, 16}, {14, 18}, {20, 25}, {23, 30}, {30, 32}};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
        if (ids[i].tensor == (int)type)
            return ids[i].file;
    return -1;
}

weight_mix weight_mix_uniform(tensor_type type)
{
    const tensor_type_info *info = tensor_type_find((uint32_t)type);
    return (weight_mix){info != NULL ? info->name : "unknown", info, info, file_type_of(type)};
}

bool weight_mix_find(const char *name, weight_mix *out)
{
    for (size_t i = 0; i < sizeof mixtures / sizeof mixtures[0]; i++)
        if (strcasecmp(name, mixtures[i].name) == 0) {
            *out = (weight_mix){mixtures[i].name, tensor_type_find(mixtures[i].type),
                                tensor_type_find(mixtures[i].finer), mixtures[i].file_type};
            return true;
        }
    const tensor_type_info *info = tensor_type_find_name(name);
    if (info != NULL)
        *out = weight_mix_uniform(info->type);
    return info != NULL;
}

/* ---- which matrices have the finer type ------------------------------------------------------ */

static bool is_named(gguf_string s, const char *name)
{
    return s.length == strlen(name) && memcmp(s.data, name, s.length) == 0;
}

/* N and "suffix" of "blk.N.suffix"; false: it is in no layer. */
static bool split_name(gguf_string name, uint32_t *layer, gguf_string *suffix)
{
    size_t at = 4;
    uint32_t n = 0;
    if (name.length < 6 || memcmp(name.data, "blk.", 4) != 0)
        return false;
    for (; at < name.length && name.data[at] >= '0' && name.data[at] <= '9' && at < 10; at++)
        n = n * 10 + (uint32_t)(name.data[at] - '0');
    if (at == 4 || at == name.length || name.data[at] != '.')
        return false;
    *layer = n;
    *suffix = (gguf_string){name.data + at + 1, name.length - at - 1};
    return true;
}

/* The first and the last eighth of the layers, and every third between. */
static bool is_finer_layer(uint32_t layer, uint32_t n_layers)
{
    uint32_t eighth = n_layers / 8;
    return layer < eighth || layer >= 7 * n_layers / 8 || (layer - eighth) % 3 == 2;
}

static bool is_finer(const weight_setting *model, gguf_string name)
{
    uint32_t layer;
    gguf_string suffix;
    if (!split_name(name, &layer, &suffix))
        return is_named(name, model->tied ? "token_embd.weight" : "output.weight");
    bool may_be = is_named(suffix, "attn_v.weight") || is_named(suffix, "ffn_down.weight") ||
                  is_named(suffix, "ffn_down_exps.weight");
    return may_be && is_finer_layer(layer, model->n_layers);
}

static bool is_router(gguf_string name)
{
    uint32_t layer;
    gguf_string suffix;
    return split_name(name, &layer, &suffix) && is_named(suffix, "ffn_gate_inp.weight");
}

const tensor_type_info *weight_mix_type(const weight_mix *mix, const weight_setting *model,
                                        gguf_string tensor, uint32_t n_dims)
{
    if (n_dims < 2 || is_router(tensor))
        return tensor_type_find(TENSOR_F32);
    return is_finer(model, tensor) ? mix->finer : mix->type;
}

/* ---- files ----------------------------------------------------------------------------------- */

weight_setting weight_setting_of(const gguf *file)
{
    weight_setting model = {.tied = gguf_tensor_find(file, "output.weight") == NULL};
    for (size_t i = 0; i < gguf_tensor_count(file); i++) {
        uint32_t layer;
        gguf_string suffix;
        if (split_name(gguf_tensor_at(file, i)->name, &layer, &suffix) && layer >= model.n_layers)
            model.n_layers = layer + 1;
    }
    return model;
}

void weight_mix_write_keys(const weight_mix *mix, gguf_writer *w)
{
    if (mix->file_type >= 0)
        gguf_writer_u32(w, "general.file_type", (uint32_t)mix->file_type);
    if (mix->type->block_values > 1)
        gguf_writer_u32(w, "general.quantization_version", 2);
}
