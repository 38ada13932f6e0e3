/* calibrate_print.c: what `calibrate` found of the label probe, as text and as JSON. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cli/calibrate.h"

/* ---- for people ----------------------------------------------------------------------------- */

static void print_forms(const calibrate_report *r)
{
    const probe_record *p = &r->probe;
    printf("%s: fitted on %zu requests, ", r->options->labelled, p->n_fitted);
    printf("without content the probe says");
    for (size_t k = 0; k < p->calibration.n_labels; k++)
        printf("%s %s %.3f", k > 0 ? "," : "", r->config->probe.labels[k].name, p->content_free[k]);
    printf("\n\n%-32s %s\n", "form", "held-out NLL, nats (five folds)");
    for (calibration_form form = 0; form < CALIBRATION_FORMS; form++) {
        printf("%-32s ", calibration_form_name(form));
        if (isinf(r->held_out[form]))
            fputs("cannot be fitted", stdout);
        else
            printf("%.4f", r->held_out[form]);
        puts(form == p->form ? "  chosen" : "");
    }
    printf("\n%-12s %8s %8s\n", "label", "scale", "bias");
    for (size_t k = 0; k < p->calibration.n_labels; k++)
        printf("%-12s %8.4f %8.4f\n", r->config->probe.labels[k].name, p->calibration.scale[k],
               p->calibration.bias[k]);
}

static void print_measure(const char *name, double before, interval low, double after,
                          interval high, const interval *gain)
{
    printf("  %-28s %.4f (%.4f to %.4f)  %.4f (%.4f to %.4f)  %+.4f (%+.4f to %+.4f)\n", name,
           before, low.low, low.high, after, high.low, high.high, after - before, -gain->high,
           -gain->low);
}

static void print_confusion(const calibrate_report *r, const calibrate_result *result)
{
    const config_probe *p = &r->config->probe;
    printf("  %-28s", "right \\ said, before | after");
    for (int side = 0; side < 2; side++) {
        for (uint32_t k = 0; k < p->n_labels; k++)
            printf(" %8.8s", p->labels[k].name);
        fputs(side == 0 ? " |" : "\n", stdout);
    }
    for (uint32_t i = 0; i < p->n_labels; i++) {
        printf("  %-28.28s", p->labels[i].name);
        for (int side = 0; side < 2; side++) {
            const calibration_score *s = side == 0 ? &result->before : &result->after;
            for (uint32_t k = 0; k < p->n_labels; k++)
                printf(" %8zu", s->confusion[i][k]);
            fputs(side == 0 ? " |" : "\n", stdout);
        }
    }
}

static void print_result(const calibrate_report *r, const calibrate_result *result)
{
    const calibration_score *b = &result->before, *a = &result->after;
    const calibration_gain *g = &result->gain;
    printf("\n%s: %zu requests", result->name, a->n);
    if (result->n_long > 0)
        printf(", %zu more are longer than the small model's context", result->n_long);
    printf("\n  %-28s %-25s  %-25s  %s\n", "", "before (95 %)", "after (95 %)",
           "change (95 %, paired)");
    print_measure("NLL, nats", b->nll, g->nll_before, a->nll, g->nll_after, &g->nll_gain);
    print_measure("Brier score", b->brier, g->brier_before, a->brier, g->brier_after,
                  &g->brier_gain);
    printf("  %-28s %-25.4f  %-25.4f  %+.4f\n", "accuracy", b->accuracy, a->accuracy,
           a->accuracy - b->accuracy);
    printf("  %-28s %-25.4f  %-25.4f\n", "ECE, 15 bins of equal width", b->ece_width, a->ece_width);
    printf("  %-28s %-25.4f  %-25.4f\n", "ECE, 15 bins of equal mass", b->ece_mass, a->ece_mass);
    printf("  %-28s %-25.4f  %-25.4f\n", "mean entropy, nats", b->mean_entropy, a->mean_entropy);
    print_confusion(r, result);
    calibrate_print_limits(r, &result->limits, "misrouted", " nats");
}

