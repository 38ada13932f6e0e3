/* calibrate_print_head.c: what was found about heads, for people and for programs. */
#include <math.h>
#include <stdio.h>

#include "base/json.h"
#include "cli/calibrate.h"

/* ---- for people ----------------------------------------------------------------------------- */

static void print_fit(const head_findings *f, const char *name)
{
    const head_report *r = &f->report;
    printf("%s: a head on layer %zu, fitted on %zu requests", name, f->record.head.layer,
           f->record.n_fitted);
    if (f->n_stand_in > 0)
        printf(" (%zu of them have no grade, but whether the models agree: a stand-in)",
               f->n_stand_in);
    printf("\n\nheld-out NLL, nats (five folds) by layer, ridge from %g down to %g\n",
           head_strength(0), head_strength(HEAD_STRENGTHS - 1));
    for (size_t i = 0; i < r->n_layers; i++) {
        printf("  %3zu ", r->layers[i]);
        for (size_t k = 0; k < HEAD_STRENGTHS; k++)
            if (!isnan(r->nll[i][k]))
                printf(" %.4f%s", r->nll[i][k], i == r->layer && k == r->strength ? "*" : " ");
        putchar('\n');
    }
    printf("  on top: %s\n", calibration_form_name(r->form));
}

static void print_confusion(const calibration_score *s, const config_probe *p)
{
    printf("  %-28s", "right \\ said");
    for (uint32_t k = 0; k < p->n_labels; k++)
        printf(" %8.8s", p->labels[k].name);
    putchar('\n');
    for (uint32_t i = 0; i < p->n_labels; i++) {
        printf("  %-28.28s", p->labels[i].name);
        for (uint32_t k = 0; k < p->n_labels; k++)
            printf(" %8zu", s->confusion[i][k]);
        putchar('\n');
    }
}

static void print_area(const char *name, size_t n, const ranking *r)
{
    if (isnan(r->area))
        printf("  %-28.28s none (%zu requests, all right or all wrong)\n", name, n);
    else
        printf("  %-28.28s %.3f (%.3f to %.3f; %zu requests)\n", name, r->area, r->interval_95.low,
               r->interval_95.high, n);
}

static void print_areas(const head_result *result, const config_probe *p)
{
    print_area("area under the ROC (95 %)", result->score.n, &result->ranking);
    for (uint32_t k = 0; k < p->n_labels; k++)
        if (result->n_of_label[k] > 0)
            print_area(p->labels[k].name, result->n_of_label[k], &result->by_label[k]);
}

static void print_result(const calibrate_report *r, const head_findings *f,
                         const head_result *result, bool is_success)
{
    const calibration_score *s = &result->score;
    printf("\n%s: %zu requests", result->name, s->n);
    if (result->n_long > 0)
        printf(", %zu more are longer than the small model's context", result->n_long);
    if (s->n == 0) { /* none of the file's has the label: nothing to judge */
        putchar('\n');
        return;
    }
    printf("\n  %-28s %.4f (%.4f to %.4f)\n", "NLL, nats (95 %)", s->nll, result->nll_95.low,
           result->nll_95.high);
    printf("  %-28s %.4f (%.4f to %.4f)\n", "Brier score (95 %)", s->brier, result->brier_95.low,
           result->brier_95.high);
    printf("  %-28s %.4f (%.0f of %zu)\n", "accuracy", s->accuracy, s->accuracy * (double)s->n,
           s->n);
    printf("  %-28s %.4f\n", "ECE, 15 bins of equal width", s->ece_width);
    printf("  %-28s %.4f\n", "ECE, 15 bins of equal mass", s->ece_mass);
    if (is_success)
        print_areas(result, &r->config->probe);
    else
        print_confusion(s, &r->config->probe);
    const char *what = !is_success                           ? "misrouted"
                       : f->record.limits.goal == LIMIT_LOSS ? "wrong where the last one is right"
                                                             : "wrong";
    calibrate_print_limits(r, &result->limits, what, is_success ? "" : " nats");
}

static void print_findings(const calibrate_report *r, const head_findings *f, const char *name,
                           bool is_success)
{
    if (!f->is_there)
        return;
    print_fit(f, name);
    for (size_t i = 0; i < f->n_results; i++)
        print_result(r, f, &f->results[i], is_success);
}

void head_findings_print(const calibrate_report *r)
{
    print_findings(r, &r->kind, "learned probe", false);
    if (r->kind.is_there && r->success.is_there)
        putchar('\n');
    print_findings(r, &r->success, "success", true);
}

/* ---- for programs --------------------------------------------------------------------------- */

static json_t *area_json(const ranking *r, size_t n)
{
    if (isnan(r->area))
        return json_pack("{s:I, s:n}", "requests", (json_int_t)n, "area");
    return json_pack("{s:I, s:f, s:[f, f]}", "requests", (json_int_t)n, "area", r->area, "area_95",
                     r->interval_95.low, r->interval_95.high);
}

static json_t *result_json(const calibrate_report *r, const head_findings *f,
                           const head_result *result, bool is_success)
{
    const calibration_score *s = &result->score;
    const config_probe *p = &r->config->probe;
    json_t *limit = calibrate_limits_json(&result->limits, is_success ? "success" : "entropy");
    json_t *o = json_pack(
        "{s:s, s:I, s:I, s:f, s:f, s:[f, f], s:f, s:[f, f], s:f, s:f, s:o, s:o}", "name",
        result->name, "requests", (json_int_t)s->n, "too_long", (json_int_t)result->n_long,
        "accuracy", s->accuracy, "nll", s->nll, "nll_95", result->nll_95.low, result->nll_95.high,
        "brier", s->brier, "brier_95", result->brier_95.low, result->brier_95.high,
        "ece_equal_width", s->ece_width, "ece_equal_mass", s->ece_mass, "confusion",
        calibrate_confusion_json(s, f->record.head.n_labels), "limit", limit);
    if (!is_success)
        return o;
    json_t *by_intent = json_object();
    for (uint32_t k = 0; k < p->n_labels; k++)
        if (result->n_of_label[k] > 0)
            json_object_set_new(by_intent, p->labels[k].name,
                                area_json(&result->by_label[k], result->n_of_label[k]));
    json_object_set_new(o, "roc", area_json(&result->ranking, s->n));
    json_object_set_new(o, "roc_by_intent", by_intent);
    return o;
}

static json_t *layers_json(const head_report *r)
{
    json_t *layers = json_array();
    for (size_t i = 0; i < r->n_layers; i++) {
        json_t *nll = json_array();
        for (size_t k = 0; k < HEAD_STRENGTHS && !isnan(r->nll[i][k]); k++)
            json_array_append_new(
                nll, json_pack("{s:f, s:f}", "strength", head_strength(k), "nll", r->nll[i][k]));
        json_array_append_new(
            layers, json_pack("{s:I, s:o}", "layer", (json_int_t)r->layers[i], "held_out", nll));
    }
    return layers;
}

json_t *head_findings_json(const calibrate_report *r, const char *part)
{
    bool is_success = part[0] == 's';
    const head_findings *f = is_success ? &r->success : &r->kind;
    json_t *results = json_array();
    for (size_t i = 0; i < f->n_results; i++)
        json_array_append_new(results, result_json(r, f, &f->results[i], is_success));
    return json_pack("{s:o, s:s, s:I, s:o, s:o}", "found",
                     head_record_json(&f->record, part, r->config, r->small), "form",
                     calibration_form_name(f->report.form), "stand_ins", (json_int_t)f->n_stand_in,
                     "layers", layers_json(&f->report), "results", results);
}
