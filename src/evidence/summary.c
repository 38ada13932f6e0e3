/* summary.c: counting items into shares, percentiles and rates. */
#include "evidence/summary.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"

/* ---- reading items ------------------------------------------------------------------------ */

static double number_at(const json_t *item, const char *group, const char *key)
{
    const json_t *object = group != NULL ? json_object_get(item, group) : item;
    return json_number_value(json_object_get(object, key));
}

static const char *text_at(const json_t *item, const char *key)
{
    return json_string_value(json_object_get(item, key));
}

static bool is_answered(const json_t *item)
{
    return json_is_null(json_object_get(item, "error"));
}

static double total(json_t *items, const char *group, const char *key)
{
    double sum = 0;
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item) sum += number_at(item, group, key);
    return sum;
}

static void count(json_t *counts, const char *key, json_int_t by)
{
    json_int_t before = json_integer_value(json_object_get(counts, key));
    json_object_set_new(counts, key, json_integer(json_whole((double)before + (double)by)));
}

/* ---- distributions ------------------------------------------------------------------------ */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The smallest value that at least so many per cent are not above. */
static double percentile(const double *sorted, size_t n, unsigned percent)
{
    size_t rank = (n * percent + 99) / 100;
    return n == 0 ? 0 : sorted[rank > 0 ? rank - 1 : 0];
}

/* Of the answered requests; all 0 where there are none. */
static json_t *distribution(json_t *items, const char *key)
{
    size_t n = 0, i;
    double sum = 0, *values = reallocarray(NULL, json_array_size(items) + 1, sizeof *values);
    json_t *item;
    if (values == NULL)
        return NULL;
    json_array_foreach(items, i, item)
    {
        bool has_gaps = strcmp(key, "between") != 0 || number_at(item, NULL, "tokens") > 1;
        if (is_answered(item) && has_gaps)
            sum += values[n++] = number_at(item, "ms", key);
    }
    qsort(values, n, sizeof *values, by_size);
    json_t *out = json_pack("{s:f, s:f, s:f, s:f}", "mean", n > 0 ? sum / (double)n : 0, "p50",
                            percentile(values, n, 50), "p95", percentile(values, n, 95), "p99",
                            percentile(values, n, 99));
    free(values);
    return out;
}

/* ---- accuracy ----------------------------------------------------------------------------- */

static double percent(double part, double whole)
{
    return whole > 0 ? 100 * part / whole : 0;
}

/* kind → {requests, checked, right, tokens, latency_ms, accuracy}; a request that failed is wrong.
 */
static json_t *by_kind(json_t *items)
{
    json_t *kinds = json_object(), *item, *figures;
    const char *name;
    size_t i;
    json_array_foreach(items, i, item)
    {
        const char *kind = text_at(item, "kind");
        if (json_object_get(kinds, kind) == NULL)
            json_object_set_new(kinds, kind,
                                json_pack("{s:i, s:i, s:i, s:i}", "requests", 0, "checked", 0,
                                          "right", 0, "tokens", 0));
        json_t *k = json_object_get(kinds, kind);
        const json_t *right = json_object_get(item, "right");
        count(k, "requests", 1);
        count(k, "checked", json_is_boolean(right));
        count(k, "right", json_is_true(right));
        count(k, "tokens", json_whole(number_at(item, NULL, "tokens")));
    }
    json_object_foreach(kinds, name, figures)
    {
        double accuracy =
            percent(number_at(figures, NULL, "right"), number_at(figures, NULL, "checked"));
        json_object_set_new(figures, "accuracy", json_real(accuracy));
    }
    return kinds;
}

static size_t count_right(json_t *items, size_t *checked)
{
    size_t right = 0, i;
    json_t *item;
    *checked = 0;
    json_array_foreach(items, i, item)
    {
        const json_t *verdict = json_object_get(item, "right");
        *checked += json_is_boolean(verdict);
        right += json_is_true(verdict);
    }
    return right;
}

/* ---- decisions ---------------------------------------------------------------------------- */

/* true label → probed label → how often. */
static json_t *confusion(json_t *items)
{
    json_t *rows = json_object(), *item;
    size_t i;
    json_array_foreach(items, i, item)
    {
        const char *intent = text_at(item, "intent"), *label = text_at(item, "label");
        if (intent == NULL || label == NULL)
            continue;
        if (json_object_get(rows, intent) == NULL)
            json_object_set_new(rows, intent, json_object());
        count(json_object_get(rows, intent), label, 1);
    }
    return rows;
}

static json_t *count_texts(json_t *items, const char *key)
{
    json_t *counts = json_object(), *item;
    size_t i;
    json_array_foreach(items, i, item)
    {
        const char *text = text_at(item, key);
        if (text != NULL)
            count(counts, text, 1);
    }
    return counts;
}

