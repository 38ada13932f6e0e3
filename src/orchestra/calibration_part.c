/* calibration_part.c: what the parts of a calibration file have in common: whose they are, limits.
 */
#include "orchestra/calibration_part.h"

#include <inttypes.h>
#include <string.h>

#include "base/json.h"

#define MAX_FILE_BYTES ((size_t)32 << 20) /* two heads of 64 labels and 16,384 numbers */

static const char *file_name(const model *m)
{
    const char *path = gguf_path(m->file), *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static void fingerprint_text(const model *m, char text[17])
{
    snprintf(text, 17, "%016" PRIx64, m->fingerprint);
}

static const char *const goal_names[] = {[LIMIT_NONE] = "",
                                         [LIMIT_MISROUTE] = "max_misroute",
                                         [LIMIT_SHARE] = "share_large",
                                         [LIMIT_WRONG] = "max_wrong",
                                         [LIMIT_LOSS] = "max_loss"};

static bool is_goal_of(limit_goal goal, const char *quantity)
{
    bool is_entropy = strcmp(quantity, "entropy") == 0;
    return goal == LIMIT_SHARE ||
           (is_entropy ? goal == LIMIT_MISROUTE : goal == LIMIT_WRONG || goal == LIMIT_LOSS);
}

const char *part_template_name(const model *m)
{
    return m->chat != NULL ? chat_template_name(m->chat) : "none";
}

json_t *part_model_json(const model *m)
{
    char fingerprint[17];
    const char *name = file_name(m);
    fingerprint_text(m, fingerprint);
    return json_pack("{s:o, s:I, s:s}", "name", json_text(name, strlen(name)), "bytes",
                     (json_int_t)gguf_file_bytes(m->file), "fingerprint", fingerprint);
}

static json_t *limit_json(const chosen_limits *l, size_t i, const char *quantity)
{
    const limit_effect *e = &l->effects[i];
    return json_pack("{s:s, s:f, s:f, s:f, s:I, s:I, s:I, s:f, s:f}", "goal", goal_names[l->goal],
                     "target", l->targets[i], "confidence", CONFIDENCE, quantity, e->limit,
                     "requests", (json_int_t)e->n, "small", (json_int_t)e->n_small, "misrouted",
                     (json_int_t)e->n_misrouted, "misroute_upper", e->misroute_upper, "large_upper",
                     e->large_upper);
}

json_t *part_add_limits(json_t *part, const chosen_limits *l, const char *quantity)
{
    bool is_none = l->goal == LIMIT_NONE;
    bool whole =
        json_object_set_new(part, "limit", is_none ? json_null() : limit_json(l, 0, quantity)) == 0;
    json_t *above = json_array();
    for (size_t i = 1; !is_none && i < l->n; i++)
        whole = json_array_append_new(above, limit_json(l, i, quantity)) == 0 && whole;
    if (whole && json_array_size(above) > 0)
        whole = json_object_set(part, "limits_above", above) == 0;
    json_decref(above);
    if (whole)
        return part;
    json_decref(part);
    return NULL;
}

static error_code read_limit(chosen_limits *out, json_t *limit, const char *part,
                             const char *quantity, double most, failure *fail)
{
    const char *name;
    json_int_t n, small, misrouted;
    double confidence;
    json_error_t error;
    limit_effect *e = &out->effects[out->n];
    limit_goal goal = LIMIT_NONE;
    if (json_unpack_ex(limit, &error, JSON_STRICT, "{s:s, s:F, s:F, s:F, s:I, s:I, s:I, s:F, s:F}",
                       "goal", &name, "target", &out->targets[out->n], "confidence", &confidence,
                       quantity, &e->limit, "requests", &n, "small", &small, "misrouted",
                       &misrouted, "misroute_upper", &e->misroute_upper, "large_upper",
                       &e->large_upper) != 0)
        return failure_set(fail, json_shape_code(&error, ERR_CONFIG), "%s.limit: %s", part,
                           error.text);
    for (limit_goal g = LIMIT_NONE + 1; g <= LIMIT_LOSS; g++)
        if (strcmp(name, goal_names[g]) == 0 && is_goal_of(g, quantity))
            goal = g;
    if (goal == LIMIT_NONE || !(e->limit >= 0 && e->limit <= most))
        return failure_set(fail, ERR_CONFIG,
                           "%s.limit: the goal \"%.40s\" is unknown, or %s is no number from 0 to "
                           "%.3g",
                           part, name, quantity, most);
    if (out->n > 0 && goal != out->goal)
        return failure_set(fail, ERR_CONFIG, "%s.limits_above: another goal than the first limit's",
                           part);
    out->goal = goal;
    out->n++;
    e->n = (size_t)n;
    e->n_small = (size_t)small;
    e->n_misrouted = (size_t)misrouted;
    return OK;
}

/* Success falls from step to step, entropy rises. */
static bool are_in_order(const chosen_limits *l, const char *quantity)
{
    bool in_order = true, falls = strcmp(quantity, "success") == 0;
    for (size_t i = 1; i < l->n; i++)
        in_order = in_order && (falls ? l->effects[i].limit <= l->effects[i - 1].limit
                                      : l->effects[i].limit >= l->effects[i - 1].limit);
    return in_order;
}

error_code part_read_limits(chosen_limits *out, json_t *limit, json_t *above, const char *part,
                            const char *quantity, double most, size_t n_models, failure *fail)
{
    size_t n_above = json_array_size(above);
    *out = (chosen_limits){.goal = LIMIT_NONE};
    if (json_is_null(limit) && above == NULL)
        return OK;
    if ((above != NULL && !json_is_array(above)) || n_above >= CONFIG_MAX_MODELS)
        return failure_set(fail, ERR_CONFIG, "%s.limits_above: must be a list of limits", part);
    error_code code = read_limit(out, limit, part, quantity, most, fail);
    for (size_t i = 0; code == OK && i < n_above; i++)
        code = read_limit(out, json_array_get(above, i), part, quantity, most, fail);
    if (code != OK)
        return code;
    if (out->n > 1 && out->n + 1 > n_models)
        return failure_set(fail, ERR_CONFIG,
                           "%s.limits_above: it has %zu limits, for %zu models; there are %zu: "
                           "calibrate again",
                           part, out->n, out->n + 1, n_models);
    return are_in_order(out, quantity)
               ? OK
               : failure_set(fail, ERR_CONFIG, "%s.limits_above: the limits are not in order",
                             part);
}

error_code part_open(const char *path, const char *name, json_t **root, json_t **part,
                     failure *fail)
{
    buffer text;
    json_error_t error = {.line = 0};
    json_int_t version = 0;
    json_t *probe, *kind, *success, *machine; /* which there may be */
    *root = NULL;
    buffer_init(&text, MAX_FILE_BYTES);
    error_code code = buffer_read_file(&text, path, fail);
    if (code == OK)
        *root = json_read(text.data != NULL ? text.data : "", text.length, JSON_REJECT_DUPLICATES,
                          &error, &code);
    buffer_free(&text);
    if (code == ERR_MEMORY)
        return failure_set(fail, code, "no memory for it");
    if (code != OK && code != ERR_FORMAT)
        return code;
    if (*root == NULL)
        return failure_set(fail, ERR_CONFIG, "not JSON: %s (line %d)", error.text, error.line);
    if (json_unpack_ex(*root, &error, 0, "{s:I}", "version", &version) != 0 ||
        version != CALIBRATION_VERSION)
        return failure_set(fail, ERR_CONFIG,
                           "version: must be %d; make the file again with a-io calibrate",
                           CALIBRATION_VERSION);
    if (json_unpack_ex(*root, &error, JSON_STRICT, "{s:I, s?o, s?o, s?o, s?o}", "version", &version,
                       "probe", &probe, "kind", &kind, "success", &success, "machine",
                       &machine) != 0)
        return failure_set(fail, json_shape_code(&error, ERR_CONFIG), "%s", error.text);
    *part = json_object_get(*root, name);
    if (*part == NULL)
        return failure_set(fail, ERR_CONFIG, "it has no part \"%s\"; a-io calibrate writes one",
                           name);
    return OK;
}

/* What was calibrated against what is configured. */
error_code part_compare_model(json_t *m, const char *chat, const model *small, const char *part,
                              failure *fail)
{
    const char *name, *fingerprint;
    char own[17];
    json_int_t bytes;
    json_error_t error;
    if (json_unpack_ex(m, &error, JSON_STRICT, "{s:s, s:I, s:s}", "name", &name, "bytes", &bytes,
                       "fingerprint", &fingerprint) != 0)
        return failure_set(fail, json_shape_code(&error, ERR_CONFIG), "%s.model: %s", part,
                           error.text);
    fingerprint_text(small, own);
    if ((uint64_t)bytes != gguf_file_bytes(small->file) || strcmp(fingerprint, own) != 0)
        return failure_set(
            fail, ERR_CONFIG,
            "it is for the model %.80s (%lld bytes, fingerprint %.16s), the small model is %.80s "
            "(%" PRIu64 " bytes, fingerprint %s): calibrate again",
            name, (long long)bytes, fingerprint, file_name(small), gguf_file_bytes(small->file),
            own);
    if (strcmp(chat, part_template_name(small)) != 0)
        return failure_set(fail, ERR_CONFIG,
                           "it is for the chat template %.60s, the small model has %s: calibrate "
                           "again",
                           chat, part_template_name(small));
    return OK;
}