static void print_machine(const machine_record *m)
{
    printf("\n%s, %zu thread%s, kernel %s: read peak %.1f GB/s\n", m->cpu, m->threads,
           m->threads == 1 ? "" : "s", m->kernel, m->read_peak_gb_s);
    for (size_t i = 0; i < m->n_models; i++) {
        const machine_model *speed = &m->models[i];
        printf("%s, KV %s: a step of n rows, ms:", speed->name, kv_type_name(speed->kv));
        for (size_t n = 1; n < WISH_MAX_DRAFT + 2; n++)
            printf(" %.3g", speed->step_ms[n]);
        for (size_t n = WISH_MAX_DRAFT + 2; n <= LOAD_STEP_ROWS; n++)
            if (speed->step_ms[n] > 0)
                printf(", %zu: %.3g", n, speed->step_ms[n]);
        printf("\n  a prompt row %.3g ms", speed->prefill_row_ms);
        for (size_t k = 0; k < speed->n_probes; k++)
            printf(", a probe of %zu tokens %.3g ms", speed->probe_tokens[k], speed->probe_ms[k]);
        putchar('\n');
    }
}

static void print_quoted(const char *text)
{
    json_t *value = json_text(text, strlen(text));
    json_dumpf(value, stdout, JSON_ENCODE_ANY);
    json_decref(value);
}

/* What the configuration must say for the calibration to fit it; JSON's quotes are YAML's. */
static void print_choice(const calibrate_report *r)
{
    const config_probe *p = &r->config->probe;
    comparison_print(&r->comparison);
    fputs("\nprobe:\n  template: ", stdout);
    print_quoted(p->template);
    fputs("\n  labels:\n", stdout);
    for (size_t k = 0; k < p->n_labels; k++) {
        printf("    - {name: %s, token: ", p->labels[k].name);
        print_quoted(p->labels[k].token);
        fputs("}\n", stdout);
    }
    putchar('\n');
}

void calibrate_print(const calibrate_report *r)
{
    if (r->has_probe) {
        if (r->options->templates != NULL)
            print_choice(r);
        print_forms(r);
        for (size_t i = 0; i < r->n_results; i++)
            print_result(r, &r->results[i]);
    }
    head_findings_print(r);
    if (r->has_machine)
        print_machine(&r->machine);
    fflush(stdout);
}

/* ---- for programs --------------------------------------------------------------------------- */

static json_t *score_json(const calibration_score *s, size_t n_labels, interval nll, interval brier)
{
    return json_pack("{s:f, s:f, s:[f, f], s:f, s:[f, f], s:f, s:f, s:f, s:o}", "accuracy",
                     s->accuracy, "nll", s->nll, "nll_95", nll.low, nll.high, "brier", s->brier,
                     "brier_95", brier.low, brier.high, "ece_equal_width", s->ece_width,
                     "ece_equal_mass", s->ece_mass, "mean_entropy", s->mean_entropy, "confusion",
                     calibrate_confusion_json(s, n_labels));
}

static json_t *result_json(const calibrate_report *r, const calibrate_result *result)
{
    size_t n = r->config->probe.n_labels;
    const calibration_gain *g = &result->gain;
    return json_pack(
        "{s:s, s:I, s:I, s:o, s:o, s:{s:[f, f], s:[f, f]}, s:o}", "name", result->name, "requests",
        (json_int_t)result->after.n, "too_long", (json_int_t)result->n_long, "before",
        score_json(&result->before, n, g->nll_before, g->brier_before), "after",
        score_json(&result->after, n, g->nll_after, g->brier_after), "gain_95", "nll",
        g->nll_gain.low, g->nll_gain.high, "brier", g->brier_gain.low, g->brier_gain.high, "limit",
        calibrate_limits_json(&result->limits, "entropy"));
}

error_code calibrate_print_json(const calibrate_report *r, failure *fail)
{
    json_t *root = json_object(), *forms = json_object(), *results = json_array();
    for (calibration_form form = 0; form < CALIBRATION_FORMS; form++)
        json_object_set_new(forms, calibration_form_name(form),
                            isinf(r->held_out[form]) ? json_null() : json_real(r->held_out[form]));
    for (size_t i = 0; i < r->n_results; i++)
        json_array_append_new(results, result_json(r, &r->results[i]));
    if (r->has_probe) {
        json_object_set_new(root, "probe", probe_record_json(&r->probe, r->config, r->small));
        json_object_set(root, "held_out_nll", forms);
        json_object_set(root, "results", results);
        if (r->options->templates != NULL)
            json_object_set_new(root, "comparison", comparison_json(&r->comparison));
    }
    if (r->kind.is_there)
        json_object_set_new(root, "kind", head_findings_json(r, "kind"));
    if (r->success.is_there)
        json_object_set_new(root, "success", head_findings_json(r, "success"));
    if (r->has_machine)
        json_object_set_new(root, "machine", machine_record_json(&r->machine));
    json_decref(forms);
    json_decref(results);
    return print_json(root, fail);
}
