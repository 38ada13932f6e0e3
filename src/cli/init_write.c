/* init_write.c: the configuration that `a-io init` writes, with what it means beside it. */
#include <string.h>

#include "base/json.h"
#include "cli/init.h"

/* In double quotes, as YAML and JSON both read it. */
static error_code add_quoted(buffer *out, const char *text)
{
    return json_write_text(out, text, strlen(text));
}

static error_code add_size(buffer *out, const init_model *m, const init_options *o)
{
    size_t trained = m->model != NULL ? m->model->config.context_length : 0;
    error_code code = OK;
    if (m->model != NULL)
        code = buffer_add_format(out,
                                 "\n    context: %-12zu # tokens a request may hold; the model was "
                                 "trained for %zu\n    slots: %-14d # replies that run at once",
                                 trained < INIT_CONTEXT ? trained : (size_t)INIT_CONTEXT, trained,
                                 INIT_SLOTS);
    if (code == OK && o->kv != NULL)
        code = buffer_add_format(out, "\n    kv: %s", o->kv);
    return code;
}

static error_code add_model(buffer *out, const init_report *r, size_t i)
{
    const init_model *m = &r->models[i];
    error_code code = buffer_add_format(out, "  - name: %s\n", m->name);
    if (code == OK && r->n_models == 2)
        code = buffer_add_format(out, "    role: %s\n", init_role(r, i));
    if (code == OK)
        code = buffer_add_text(out, m->url != NULL ? "    url: " : "    path: ");
    if (code == OK)
        code = add_quoted(out, m->url != NULL ? m->url : m->path);
    if (code == OK)
        code = m->url == NULL ? add_size(out, m, r->options)
                              : buffer_add_text(out, "\n    # model: ... what the server calls it, "
                                                     "if not this; key_env: VARIABLE, its key's");
    return code == OK ? buffer_add_text(out, "\n") : code;
}

