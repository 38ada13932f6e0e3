/* calibration_file.c: the parts of the file, written whole and checked as they are read. */
#include "orchestra/calibration_file.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/whole_file.h"
#include "orchestra/calibration_part.h"

/* ---- writing the probe's part ---------------------------------------------------------------- */

json_t *probe_record_json(const probe_record *r, const config *c, const model *small)
{
    json_t *labels = json_array();
    for (size_t k = 0; k < r->calibration.n_labels; k++)
        json_array_append_new(
            labels, json_pack("{s:s, s:o, s:f, s:f, s:f}", "name", c->probe.labels[k].name, "token",
                              json_text(c->probe.labels[k].token, strlen(c->probe.labels[k].token)),
                              "scale", r->calibration.scale[k], "bias", r->calibration.bias[k],
                              "content_free", r->content_free[k]));
    json_t *part = json_pack(
        "{s:o, s:s, s:o, s:I, s:I, s:s, s:I, s:o}", "model", part_model_json(small),
        "chat_template", part_template_name(small), "template",
        json_text(c->probe.template, strlen(c->probe.template)), "window_head",
        (json_int_t)c->probe.window_head, "window_tail", (json_int_t)c->probe.window_tail, "form",
        calibration_form_name(r->form), "fitted_on", (json_int_t)r->n_fitted, "labels", labels);
    return part_add_limits(part, &r->limits, "entropy");
}

/* ---- writing the machine's part -------------------------------------------------------------- */

static json_t *machine_model_json(const machine_model *m)
{
    json_t *steps = json_array(), *wide = json_array(), *probes = json_array();
    for (size_t n = 1; n < WISH_MAX_DRAFT + 2; n++)
        json_array_append_new(steps, json_real(m->step_ms[n]));
    for (size_t n = WISH_MAX_DRAFT + 2; n <= LOAD_STEP_ROWS; n++)
        if (m->step_ms[n] > 0)
            json_array_append_new(
                wide, json_pack("{s:I, s:f}", "rows", (json_int_t)n, "ms", m->step_ms[n]));
    for (size_t i = 0; i < m->n_probes; i++)
        json_array_append_new(probes,
                              json_pack("{s:I, s:f}", "tokens", (json_int_t)m->probe_tokens[i],
                                        "ms", m->probe_ms[i]));
    return json_pack("{s:s, s:o, s:s, s:o, s:o, s:f, s:o}", "fingerprint", m->fingerprint, "name",
                     json_text(m->name, strlen(m->name)), "kv", kv_type_name(m->kv), "step_ms",
                     steps, "wide_step_ms", wide, "prefill_row_ms", m->prefill_row_ms, "probes",
                     probes);
}

json_t *machine_record_json(const machine_record *r)
{
    json_t *models = json_array();
    for (size_t i = 0; i < r->n_models; i++)
        json_array_append_new(models, machine_model_json(&r->models[i]));
    return json_pack("{s:o, s:s, s:I, s:f, s:o}", "cpu", json_text(r->cpu, strlen(r->cpu)),
                     "kernel", r->kernel, "threads", (json_int_t)r->threads, "read_peak_gb_s",
                     r->read_peak_gb_s, "models", models);
}

/* ---- the file ------------------------------------------------------------------------------- */

