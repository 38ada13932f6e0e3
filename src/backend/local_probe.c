/* local_probe.c: the next token's distribution over labels, after a question. */
#include <stdlib.h>
#include <string.h>

#include "backend/local.h"
#include "backend/probe_template.h"
#include "base/clock.h"

typedef struct local_classification {
    classification base;
    sequence *sequence;
    classification_result result; /* what was known at submission */
} local_classification;

/* The request's own tokens in the placeholder's place. */
static error_code encode_subject(const backend *b, const request *r, const prepared_prompt *p,
                                 bool conversation, token_list *out, failure *fail)
{
    if (conversation || r->prompt_ids != NULL) {
        error_code code = token_list_append(out, p->ids, p->n_tokens);
        return code == OK ? OK : failure_set(fail, code, "no memory for the probe");
    }
    if (r->prompt != NULL)
        return tokenizer_encode(local_words(b), r->prompt, r->prompt_length, false, false, out,
                                fail);
    for (size_t i = r->n_messages; i-- > 0;) {
        const chat_message *m = &r->messages[i];
        if (strcmp(m->role, "user") == 0)
            return tokenizer_encode(local_words(b), m->content, m->content_length, false, false,
                                    out, fail);
    }
    return failure_set(fail, ERR_INVALID, "the conversation has no user message to classify");
}

/* Keeps the first `head` and the last `tail` tokens of those from `begin` on. */
static bool cut_window(token_list *tokens, size_t begin, size_t head, size_t tail)
{
    size_t n = tokens->length - begin;
    if (n <= head + tail)
        return false;
    memmove(tokens->ids + begin + head, tokens->ids + tokens->length - tail,
            tail * sizeof *tokens->ids);
    tokens->length = begin + head + tail;
    return true;
}

static error_code encode_probe(const backend *b, const request *r, const prepared_prompt *p,
                               const probe_template *t, token_list *out,
                               classification_result *result, failure *fail)
{
    probe_parts parts;
    error_code code = probe_template_split(t->text, &parts, fail);
    if (code != OK)
        return code;
    if (!parts.conversation) {
        if (tokenizer_adds_bos(local_words(b)) &&
            token_list_add(out, tokenizer_bos(local_words(b))) != OK)
            return failure_set(fail, ERR_MEMORY, "no memory for the probe");
        code = tokenizer_encode(local_words(b), parts.before, parts.before_length, true, true, out,
                                fail);
    }
    size_t begin = out->length;
    if (code == OK)
        code = encode_subject(b, r, p, parts.conversation, out, fail);
    if (code != OK)
        return code;
    result->prompt_tokens = out->length - begin;
    result->windowed = cut_window(out, begin, t->window_head, t->window_tail);
    /* Encoded on its own, so that the conversation before it stays the answer's own prefix. */
    code =
        tokenizer_encode(local_words(b), parts.after, parts.after_length, true, false, out, fail);
    result->probe_tokens = out->length;
    return code;
}

static error_code find_labels(backend *b, const char *const *labels, size_t n, int32_t *ids,
                              failure *fail)
{
    if (n < 2 || n > PROBE_MAX_LABELS)
        return failure_set(fail, ERR_CONFIG, "%zu labels, must be 2 to %d", n, PROBE_MAX_LABELS);
    for (size_t i = 0; i < n; i++) {
        error_code code = local_find_token(b, labels[i], &ids[i], fail);
        if (code != OK)
            return code;
        for (size_t j = 0; j < i; j++) {
            if (ids[j] == ids[i])
                return failure_set(fail, ERR_CONFIG, "labels '%s' and '%s' are the same token",
                                   labels[j], labels[i]);
        }
    }
    return OK;
}

error_code local_check_labels(backend *b, const probe_template *t, const char *const *labels,
                              size_t n_labels, failure *fail)
{
    int32_t ids[PROBE_MAX_LABELS];
    probe_parts parts;
    error_code code = probe_template_split(t->text, &parts, fail);
    if (code == OK && parts.conversation && parts.before_length > 0)
        return failure_set(
            fail, ERR_CONFIG,
            "the probe's template has text before {conversation}: it must be a suffix");
    if (code == OK && t->window_head + t->window_tail == 0)
        return failure_set(fail, ERR_CONFIG, "the probe's window is empty");
    if (code == OK)
        code = find_labels(b, labels, n_labels, ids, fail);
    return code;
}

error_code local_classify(backend *b, const request *r, const prepared_prompt *p,
                          const probe_template *t, const char *const *labels, size_t n_labels,
                          wakeup wake, classification **out, failure *fail)
{
    double start = clock_ms();
    int32_t ids[PROBE_MAX_LABELS];
    token_list tokens = {0};
    local_classification *c = calloc(1, sizeof *c);
    error_code code = c == NULL ? failure_set(fail, ERR_MEMORY, "no memory for a classification")
                                : find_labels(b, labels, n_labels, ids, fail);
    if (code == OK)
        code = encode_probe(b, r, p, t, &tokens, &c->result, fail);
    if (code == OK) {
        c->base.operations = b->operations;
        c->result.n_labels = n_labels;
        c->result.template_ms = clock_ms() - start;
        const sequence_request wanted = {
            .kind = SEQUENCE_CLASSIFICATION,
            .prompt = tokens.ids,
            .n_prompt = tokens.length,
            .labels = ids,
            .n_labels = n_labels,
            .is_alone = t->is_alone,
            .deadline_ms = r->deadline_ms,
            .wake = wake.call,
            .wake_context = wake.context,
        };
        code = engine_submit(local_of(b)->engine, &wanted, &c->sequence, fail);
    }
    token_list_free(&tokens);
    if (code != OK) {
        free(c);
        return code;
    }
    *out = &c->base;
    return OK;
}

error_code local_poll_classification(classification *c, classification_result *out)
{
    local_classification *own = (local_classification *)c;
    sequence_poll_result polled;
    error_code code = sequence_poll(own->sequence, &polled, NULL, NULL);
    *out = own->result;
    out->state = local_state(polled.state);
    out->failure = polled.failure;
    out->stats = local_stats(&polled.stats);
    out->log_sum_exp = polled.log_sum_exp;
    memcpy(out->logits, polled.label_logits, sizeof out->logits);
    return code;
}

void local_release_classification(classification *c)
{
    local_classification *own = (local_classification *)c;
    sequence_release(own->sequence);
    free(own);
}
