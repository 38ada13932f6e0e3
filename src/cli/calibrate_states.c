/* calibrate_states.c: the small model's hidden states at the end of labelled requests, several
 * requests at once. */
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "cli/bell.h"
#include "cli/calibrate.h"
#include "cli/request_lines.h"
#include "evidence/label.h"

#define IN_FLIGHT 4 /* the engine computes as many in a step */

typedef struct reading {
    const config *config;
    const state_wishes *wishes;
    backend *small;
    bell bell;
    state_set *set;
    size_t capacity;
    embedding_job *asked[IN_FLIGHT]; /* of set->requests[n …] */
    size_t n_asked;
} reading;

/* ---- which layers --------------------------------------------------------------------------- */

/* Thirds, the middle and what logits are made of: which of them knows most, the fit finds out. */
static void choose_layers(state_set *set, const backend *small)
{
    static const double depths[] = {1.0 / 3, 1.0 / 2, 2.0 / 3, 5.0 / 6};
    uint32_t last = backend_last_state(small);
    for (size_t i = 0; i < sizeof depths / sizeof depths[0]; i++) {
        uint32_t layer = (uint32_t)(depths[i] * (last - 1) + 0.5);
        uint32_t before = set->n_layers > 0 ? set->layers[set->n_layers - 1] : 0;
        if (layer > before)
            set->layers[set->n_layers++] = layer;
    }
    set->layers[set->n_layers++] = last;
}

/* ---- one line ------------------------------------------------------------------------------- */

static grade grade_of(const json_t *value)
{
    return json_is_boolean(value) ? json_is_true(value) ? GRADE_RIGHT : GRADE_WRONG : GRADE_NONE;
}

/* Where the first model's answer has no grade, whether answers agree with the last model's is a
 * stand-in: that one's counts as right. */
static void read_grades(state_request *out, const config *c, const json_t *line)
{
    size_t last = c->n_models - 1;
    for (size_t i = 0; i <= last; i++)
        out->grades[i] = grade_of(json_object_get(label_answer(line, c, i), "right"));
    if (out->grades[0] != GRADE_NONE)
        return;
    for (size_t i = 0; i < last; i++)
        out->grades[i] = grade_of(label_agreement(line, c, i));
    out->is_stand_in = out->grades[0] != GRADE_NONE;
    out->grades[last] = out->is_stand_in ? GRADE_RIGHT : GRADE_NONE;
}

static error_code read_labels(state_request *out, const reading *r, const json_t *line,
                              failure *fail)
{
    *out = (state_request){.label = STATE_NO_LABEL};
    read_grades(out, r->config, line);
    if (r->wishes->intent || json_object_get(line, "intent") != NULL)
        return labelled_line_intent(&r->config->probe, line, &out->label, fail);
    return OK;
}

/* Of the prompt's tokens: the same request has the same. */
static error_code group_of(const prepared_prompt *p, uint64_t *group, failure *fail)
{
    uint8_t bytes[DIGEST_SIZE];
    digest *d;
    error_code code = digest_create(&d, DIGEST_SHA256, fail);
    if (code != OK)
        return code;
    digest_add(d, prompt_ids(p), prompt_tokens(p) * sizeof *prompt_ids(p));
    code = digest_read(d, bytes, fail);
    digest_destroy(d);
    if (code == OK)
        memcpy(group, bytes, sizeof *group);
    return code;
}

static error_code take_oldest(reading *r, failure *fail)
{
    embedding_job *oldest = r->asked[0];
    embedding_result result;
    error_code code;
    for (;;) {
        size_t heard = bell_heard(&r->bell);
        code = embedding_poll(oldest, &result);
        if (code != OK || result.state != WORK_RUNNING)
            break;
        bell_wait(&r->bell, heard);
    }
    r->n_asked--;
    memmove(r->asked, r->asked + 1, r->n_asked * sizeof r->asked[0]);
    state_set *set = r->set;
    size_t values = set->n_layers * set->width;
    float *kept = reallocarray(NULL, values, sizeof *kept);
    if (code != OK)
        failure_set(fail, code, "%s", error_code_text(code));
    else if (result.state == WORK_FAILED)
        code = (*fail = result.failure).code;
    else if (kept == NULL)
        code = failure_set(fail, ERR_MEMORY, "no memory for the hidden states");
    if (code == OK) {
        memcpy(kept, result.states, values * sizeof *kept);
        set->states[set->n++] = kept;
    } else
        free(kept);
    embedding_release(oldest);
    return code;
}

static error_code grow(reading *r, failure *fail)
{
    state_set *set = r->set;
    if (set->n + r->n_asked < r->capacity)
        return OK;
    size_t capacity = r->capacity == 0 ? 1024 : 2 * r->capacity;
    float **states = reallocarray(set->states, capacity, sizeof *states);
    if (states != NULL)
        set->states = states;
    state_request *requests = reallocarray(set->requests, capacity, sizeof *requests);
    if (requests != NULL)
        set->requests = requests;
    if (states == NULL || requests == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for %zu requests", capacity);
    r->capacity = capacity;
    return OK;
}

static error_code ask(reading *r, const prepared_prompt *p, state_request labels, failure *fail)
{
    const embedding_request wanted = {.layers = r->set->layers,
                                      .n_layers = r->set->n_layers,
                                      .pooling = EMBEDDING_LAST,
                                      .is_urgent = true};
    if (prompt_tokens(p) >= backend_context(r->small)) {
        r->set->n_long++;
        return OK;
    }
    error_code code = r->n_asked == IN_FLIGHT ? take_oldest(r, fail) : OK;
    if (code == OK)
        code = grow(r, fail);
    if (code == OK)
        code = group_of(p, &labels.group, fail);
    if (code == OK)
        code =
            backend_embed(r->small, p, &wanted, bell_wakeup(&r->bell), &r->asked[r->n_asked], fail);
    if (code != OK)
        return code;
    labels.answerable = prompt_tokens(p) <= r->config->policy.prompt_limit;
    r->set->requests[r->set->n + r->n_asked++] = labels;
    return OK;
}

static error_code read_line(void *context, const json_t *line, failure *fail)
{
    reading *r = context;
    request q;
    state_request labels;
    chat_message *messages = NULL;
    prepared_prompt *p = NULL;
    error_code code = read_labels(&labels, r, line, fail);
    if (code == OK)
        code = request_line_read(line, &q, &messages, fail);
    if (code == OK)
        code = backend_prepare(r->small, &q, &p, fail);
    if (code == OK)
        code = ask(r, p, labels, fail);
    prompt_destroy(p);
    free(messages);
    return code;
}

error_code state_set_read(state_set *out, stage *s, const char *path, const state_wishes *wishes,
                          failure *fail)
{
    backend *small = orchestra_backend(s->orchestra, asked_index(s));
    *out = (state_set){.path = path, .width = backend_state_width(small)};
    choose_layers(out, small);
    reading r = {.config = s->config, .wishes = wishes, .small = small, .set = out};
    bell_init(&r.bell);
    error_code code = request_lines_each(path, "reading hidden states", read_line, &r, fail);
    while (code == OK && r.n_asked > 0)
        code = take_oldest(&r, fail);
    for (size_t i = 0; i < r.n_asked; i++)
        embedding_release(r.asked[i]);
    bell_end(&r.bell);
    return code;
}

void state_set_free(state_set *set)
{
    for (size_t i = 0; i < set->n; i++)
        free(set->states[i]);
    free(set->states);
    free(set->requests);
    *set = (state_set){.path = NULL};
}
