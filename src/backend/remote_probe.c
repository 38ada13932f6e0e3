/* remote_probe.c: the probe where the small model is at another server: one token of a chat, and
 * the log-probabilities of the likeliest ones in its place. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/probe_template.h"
#include "backend/remote.h"

#define TEXT_LIMIT ((size_t)16 << 20)

typedef struct remote_classification {
    classification base;
    remote_call *call;
    size_t prompt_tokens;
} remote_classification;

error_code remote_check_labels(backend *b, const probe_template *t, const char *const *labels,
                               size_t n_labels, failure *fail)
{
    probe_parts parts;
    (void)labels;
    if (n_labels < 2 || n_labels > REMOTE_TOP)
        return failure_set(fail, ERR_CONFIG,
                           "%zu labels: the server of model '%s' tells of 2 to %d", n_labels,
                           b->name, REMOTE_TOP);
    return probe_template_split(t->text, &parts, fail);
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* The first and last bytes of a text that is longer than the window, cut between characters. */
static error_code add_window(buffer *out, const char *text, size_t length, const probe_template *t,
                             bool *windowed)
{
    size_t head = (size_t)t->window_head * BYTES_A_TOKEN;
    size_t tail = (size_t)t->window_tail * BYTES_A_TOKEN;
    *windowed = length > head + tail;
    if (!*windowed)
        return buffer_add(out, text, length);
    while (head > 0 && ((unsigned char)text[head] & 0xC0) == 0x80)
        head--;
    while (tail > 0 && ((unsigned char)text[length - tail] & 0xC0) == 0x80)
        tail--;
    error_code code = buffer_add(out, text, head);
    return code == OK ? buffer_add(out, text + length - tail, tail) : code;
}

static const chat_message *last_user(const request *r)
{
    for (size_t i = r->n_messages; i-- > 0;)
        if (strcmp(r->messages[i].role, "user") == 0)
            return &r->messages[i];
    return NULL;
}

/* The last user's message, with the template's words around it. */
static error_code write_question(buffer *out, const request *r, const probe_template *t,
                                 bool *windowed, failure *fail)
{
    probe_parts parts;
    error_code code = probe_template_split(t->text, &parts, fail);
    const chat_message *last = last_user(r);
    const char *text = r->prompt != NULL ? r->prompt : last != NULL ? last->content : NULL;
    if (code != OK)
        return code;
    if (text == NULL)
        return failure_set(fail, ERR_INVALID, "the request has no user's text to classify");
    code = buffer_add(out, parts.before, parts.before_length);
    if (code == OK)
        code = add_window(out, text, r->prompt != NULL ? r->prompt_length : last->content_length, t,
                          windowed);
    if (code == OK && parts.conversation) /* its end is no turn of its own here */
        code = buffer_add_text(out, "\n\n");
    if (code == OK)
        code = buffer_add(out, parts.after, parts.after_length);
    return code == OK ? OK : failure_set(fail, code, "no memory for the probe");
}

static remote_probe *make_probe(const char *const *labels, size_t n)
{
    remote_probe *p = calloc(1, sizeof *p);
    for (; p != NULL && p->n_labels < n; p->n_labels++) {
        p->logprobs[p->n_labels] = -INFINITY;
        p->labels[p->n_labels] = strdup(labels[p->n_labels]);
        if (p->labels[p->n_labels] == NULL) {
            remote_probe_free(p);
            return NULL;
        }
    }
    return p;
}

error_code remote_classify(backend *base, const request *r, const prepared_prompt *p,
                           const probe_template *t, const char *const *labels, size_t n_labels,
                           wakeup wake, classification **out, failure *fail)
{
    remote_backend *b = (remote_backend *)base;
    bool windowed = false;
    buffer question;
    buffer_init(&question, TEXT_LIMIT);
    error_code code = write_question(&question, r, t, &windowed, fail);
    const chat_message message = {"user", question.data, question.length};
    const request asked = {.messages = &message,
                           .n_messages = 1,
                           .sampling = {.top_p = 1, .repetition_penalty = 1},
                           .max_tokens = 1,
                           .deadline_ms = r->deadline_ms};
    remote_classification *c = code == OK ? calloc(1, sizeof *c) : NULL;
    remote_call *call = code == OK ? remote_call_make(b, &asked, wake) : NULL;
    if (call != NULL)
        call->probe = make_probe(labels, n_labels);
    if (code == OK && (c == NULL || call == NULL || call->probe == NULL))
        code = failure_set(fail, ERR_MEMORY, "no memory for the probe");
    if (code == OK)
        code = remote_request_write(b, &asked, REMOTE_TOP, &call->body, fail);
    buffer_free(&question);
    if (code != OK) {
        free(c);
        if (call != NULL)
            remote_call_unreference(call);
        return code;
    }
    call->probe->windowed = windowed;
    *c = (remote_classification){
        .base.operations = base->operations, .call = call, .prompt_tokens = p->n_tokens};
    remote_house_send(b->house, call, r->lane);
    *out = &c->base;
    return OK;
}

/* ---- what comes back ------------------------------------------------------------------------- */

/* All labels must have been told of: what was left out could be anything below the least. */
static void read_labels(const remote_probe *p, const char *name, classification_result *out)
{
    out->n_labels = p->n_labels;
    for (size_t k = 0; k < p->n_labels; k++) {
        out->logits[k] = p->logprobs[k];
        if (isfinite(p->logprobs[k]))
            continue;
        out->state = WORK_FAILED;
        failure_set(&out->failure, ERR_FORMAT,
                    "probe_incomplete: the server of model '%s' did not tell how probable the "
                    "label \"%.60s\" is",
                    name, p->labels[k]);
    }
}

error_code remote_poll_classification(classification *base, classification_result *out)
{
    remote_classification *c = (remote_classification *)base;
    remote_call *call = c->call;
    pthread_mutex_lock(&call->lock);
    *out = (classification_result){.state = call->status.state,
                                   .failure = call->status.failure,
                                   .prompt_tokens = c->prompt_tokens,
                                   .probe_tokens = call->status.stats.prompt_tokens,
                                   .windowed = call->probe->windowed,
                                   .stats = call->status.stats};
    if (out->state == WORK_FINISHED)
        read_labels(call->probe, call->backend->base.name, out);
    pthread_mutex_unlock(&call->lock);
    return OK;
}

void remote_release_classification(classification *base)
{
    remote_call_leave(((remote_classification *)base)->call);
    free(base);
}
