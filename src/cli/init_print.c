/* init_print.c: what `init` found, and what to do next, as text and as JSON. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cli/init.h"

/* ---- for people ----------------------------------------------------------------------------- */

static void print_model(const init_report *r, size_t i)
{
    const init_model *m = &r->models[i];
    if (r->n_models == 2)
        printf("%s  ", init_role(r, i));
    else
        printf("%zu  ", i + 1);
    if (m->url != NULL)
        printf("%s: at %s\n", m->name, m->url);
    else
        printf("%s: %s, %.2f GB in memory, trained for %zu tokens\n", m->name,
               m->model->config.architecture, (double)model_resident_bytes(m->model) / 1e9,
               m->model->config.context_length);
}

static void print_models(const init_report *r)
{
    for (size_t i = 0; i < r->n_models; i++)
        print_model(r, i);
    if (r->is_swapped)
        puts("They were given the other way round: the smaller one is taken as the small model.");
    if (r->vocabulary.code == OK)
        printf("They have one vocabulary: the %s one can also draft for the %s one.\n",
               r->n_models == 2 ? "small" : "first", r->n_models == 2 ? "large" : "last");
    else if (r->models[r->n_models - 1].url == NULL)
        printf("They have two vocabularies, so that neither can draft for the other (%s).\n",
               r->vocabulary.text);
}

static void print_routes(const init_report *r)
{
    double n = (double)r->comparison.n;
    printf("\nCalibrated (%s), on requests held out of the fit: %zu of %zu right, mean entropy "
           "%.3f nats.\nChosen without the fold it is judged on: %.1f %% right.\n\n",
           calibration_form_name(r->probe.form), r->n_right, r->comparison.n, r->entropy,
           100 * r->choice.right);
    printf("%-16s %14s %14s\n", "kind", r->n_models == 2 ? "small model" : "first model",
           r->n_models == 2 ? "large model" : "models above");
    for (size_t k = 0; k < r->requests.n_labels; k++)
        printf("%-16s %7zu of %-3zu %7zu of %-3zu\n", r->requests.labels[k], r->n_small[k],
               r->n_requests[k], r->n_requests[k] - r->n_small[k], r->n_requests[k]);
    const char *first = r->n_models == 2 ? "small" : "first";
    printf("misrouted: %zu (%.1f %%; 95 %%: at most %.1f %%) went to the %s model as another kind "
           "than they are\n",
           r->n_misrouted, 100 * (double)r->n_misrouted / n,
           100 * binomial_upper(r->n_misrouted, r->comparison.n), first);
    if (r->n_all_small == 0)
        printf("Nothing goes to the %s model: its probe is too unsure. A larger one, or candidates "
               "of your own (--templates), may do better.\n",
               first);
}

static void print_next(const init_report *r)
{
    const char *file = r->options->output;
    printf("\nwritten: %s, %s\n"
           "  a-io serve --config %s --check\n"
           "  a-io serve --config %s\n"
           "  a-io chat --config %s\n"
           "  a-io calibrate --config %s requests.jsonl --max-misroute 2%% -o %s    # requests of "
           "your own\n",
           file, r->calibration_path, file, file, file, file, r->calibration_path);
}

void init_print(const init_report *r)
{
    print_models(r);
    putchar('\n');
    comparison_print(&r->comparison);
    print_routes(r);
    print_next(r);
    fflush(stdout);
}

/* ---- for programs --------------------------------------------------------------------------- */

static json_t *model_json(const init_model *m)
{
    if (m->url != NULL)
        return json_pack("{s:s, s:s}", "name", m->name, "url", m->url);
    return json_pack("{s:s, s:o, s:s, s:I}", "name", m->name, "path",
                     json_text(m->path, strlen(m->path)), "architecture",
                     m->model->config.architecture, "bytes",
                     (json_int_t)model_resident_bytes(m->model));
}

static json_t *routes_json(const init_report *r)
{
    json_t *kinds = json_object();
    for (size_t k = 0; k < r->requests.n_labels; k++)
        json_object_set_new(kinds, r->requests.labels[k],
                            json_pack("{s:I, s:I}", "small", (json_int_t)r->n_small[k], "large",
                                      (json_int_t)(r->n_requests[k] - r->n_small[k])));
    return json_pack("{s:o, s:I, s:f}", "kinds", kinds, "misrouted", (json_int_t)r->n_misrouted,
                     "misroute_upper", binomial_upper(r->n_misrouted, r->comparison.n));
}

error_code init_print_json(const init_report *r, failure *fail)
{
    const char *file = r->options->output;
    json_t *models = json_array();
    for (size_t i = 0; i < r->n_models; i++)
        json_array_append_new(models, model_json(&r->models[i]));
    json_t *root = json_pack(
        "{s:o, s:o, s:o, s:b, s:b, s:o, s:{s:f, s:f}, s:s, s:I, s:f, s:o, s:o, s:o}", "models",
        models, "small", model_json(&r->models[0]), "large",
        model_json(&r->models[r->n_models - 1]), "swapped", r->is_swapped, "one_vocabulary",
        r->vocabulary.code == OK, "comparison", comparison_json(&r->comparison), "choice", "right",
        r->choice.right, "nll", r->choice.nll, "form", calibration_form_name(r->probe.form),
        "right", (json_int_t)r->n_right, "entropy", r->entropy, "routes", routes_json(r),
        "configuration", json_text(file, strlen(file)), "calibration",
        json_text(r->calibration_path, strlen(r->calibration_path)));
    return print_json(root, fail);
}
