/* inspect_print.c: what `inspect` says, as text for people and as one JSON object. */
#include "cli/inspect.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

#define MAX_ENDS 16 /* tokens that end a turn, as far as they are listed */

/* ---- text ----------------------------------------------------------------------------------- */

/* "4.61 MB" */
static const char *human_bytes(uint64_t bytes, char text[32])
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 999.5 && unit < 4) {
        value /= 1000;
        unit++;
    }
    snprintf(text, 32, unit == 0 ? "%.0f %s" : "%.2f %s", value, units[unit]);
    return text;
}

/* "1.97 M" */
static const char *human_count(uint64_t count, char text[32])
{
    if (count >= 999950000)
        snprintf(text, 32, "%.2f B", (double)count / 1e9);
    else if (count >= 999950)
        snprintf(text, 32, "%.2f M", (double)count / 1e6);
    else
        snprintf(text, 32, "%.1f K", (double)count / 1e3);
    return text;
}

static void print_bytes(FILE *out, const char *label, uint64_t bytes, const char *what)
{
    char text[32];
    fprintf(out, "%-20s%s (%" PRIu64 " bytes)%s\n", label, human_bytes(bytes, text), bytes, what);
}

static void print_size(FILE *out, const char *label, size_t value)
{
    fprintf(out, "%-20s%zu\n", label, value);
}

static size_t window_layers(const model_config *c, size_t *window)
{
    size_t n = 0;
    *window = 0;
    for (size_t i = 0; i < c->n_layers; i++)
        if (config_layer(c, i)->window > 0) {
            *window = config_layer(c, i)->window;
            n++;
        }
    return n;
}

static void print_windows(const model_config *c, FILE *out)
{
    size_t window, n = window_layers(c, &window);
    if (n > 0)
        fprintf(out, "%-20s%zu tokens, in %zu of the layers\n", "attention window", window, n);
}

static void print_rope(const char *label, const rope_plan *p, FILE *out)
{
    fprintf(out, "%-20sbase %g, %zu values in %s pairs", label, (double)p->base, p->dims,
            p->layout == ROTATE_ADJACENT ? "adjacent" : "half-split");
    if (p->scale < 1.0F)
        fprintf(out, ", positions × %g", (double)p->scale);
    if (p->yarn_mix > 0)
        fprintf(out, " by YaRN");
    fprintf(out, "%s\n", p->divided ? ", with frequency factors" : "");
}

static void print_config(const inspection *in, FILE *out)
{
    const model_config *c = &in->config;
    if (in->config_failure.code != OK) {
        fprintf(out, "%-20snot usable: %s\n", "model", in->config_failure.text);
        return;
    }
    print_size(out, "layers", c->n_layers);
    print_size(out, "width", c->n_embd);
    if (c->n_ff > 0)
        print_size(out, "feed-forward", c->n_ff);
    if (c->n_experts > 0)
        fprintf(out, "%-20s%zu of %zu, %zu of them for each token\n", "experts", c->n_experts,
                c->n_expert_ff, c->n_experts_used);
    fprintf(out, "%-20s%zu of %zu values, %zu KV heads\n", "attention heads", c->n_heads,
            c->head_dim, c->n_kv_heads);
    print_windows(c, out);
    print_rope("RoPE", &c->ropes[0], out);
    if (c->ropes[1].dims > 0)
        print_rope("RoPE in windows", &c->ropes[1], out);
    fprintf(out, "%-20s%s\n", "output head", c->tied_output ? "the embedding (tied)" : "its own");
}

static void print_tensors(const inspection *in, FILE *out)
{
    char text[32];
    fprintf(out, "\n%-20s%8s  %12s\n", "tensors", "count", "size");
    for (size_t i = 0; i < in->n_types; i++)
        fprintf(out, "  %-18s%8zu  %12s (%" PRIu64 " bytes)\n", in->types[i].name,
                in->types[i].tensors, human_bytes(in->types[i].bytes, text), in->types[i].bytes);
    fprintf(out, "  %-18s%8zu  %12s (%" PRIu64 " bytes)\n\n", "all", gguf_tensor_count(in->file),
            human_bytes(in->tensor_bytes, text), in->tensor_bytes);
}

