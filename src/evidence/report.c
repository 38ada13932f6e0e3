/* report.c: figures out of results, and the pages made of them. */
#include "evidence/report.h"

#include <string.h>

#include "evidence/report_internal.h"

/* ---- rows --------------------------------------------------------------------------------- */

typedef struct column {
    const char *head, *group, *key;
    double scale;
    int decimals;
} column;

static const column columns[] = {{"right %", NULL, "accuracy", 1, 2},
                                 {"tokens/s", NULL, "tokens_per_s", 1, 0},
                                 {"mean rate", NULL, "mean_rate", 1, 0},
                                 {"ttft p50 ms", "ttft_ms", "p50", 1, 2},
                                 {"latency p50", "latency_ms", "p50", 1, 1},
                                 {"p95", "latency_ms", "p95", 1, 1},
                                 {"p99", "latency_ms", "p99", 1, 1},
                                 {"overhead ms", "overhead_ms", "total", 1, 2},
                                 {"MB an answer", NULL, "bytes_per_answer", 1e-6, 1},
                                 {"fallbacks", NULL, "fallbacks", 1, 0}};
#define N_COLUMNS (sizeof columns / sizeof columns[0])

static void add_rows(buffer *out, const json_t *runs, const char *scenario, const char *before,
                     const char *between, const char *after)
{
    const json_t *large = report_find(runs, scenario, "large");
    double base = large != NULL ? report_number(large, NULL, "tokens_per_s") : 0;
    for (size_t i = 0; i < json_array_size(runs); i++) {
        const json_t *r = json_array_get(runs, i);
        if (strcmp(report_text(r, "scenario"), scenario) != 0)
            continue;
        buffer_add_text(out, before);
        report_escape(out, report_text(r, "policy"));
        if (*report_text(r, "chosen") != '\0') {
            buffer_add_text(out, " (");
            report_escape(out, report_text(r, "chosen"));
            buffer_add_text(out, ")");
        }
        for (size_t k = 0; k < N_COLUMNS; k++)
            buffer_add_format(out, "%s%.*f", between, columns[k].decimals,
                              columns[k].scale *
                                  report_number(r, columns[k].group, columns[k].key));
        buffer_add_format(out, "%s%.2f", between,
                          base > 0 ? report_number(r, NULL, "tokens_per_s") / base : 0);
        buffer_add_text(out, after);
    }
}

static error_code finish(const buffer *out, failure *fail)
{
    return out->length > 0 ? OK : failure_set(fail, ERR_MEMORY, "no memory for the report");
}

error_code report_markdown(buffer *out, const json_t *runs, failure *fail)
{
    report_scenarios s = report_find_scenarios(runs);
    for (size_t i = 0; i < s.n; i++) {
        const json_t *first = json_array_get(runs, 0);
        for (size_t k = 0; k < json_array_size(runs); k++)
            if (strcmp(report_text(json_array_get(runs, k), "scenario"), s.names[i]) == 0) {
                first = json_array_get(runs, k);
                break;
            }
        buffer_add_format(out, "%sScenario %s, %.0f requests:\n\n| policy |", i > 0 ? "\n" : "",
                          s.names[i], report_number(first, NULL, "requests"));
        for (size_t k = 0; k < N_COLUMNS; k++)
            buffer_add_format(out, " %s |", columns[k].head);
        buffer_add_text(out, " × large |\n|---|");
        for (size_t k = 0; k <= N_COLUMNS; k++)
            buffer_add_text(out, "---:|");
        buffer_add_text(out, "\n");
        add_rows(out, runs, s.names[i], "| ", " | ", " |\n");
    }
    return finish(out, fail);
}

error_code report_svg(buffer *out, const json_t *runs, failure *fail)
{
    report_scatter(out, runs);
    return finish(out, fail);
}

/* ---- the page ----------------------------------------------------------------------------- */

static void add_table(buffer *out, const json_t *runs, const char *scenario)
{
    buffer_add_text(out, "<div class=\"wide\"><table><tr><th>policy");
    for (size_t k = 0; k < N_COLUMNS; k++)
        buffer_add_format(out, "<th>%s", columns[k].head);
    buffer_add_text(out, "<th>× large");
    add_rows(out, runs, scenario, "<tr><td>", "<td>", "\n");
    buffer_add_text(out, "</table></div>\n");
}

static const json_t *widest(const json_t *runs, const char *scenario, const char *key)
{
    const json_t *r = report_find(runs, scenario, "adaptive");
    for (size_t i = 0; r == NULL && i < json_array_size(runs); i++) {
        const json_t *other = json_array_get(runs, i);
        if (strcmp(report_text(other, "scenario"), scenario) == 0 &&
            json_object_size(json_object_get(other, key)) > 0)
            r = other;
    }
    return r;
}

