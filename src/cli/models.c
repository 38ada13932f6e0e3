/* models.c: `a-io models`: what the hub's cache holds, and what of it can run here. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "cli/cli.h"
#include "cli/common.h"
#include "cli/help.h"
#include "cli/model_file.h"
#include "model/model.h"

/* What the file says, beside the cache's entry. */
typedef struct verdict {
    char architecture[64];
    bool runs;
    failure why; /* it does not */
} verdict;

static error_code judge_file(const gguf *file, verdict *v)
{
    model_config c;
    tokenizer *t = NULL;
    error_code code = model_config_read(&c, file, &v->why);
    if (code == OK)
        code = tokenizer_load(&t, file, &v->why);
    tokenizer_destroy(t);
    return code;
}

static void judge(const hub_entry *e, verdict *v)
{
    gguf *file = NULL;
    *v = (verdict){.architecture = "?"};
    error_code code = e->n_missing == 0
                          ? gguf_open(&file, e->path, &v->why)
                          : failure_set(&v->why, ERR_NOT_FOUND, "%zu of %zu parts are not here",
                                        e->n_missing, e->n_parts);
    if (code == OK) {
        gguf_string name;
        if (gguf_text(file, "general.architecture", &name))
            utf8_printable(name.data, name.length, v->architecture, sizeof v->architecture);
        code = judge_file(file, v);
    }
    gguf_close(file);
    v->runs = code == OK;
    /* The list names the file already. */
    size_t length = strlen(e->path);
    if (code != OK && strncmp(v->why.text, e->path, length) == 0 && v->why.text[length] == ':')
        memmove(v->why.text, v->why.text + length + 2, strlen(v->why.text + length + 2) + 1);
}

/* ---- showing -------------------------------------------------------------------------------- */

static void size_text(uint64_t bytes, char text[16])
{
    static const char *const units[] = {"kB", "MB", "GB"};
    double value = (double)bytes / 1e3;
    size_t unit = 0;
    for (; value >= 1000 && unit < 2; unit++)
        value /= 1e3;
    snprintf(text, 16, "%.*f %s", value < 100 ? 1 : 0, value, units[unit]);
}

static void print_table(const hub_inventory *in)
{
    int width = 4;
    for (size_t i = 0; i < in->n; i++)
        width = (int)strlen(in->entries[i].name) > width ? (int)strlen(in->entries[i].name) : width;
    if (in->n > 0)
        printf("%-*s  %8s  %-12s  runs\n", width, "name", "size", "architecture");
    for (size_t i = 0; i < in->n; i++) {
        verdict v;
        char size[16];
        judge(&in->entries[i], &v);
        size_text(in->entries[i].bytes, size);
        printf("%-*s  %8s  %-12s  %s%s\n", width, in->entries[i].name, size, v.architecture,
               v.runs ? "yes" : "no: ", v.runs ? "" : v.why.text);
        fflush(stdout);
    }
}

static void print_rest(const hub_settings *s, const hub_inventory *in)
{
    char size[16];
    size_text(in->unfinished_bytes, size);
    if (in->n == 0)
        fprintf(stderr, "no models in %s; a-io pull fetches one\n", s->cache);
    if (in->n_unfinished > 0)
        fprintf(stderr, "%zu unfinished download%s, %s\n", in->n_unfinished,
                in->n_unfinished > 1 ? "s" : "", size);
}

static json_t *entry_json(const hub_entry *e)
{
    verdict v;
    judge(e, &v);
    json_t *o = json_pack("{s:s, s:o, s:s, s:s, s:I, s:I, s:s, s:b}", "name", e->name, "path",
                          json_text(e->path, strlen(e->path)), "commit", e->commit, "quant",
                          e->quant, "bytes", (json_int_t)e->bytes, "parts", (json_int_t)e->n_parts,
                          "architecture", v.architecture, "runs", (int)v.runs);
    json_object_set_new(o, "reason",
                        v.runs ? json_null() : json_text(v.why.text, strlen(v.why.text)));
    return o;
}

static error_code print_inventory_json(const hub_settings *s, const hub_inventory *in,
                                       failure *fail)
{
    json_t *models = json_array();
    for (size_t i = 0; i < in->n; i++)
        json_array_append_new(models, entry_json(&in->entries[i]));
    return print_json(json_pack("{s:o, s:o, s:{s:I, s:I}}", "models", models, "cache",
                                json_text(s->cache, strlen(s->cache)), "unfinished", "downloads",
                                (json_int_t)in->n_unfinished, "bytes",
                                (json_int_t)in->unfinished_bytes),
                      fail);
}

/* ---- the command ---------------------------------------------------------------------------- */

static error_code list_models(bool json, failure *fail)
{
    hub_settings s;
    hub_inventory in = {.n = 0};
    error_code code = model_file_settings(&s, fail);
    if (code == OK)
        code = hub_list(&s, &in, fail);
    if (code == OK && json)
        code = print_inventory_json(&s, &in, fail);
    if (code == OK && !json) {
        print_table(&in);
        print_rest(&s, &in);
    }
    hub_inventory_free(&in);
    hub_settings_free(&s);
    return code;
}

typedef struct models_options {
    bool json, help;
} models_options;

int command_models(int argc, char **argv)
{
    models_options o = {.json = false};
    const option_row rows[] = {{"json", .flag = &o.json}, HELP_OPTION(&o)};
    failure fail;
    error_code code = options_read(rows, argc, argv, &fail);
    if (code == OK && o.help) {
        help_print("models", stdout);
        return 0;
    }
    if (code == OK && optind < argc)
        code =
            failure_set(&fail, ERR_INVALID,
                        "\"%s\" is one argument too many; try: a-io models --help", argv[optind]);
    if (code == OK)
        code = list_models(o.json, &fail);
    return code == OK ? 0 : command_failed("models", &fail);
}