/* "356 '<|im_end|>'" */
static void token_text(const tokenizer *t, int32_t id, char *text, size_t size)
{
    size_t length;
    const char *bytes = tokenizer_bytes(t, id, true, &length);
    utf8_printable(bytes, length, text, size);
}

static void print_token(const tokenizer *t, const char *label, int32_t id, FILE *out)
{
    char text[96];
    if (id < 0) {
        fprintf(out, "%-20snone\n", label);
        return;
    }
    token_text(t, id, text, sizeof text);
    fprintf(out, "%-20s%" PRId32 " '%s'\n", label, id, text);
}

static size_t end_tokens(const tokenizer *t, int32_t ids[MAX_ENDS])
{
    size_t n = 0;
    for (size_t id = 0; id < tokenizer_size(t) && n < MAX_ENDS; id++)
        if (tokenizer_is_end(t, (int32_t)id))
            ids[n++] = (int32_t)id;
    return n;
}

static size_t count_control(const tokenizer *t)
{
    size_t n = 0;
    for (size_t id = 0; id < tokenizer_size(t); id++)
        n += tokenizer_is_control(t, (int32_t)id);
    return n;
}

static void print_tokenizer(const inspection *in, FILE *out)
{
    const tokenizer *t = in->tokenizer;
    if (t == NULL) {
        fprintf(out, "%-20snot usable: %s\n", "tokenizer", in->tokenizer_failure.text);
        return;
    }
    const char *pre = tokenizer_pre(t);
    fprintf(out, "%-20s%s%s%s, %zu tokens, %zu of them control\n", "tokenizer", tokenizer_model(t),
            pre[0] != '\0' ? ", pre " : "", pre, tokenizer_size(t), count_control(t));
    print_token(t, "  begins with", tokenizer_bos(t), out);
    fprintf(out, "%-20s%s\n", "  added by itself", tokenizer_adds_bos(t) ? "yes" : "no");
    int32_t ends[MAX_ENDS];
    size_t n = end_tokens(t, ends);
    for (size_t i = 0; i < n; i++)
        print_token(t, i == 0 ? "  a turn ends with" : "", ends[i], out);
}

static void print_chat(const inspection *in, FILE *out)
{
    const char *text = "none: raw prompts only";
    if (in->chat != NULL)
        text = "its own";
    else if (in->has_chat_template)
        text = in->chat_failure.text;
    fprintf(out, "%-20s%s\n", "chat template", text);
}

/* f16, the default, and the smaller ones. */
static void print_kv(const inspection *in, FILE *out)
{
    char text[32];
    uint64_t bytes = in->kv_bytes_per_token[KV_F16];
    fprintf(out, "%-20s%s (%" PRIu64 " bytes) of context in f16", "KV per token",
            human_bytes(bytes, text), bytes);
    for (kv_type type = KV_Q8_0; type <= KV_Q4; type++)
        if (in->kv_bytes_per_token[type] > 0)
            fprintf(out, ", %s in %s", human_bytes(in->kv_bytes_per_token[type], text),
                    kv_type_name(type));
    fputc('\n', out);
}

static void print_costs(const inspection *in, FILE *out)
{
    fputc('\n', out);
    print_bytes(out, "weights per token", in->weight_bytes_per_token, " read by a step of one row");
    print_kv(in, out);
}

static void print_keys(const gguf *file, FILE *out)
{
    fputs("\nkeys\n", out);
    for (size_t i = 0; i < gguf_key_count(file); i++) {
        char name[128], value[256];
        gguf_string key = gguf_key_at(file, i);
        utf8_printable(key.data, key.length, name, sizeof name);
        gguf_key_render(file, i, value, sizeof value);
        fprintf(out, "  %-42s %s\n", name, value);
    }
}

