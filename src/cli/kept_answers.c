/* kept_answers.c: the key that a probe's answers are kept under, and their numbers, checked. */
#include "cli/kept_answers.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/digest.h"
#include "base/kept.h"
#include "cli/calibrate.h"

#define KIND "probe"

/* ---- the key --------------------------------------------------------------------------------- */

/* The tokens of each prompt stand for the request, the chat template and the tokenizer. */
static error_code add_prompt(digest *d, backend *b, const labelled_request *r)
{
    prepared_prompt *p;
    error_code code = backend_prepare(b, &r->request, &p, NULL);
    if (code != OK)
        return code;
    uint64_t n = prompt_tokens(p);
    digest_add(d, &n, sizeof n);
    digest_add(d, prompt_ids(p), n * sizeof(int32_t));
    prompt_destroy(p);
    return OK;
}

static bool digest_prompts(char text[DIGEST_TEXT_SIZE], backend *b, const labelled_requests *set)
{
    digest *d;
    error_code code = digest_create(&d, DIGEST_SHA256, NULL);
    if (code != OK)
        return false;
    for (size_t i = 0; code == OK && i < set->n; i++)
        code = add_prompt(d, b, &set->items[i]);
    if (code == OK)
        code = digest_read_text(d, text, NULL);
    digest_destroy(d);
    return code == OK;
}

bool kept_answers_key(char key[KEPT_KEY_SIZE], const stage *s, const labelled_requests *set,
                      const question *q)
{
    size_t small = asked_index(s);
    char prompts[DIGEST_TEXT_SIZE];
    buffer text;
    buffer_init(&text, KEPT_KEY_SIZE - 1);
    if (s->kept == NULL || orchestra_model(s->orchestra, small) == NULL ||
        !digest_prompts(prompts, orchestra_backend(s->orchestra, small), set))
        return false;
    error_code code = buffer_add_format(
        &text, "%016" PRIx64 ", %s, %s, %zu + %zu tokens of %zu prompts %s, template %s",
        orchestra_model(s->orchestra, small)->fingerprint, kernel_name(),
        kv_type_name(orchestra_kv_type(s->orchestra, small)), q->template.window_head,
        q->template.window_tail, set->n, prompts, q->template.text);
    for (size_t i = 0; code == OK && i < q->n_words; i++)
        code = buffer_add_format(&text, "\n%s", q->words[i]);
    if (code == OK)
        memcpy(key, text.data, text.length + 1);
    buffer_free(&text);
    return code == OK;
}

/* ---- the answers ----------------------------------------------------------------------------- */

static bool read_real(const json_t *value, float *out)
{
    double real = json_number_value(value);
    *out = (float)real;
    return json_is_number(value) && isfinite(*out);
}

static bool read_answer(const json_t *item, size_t n_labels, classification_result *out)
{
    const json_t *logits = json_object_get(item, "logits");
    json_int_t read = json_integer_value(json_object_get(item, "probe_tokens"));
    *out = (classification_result){.state = WORK_FINISHED,
                                   .n_labels = json_array_size(logits),
                                   .windowed = json_is_true(json_object_get(item, "windowed")),
                                   .probe_tokens = read > 0 ? (size_t)read : 0};
    bool ok = out->n_labels == n_labels &&
              read_real(json_object_get(item, "log_sum_exp"), &out->log_sum_exp);
    for (size_t i = 0; ok && i < out->n_labels; i++)
        ok = read_real(json_array_get(logits, i), &out->logits[i]);
    return ok;
}

bool kept_answers_read(const stage *s, const char *key, size_t n_labels,
                       classification_result *answers, size_t n)
{
    json_t *list = kept_read(s->kept, KIND, key);
    bool ok = json_array_size(list) == n;
    for (size_t i = 0; ok && i < n; i++)
        ok = read_answer(json_array_get(list, i), n_labels, &answers[i]);
    json_decref(list);
    return ok;
}

static json_t *answer_json(const classification_result *r)
{
    json_t *logits = json_array();
    for (size_t i = 0; i < r->n_labels; i++)
        json_array_append_new(logits, json_real((double)r->logits[i]));
    return json_pack("{s:o, s:f, s:b, s:I}", "logits", logits, "log_sum_exp",
                     (double)r->log_sum_exp, "windowed", r->windowed, "probe_tokens",
                     (json_int_t)r->probe_tokens);
}

void kept_answers_write(const stage *s, const char *key, const classification_result *answers,
                        size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, answer_json(&answers[i]));
    kept_write(s->kept, KIND, key, list);
}
