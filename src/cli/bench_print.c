#include "cli/bench.h"

#include <inttypes.h>
#include <jansson.h>

#include "base/failure.h"

/* ---- for people ----------------------------------------------------------------------------- */

void bench_print_heading(const bench_report *report, FILE *file)
{
    fprintf(file, "%d thread%s, kernel %s, KV %s, %zu run%s: median (lowest to highest)\n",
            report->threads, report->threads == 1 ? "" : "s", kernel_name(),
            kv_type_name(report->kv), report->runs, report->runs == 1 ? "" : "s");
}

void bench_print_model(const bench_model *m, FILE *file)
{
    fprintf(file,
            "\n%s, %s: %.1f MB of weights a step, %.1f KB of KV a token, loaded in %.2f s\n"
            "%-8s %5s %6s %10s %-20s %9s %8s %8s  %-22s  %s\n",
            m->name, m->type, (double)m->weight_bytes / 1e6, (double)m->kv_token_bytes / 1e3,
            m->load_ms / 1e3, "test", "n", "depth", "ms", "", "tokens/s", "GB/s", "peak",
            "share of it", "tokens' hash");
}

void bench_print_result(const speed_result *r, FILE *file)
{
    char ms[48], share[48], unsteady[48] = "";
    snprintf(ms, sizeof ms, "(%.3f to %.3f)", r->ms.low, r->ms.high);
    snprintf(share, sizeof share, "%.1f %% (%.1f to %.1f)", 100 * r->share.median,
             100 * r->share.low, 100 * r->share.high);
    if (r->n_unsteady > 0)
        snprintf(unsteady, sizeof unsteady, "  %zu of %zu runs unsteady", r->n_unsteady, r->n_runs);
    fprintf(file, "%-8s %5zu %6zu %10.3f %-20s %9.1f %8.2f %8.2f  %-22s  %016" PRIx64 "%s\n",
            speed_kind_name(r->test.kind), r->test.n, r->test.depth, r->ms.median, ms,
            speed_tokens_per_s(r), speed_gb_s(r), r->peak, share,
            token_hash(r->tokens.ids, r->tokens.length), unsteady);
}

void bench_print_peak(const bench_model *m, FILE *file)
{
    fprintf(file, "read peak: %.2f GB/s before, %.2f after (%s)\n", m->peak_before, m->peak_after,
            m->peak_variant);
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

static json_t *result_json(const bench_report *report, const bench_model *m, const speed_result *r)
{
    char hash[17];
    snprintf(hash, sizeof hash, "%016" PRIx64, token_hash(r->tokens.ids, r->tokens.length));
    json_t *runs = json_array(), *tokens = json_array();
    for (size_t i = 0; i < r->n_runs; i++)
        json_array_append_new(runs, run_json(r, &r->runs[i]));
    for (size_t i = 0; i < r->tokens.length; i++)
        json_array_append_new(tokens, json_integer(r->tokens.ids[i]));
    return json_pack(
        "{s:s, s:s, s:s, s:o, s:o, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:s, "
        "s:o, s:{s:f, s:f, s:f}, s:b, s:o, s:o}",
        "model", m->name, "type", m->type, "test", speed_kind_name(r->test.kind), "n",
        integer(r->test.n), "depth", integer(r->test.depth), "threads", report->threads, "ms",
        r->ms.median, "ms_low", r->ms.low, "ms_high", r->ms.high, "tokens_per_s",
        speed_tokens_per_s(r), "bytes", r->bytes, "gb_s", speed_gb_s(r), "share_of_peak",
        r->share.median, "share_of_peak_low", r->share.low, "share_of_peak_high", r->share.high,
        "kv_bytes", integer(r->kv_bytes), "token_hash", hash, "tokens", tokens, "read_peak_gb_s",
        "before", r->peak_before, "after", r->peak_after, "used", r->peak, "steady",
        r->n_unsteady == 0, "unsteady_runs", integer(r->n_unsteady), "runs", runs);
}

static json_t *model_json(const bench_model *m)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:f, s:o, s:{s:f, s:f, s:s}}", "model",
                     m->name, "file", m->file, "type", m->type, "file_bytes",
                     integer(m->file_bytes), "weight_bytes", integer(m->weight_bytes),
                     "kv_bytes_per_token", integer(m->kv_token_bytes), "context",
                     integer(m->context), "load_s", m->load_ms / 1e3, "memory_peak_bytes",
                     m->memory_peak == 0 ? json_null() : integer(m->memory_peak), "read_peak_gb_s",
                     "before", m->peak_before, "after", m->peak_after, "variant", m->peak_variant);
}

static json_t *report_json(const bench_report *report)
{
    json_t *models = json_array(), *results = json_array();
    bool steady = true;
    for (size_t i = 0; i < report->n_models; i++) {
        const bench_model *m = &report->models[i];
        json_array_append_new(models, model_json(m));
        for (size_t j = 0; j < m->n_results; j++) {
            json_array_append_new(results, result_json(report, m, &m->results[j]));
            steady = steady && m->results[j].n_unsteady == 0;
        }
    }
    const bench_model *first = &report->models[0], *last = &report->models[report->n_models - 1];
    return json_pack("{s:{s:f, s:f}, s:b, s:s, s:s, s:i, s:o, s:o, s:o}", "read_peak_gb_s",
                     "before", first->peak_before, "after", last->peak_after, "steady", steady,
                     "kernel", kernel_name(), "kv", kv_type_name(report->kv), "threads",
                     report->threads, "runs", integer(report->runs), "models", models, "results",
                     results);
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
