/* bench_perplexity.c: `a-io bench --perplexity`: how well models predict a text. */
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "cli/bench.h"
#include "cli/common.h"
#include "cli/progress.h"
#include "measure/perplexity.h"

enum { CHUNK = 64, MOST_WINDOW = 2048 };

static void show(void *context, double fraction)
{
    progress_show(context, fraction);
}

static error_code add_json(json_t *results, const char *name, const model *m,
                           const perplexity_options *o, const perplexity_result *r)
{
    json_t *value = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:f}", "model", name,
                              "type", measure_main_type(m->file)->name, "kv", kv_type_name(o->kv),
                              "window", (json_int_t)o->window, "windows", (json_int_t)r->windows,
                              "tokens", (json_int_t)r->tokens, "nats", r->nats, "standard_error",
                              r->standard_error, "perplexity", json_finite(r->perplexity),
                              "tokens_per_s", json_finite((double)r->tokens / r->ms * 1e3));
    return json_array_append_new(results, value) == 0 ? OK : ERR_MEMORY;
}

static void print_row(const char *name, const model *m, const perplexity_options *o,
                      const perplexity_result *r)
{
    printf("%-30s %-6s %-5s %6zu %8zu %8.4f %7.4f %12.4f %9.1f\n", name,
           measure_main_type(m->file)->name, kv_type_name(o->kv), o->window, r->tokens, r->nats,
           r->standard_error, r->perplexity, (double)r->tokens / r->ms * 1e3);
    fflush(stdout);
}

static error_code measure_model(const bench_options *o, const char *name, const model *m,
                                const token_list *text, team *threads, json_t *results,
                                failure *fail)
{
    size_t context = m->config.context_length;
    error_code code = OK;
    for (size_t i = 0; code == OK && i < o->n_kv; i++) {
        progress bar;
        perplexity_result r;
        perplexity_options options = {.threads = threads,
                                      .kv = o->kv[i],
                                      .window = context < MOST_WINDOW ? context : MOST_WINDOW,
                                      .chunk = CHUNK,
                                      .progress = show,
                                      .progress_context = &bar};
        if (o->window > 0)
            options.window = (size_t)o->window;
        progress_start(&bar, "reading");
        code = measure_perplexity(m, text, &options, &r, fail);
        progress_end(&bar);
        if (code == OK && o->json && add_json(results, name, m, &options, &r) != OK)
            code = failure_set(fail, ERR_MEMORY, "no memory for the results");
        if (code == OK && !o->json)
            print_row(name, m, &options, &r);
    }
    return code;
}

static error_code measure_source(const bench_options *o, const bench_source *source,
                                 const buffer *text, team *threads, json_t *results, failure *fail)
{
    char path[BENCH_PATH_SIZE], name[256];
    const model_options options = {.chat_template = "none", .head = o->head};
    model *m = NULL;
    token_list ids = {0};
    error_code code = bench_find_file(o, source, path, fail);
    if (code == OK)
        code = model_load(&m, path, &options, fail);
    if (code == OK)
        code = tokenizer_encode(m->tokenizer, text->length > 0 ? text->data : "", text->length,
                                o->special, true, &ids, fail);
    const char *called = source->path == NULL ? source->synthetic.shape : source->path;
    utf8_printable(called, strlen(called), name, sizeof name);
    if (code == OK)
        code = measure_model(o, name, m, &ids, threads, results, fail);
    token_list_free(&ids);
    model_destroy(m);
    return code;
}

error_code bench_perplexity(const bench_options *o, failure *fail)
{
    buffer text;
    team *threads = NULL;
    json_t *results = json_array();
    buffer_init(&text, INPUT_LIMIT);
    error_code code = buffer_read_file(&text, o->perplexity_path, fail);
    if (code == OK)
        code = team_create(&threads, (int)o->threads, fail);
    if (code == OK && !o->json)
        printf("%-30s %-6s %-5s %6s %8s %8s %7s %12s %9s\n", "model", "type", "KV", "window",
               "tokens", "nats", "error", "perplexity", "tokens/s");
    for (size_t i = 0; code == OK && i < o->n_models; i++)
        code = measure_source(o, &o->models[i], &text, threads, results, fail);
    if (code == OK && o->json)
        code = print_json(json_pack("{s:O}", "perplexity", results), fail);
    json_decref(results);
    team_destroy(threads);
    buffer_free(&text);
    return code;
}