static error_code add_models(buffer *out, const init_report *r)
{
    error_code code = buffer_add_text(
        out, "# Written by a-io init. Every other key: the manual page, section CONFIGURATION.\n"
             "version: 1\n\nmodels:\n");
    for (size_t i = 0; code == OK && i < r->n_models; i++)
        code = add_model(out, r, i);
    if (code == OK && r->vocabulary.code == OK && r->models[0].model != NULL)
        code = buffer_add_format(out,
                                 "# They have one vocabulary: in a rule of the policy \"rules\", "
                                 "lookup: draft lets the %s one\n# draft for the %s one.\n",
                                 r->n_models == 2 ? "small" : "first",
                                 r->n_models == 2 ? "large" : "last");
    return code;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static error_code add_probe(buffer *out, const init_report *r)
{
    const comparison *c = &r->comparison;
    const candidate *best = &c->items[c->best];
    error_code code = buffer_add_format(
        out,
        "\n# The %s model reads the conversation and this, and the word it would go on with is "
        "the "
        "kind.\n# Chosen among %zu templates and words by %zu labelled requests: %zu of them were "
        "named "
        "rightly by\n# a calibration that had not seen them. Measure on requests of your own: a-io "
        "calibrate.\nprobe:\n  template: ",
        r->n_models == 2 ? "small" : "first", c->n_items, c->n, r->n_right);
    if (code == OK)
        code = add_quoted(out, candidate_template(c, best));
    if (code == OK)
        code = buffer_add_text(out, "\n  labels: # each token is exactly one token of that "
                                    "model\n");
    for (size_t k = 0; code == OK && k < r->requests.n_labels; k++) {
        code = buffer_add_text(out, "    - {name: ");
        if (code == OK)
            code = add_quoted(out, r->requests.labels[k]);
        if (code == OK)
            code = buffer_add_text(out, ", token: ");
        if (code == OK)
            code = add_quoted(out, candidate_word(c, best, k));
        if (code == OK)
            code = buffer_add_text(out, "}\n");
    }
    if (code == OK)
        code = buffer_add_text(out, "  # Fits this model, template and these words only; a-io "
                                    "calibrate makes another.\n  calibration: ");
    if (code == OK)
        code = add_quoted(out, base_name(r->calibration_path));
    return code == OK ? buffer_add_text(out, "\n") : code;
}

/* Labels of one's own need rules, and so do more than two models; code, alone, has a policy with a
 * name. */
static bool is_adaptive(const init_report *r)
{
    for (size_t k = 0; r->n_models == 2 && k < r->requests.n_labels; k++)
        if (r->small_labels == UINT64_C(1) << k)
            return strcmp(r->requests.labels[k], CONFIG_LABEL_CODE) == 0;
    return false;
}

static error_code add_small_labels(buffer *out, const init_report *r)
{
    const char *between = "";
    error_code code = OK;
    for (size_t k = 0; code == OK && k < r->requests.n_labels; k++) {
        if ((r->small_labels >> k & 1) == 0)
            continue;
        code = buffer_add_text(out, between);
        if (code == OK)
            code = add_quoted(out, r->requests.labels[k]);
        between = ", ";
    }
    return code;
}

static error_code add_rules(buffer *out, const init_report *r)
{
    bool is_pair = r->n_models == 2;
    error_code code = buffer_add_text(out, "  name: rules\n  rules:\n    - name: small\n"
                                           "      intents: [");
    if (code == OK)
        code = add_small_labels(out, r);
    if (code == OK)
        code =
            buffer_add_format(out,
                              "]\n      max_entropy: %.2f       # nats; above it %s answers\n"
                              "      max_prompt_tokens: %d\n      model: %s\n",
                              INIT_ENTROPY_LIMIT, is_pair ? "the large model" : "the next one up",
                              INIT_PROMPT_LIMIT, init_role(r, 0));
    if (code == OK && !is_pair)
        code = buffer_add_format(out,
                                 "    - name: unsure\n      above_entropy: %.2f\n      model: next"
                                 "             # one up from where the conversation is\n",
                                 INIT_ENTROPY_LIMIT);
    return code == OK ? buffer_add_format(out, "    - name: rest\n      model: %s\n",
                                          init_role(r, r->n_models - 1))
                      : code;
}

static error_code add_policy(buffer *out, const init_report *r)
{
    error_code code = buffer_add_format(
        out,
        "\n# Of those requests the %s model would have answered %zu, %zu of them of another kind "
        "than it was\n# taken for. A limit that holds a target on your requests: a-io calibrate "
        "--max-misroute 2%%%s.\npolicy:\n",
        r->n_models == 2 ? "small" : "first", r->n_all_small, r->n_misrouted,
        is_adaptive(r) ? "" : ";\n# rules take it with certain: true in place of max_entropy");
    if (code == OK && !is_adaptive(r))
        return add_rules(out, r);
    if (code != OK)
        return code;
    /* A limit that is written would count instead of the one that calibrate chooses later. */
    return buffer_add_format(
        out,
        "  name: adaptive            # code to the small model, where the probe is sure\n"
        "  # entropy_limit: %.2f     # nats; above it the large model answers: the default, until "
        "a\n                            # calibration has a limit of its own\n"
        "  prompt_limit: %d        # tokens; longer ones go to the large model\n",
        INIT_ENTROPY_LIMIT, INIT_PROMPT_LIMIT);
}

static error_code add_engine(buffer *out, const init_report *r)
{
    if (!r->has_machine)
        return OK;
    error_code code = buffer_add_text(out, "\nengine:\n  # What steps cost on this machine: they "
                                           "are then not measured at start-up.\n  machine: ");
    if (code == OK)
        code = add_quoted(out, base_name(r->calibration_path));
    return code == OK ? buffer_add_text(out, "\n") : code;
}

error_code init_configuration(buffer *out, const init_report *r, bool complete, failure *fail)
{
    error_code code = add_models(out, r);
    if (code == OK && complete)
        code = add_probe(out, r);
    if (code == OK && complete)
        code = add_policy(out, r);
    if (code == OK && complete)
        code = add_engine(out, r);
    if (code == OK && !complete)
        code = buffer_add_text(out, "policy: {name: large}\n");
    return code == OK ? OK : failure_set(fail, code, "no memory for the configuration");
}
