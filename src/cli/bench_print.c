/* bench_print.c: what `bench` measured, as a table for people and as one JSON object. */
#include "cli/bench.h"

#include <inttypes.h>
#include <jansson.h>

#include "base/failure.h"

#define LABEL_SIZE 300

/* ---- for people ----------------------------------------------------------------------------- */

static void print_kv_names(const bench_options *o, FILE *file)
{
    for (size_t i = 0; i < o->n_kv; i++)
        fprintf(file, "%s%s", i > 0 ? "," : "", kv_type_name(o->kv[i]));
}

void bench_print_heading(const bench_options *o, FILE *file)
{
    fprintf(file, "%d thread%s, kernel %s, KV ", (int)o->threads, o->threads == 1 ? "" : "s",
            kernel_name());
    print_kv_names(o, file);
    fprintf(file, ", %d run%s: median (lowest to highest)\n", (int)o->runs,
            o->runs == 1 ? "" : "s");
}

void bench_print_model(const bench_options *o, const bench_model *m, FILE *file)
{
    fprintf(file, "%s, %s: %.1f MB of weights a step, which are %.1f MB in the file, ", m->name,
            m->type, (double)m->weight_bytes / 1e6, (double)m->source_bytes / 1e6);
    for (size_t i = 0; i < o->n_kv; i++)
        fprintf(file, "%s%.1f KB", i > 0 ? " or " : "", (double)m->kv_token_bytes[o->kv[i]] / 1e3);
    fprintf(file, " of KV a token, loaded in %.2f s", m->load_ms / 1e3);
    if (m->multiply_rate > 0)
        fprintf(file, ", 8 columns in cache %.0f GMAC/s", m->multiply_rate / 1e9);
    fputc('\n', file);
}

static bool takes_turns(const bench_set *set)
{
    return set->n_models * set->n_kv > 1;
}

void bench_print_columns(const bench_set *set, FILE *file)
{
    fprintf(file, "%-8s %5s %6s ", "test", "n", "depth");
    if (takes_turns(set))
        fprintf(file, "%-20s ", "of");
    fprintf(file, "%10s %-20s %9s %8s %8s  %-22s ", "ms", "", "tokens/s", "GB/s", "peak",
            "share of it");
    if (set->steps)
        fprintf(file, "%9s %10s ", "T(n)/T(1)", "over bound");
    if (takes_turns(set))
        fprintf(file, "%-22s ", "times first");
    fprintf(file, " tokens' hash\n");
}

/* "pangu-1b Q4_0 q8_0", as far as the set's members differ; "" for the only one. */
static void label_of(const bench_model *m, kv_type kv, char text[LABEL_SIZE])
{
    size_t used = 0;
    text[0] = '\0';
    if (m->set->n_models > 1)
        used = (size_t)snprintf(text, LABEL_SIZE, "%s %s", m->name, m->type);
    if (m->set->n_kv > 1)
        snprintf(text + used, LABEL_SIZE - used, "%s%s", used > 0 ? " " : "", kv_type_name(kv));
}

static void print_ratio(const spread *ratio, int width, FILE *file)
{
    if (ratio->median > 0)
        fprintf(file, "%*.3f ", width, ratio->median);
    else
        fprintf(file, "%*s ", width, "");
}

static void print_speedup(const spread *speedup, FILE *file)
{
    char text[64] = "";
    if (speedup->median > 0)
        snprintf(text, sizeof text, "%.2f (%.2f to %.2f)", speedup->median, speedup->low,
                 speedup->high);
    fprintf(file, "%-22s ", text);
}

void bench_print_result(const bench_result *result, FILE *file)
{
    const speed_result *r = &result->speed;
    const bench_set *set = result->model->set;
    char text[LABEL_SIZE];
    fprintf(file, "%-8s %5zu %6zu ", speed_kind_name(r->test.kind), r->test.n, r->test.depth);
    if (takes_turns(set)) {
        label_of(result->model, r->kv, text);
        fprintf(file, "%-20s ", text);
    }
    snprintf(text, sizeof text, "(%.3f to %.3f)", r->ms.low, r->ms.high);
    fprintf(file, "%10.3f %-20s %9.1f %8.2f %8.2f  ", r->ms.median, text, speed_tokens_per_s(r),
            speed_gb_s(r), r->peak);
    snprintf(text, sizeof text, "%.1f %% (%.1f to %.1f)", 100 * r->share.median, 100 * r->share.low,
             100 * r->share.high);
    fprintf(file, "%-22s ", text);
    if (set->steps) {
        print_ratio(&r->to_one, 9, file);
        print_ratio(&r->over_bound, 10, file);
    }
    if (takes_turns(set))
        print_speedup(&r->speedup, file);
    fprintf(file, " %016" PRIx64, token_hash(r->tokens.ids, r->tokens.length));
    if (r->n_unsteady > 0)
        fprintf(file, "  %zu of %zu runs unsteady", r->n_unsteady, r->n_runs);
    fputc('\n', file);
}

void bench_print_peak(const bench_set *set, FILE *file)
{
    fprintf(file, "read peak: %.2f GB/s before, %.2f after (%s)\n", set->peak_before,
            set->peak_after, set->peak_variant);
}

