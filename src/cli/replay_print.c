/* replay_print.c: the table of a replay, and reading results back. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cli/replay.h"

static double number_at(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static double inner(const json_t *object, const char *group, const char *key)
{
    return number_at(json_object_get(object, group), key);
}

/* Of the column of policies, whose names may be models'. */
static int name_width(const json_t *runs)
{
    size_t width = 25, i;
    const json_t *r;
    json_array_foreach(runs, i, r)
    {
        size_t length = strlen(json_string_value(json_object_get(r, "policy")));
        width = length > width ? length : width;
    }
    return (int)width;
}

static void print_run(const json_t *r, int width)
{
    size_t refused = (size_t)(number_at(r, "requests") - number_at(r, "answered"));
    printf("%-*s", width, json_string_value(json_object_get(r, "policy")));
    if (number_at(r, "checked") > 0)
        printf(" %7.2f", number_at(r, "accuracy"));
    else
        printf(" %7s", "-");
    printf(" %9.1f %9.1f %8.1f %8.2f %8.1f %8.1f %8.1f %8.2f %8.2f %7.2f %6.0f", //
           number_at(r, "tokens_per_s"), number_at(r, "mean_rate"), inner(r, "ttft_ms", "p50"),
           inner(r, "between_ms", "p50"), inner(r, "latency_ms", "p50"),
           inner(r, "latency_ms", "p95"), inner(r, "latency_ms", "p99"),
           number_at(r, "goodput_per_s"), inner(r, "overhead_ms", "total"),
           number_at(r, "bytes_per_answer") / 1e9, number_at(r, "fallbacks"));
    const char *chosen = json_string_value(json_object_get(r, "chosen"));
    if (chosen != NULL)
        printf("  %s", chosen);
    if (refused > 0)
        printf("  %zu refused", refused);
    putchar('\n');
    const char *error;
    const json_t *count;
    json_object_foreach(json_object_get(r, "errors"), error, count)
        printf("    %5" JSON_INTEGER_FORMAT " × %s\n", json_integer_value(count), error);
}

void replay_print(const json_t *results)
{
    const char *scenario = "";
    size_t i;
    json_t *r;
    const json_t *runs = json_object_get(results, "runs");
    int width = name_width(runs);
    json_array_foreach(runs, i, r)
    {
        const char *own = json_string_value(json_object_get(r, "scenario"));
        if (strcmp(own, scenario) != 0) {
            printf("%sscenario %s, %.0f requests\n", i > 0 ? "\n" : "", own,
                   number_at(r, "requests"));
            printf("%-*s %7s %9s %9s %8s %8s %8s %8s %8s %8s %8s %7s %6s\n", width, "policy",
                   "right %", "tokens/s", "mean rate", "ttft ms", "between", "p50 ms", "p95 ms",
                   "p99 ms", "good/s", "overhead", "GB each", "fallb.");
            scenario = own;
        }
        print_run(r, width);
    }
}

error_code replay_load(const char *path, json_t **out, failure *fail)
{
    json_error_t error;
    json_was_short(); /* what was before */
    *out = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (json_was_short()) {
        json_decref(*out);
        *out = NULL;
        return failure_set(fail, ERR_MEMORY, "no memory for %s", path);
    }
    if (*out == NULL && error.line < 0)
        return failure_set(fail, ERR_NOT_FOUND, "%s", error.text); /* names the file */
    if (*out == NULL)
        return failure_set(fail, ERR_FORMAT, "%s:%d: not JSON: %s", path, error.line, error.text);
    if (json_is_array(json_object_get(*out, "runs")))
        return OK;
    json_decref(*out);
    *out = NULL;
    return failure_set(fail, ERR_FORMAT, "%s: no results of a-io replay: \"runs\" is missing",
                       path);
}
