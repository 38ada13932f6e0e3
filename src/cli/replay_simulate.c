/* replay_simulate.c: `a-io replay --simulate`: published tables again from published measurements.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/common.h"
#include "cli/replay.h"
#include "evidence/simulate.h"

/* ---- the text ----------------------------------------------------------------------------- */

#define NOT_GIVEN "not given"

static void print_cell(double value)
{
    if (isnan(value))
        printf(" %10s", NOT_GIVEN);
    else
        printf(" %10.2f", value);
}

/* "=": the same but for the last of two decimals, which publications round or cut. */
static void print_difference(const double *published, double derived)
{
    double difference = published != NULL ? derived - *published : NAN;
    if (isnan(difference))
        printf(" %8s", "");
    else if (fabs(difference) <= 0.0125)
        printf(" %8s", "=");
    else
        printf(" %+8.2f", difference);
}

static void print_published(const double *value)
{
    print_cell(value != NULL ? *value : NAN);
}

static const profile_mix *find_mix(const profile *p, const char *name)
{
    const profile_mix *m = p->scenarios;
    while (strcmp(m->name, name) != 0)
        m++;
    return m; /* profile_load has checked that there is one */
}

static void print_head(const profile_published *r)
{
    printf("Table %s, scenario %s\n%-25s %32s   %s\n", r->table, r->scenario, "", "accuracy %",
           "tokens/s (mean of rates)");
    printf("%-25s %10s %10s %8s %10s   %10s %10s %8s %10s %10s  over time\n", "row", "published",
           "true label", "", "probed", "published", "true label", "", "probed", "less cost");
}

static void print_row(const profile_published *r, const simulation *s, size_t note)
{
    printf("%-25s", r->row);
    print_published(r->accuracy);
    print_cell(s->told.accuracy);
    print_difference(r->accuracy, s->told.accuracy);
    print_cell(s->probed.accuracy);
    printf("  ");
    print_published(r->tokens_per_s);
    print_cell(s->told.mean_rate);
    print_difference(r->tokens_per_s, s->told.mean_rate);
    print_cell(s->probed.mean_rate);
    print_cell(s->paid_rate);
    print_cell(s->probed.tokens_per_s);
    if (note > 0)
        printf("  [%zu]", note);
    putchar('\n');
}

static error_code print_tables(const profile *p, failure *fail)
{
    size_t notes = 0;
    error_code code = OK;
    const char *table = "", *scenario = "";
    for (uint32_t i = 0; code == OK && i < p->n_published; i++) {
        const profile_published *r = &p->published[i];
        simulation s;
        if (strcmp(r->table, table) != 0 || strcmp(r->scenario, scenario) != 0) {
            if (i > 0)
                putchar('\n');
            print_head(r);
        }
        table = r->table, scenario = r->scenario;
        code = simulate_run(p, find_mix(p, r->scenario), arm_find(r->policy), &s, fail);
        if (code == OK)
            print_row(r, &s, r->note != NULL ? ++notes : 0);
    }
    notes = 0;
    if (code == OK)
        puts("\ntrue label: a probe that is never wrong. probed: wrong as often as the confusion "
             "matrix says.\nless cost: probed, less what deciding costs. over time: all tokens "
             "over all the time, answers of\nequal length. not given: the profile lacks a figure "
             "that the cell needs. =: equal but for the\nlast of two decimals, which the "
             "publication cuts.");
    for (uint32_t i = 0; code == OK && i < p->n_published; i++)
        if (p->published[i].note != NULL)
            printf("[%zu] %s\n", ++notes, p->published[i].note);
    return code;
}

static error_code print_chosen(const profile *p, const arm *const *chosen, size_t n, failure *fail)
{
    error_code code = OK;
    for (uint32_t m = 0; m < p->n_scenarios; m++) {
        printf("%sscenario %s\n%-25s %10s %10s %10s %10s\n", m > 0 ? "\n" : "",
               p->scenarios[m].name, "policy", "accuracy %", "mean rate", "less cost", "over time");
        for (size_t i = 0; code == OK && i < n; i++) {
            simulation s;
            code = simulate_run(p, &p->scenarios[m], chosen[i], &s, fail);
            if (code != OK)
                break;
            printf("%-25s", chosen[i]->name);
            print_cell(s.probed.accuracy);
            print_cell(s.probed.mean_rate);
            print_cell(s.paid_rate);
            print_cell(s.probed.tokens_per_s);
            putchar('\n');
        }
    }
    return code;
}

/* ---- JSON --------------------------------------------------------------------------------- */

static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *simulated_json(const simulated *s)
{
    return json_pack("{s:o, s:o, s:o}", "accuracy", number_or_null(s->accuracy), "mean_rate",
                     number_or_null(s->mean_rate), "tokens_per_s", number_or_null(s->tokens_per_s));
}

static json_t *published_json(const profile *p, const char *scenario, const char *policy)
{
    for (uint32_t i = 0; i < p->n_published; i++) {
        const profile_published *r = &p->published[i];
        if (strcmp(r->scenario, scenario) == 0 && strcmp(r->policy, policy) == 0)
            return json_pack(
                "{s:s, s:s, s:o, s:o, s:s?}", "table", r->table, "row", r->row, "accuracy",
                number_or_null(r->accuracy != NULL ? *r->accuracy : NAN), "mean_rate",
                number_or_null(r->tokens_per_s != NULL ? *r->tokens_per_s : NAN), "note", r->note);
    }
    return json_null();
}

static error_code add_run(const profile *p, const profile_mix *m, const arm *a, json_t *runs,
                          failure *fail)
{
    simulation s;
    error_code code = simulate_run(p, m, a, &s, fail);
    if (code != OK)
        return code;
    json_t *made = simulated_json(&s.probed);
    json_object_set_new(made, "scenario", json_string(m->name));
    json_object_set_new(made, "policy", json_string(a->name));
    json_object_set_new(made, "rate_less_cost", number_or_null(s.paid_rate));
    json_object_set_new(made, "true_label", simulated_json(&s.told));
    json_object_set_new(made, "published", published_json(p, m->name, a->name));
    json_array_append_new(runs, made);
    return OK;
}

static error_code print_runs(const profile *p, const arm *const *chosen, size_t n, failure *fail)
{
    json_t *runs = json_array();
    error_code code = OK;
    for (uint32_t m = 0; m < p->n_scenarios; m++)
        for (size_t i = 0; code == OK && i < n; i++)
            code = add_run(p, &p->scenarios[m], chosen[i], runs, fail);
    if (code == OK)
        return print_json(json_pack("{s:i, s:o}", "version", 1, "runs", runs), fail);
    json_decref(runs);
    return code;
}

/* ---- both --------------------------------------------------------------------------------- */

static const char everything[] =
    "small,large,small-lookup,large-lookup,random,paper,adaptive,always-lookup,oracle,"
    "without-routing,without-lookup-switch,without-entropy-fallback";

error_code replay_simulate(const char *path, const char *policies, bool json, failure *fail)
{
    profile *p = NULL;
    arm_set chosen = {.n = 0};
    error_code code = profile_load(&p, path, fail);
    if (code == OK)
        code = arm_list(&chosen, policies != NULL ? policies : everything, NULL, fail);
    if (code == OK && json)
        code = print_runs(p, chosen.arms, chosen.n, fail);
    else if (code == OK && policies == NULL && p->n_published > 0)
        code = print_tables(p, fail);
    else if (code == OK)
        code = print_chosen(p, chosen.arms, chosen.n, fail);
    profile_free(p);
    return code;
}