/* true label → probed label → count: columns are all labels that occur. */
static void add_confusion(buffer *out, const json_t *r)
{
    json_t *rows = json_object_get(r, "intents"), *row, *cell, *labels = json_object();
    const char *name, *label;
    json_object_foreach(rows, name, row) json_object_foreach(row, label, cell)
        json_object_set_new(labels, label, json_null());
    buffer_add_text(out, "<table><caption>Probe (");
    report_escape(out, report_text(r, "policy"));
    buffer_add_text(out, "): true label by row, probed by column</caption><tr><th>");
    json_object_foreach(labels, label, cell)
    {
        buffer_add_text(out, "<th>");
        report_escape(out, label);
    }
    json_object_foreach(rows, name, row)
    {
        buffer_add_text(out, "<tr><td>");
        report_escape(out, name);
        json_object_foreach(labels, label, cell)
            buffer_add_format(out, "<td%s>%.0f", strcmp(name, label) == 0 ? " class=\"hit\"" : "",
                              report_number(row, NULL, label));
    }
    buffer_add_text(out, "</table>\n");
    json_decref(labels);
}

static void add_acceptance(buffer *out, const json_t *r)
{
    const char *label;
    json_t *counts;
    buffer_add_text(out, "<table><caption>Lookup (");
    report_escape(out, report_text(r, "policy"));
    buffer_add_text(out, ")</caption><tr><th>label<th>tokens<th>drafted<th>accepted<th>%");
    json_object_foreach(json_object_get(r, "acceptance"), label, counts)
    {
        double drafted = report_number(counts, NULL, "drafted");
        double accepted = report_number(counts, NULL, "accepted");
        buffer_add_text(out, "<tr><td>");
        report_escape(out, label);
        buffer_add_format(out, "<td>%.0f<td>%.0f<td>%.0f<td>%.0f",
                          report_number(counts, NULL, "tokens"), drafted, accepted,
                          drafted > 0 ? 100 * accepted / drafted : 0);
    }
    buffer_add_text(out, "</table>\n");
}

static const char page_head[] =
    "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">"
    "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
    "<meta name=\"color-scheme\" content=\"light dark\"><title>A-IO replay</title><style>";
static const char page_style[] =
    "body{font:15px/1.45 system-ui,'DejaVu Sans',sans-serif;color:var(--ink);"
    "background:var(--paper);max-width:1080px;margin:2rem auto;padding:0 1rem}"
    "h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}"
    "svg{max-width:100%;height:auto;display:block;margin:.8rem 0}"
    ".wide{overflow-x:auto}.two{display:flex;flex-wrap:wrap;gap:2rem;align-items:flex-start}"
    "table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}"
    "caption{text-align:left;color:var(--soft);padding-bottom:.3rem}"
    "th,td{text-align:right;padding:.22rem .6rem;border-bottom:1px solid var(--grid)}"
    "th:first-child,td:first-child{text-align:left}th{font-weight:600;color:var(--soft)}"
    ".hit{font-weight:600;color:var(--a)}p{color:var(--soft)}";

error_code report_html(buffer *out, const json_t *runs, failure *fail)
{
    static const report_bars bars[] = {
        {"Speed", "tokens/s", NULL, {"tokens_per_s"}, 1, false},
        {"Latency", "ms", "latency_ms", {"p50", "p95", "p99"}, 1, true},
        {"Overhead of a decision",
         "mean ms",
         "overhead_ms",
         {"template", "prefill", "decide", "switch"},
         1,
         false},
        {"Read for an answer", "MB of weights and KV", NULL, {"bytes_per_answer"}, 1e-6, false}};
    report_scenarios s = report_find_scenarios(runs);
    buffer_add_format(out,
                      "%s%s%s</style>\n<h1>A-IO replay</h1>\n<p>Each point is a policy: right "
                      "answers against tokens a second (all tokens over all the time). The "
                      "dashed line joins the two static models: above it lies what choosing "
                      "between them by a coin cannot reach.</p>\n<div class=\"wide\">",
                      page_head, report_style, page_style);
    report_scatter(out, runs);
    buffer_add_text(out, "</div>\n");
    for (size_t i = 0; i < s.n; i++) {
        buffer_add_text(out, "<h2>Scenario ");
        report_escape(out, s.names[i]);
        buffer_add_text(out, "</h2>\n");
        add_table(out, runs, s.names[i]);
        for (size_t k = 0; k < sizeof bars / sizeof bars[0]; k++)
            report_draw_bars(out, runs, s.names[i], &bars[k]);
        const json_t *r = widest(runs, s.names[i], "intents");
        buffer_add_text(out, "<div class=\"two\">");
        if (r != NULL) {
            add_confusion(out, r);
            add_acceptance(out, r);
        }
        buffer_add_text(out, "</div>\n");
    }
    buffer_add_text(out, "</html>\n");
    return finish(out, fail);
}
