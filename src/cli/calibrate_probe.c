/* calibrate_probe.c: the probe asked of labelled requests, several at once. */
#include <stdlib.h>
#include <string.h>

#include "cli/calibrate.h"

size_t asked_index(const stage *s)
{
    return s->config->probe.model;
}

static backend *small_backend(stage *s)
{
    return orchestra_backend(s->orchestra, asked_index(s));
}

question configured_question(const config_probe *p)
{
    question q = {.template = {.text = p->template,
                               .window_head = p->window_head,
                               .window_tail = p->window_tail},
                  .n_words = p->n_labels};
    for (size_t k = 0; k < p->n_labels; k++)
        q.words[k] = p->labels[k].token;
    return q;
}

/* ---- no content ------------------------------------------------------------------------------ */

typedef struct mean {
    double *p;
    size_t n_requests;
} mean;

static void add_probabilities(void *context, size_t index, size_t asked,
                              const classification_result *r)
{
    (void)index;
    (void)asked;
    const mean *m = context;
    const calibration identity = calibration_identity(r->n_labels);
    double p[PROBE_MAX_LABELS];
    for (size_t k = 0; k < r->n_labels; k++)
        p[k] = (double)r->logits[k];
    calibration_apply(&identity, p, p);
    for (size_t k = 0; k < r->n_labels; k++)
        m->p[k] += (p[k] + 1e-9) / (double)m->n_requests; /* above 0: its logarithm is taken */
}

error_code probe_content_free(stage *s, double *out, failure *fail)
{
    labelled_requests set;
    const question q = configured_question(&s->config->probe);
    error_code code = labelled_content_free(&set, fail);
    mean m = {out, set.n};
    memset(out, 0, q.n_words * sizeof *out);
    if (code == OK)
        code = labelled_ask(&set, set.n, small_backend(s), &q, 1, "probing",
                            (answer_sink){add_probabilities, &m}, fail);
    labelled_free(&set);
    return code;
}

/* ---- a file --------------------------------------------------------------------------------- */

error_code labelled_line_intent(const config_probe *p, const json_t *line, size_t *label,
                                failure *fail)
{
    const char *name = json_string_value(json_object_get(line, "intent"));
    if (name == NULL)
        return failure_set(fail, ERR_INVALID, "\"intent\" (the right label) is needed, a text");
    for (*label = 0; *label < p->n_labels; ++*label)
        if (strcmp(p->labels[*label].name, name) == 0)
            return OK;
    return failure_set(fail, ERR_INVALID, "intent \"%.60s\" is not a label of the probe", name);
}

static void take_sample(void *context, size_t index, size_t asked, const classification_result *r)
{
    (void)asked;
    labelled_set *set = context;
    for (size_t k = 0; k < r->n_labels; k++)
        set->samples[index].logits[k] = (double)r->logits[k];
}

static error_code probe_all(labelled_set *out, stage *s, const labelled_requests *requests,
                            failure *fail)
{
    const question q = configured_question(&s->config->probe);
    out->n = requests->n;
    out->n_long = requests->n_long;
    out->samples = calloc(out->n + 1, sizeof *out->samples);
    out->answerable = calloc(out->n + 1, sizeof *out->answerable);
    if (out->samples == NULL || out->answerable == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for %zu requests", out->n);
    for (size_t i = 0; i < out->n; i++) {
        out->samples[i].label = requests->items[i].label;
        out->answerable[i] = requests->items[i].tokens <= s->config->policy.prompt_limit;
    }
    return labelled_ask(requests, out->n, small_backend(s), &q, 1, "probing",
                        (answer_sink){take_sample, out}, fail);
}

error_code calibrate_requests_read(labelled_requests *set, stage *s, const char *path,
                                   failure *fail)
{
    const config_probe *p = &s->config->probe;
    *set = (labelled_requests){.n_labels = p->n_labels};
    for (size_t k = 0; k < p->n_labels; k++)
        set->labels[k] = p->labels[k].name;
    error_code code = labelled_read(set, path, fail);
    return code == OK ? labelled_fit(set, small_backend(s), fail) : code;
}

error_code labelled_set_probe(labelled_set *out, stage *s, const labelled_requests *requests,
                              failure *fail)
{
    *out = (labelled_set){.path = requests->path};
    return probe_all(out, s, requests, fail);
}

void labelled_set_free(labelled_set *set)
{
    free(set->samples);
    free(set->answerable);
    *set = (labelled_set){.path = NULL};
}

/* ---- the fit -------------------------------------------------------------------------------- */

error_code calibrate_choose_form(probe_record *out, double held_out[CALIBRATION_FORMS],
                                 const calibration_sample *samples, size_t n, size_t n_labels,
                                 failure *fail)
{
    for (calibration_form form = 0; form < CALIBRATION_FORMS; form++) {
        held_out[form] = calibration_held_out(form, samples, n, n_labels, out->content_free);
        if (held_out[form] < held_out[out->form])
            out->form = form;
    }
    out->n_fitted = n;
    return calibration_fit(&out->calibration, out->form, samples, n, n_labels, out->content_free,
                           fail);
}