void inspection_print(const inspection *in, bool keys, FILE *out)
{
    char text[32];
    fprintf(out, "%-20s%s\n", "file", gguf_path(in->file));
    snprintf(text, sizeof text, " in %zu files", gguf_part_count(in->file));
    print_bytes(out, "size", gguf_file_bytes(in->file), gguf_part_count(in->file) > 1 ? text : "");
    fprintf(out, "%-20s%" PRIu32 "\n", "GGUF version", gguf_version(in->file));
    fprintf(out, "%-20s%s\n", "architecture",
            in->architecture[0] != '\0' ? in->architecture : "not named");
    if (in->name[0] != '\0')
        fprintf(out, "%-20s%s\n", "name", in->name);
    if (in->vocabulary_only)
        fprintf(out, "%-20snone: a vocabulary only\n", "tensors");
    else
        fprintf(out, "%-20s%s (%" PRIu64 ")\n", "parameters", human_count(in->parameters, text),
                in->parameters);
    if (!in->vocabulary_only)
        print_config(in, out);
    if (in->context_length != 0)
        fprintf(out, "%-20s%" PRIu64 " tokens\n", "context", in->context_length);
    if (!in->vocabulary_only)
        print_tensors(in, out);
    print_tokenizer(in, out);
    print_chat(in, out);
    if (!in->vocabulary_only && in->config_failure.code == OK)
        print_costs(in, out);
    if (keys)
        print_keys(in->file, out);
}

/* ---- JSON ----------------------------------------------------------------------------------- */

/* The json_*_set_new functions take over their value and fail when it is NULL, so only the first
 * failure has to be remembered. */
typedef struct object {
    json_t *json;
    bool *failed;
} object;

static void set(object o, const char *key, json_t *value)
{
    if (json_object_set_new(o.json, key, value) != 0)
        *o.failed = true;
}

static object sub_object(object o, const char *key)
{
    object sub = {json_object(), o.failed};
    set(o, key, sub.json);
    return sub;
}

static void set_count(object o, const char *key, uint64_t value)
{
    set(o, key, json_integer((json_int_t)value));
}

static void set_text(object o, const char *key, const char *text)
{
    set(o, key, text[0] != '\0' ? json_string(text) : json_null());
}

/* The part could not be read: {"error": why}. */
static void set_failure(object o, const char *key, const failure *fail)
{
    set(sub_object(o, key), "error", json_string(fail->text));
}

static void config_json(const inspection *in, object o)
{
    if (in->config_failure.code != OK) {
        set_failure(o, "model", &in->config_failure);
        return;
    }
    const model_config *c = &in->config;
    object m = sub_object(o, "model");
    set_count(m, "layers", c->n_layers);
    set_count(m, "width", c->n_embd);
    set_count(m, "feed_forward", c->n_ff);
    set_count(m, "experts", c->n_experts);
    set_count(m, "experts_used", c->n_experts_used);
    set_count(m, "expert_feed_forward", c->n_expert_ff);
    set_count(m, "heads", c->n_heads);
    set_count(m, "kv_heads", c->n_kv_heads);
    set_count(m, "head_size", c->head_dim);
    set_count(m, "vocabulary", c->n_vocab);
    const rope_plan *rope = &c->ropes[0];
    set(m, "rope_base", json_real((double)rope->base));
    set(m, "rope_pairs", json_string(rope->layout == ROTATE_ADJACENT ? "adjacent" : "half-split"));
    set(m, "rope_position_scale", json_real((double)rope->scale));
    size_t window, n_windows = window_layers(c, &window);
    set_count(m, "attention_window", window);
    set_count(m, "layers_with_window", n_windows);
    set(m, "tied_output", json_boolean(c->tied_output));
    set_count(o, "weight_bytes_per_token", in->weight_bytes_per_token);
    set_count(o, "kv_bytes_per_token", in->kv_bytes_per_token[KV_F16]);
    object by_type = sub_object(o, "kv_bytes_per_token_by_type");
    for (kv_type type = KV_F16; type <= KV_Q4; type++)
        if (in->kv_bytes_per_token[type] > 0)
            set_count(by_type, kv_type_name(type), in->kv_bytes_per_token[type]);
}

