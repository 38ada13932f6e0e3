/* metrics_text.c: families and samples, names and labels escaped. */
#include "server/metrics_text.h"

#include <inttypes.h>
#include <stdio.h>

void put(metrics_text *t, const char *text)
{
    if (t->code == OK)
        t->code = buffer_add_text(t->out, text);
}

void put_head(metrics_text *t, const char *name, const char *type, const char *help)
{
    if (t->code == OK)
        t->code = buffer_add_format(t->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void put_label(metrics_text *t, const char *before, const char *name, const char *value)
{
    put(t, before);
    put(t, name);
    put(t, "=\"");
    for (const char *c = value; *c != '\0'; c++) {
        const char one[] = {*c, '\0'};
        put(t, *c == '\\' ? "\\\\" : *c == '"' ? "\\\"" : *c == '\n' ? "\\n" : one);
    }
    put(t, "\"");
}

void put_count(metrics_text *t, uint64_t value)
{
    if (t->code == OK)
        t->code = buffer_add_format(t->out, " %" PRIu64 "\n", value);
}

void put_number(metrics_text *t, double value)
{
    if (t->code == OK)
        t->code = buffer_add_format(t->out, " %.15g\n", value);
}

void put_seconds(metrics_text *t, double ms)
{
    if (t->code == OK)
        t->code = buffer_add_format(t->out, " %.9g\n", ms / 1e3);
}

void put_plain(metrics_text *t, const char *name, const char *type, const char *help, double value)
{
    put_head(t, name, type, help);
    put(t, name);
    put_number(t, value);
}

static void put_name(metrics_text *t, const char *name, const char *ending, const char *label,
                     const char *value)
{
    put(t, name);
    put(t, ending);
    if (label == NULL)
        return;
    put_label(t, "{", label, value);
    put(t, "}");
}

static void put_bucket(metrics_text *t, const char *name, const char *label, const char *value,
                       const char *bound, uint64_t count)
{
    put(t, name);
    put(t, "_bucket");
    if (label != NULL)
        put_label(t, "{", label, value);
    put_label(t, label != NULL ? "," : "{", "le", bound);
    put(t, "}");
    put_count(t, count);
}

void put_histogram(metrics_text *t, const char *name, const char *label, const char *value,
                   const histogram *h)
{
    uint64_t so_far = 0;
    for (size_t i = 0; i < HISTOGRAM_BOUNDS; i++) {
        char bound[32];
        snprintf(bound, sizeof bound, "%g", histogram_bounds[i]);
        so_far += h->counts[i];
        put_bucket(t, name, label, value, bound, so_far);
    }
    put_bucket(t, name, label, value, "+Inf", h->count);
    put_name(t, name, "_sum", label, value);
    put_seconds(t, h->sum_ms);
    put_name(t, name, "_count", label, value);
    put_count(t, h->count);
}