/* Label → {drafted, accepted, tokens}: by the probe's label, else the true one. */
static json_t *acceptance(json_t *items)
{
    json_t *labels = json_object(), *item;
    size_t i;
    json_array_foreach(items, i, item)
    {
        const char *label = text_at(item, "label");
        if (label == NULL)
            label = text_at(item, "intent");
        if (label == NULL || !is_answered(item))
            continue;
        if (json_object_get(labels, label) == NULL)
            json_object_set_new(labels, label, json_object());
        json_t *l = json_object_get(labels, label);
        count(l, "drafted", json_whole(number_at(item, "work", "drafted")));
        count(l, "accepted", json_whole(number_at(item, "work", "accepted")));
        count(l, "tokens", json_whole(number_at(item, NULL, "tokens")));
    }
    return labels;
}

static json_t *mean_overhead(json_t *items)
{
    static const char *const phases[][2] = {{"template", "template"},
                                            {"prefill", "prefill"},
                                            {"decide", "decide"},
                                            {"switch", "switch"},
                                            {"overhead", "total"}};
    json_t *out = json_object();
    double n = (double)json_array_size(items);
    for (size_t i = 0; i < sizeof phases / sizeof phases[0]; i++)
        json_object_set_new(out, phases[i][1],
                            json_real(n > 0 ? total(items, "ms", phases[i][0]) / n : 0));
    return out;
}

/* ---- speed -------------------------------------------------------------------------------- */

/* The paper's way: each request's tokens over its own time, averaged. */
static double mean_of_rates(json_t *items)
{
    double sum = 0, n = 0;
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item)
    {
        double ms = number_at(item, "ms", "latency");
        if (!is_answered(item) || ms <= 0)
            continue;
        sum += 1e3 * number_at(item, NULL, "tokens") / ms;
        n++;
    }
    return n > 0 ? sum / n : 0;
}

static size_t count_good(json_t *items, const summary_bounds *bounds)
{
    size_t good = 0, i;
    json_t *item;
    json_array_foreach(items, i, item) good +=
        is_answered(item) && number_at(item, "ms", "ttft") <= bounds->ttft_ms &&
        number_at(item, "ms", "between") <= bounds->between_ms;
    return good;
}

static size_t count_true(json_t *items, bool (*holds)(const json_t *item))
{
    size_t n = 0, i;
    json_t *item;
    json_array_foreach(items, i, item) n += holds(item);
    return n;
}

static bool fell_back(const json_t *item)
{
    return json_is_true(json_object_get(item, "fallback"));
}

static double rate(double n, double seconds)
{
    return seconds > 0 ? n / seconds : 0;
}

static void add_work(json_t *run, json_t *items, double seconds, const summary_bounds *bounds)
{
    double tokens = total(items, NULL, "tokens");
    double bytes = total(items, "work", "weight_bytes") + total(items, "work", "kv_bytes");
    size_t good = count_good(items, bounds), n = json_array_size(items);
    json_object_set_new(run, "tokens", json_integer(json_whole(tokens)));
    json_object_set_new(run, "seconds", json_real(seconds));
    json_object_set_new(run, "tokens_per_s", json_real(rate(tokens, seconds)));
    json_object_set_new(run, "mean_rate", json_real(mean_of_rates(items)));
    json_object_set_new(run, "requests_per_s", json_real(rate((double)n, seconds)));
    json_object_set_new(run, "goodput_per_s", json_real(rate((double)good, seconds)));
    json_object_set_new(run, "good_percent", json_real(percent((double)good, (double)n)));
    json_object_set_new(run, "bytes_read", json_integer(json_whole(bytes)));
    json_object_set_new(run, "bytes_per_answer", json_real(n > 0 ? bytes / (double)n : 0));
    json_object_set_new(run, "drafted", json_integer(json_whole(total(items, "work", "drafted"))));
    json_object_set_new(run, "accepted",
                        json_integer(json_whole(total(items, "work", "accepted"))));
    json_object_set_new(run, "steps", json_integer(json_whole(total(items, "work", "steps"))));
}

json_t *summary_run(const char *scenario, const char *policy, json_t *items, double seconds,
                    const summary_bounds *bounds)
{
    size_t checked, right = count_right(items, &checked), n = json_array_size(items);
    json_t *run =
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:f, s:o}", "scenario", scenario, "policy", policy,
                  "requests", (json_int_t)n, "answered", (json_int_t)count_true(items, is_answered),
                  "checked", (json_int_t)checked, "accuracy",
                  percent((double)right, (double)checked), "by_kind", by_kind(items));
    if (run == NULL)
        return NULL;
    add_work(run, items, seconds, bounds);
    json_object_set_new(run, "ttft_ms", distribution(items, "ttft"));
    json_object_set_new(run, "between_ms", distribution(items, "between"));
    json_object_set_new(run, "latency_ms", distribution(items, "latency"));
    json_object_set_new(run, "overhead_ms", mean_overhead(items));
    json_object_set_new(run, "fallbacks", json_integer((json_int_t)count_true(items, fell_back)));
    json_object_set_new(run, "intents", confusion(items));
    json_object_set_new(run, "models", count_texts(items, "model"));
    json_object_set_new(run, "rules", count_texts(items, "rule"));
    json_object_set_new(run, "errors", count_texts(items, "error"));
    json_object_set_new(run, "acceptance", acceptance(items));
    json_object_set(run, "items", items);
    return run;
}
