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
            "%-8s %5s %6s %26s %9s %8s %8s %7s  %s\n",
            m->name, m->type, (double)m->weight_bytes / 1e6, (double)m->kv_token_bytes / 1e3,
            m->load_ms / 1e3, "test", "n", "depth", "ms", "tokens/s", "GB/s", "peak", "share",
            "tokens' hash");
}

void bench_print_result(const speed_result *r, FILE *file)
{
    fprintf(file,
            "%-8s %5zu %6zu %10.3f (%.3f to %.3f) %9.1f %8.2f %8.2f %6.1f%%  %016" PRIx64 "%s\n",
            speed_kind_name(r->test.kind), r->test.n, r->test.depth, r->ms.median, r->ms.low,
            r->ms.high, speed_tokens_per_s(r), speed_gb_s(r),
            r->peak_before > r->peak_after ? r->peak_before : r->peak_after,
            100 * speed_share_of_peak(r), token_hash(r->tokens.ids, r->tokens.length),
            r->steady ? "" : "  unsteady");
}

/* ---- for programs --------------------------------------------------------------------------- */

static json_t *integer(size_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *result_json(const bench_report *report, const bench_model *m, const speed_result *r)
{
    char hash[17];
    snprintf(hash, sizeof hash, "%016" PRIx64, token_hash(r->tokens.ids, r->tokens.length));
    json_t *runs = json_array(), *tokens = json_array();
    for (size_t i = 0; i < report->runs; i++)
        json_array_append_new(runs, json_real(r->run_ms[i]));
    for (size_t i = 0; i < r->tokens.length; i++)
        json_array_append_new(tokens, json_integer(r->tokens.ids[i]));
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:i, s:f, s:f, s:f, s:o, s:f, s:f, s:f, s:f, s:o, "
                     "s:s, s:o, s:{s:f, s:f}, s:b, s:o}",
                     "model", m->name, "type", m->type, "test", speed_kind_name(r->test.kind), "n",
                     integer(r->test.n), "depth", integer(r->test.depth), "threads",
                     report->threads, "ms", r->ms.median, "ms_low", r->ms.low, "ms_high",
                     r->ms.high, "ms_runs", runs, "tokens_per_s", speed_tokens_per_s(r), "bytes",
                     r->bytes, "gb_s", speed_gb_s(r), "share_of_peak", speed_share_of_peak(r),
                     "kv_bytes", integer(r->kv_bytes), "token_hash", hash, "tokens", tokens,
                     "read_peak_gb_s", "before", r->peak_before, "after", r->peak_after, "steady",
                     r->steady, "attempts", integer(r->attempts));
}

static json_t *model_json(const bench_model *m)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:f, s:o}", "model", m->name, "file",
                     m->file, "type", m->type, "file_bytes", integer(m->file_bytes), "weight_bytes",
                     integer(m->weight_bytes), "kv_bytes_per_token", integer(m->kv_token_bytes),
                     "context", integer(m->context), "load_s", m->load_ms / 1e3,
                     "memory_peak_bytes",
                     m->memory_peak == 0 ? json_null() : integer(m->memory_peak));
}

static json_t *report_json(const bench_report *report)
{
    json_t *models = json_array(), *results = json_array();
    double before = 0, after = 0;
    bool steady = true;
    for (size_t i = 0; i < report->n_models; i++) {
        const bench_model *m = &report->models[i];
        json_array_append_new(models, model_json(m));
        for (size_t j = 0; j < m->n_results; j++) {
            const speed_result *r = &m->results[j];
            json_array_append_new(results, result_json(report, m, r));
            if (before <= 0)
                before = r->peak_before;
            after = r->peak_after;
            steady = steady && r->steady;
        }
    }
    return json_pack("{s:{s:f, s:f}, s:b, s:s, s:s, s:i, s:o, s:o, s:o}", "read_peak_gb_s",
                     "before", before, "after", after, "steady", steady, "kernel", kernel_name(),
                     "kv", kv_type_name(report->kv), "threads", report->threads, "runs",
                     integer(report->runs), "models", models, "results", results);
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