/* ---- for programs --------------------------------------------------------------------------- */

static json_t *integer(size_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *run_json(const speed_result *r, const speed_run *run)
{
    return json_pack("{s:f, s:f, s:{s:f, s:f}, s:b, s:o}", "ms", run->ms, "share_of_peak",
                     speed_run_share(r, run), "read_peak_gb_s", "before", run->peak_before, "after",
                     run->peak_after, "steady", speed_run_steady(run), "attempts",
                     integer(run->attempts));
}

/* null where there is none */
static json_t *ratio_json(const spread *ratio)
{
    return ratio->median > 0 ? json_real(ratio->median) : json_null();
}

static json_t *result_json(const bench_report *report, const bench_result *result)
{
    const bench_model *m = result->model;
    const speed_result *r = &result->speed;
    char hash[17];
    snprintf(hash, sizeof hash, "%016" PRIx64, token_hash(r->tokens.ids, r->tokens.length));
    json_t *runs = json_array(), *tokens = json_array();
    for (size_t i = 0; i < r->n_runs; i++)
        json_array_append_new(runs, run_json(r, &r->runs[i]));
    for (size_t i = 0; i < r->tokens.length; i++)
        json_array_append_new(tokens, json_integer(r->tokens.ids[i]));
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:o, s:o, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o, "
        "s:o, s:o, s:o, s:s, s:o, s:{s:f, s:f, s:f}, s:b, s:o, s:o}",
        "model", m->name, "type", m->type, "kv", kv_type_name(r->kv), "test",
        speed_kind_name(r->test.kind), "n", integer(r->test.n), "depth", integer(r->test.depth),
        "threads", (int)report->options->threads, "ms", r->ms.median, "ms_low", r->ms.low,
        "ms_high", r->ms.high, "tokens_per_s", speed_tokens_per_s(r), "bytes", r->bytes, "gb_s",
        speed_gb_s(r), "share_of_peak", r->share.median, "share_of_peak_low", r->share.low,
        "share_of_peak_high", r->share.high, "ratio_to_one", ratio_json(&r->to_one), "over_bound",
        ratio_json(&r->over_bound), "speedup", ratio_json(&r->speedup), "kv_bytes",
        integer(r->kv_bytes), "token_hash", hash, "tokens", tokens, "read_peak_gb_s", "before",
        r->peak_before, "after", r->peak_after, "used", r->peak, "steady", r->n_unsteady == 0,
        "unsteady_runs", integer(r->n_unsteady), "runs", runs);
}

static json_t *model_json(const bench_options *o, const bench_model *m)
{
    json_t *kv = json_object();
    for (size_t i = 0; i < o->n_kv; i++)
        json_object_set_new(kv, kv_type_name(o->kv[i]), integer(m->kv_token_bytes[o->kv[i]]));
    return json_pack(
        "{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:f, s:o, s:o, s:{s:f, s:f, s:s}}", "model",
        m->name, "file", m->file, "type", m->type, "file_bytes", integer(m->file_bytes),
        "weight_bytes", integer(m->weight_bytes), "source_bytes", integer(m->source_bytes),
        "kv_bytes_per_token", kv, "context", integer(m->context), "load_s", m->load_ms / 1e3,
        "memory_peak_bytes", m->memory_peak == 0 ? json_null() : integer(m->memory_peak),
        "multiply_adds_per_s", m->multiply_rate > 0 ? json_real(m->multiply_rate) : json_null(),
        "read_peak_gb_s", "before", m->set->peak_before, "after", m->set->peak_after, "variant",
        m->set->peak_variant);
}

static json_t *report_json(const bench_report *report)
{
    const bench_options *o = report->options;
    json_t *models = json_array(), *results = json_array(), *kv = json_array();
    bool steady = true;
    for (size_t i = 0; i < o->n_kv; i++)
        json_array_append_new(kv, json_string(kv_type_name(o->kv[i])));
    for (size_t i = 0; i < report->n_models; i++)
        json_array_append_new(models, model_json(o, &report->models[i]));
    for (size_t i = 0; i < report->n_results; i++) {
        json_array_append_new(results, result_json(report, &report->results[i]));
        steady = steady && report->results[i].speed.n_unsteady == 0;
    }
    return json_pack("{s:{s:f, s:f}, s:b, s:s, s:o, s:i, s:i, s:b, s:o, s:o}", "read_peak_gb_s",
                     "before", report->sets[0].peak_before, "after",
                     report->sets[report->n_sets - 1].peak_after, "steady", steady, "kernel",
                     kernel_name(), "kv", kv, "threads", (int)o->threads, "runs", (int)o->runs,
                     "together", o->together, "models", models, "results", results);
}

error_code bench_print_json(const bench_report *report, FILE *file)
{
    json_t *root = report_json(report);
    if (root == NULL)
        return ERR_MEMORY;
    int written = json_dumpf(root, file, JSON_INDENT(1) | JSON_REAL_PRECISION(7));
    json_decref(root);
    return written == 0 && fputc('\n', file) != EOF ? OK : ERR_IO;
}
