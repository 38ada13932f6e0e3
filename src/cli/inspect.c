/* inspect.c: gathers what `inspect` says of a file; inspect_print.c says it. */
#include "cli/cli.h"
#include "cli/inspect.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "cli/common.h"
#include "cli/help.h"
#include "cli/model_file.h"

/* ---- gathering ------------------------------------------------------------------------------ */

static void text_of(const gguf *file, const char *key, char *text, size_t size)
{
    gguf_string value = {"", 0};
    gguf_text(file, key, &value);
    utf8_printable(value.data, value.length, text, size);
}

static void add_type(inspection *in, const gguf_tensor *t)
{
    size_t i = 0;
    while (i < in->n_types && in->types[i].name != t->type->name)
        i++;
    if (i == MAX_TYPES)
        return; /* more types than kernel.h knows: cannot be */
    if (i == in->n_types)
        in->types[in->n_types++].name = t->type->name;
    in->types[i].tensors++;
    in->types[i].bytes += t->bytes;
}

static void gather_tensors(inspection *in)
{
    const gguf_tensor *embedding = gguf_tensor_find(in->file, "token_embd.weight");
    bool tied = gguf_tensor_find(in->file, "output.weight") == NULL;
    for (size_t i = 0; i < gguf_tensor_count(in->file); i++) {
        const gguf_tensor *t = gguf_tensor_at(in->file, i);
        add_type(in, t);
        in->parameters += t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
        in->tensor_bytes += t->bytes;
        /* Of the embedding a step reads one row, unless it is the output head too. */
        if (memmem(t->name.data, t->name.length, "_exps.", 6) != NULL)
            in->expert_bytes += t->bytes;
        else if (t != embedding || tied)
            in->weight_bytes_per_token += t->bytes;
    }
}

static void gather_config(inspection *in)
{
    char key[96];
    snprintf(key, sizeof key, "%s.context_length", in->architecture);
    gguf_u64(in->file, key, &in->context_length);
    bool is_known =
        !in->vocabulary_only && model_config_read(&in->config, in->file, &in->config_failure) == OK;
    const model_config *c = &in->config;
    in->weight_bytes_per_token += is_known && c->n_experts > 0
                                      ? in->expert_bytes / c->n_experts * c->n_experts_used
                                      : in->expert_bytes;
    if (!is_known)
        return;
    for (kv_type type = KV_F32; type <= KV_Q4; type++)
        if (c->head_dim % kv_block_values(type) == 0)
            in->kv_bytes_per_token[type] =
                (uint64_t)c->n_layers * 2 * kv_value_bytes(type, c->n_kv_heads * c->head_dim);
}

static void gather_chat(inspection *in)
{
    gguf_string jinja;
    in->has_chat_template = gguf_text(in->file, "tokenizer.chat_template", &jinja);
    if (in->has_chat_template)
        chat_template_compile(&in->chat, jinja.data, jinja.length,
                              (chat_vocabulary){.tokenizer = in->tokenizer}, &in->chat_failure);
}

static void gather(inspection *in)
{
    in->vocabulary_only = gguf_tensor_count(in->file) == 0;
    text_of(in->file, "general.architecture", in->architecture, sizeof in->architecture);
    text_of(in->file, "general.name", in->name, sizeof in->name);
    gather_tensors(in);
    gather_config(in);
    tokenizer_load(&in->tokenizer, in->file, &in->tokenizer_failure);
    gather_chat(in);
}

/* ---- the command ---------------------------------------------------------------------------- */

static int inspect_file(const char *path, bool json, bool keys)
{
    failure fail;
    gguf *file;
    error_code code = gguf_open(&file, path, &fail);
    if (code != OK)
        return command_failed("inspect", &fail);
    inspection in = {.file = file};
    gather(&in);
    if (json)
        code = inspection_print_json(&in, keys, stdout);
    else
        inspection_print(&in, keys, stdout);
    if (code == OK && (fflush(stdout) != 0 || ferror(stdout) != 0))
        code = ERR_IO;
    if (code != OK)
        fprintf(stderr, "a-io inspect: cannot write: %s\n", error_code_text(code));
    /* What A-IO cannot use is shown, but a script must not take it for usable. */
    const failure *parts[] = {&in.config_failure, &in.tokenizer_failure};
    for (size_t i = 0; i < 2 && code == OK; i++)
        if (parts[i]->code != OK) {
            code = parts[i]->code;
            fprintf(stderr, "a-io inspect: %s: %s\n", path, parts[i]->text);
        }
    chat_template_destroy(in.chat);
    tokenizer_destroy(in.tokenizer);
    gguf_close(file);
    return error_code_exit(code);
}

typedef struct inspect_options {
    const char *model_path;
    bool json, keys, help;
} inspect_options;

int command_inspect(int argc, char **argv)
{
    inspect_options o = {.json = false};
    const option_row rows[] = {{"model-file", 'm', .text = &o.model_path},
                               {"json", .flag = &o.json},
                               {"keys", .flag = &o.keys},
                               OFFLINE_OPTION,
                               HELP_OPTION(&o)};
    const char *named = NULL;
    char *path = NULL;
    failure fail;
    error_code code = options_read(rows, argc, argv, &fail);
    if (code == OK && o.help) {
        help_print("inspect", stdout);
        return 0;
    }
    if (code == OK)
        code = read_model_path(&named, o.model_path, argc, argv, &fail);
    if (code == OK)
        code = model_file_find(named, NULL, &path, &fail);
    int status = code == OK ? inspect_file(path, o.json, o.keys) : command_failed("inspect", &fail);
    free(path);
    return status;
}