static error_code write_whole(const char *path, const json_t *root, failure *fail)
{
    /* 17 digits: what is read is what was written, bit for bit. */
    char *text = root == NULL ? NULL : json_print(root, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    if (text == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory to write %s", path);
    error_code code = whole_file_write(path, text, strlen(text), 0666, WHOLE_FILE_SYNCED, fail);
    free(text);
    return code;
}

/* NULL where there is no such part. */
static bool add_part(json_t *root, const char *name, json_t *part)
{
    return part != NULL && json_object_set_new(root, name, part) == 0;
}

error_code calibration_file_write(const char *path, const calibration_parts *parts, const config *c,
                                  const model *small, failure *fail)
{
    json_t *root = json_pack("{s:i}", "version", CALIBRATION_VERSION);
    bool complete = root != NULL;
    if (complete && parts->probe != NULL)
        complete = add_part(root, "probe", probe_record_json(parts->probe, c, small));
    if (complete && parts->kind != NULL)
        complete = add_part(root, "kind", head_record_json(parts->kind, "kind", c, small));
    if (complete && parts->success != NULL)
        complete = add_part(root, "success", head_record_json(parts->success, "success", c, small));
    if (complete && parts->machine != NULL)
        complete = add_part(root, "machine", machine_record_json(parts->machine));
    error_code code = write_whole(path, complete ? root : NULL, fail);
    json_decref(root);
    return code;
}

/* ---- reading the probe's part ---------------------------------------------------------------- */

static bool is_positive(double x)
{
    return x > 0 && isfinite(x);
}

static error_code read_label(probe_record *out, size_t k, json_t *item, const config_label *label,
                             failure *fail)
{
    const char *name, *token;
    json_error_t error;
    calibration *c = &out->calibration;
    if (json_unpack_ex(item, &error, JSON_STRICT, "{s:s, s:s, s:F, s:F, s:F}", "name", &name,
                       "token", &token, "scale", &c->scale[k], "bias", &c->bias[k], "content_free",
                       &out->content_free[k]) != 0)
        return failure_set(fail, json_shape_code(&error, ERR_CONFIG), "probe.labels[%zu]: %s", k,
                           error.text);
    if (strcmp(name, label->name) != 0 || strcmp(token, label->token) != 0)
        return failure_set(fail, ERR_CONFIG,
                           "it is for the label %.60s (token \"%.60s\") where the configuration "
                           "has %.60s (token \"%.60s\"): calibrate again",
                           name, token, label->name, label->token);
    if (!is_positive(c->scale[k]) || !isfinite(c->bias[k]))
        return failure_set(fail, ERR_CONFIG,
                           "probe.labels[%zu]: scale must be more than 0, bias a number", k);
    return OK;
}

static error_code compare_template(const char *template, json_int_t head, json_int_t tail,
                                   const config_probe *p, failure *fail)
{
    if (strcmp(template, p->template) != 0)
        return failure_set(fail, ERR_CONFIG,
                           "it is for the template \"%.150s\", probe.template is \"%.150s\": "
                           "calibrate again",
                           template, p->template);
    if (head != p->window_head || tail != p->window_tail)
        return failure_set(fail, ERR_CONFIG,
                           "it is for a window of %lld and %lld tokens, probe.window_head and "
                           "window_tail are %u and %u: calibrate again",
                           (long long)head, (long long)tail, p->window_head, p->window_tail);
    return OK;
}

static error_code read_form(probe_record *out, const char *form, failure *fail)
{
    for (out->form = 0; out->form < CALIBRATION_FORMS; out->form++)
        if (strcmp(form, calibration_form_name(out->form)) == 0)
            return OK;
    return failure_set(fail, ERR_CONFIG, "probe.form: \"%.60s\" is unknown", form);
}

static error_code read_probe(probe_record *out, json_t *part, const config *c, const model *small,
                             failure *fail)
{
    const char *chat, *template, *form;
    json_int_t head, tail, fitted_on;
    json_t *m, *labels, *limit, *above = NULL;
    json_error_t error;
    if (json_unpack_ex(part, &error, JSON_STRICT,
                       "{s:o, s:s, s:s, s:I, s:I, s:s, s:I, s:o, s:o, s?o}", "model", &m,
                       "chat_template", &chat, "template", &template, "window_head", &head,
                       "window_tail", &tail, "form", &form, "fitted_on", &fitted_on, "labels",
                       &labels, "limit", &limit, "limits_above", &above) != 0)
        return failure_set(fail, json_shape_code(&error, ERR_CONFIG), "probe: %s", error.text);
    error_code code = part_compare_model(m, chat, small, "probe", fail);
    if (code == OK)
        code = compare_template(template, head, tail, &c->probe, fail);
    if (code == OK && json_array_size(labels) != c->probe.n_labels)
        code = failure_set(fail, ERR_CONFIG,
                           "it is for %zu labels, the configuration has %u: calibrate again",
                           json_array_size(labels), c->probe.n_labels);
    if (code == OK)
        code = read_form(out, form, fail);
    out->n_fitted = (size_t)fitted_on;
    out->calibration.n_labels = c->probe.n_labels;
    for (size_t k = 0; code == OK && k < c->probe.n_labels; k++)
        code = read_label(out, k, json_array_get(labels, k), &c->probe.labels[k], fail);
    if (code != OK)
        return code;
    return part_read_limits(&out->limits, limit, above, "probe", "entropy", HUGE_VAL, c->n_models,
                            fail);
}

error_code calibration_file_read_probe(probe_record *out, const char *path, const config *c,
                                       const model *small, failure *fail)
{
    json_t *root, *part = NULL;
    *out = (probe_record){.n_fitted = 0};
    error_code code = part_open(path, "probe", &root, &part, fail);
    if (code == OK)
        code = read_probe(out, part, c, small, fail);
    json_decref(root);
    return code == OK ? OK : failure_prefix(fail, "calibration %s", path);
}

/* ---- reading the machine's part -------------------------------------------------------------- */

static error_code read_steps(machine_model *out, json_t *steps, failure *fail)
{
    size_t n;
    json_t *item;
    bool whole = json_array_size(steps) == WISH_MAX_DRAFT + 1;
    json_array_foreach(steps, n, item)
    {
        whole = whole && is_positive(json_number_value(item));
        if (whole)
            out->step_ms[n + 1] = json_number_value(item);
    }
    return whole ? OK
                 : failure_set(fail, ERR_CONFIG,
                               "machine.models: step_ms must be %d numbers of ms above 0",
                               WISH_MAX_DRAFT + 1);
}

/* Files without it hold no more than step_ms. */
static error_code read_wide_steps(machine_model *out, json_t *steps, failure *fail)
{
    size_t i;
    json_t *item;
    json_int_t last = WISH_MAX_DRAFT + 1;
    if (steps != NULL && !json_is_array(steps))
        return failure_set(fail, ERR_CONFIG, "machine.models: wide_step_ms must be a list");
    json_array_foreach(steps, i, item)
    {
        json_error_t error;
        json_int_t rows;
        double ms;
        if (json_unpack_ex(item, &error, JSON_STRICT, "{s:I, s:F}", "rows", &rows, "ms", &ms) != 0)
            return failure_set(fail, json_shape_code(&error, ERR_CONFIG),
                               "machine.models: wide_step_ms: %s", error.text);
        if (rows <= last || rows > LOAD_STEP_ROWS || !is_positive(ms))
            return failure_set(fail, ERR_CONFIG,
                               "machine.models: wide_step_ms must be of growing rows from %d to "
                               "%d, with ms above 0",
                               WISH_MAX_DRAFT + 2, LOAD_STEP_ROWS);
        out->step_ms[rows] = ms;
        last = rows;
    }
    return OK;
}

static error_code read_probes(machine_model *out, json_t *probes, failure *fail)
{
    json_t *item;
    size_t i;
    out->n_probes = json_array_size(probes);
    if (out->n_probes > MACHINE_MAX_PROBES)
        return failure_set(fail, ERR_CONFIG, "machine.models: more than %d probes",
                           MACHINE_MAX_PROBES);
    json_array_foreach(probes, i, item)
    {
        json_error_t error;
        json_int_t tokens;
        if (json_unpack_ex(item, &error, JSON_STRICT, "{s:I, s:F}", "tokens", &tokens, "ms",
                           &out->probe_ms[i]) != 0)
            return failure_set(fail, json_shape_code(&error, ERR_CONFIG),
                               "machine.models: probes: %s", error.text);
        out->probe_tokens[i] = (size_t)tokens;
    }
    return OK;
}

static error_code read_machine_model(machine_model *out, json_t *item, failure *fail)
{
    const char *fingerprint, *name, *kv;
    json_t *steps, *wide = NULL, *probes;
    json_error_t error;
    if (json_unpack_ex(item, &error, JSON_STRICT, "{s:s, s:s, s:s, s:o, s?o, s:F, s:o}",
                       "fingerprint", &fingerprint, "name", &name, "kv", &kv, "step_ms", &steps,
                       "wide_step_ms", &wide, "prefill_row_ms", &out->prefill_row_ms, "probes",
                       &probes) != 0)
        return failure_set(fail, json_shape_code(&error, ERR_CONFIG), "machine.models: %s",
                           error.text);
    snprintf(out->fingerprint, sizeof out->fingerprint, "%s", fingerprint);
    snprintf(out->name, sizeof out->name, "%s", name);
    if (!kv_type_find(kv, &out->kv))
        return failure_set(fail, ERR_CONFIG, "machine.models: kv \"%.20s\" is unknown", kv);
    if (!is_positive(out->prefill_row_ms))
        return failure_set(fail, ERR_CONFIG, "machine.models: prefill_row_ms must be above 0");
    error_code code = read_steps(out, steps, fail);
    if (code == OK)
        code = read_wide_steps(out, wide, fail);
    return code == OK ? read_probes(out, probes, fail) : code;
}

static error_code read_machine(machine_record *out, json_t *part, failure *fail)
{
    const char *cpu, *kernel;
    json_int_t threads;
    json_t *models, *item;
    json_error_t error;
    size_t i;
    if (json_unpack_ex(part, &error, JSON_STRICT, "{s:s, s:s, s:I, s:F, s:o}", "cpu", &cpu,
                       "kernel", &kernel, "threads", &threads, "read_peak_gb_s",
                       &out->read_peak_gb_s, "models", &models) != 0)
        return failure_set(fail, json_shape_code(&error, ERR_CONFIG), "machine: %s", error.text);
    snprintf(out->cpu, sizeof out->cpu, "%s", cpu);
    snprintf(out->kernel, sizeof out->kernel, "%s", kernel);
    out->threads = (size_t)threads;
    if (json_array_size(models) < 1 || json_array_size(models) > MACHINE_MAX_MODELS)
        return failure_set(fail, ERR_CONFIG, "machine.models: must be a list of 1 to %d",
                           MACHINE_MAX_MODELS);
    json_array_foreach(models, i, item)
    {
        error_code code = read_machine_model(&out->models[out->n_models++], item, fail);
        if (code != OK)
            return code;
    }
    return OK;
}

error_code calibration_file_read_machine(machine_record *out, const char *path, failure *fail)
{
    json_t *root, *part = NULL;
    *out = (machine_record){.n_models = 0};
    error_code code = part_open(path, "machine", &root, &part, fail);
    if (code == OK)
        code = read_machine(out, part, fail);
    json_decref(root);
    return code == OK ? OK : failure_prefix(fail, "calibration %s", path);
}
