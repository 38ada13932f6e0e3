/* head_file.c: the parts of a calibration file that are heads. */
#include <math.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "orchestra/calibration_part.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "weights are written as they lie here");

static const char *const success_labels[SUCCESS_LABELS] = {"wrong", "right"};

static bool is_success(const char *part)
{
    return strcmp(part, "success") == 0;
}

static const char *label_name(const char *part, const config *c, size_t k)
{
    return is_success(part) ? success_labels[k == 1] : c->probe.labels[k].name;
}

void head_record_free(head_record *r)
{
    head_free(&r->head);
    *r = (head_record){.n_fitted = 0};
}

/* ---- writing -------------------------------------------------------------------------------- */

/* Base 64 of the single-precision numbers, little-endian. */
static json_t *weights_json(const float *weights, size_t n)
{
    size_t bytes = n * sizeof *weights;
    unsigned char *text = malloc(4 * ((bytes + 2) / 3) + 1);
    if (text == NULL)
        return NULL;
    EVP_EncodeBlock(text, (const unsigned char *)weights, (int)bytes);
    json_t *out = json_string((const char *)text);
    free(text);
    return out;
}

json_t *head_record_json(const head_record *r, const char *part, const config *c,
                         const model *small)
{
    const linear_head *h = &r->head;
    json_t *labels = json_array();
    for (size_t k = 0; k < h->n_labels; k++)
        json_array_append_new(labels, json_pack("{s:s, s:f, s:o}", "name", label_name(part, c, k),
                                                "bias", h->bias[k], "weights",
                                                weights_json(h->weights + k * h->width, h->width)));
    json_t *made = json_pack("{s:o, s:s, s:I, s:I, s:f, s:I, s:o}", "model", part_model_json(small),
                             "chat_template", part_template_name(small), "layer",
                             (json_int_t)h->layer, "width", (json_int_t)h->width, "strength",
                             r->strength, "fitted_on", (json_int_t)r->n_fitted, "labels", labels);
    return part_add_limits(made, &r->limits, is_success(part) ? "success" : "entropy");
}

/* ---- reading -------------------------------------------------------------------------------- */

/* Exactly n numbers, all finite. */
static bool read_weights(float *out, size_t n, const char *text, size_t length)
{
    size_t bytes = n * sizeof *out, padding = (3 - bytes % 3) % 3;
    if (length != 4 * ((bytes + 2) / 3) || strcspn(text, "=") != length - padding ||
        strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") != length)
        return false;
    unsigned char *decoded = malloc(bytes + padding + 1);
    bool right =
        decoded != NULL && EVP_DecodeBlock(decoded, (const unsigned char *)text, (int)length) >= 0;
    if (right)
        memcpy(out, decoded, bytes);
    free(decoded);
    for (size_t i = 0; right && i < n; i++)
        right = isfinite(out[i]);
    return right;
}

static error_code read_label(linear_head *h, size_t k, json_t *item, const char *part,
                             const config *c, failure *fail)
{
    const char *name, *weights, *wanted = label_name(part, c, k);
    size_t length;
    json_error_t error;
    if (json_unpack_ex(item, &error, JSON_STRICT, "{s:s, s:F, s:s%}", "name", &name, "bias",
                       &h->bias[k], "weights", &weights, &length) != 0)
        return failure_set(fail, json_shape_code(&error, ERR_CONFIG), "%s.labels[%zu]: %s", part, k,
                           error.text);
    if (strcmp(name, wanted) != 0)
        return failure_set(fail, ERR_CONFIG,
                           "%s: it is for the label %.60s where the configuration has %.60s: "
                           "calibrate again",
                           part, name, wanted);
    if (!isfinite(h->bias[k]) ||
        !read_weights(h->weights + k * h->width, h->width, weights, length))
        return failure_set(fail, ERR_CONFIG,
                           "%s.labels[%zu]: %zu finite numbers in base 64 and a finite bias are "
                           "needed",
                           part, k, h->width);
    return OK;
}

/* A head's shape against the model's and the configuration's. */
static error_code create_head(linear_head *out, size_t n_labels, json_int_t width, json_int_t layer,
                              const char *part, const config *c, const model *small, failure *fail)
{
    size_t wanted = is_success(part) ? SUCCESS_LABELS : c->probe.n_labels;
    if (n_labels != wanted)
        return failure_set(fail, ERR_CONFIG,
                           "%s: it is for %zu labels, %zu are needed: calibrate again", part,
                           n_labels, wanted);
    if (width < 1 || (size_t)width != small->config.n_embd)
        return failure_set(fail, ERR_CONFIG, "%s: its width is %lld, the small model's %zu", part,
                           (long long)width, (size_t)small->config.n_embd);
    if (layer < 1 || (size_t)layer > small->config.n_layers + 1)
        return failure_set(fail, ERR_CONFIG,
                           "%s: it reads layer %lld; the small model has %zu, and one more for "
                           "the last norm",
                           part, (long long)layer, (size_t)small->config.n_layers);
    error_code code = head_create(out, n_labels, (size_t)width, fail);
    out->layer = (size_t)layer;
    return code;
}

static error_code read_head(head_record *out, json_t *part, const char *name, const config *c,
                            const model *small, failure *fail)
{
    const char *chat;
    json_int_t layer, width, fitted_on;
    json_t *m, *labels, *limit, *above = NULL;
    json_error_t error;
    bool success = is_success(name);
    if (json_unpack_ex(part, &error, JSON_STRICT, "{s:o, s:s, s:I, s:I, s:F, s:I, s:o, s:o, s?o}",
                       "model", &m, "chat_template", &chat, "layer", &layer, "width", &width,
                       "strength", &out->strength, "fitted_on", &fitted_on, "labels", &labels,
                       "limit", &limit, "limits_above", &above) != 0)
        return failure_set(fail, json_shape_code(&error, ERR_CONFIG), "%s: %s", name, error.text);
    out->n_fitted = fitted_on > 0 ? (size_t)fitted_on : 0;
    error_code code = part_compare_model(m, chat, small, name, fail);
    if (code == OK)
        code = create_head(&out->head, json_array_size(labels), width, layer, name, c, small, fail);
    for (size_t k = 0; code == OK && k < out->head.n_labels; k++)
        code = read_label(&out->head, k, json_array_get(labels, k), name, c, fail);
    if (code != OK)
        return code;
    return part_read_limits(&out->limits, limit, above, name, success ? "success" : "entropy",
                            success ? 1 : HUGE_VAL, c->n_models, fail);
}

error_code calibration_file_read_head(head_record *out, const char *part, const char *path,
                                      const config *c, const model *small, failure *fail)
{
    json_t *root, *found = NULL;
    *out = (head_record){.n_fitted = 0};
    error_code code = part_open(path, part, &root, &found, fail);
    if (code == OK)
        code = read_head(out, found, part, c, small, fail);
    json_decref(root);
    if (code == OK)
        return OK;
    head_record_free(out);
    return failure_prefix(fail, "calibration %s", path);
}