static void tensors_json(const inspection *in, object o)
{
    object tensors = sub_object(o, "tensors");
    set_count(tensors, "count", gguf_tensor_count(in->file));
    set_count(tensors, "bytes", in->tensor_bytes);
    object types = sub_object(tensors, "types");
    for (size_t i = 0; i < in->n_types; i++) {
        object type = sub_object(types, in->types[i].name);
        set_count(type, "count", in->types[i].tensors);
        set_count(type, "bytes", in->types[i].bytes);
    }
}

static json_t *token_json(const tokenizer *t, int32_t id)
{
    char text[96];
    if (id < 0)
        return json_null();
    token_text(t, id, text, sizeof text);
    return json_pack("{s:i, s:s}", "id", (int)id, "text", text);
}

static void tokenizer_json(const inspection *in, object o)
{
    const tokenizer *t = in->tokenizer;
    if (t == NULL) {
        set_failure(o, "tokenizer", &in->tokenizer_failure);
        return;
    }
    object k = sub_object(o, "tokenizer");
    set_text(k, "model", tokenizer_model(t));
    set_text(k, "pre", tokenizer_pre(t));
    set_count(k, "tokens", tokenizer_size(t));
    set_count(k, "control_tokens", count_control(t));
    set(k, "bos", token_json(t, tokenizer_bos(t)));
    set(k, "adds_bos", json_boolean(tokenizer_adds_bos(t)));
    int32_t ends[MAX_ENDS];
    size_t n = end_tokens(t, ends);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        if (json_array_append_new(list, token_json(t, ends[i])) != 0)
            *o.failed = true;
    set(k, "ends", list);
}

static void chat_json(const inspection *in, object o)
{
    if (in->chat != NULL)
        set(sub_object(o, "chat_template"), "name", json_string(chat_template_name(in->chat)));
    else if (in->has_chat_template)
        set_failure(o, "chat_template", &in->chat_failure);
    else
        set(o, "chat_template", json_null());
}

static void keys_json(const gguf *file, object o)
{
    object keys = sub_object(o, "keys");
    for (size_t i = 0; i < gguf_key_count(file); i++) {
        char name[256], value[1024];
        gguf_string key = gguf_key_at(file, i);
        utf8_printable(key.data, key.length, name, sizeof name);
        gguf_key_render(file, i, value, sizeof value);
        set(keys, name, json_string(value));
    }
}

error_code inspection_print_json(const inspection *in, bool keys, FILE *out)
{
    bool failed = false;
    object o = {json_object(), &failed};
    char path[4096];
    utf8_printable(gguf_path(in->file), strlen(gguf_path(in->file)), path, sizeof path);
    set_text(o, "file", path);
    set_count(o, "file_bytes", gguf_file_bytes(in->file));
    set_count(o, "file_parts", gguf_part_count(in->file));
    set_count(o, "gguf_version", gguf_version(in->file));
    set_text(o, "architecture", in->architecture);
    set_text(o, "name", in->name);
    set(o, "context",
        in->context_length != 0 ? json_integer((json_int_t)in->context_length) : json_null());
    if (!in->vocabulary_only) {
        set_count(o, "parameters", in->parameters);
        tensors_json(in, o);
        config_json(in, o);
    }
    tokenizer_json(in, o);
    chat_json(in, o);
    if (keys)
        keys_json(in->file, o);
    error_code code = failed ? ERR_MEMORY : OK;
    if (code == OK && (json_dumpf(o.json, out, JSON_INDENT(2)) != 0 || fputc('\n', out) == EOF))
        code = ERR_IO;
    json_decref(o.json);
    return code;
}
