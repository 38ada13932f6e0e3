/* local.c: a backend over one engine of ours: renders, tokenises, submits. */
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "backend/fill.h"
#include "backend/plain_tools.h"
#include "base/clock.h"
#include "model/tool_grammar.h"

#define PROMPT_TEXT_LIMIT ((size_t)64 << 20)

struct backend {
    char *name;
    engine *engine;
};

struct reply {
    sequence *sequence;
    reply_style style;
};

struct embedding_job {
    sequence *sequence;
};

struct classification {
    sequence *sequence;
    classification_result result; /* what was known at submission */
};

error_code backend_create_local(backend **out, const char *name, engine *e, failure *fail)
{
    backend *b = malloc(sizeof *b);
    char *copy = strdup(name);
    if (b == NULL || copy == NULL) {
        free(b);
        free(copy);
        return failure_set(fail, ERR_MEMORY, "no memory for a backend");
    }
    *b = (backend){copy, e};
    *out = b;
    return OK;
}

void backend_destroy(backend *b)
{
    if (b == NULL)
        return;
    free(b->name);
    free(b);
}

const char *backend_name(const backend *b)
{
    return b->name;
}

size_t backend_context(const backend *b)
{
    return engine_context(b->engine);
}

void backend_read_status(backend *b, engine_status *out)
{
    engine_read_status(b->engine, out);
}

/* ---- from a request to tokens ---------------------------------------------------------------- */

static const tokenizer *words(const backend *b)
{
    return engine_model(b->engine)->tokenizer;
}

static error_code encode_raw(const backend *b, const char *text, size_t length, token_list *out,
                             failure *fail)
{
    const tokenizer *t = words(b);
    if (tokenizer_adds_bos(t) && token_list_add(out, tokenizer_bos(t)) != OK)
        return failure_set(fail, ERR_MEMORY, "no memory for the prompt");
    return tokenizer_encode(t, text, length, false, true, out, fail);
}

/* As they are: who has tokens has the one that begins a text among them. */
static error_code take_ids(const backend *b, const request *r, token_list *out, failure *fail)
{
    size_t n_vocab = engine_model(b->engine)->config.n_vocab;
    for (size_t i = 0; i < r->n_prompt_ids; i++)
        if (r->prompt_ids[i] < 0 || (size_t)r->prompt_ids[i] >= n_vocab)
            return failure_set(fail, ERR_INVALID,
                               "prompt token %zu is %d, not in the vocabulary of %zu of model '%s'",
                               i, r->prompt_ids[i], n_vocab, b->name);
    if (token_list_append(out, r->prompt_ids, r->n_prompt_ids) != OK)
        return failure_set(fail, ERR_MEMORY, "no memory for the prompt");
    return OK;
}

/* ---- texts and tokens ------------------------------------------------------------------------ */

error_code backend_tokenize(backend *b, const char *text, size_t length, bool specials,
                            token_list *out, failure *fail)
{
    return tokenizer_encode(words(b), text, length, specials, true, out, fail);
}

int32_t backend_first_token(const backend *b)
{
    return tokenizer_adds_bos(words(b)) ? tokenizer_bos(words(b)) : -1;
}

error_code backend_end_tokens(const backend *b, token_list *out)
{
    error_code code = OK;
    for (size_t id = 0; code == OK && id < tokenizer_size(words(b)); id++)
        if (tokenizer_is_end(words(b), (int32_t)id))
            code = token_list_add(out, (int32_t)id);
    return code;
}

const char *backend_token_text(const backend *b, int32_t id, size_t *length)
{
    return tokenizer_bytes(words(b), id, true, length);
}

error_code backend_detokenize(backend *b, const int32_t *ids, size_t n, buffer *out, failure *fail)
{
    text_decoder decoder;
    text_decoder_init(&decoder, words(b), true);
    decoder.specials = true;
    error_code code = OK;
    for (size_t i = 0; code == OK && i < n; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= tokenizer_size(words(b)))
            return failure_set(fail, ERR_INVALID,
                               "token %d is not in the vocabulary of %zu of '%s'", ids[i],
                               tokenizer_size(words(b)), b->name);
        code = text_decoder_push(&decoder, ids[i], out);
    }
    if (code == OK)
        code = text_decoder_finish(&decoder, out);
    return code == OK ? OK : failure_set(fail, code, "no memory for the text");
}

static bool ends_with(const buffer *text, const chat_thoughts *thoughts)
{
    size_t n = thoughts != NULL ? strlen(thoughts->begin) : 0, length = text->length;
    while (length > 0 && strchr(" \n", text->data[length - 1]) != NULL)
        length--;
    return n > 0 && length >= n && memcmp(text->data + length - n, thoughts->begin, n) == 0;
}

/* What the conversation is rendered to, and what the assistant has said of its reply. */
static error_code render(const model *m, const request *r, chat_text *text, reply_style *style,
                         failure *fail)
{
    const chat_input input = {
        .messages = r->messages,
        .n_messages = r->n_messages,
        .messages_json = r->chat.messages_json,
        .tools_json = r->chat.tools_json,
        .documents_json = r->chat.documents_json,
        .variables_json = r->chat.variables_json,
        .generation_prompt = true,
    };
    error_code code = chat_render(m->chat, &input, text, fail);
    style->is_in_thought =
        code == OK && ends_with(&text->text, style->chat.thoughts) && r->chat.begun_length == 0;
    if (code == OK && r->chat.begun != NULL)
        code = chat_text_add(text, r->chat.begun, r->chat.begun_length, false);
    return code;
}

/* For a template that knows of no tools. */
static error_code render_plain(const model *m, const request *r, chat_text *text,
                               reply_style *style, failure *fail)
{
    plain_tools tools;
    request plain = *r;
    style->chat.form = chat_form_find("json");
    error_code code = plain_tools_make(&tools, r, fail);
    plain.messages = tools.messages;
    plain.chat.messages_json = NULL;
    plain.chat.tools_json = NULL;
    if (code == OK)
        code = render(m, &plain, text, style, fail);
    plain_tools_free(&tools);
    return code;
}

static error_code render_request(const backend *b, const request *r, chat_text *text,
                                 reply_style *style, failure *fail)
{
    const model *m = engine_model(b->engine);
    if (m->chat == NULL)
        return failure_set(fail, ERR_UNSUPPORTED,
                           "model '%s' has no chat template%s%s: give it a raw prompt, or set "
                           "chat_template: for it",
                           b->name, m->chat_failure.code != OK ? " that works; " : "",
                           m->chat_failure.code != OK ? m->chat_failure.text : "");
    style->chat = chat_template_style(m->chat);
    bool is_plain = r->chat.tools_json != NULL && !style->chat.takes_tools;
    return is_plain ? render_plain(m, r, text, style, fail) : render(m, r, text, style, fail);
}

static error_code encode_request(const backend *b, const request *r, token_list *out,
                                 reply_style *style, failure *fail)
{
    if (r->prompt_ids != NULL)
        return take_ids(b, r, out, fail);
    if (r->prompt != NULL)
        return r->suffix != NULL ? fill_encode(words(b), b->name, r, out, fail)
                                 : encode_raw(b, r->prompt, r->prompt_length, out, fail);
    chat_text text;
    chat_text_init(&text, PROMPT_TEXT_LIMIT);
    error_code code = render_request(b, r, &text, style, fail);
    if (code == OK)
        code = chat_encode(words(b), &text, out, fail);
    chat_text_free(&text);
    return code;
}

error_code backend_render(backend *b, const request *r, buffer *out, failure *fail)
{
    reply_style style;
    chat_text text;
    chat_text_init(&text, PROMPT_TEXT_LIMIT);
    error_code code = render_request(b, r, &text, &style, fail);
    if (code == OK && buffer_add(out, text.text.data, text.text.length) != OK)
        code = failure_set(fail, ERR_MEMORY, "no memory for the conversation");
    chat_text_free(&text);
    return code;
}

#define LONG_PROMPT ((size_t)64 << 10) /* bytes: a sixteenth of a second */

error_code backend_check_length(const backend *b, const request *r, failure *fail)
{
    if (r->prompt_ids != NULL)
        return OK;
    size_t bytes = r->prompt != NULL ? r->prompt_length : 0;
    for (size_t i = 0; r->prompt == NULL && i < r->n_messages; i++)
        bytes += r->messages[i].content_length;
    if (bytes <= LONG_PROMPT)
        return OK;
    size_t fewest = bytes / tokenizer_longest(words(b));
    if (fewest < backend_context(b))
        return OK;
    return failure_set(fail, ERR_CONTEXT,
                       "the prompt's %zu bytes are at least %zu tokens; model '%s' holds %zu, the "
                       "reply included",
                       bytes, fewest, b->name, backend_context(b));
}

/* ---- prompts --------------------------------------------------------------------------------- */

struct prepared_prompt {
    token_list tokens; /* the completion's last */
    size_t n_prompt;   /* without them */
    grammar *grammar;  /* or NULL */
    reply_style style;
    double template_ms;
};

static error_code encode_all(const backend *b, const request *r, prepared_prompt *p, failure *fail)
{
    error_code code = encode_request(b, r, &p->tokens, &p->style, fail);
    p->n_prompt = p->style.prompt_tokens = p->tokens.length;
    p->style.first_token = p->tokens.length > 0 ? p->tokens.ids[0] : -1;
    if (code == OK && r->completion != NULL)
        code = tokenizer_encode(words(b), r->completion, r->completion_length, false, false,
                                &p->tokens, fail);
    return code;
}

/* What the reply must match: calls in the form that its model knows, or what the request says. */
static error_code compile_grammar(const backend *b, const request *r, prepared_prompt *p,
                                  failure *fail)
{
    const model *m = engine_model(b->engine);
    const chat_style *style = &p->style.chat;
    if (!r->chat.must_call)
        return r->grammar.text == NULL
                   ? OK
                   : grammar_compile(&p->grammar, m, r->grammar.kind, r->grammar.text,
                                     strlen(r->grammar.text), fail);
    const tool_demand demand = {
        .tools_json = r->chat.tools_json,
        .name = r->chat.called,
        .is_one = r->chat.calls_once,
        .thought_end = p->style.is_in_thought ? style->thoughts->end : NULL,
    };
    buffer text;
    buffer_init(&text, PROMPT_TEXT_LIMIT);
    error_code code = tool_grammar_write(&text, m->tokenizer, style->form, &demand, fail);
    if (code == OK)
        code = grammar_compile(&p->grammar, m, GRAMMAR_CALLS, text.data, text.length, fail);
    buffer_free(&text);
    return code;
}

error_code backend_prepare(backend *b, const request *r, prepared_prompt **out, failure *fail)
{
    double start = clock_ms();
    prepared_prompt *p = calloc(1, sizeof *p);
    if (p == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a prompt");
    error_code code = encode_all(b, r, p, fail);
    p->template_ms = clock_ms() - start;
    if (code == OK)
        code = compile_grammar(b, r, p, fail);
    if (code != OK) {
        prompt_destroy(p);
        return code;
    }
    *out = p;
    return OK;
}

void prompt_destroy(prepared_prompt *p)
{
    if (p == NULL)
        return;
    token_list_free(&p->tokens);
    grammar_destroy(p->grammar);
    free(p);
}

size_t prompt_tokens(const prepared_prompt *p)
{
    return p->n_prompt;
}

const int32_t *prompt_ids(const prepared_prompt *p)
{
    return p->tokens.ids;
}

double prompt_template_ms(const prepared_prompt *p)
{
    return p->template_ms;
}

error_code backend_count_tokens(backend *b, const request *r, size_t *count, failure *fail)
{
    prepared_prompt *p;
    error_code code = backend_prepare(b, r, &p, fail);
    if (code != OK)
        return code;
    *count = p->n_prompt;
    prompt_destroy(p);
    return OK;
}

/* ---- replies and scores ----------------------------------------------------------------------
 */

/* How many of the prompt's tokens are scored. */
static size_t count_scored(const request *r, const prepared_prompt *p)
{
    size_t completion = p->tokens.length - p->n_prompt;
    if (r->kind == SEQUENCE_SCORE && r->completion != NULL && !r->scores_prompt)
        return completion;
    bool all = r->kind == SEQUENCE_SCORE || r->scores_prompt;
    return all && p->tokens.length > 0 ? p->tokens.length - 1 : 0;
}

error_code backend_submit(backend *b, const request *r, const prepared_prompt *p,
                          const lookup_setting *lookup, wakeup wake, reply **out, failure *fail)
{
    reply *handle = malloc(sizeof *handle);
    if (handle == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a reply");
    const chat_form *form = p->style.chat.form;
    handle->style = p->style;
    const sequence_request wanted = {
        .kind = r->kind,
        .prompt = p->tokens.ids,
        .n_prompt = p->tokens.length,
        .sampling = r->sampling,
        .max_tokens = r->max_tokens,
        .min_tokens = r->min_tokens,
        .stops = r->stops,
        .n_stops = r->n_stops,
        .shows_control = r->chat.is_parted && form != NULL && form->is_control,
        .lookup = *lookup,
        .grammar = p->grammar,
        .wants_scores = r->wants_scores,
        .scores_drawn = r->scores_drawn,
        .n_scored = count_scored(r, p),
        .n_top = r->n_top,
        .priority = r->priority,
        .deadline_ms = r->deadline_ms,
        .wake = wake.call,
        .wake_context = wake.context,
    };
    error_code code = engine_submit(b->engine, &wanted, &handle->sequence, fail);
    if (code != OK) {
        free(handle);
        return code;
    }
    *out = handle;
    return OK;
}

error_code reply_poll(reply *r, reply_status *status, buffer *text, token_list *tokens)
{
    sequence_poll_result polled;
    error_code code = sequence_poll(r->sequence, &polled, text, tokens);
    *status =
        (reply_status){polled.state, polled.finish, polled.stop, polled.failure, polled.stats};
    return code;
}

const score_list *reply_scores(const reply *r)
{
    return sequence_scores(r->sequence);
}

reply_style reply_style_of(const reply *r)
{
    return r->style;
}

void reply_cancel(reply *r)
{
    sequence_cancel(r->sequence);
}

void reply_release(reply *r)
{
    if (r == NULL)
        return;
    sequence_release(r->sequence);
    free(r);
}

/* ---- classification ---------------------------------------------------------------------------
 */

typedef struct template_parts {
    const char *before, *after;
    size_t before_length, after_length;
    bool conversation; /* the placeholder is {conversation}, else {query} */
} template_parts;

static error_code split_template(const char *text, template_parts *parts, failure *fail)
{
    static const char conversation[] = "{conversation}", query[] = "{query}";
    const char *c = strstr(text, conversation), *q = strstr(text, query);
    if ((c == NULL) == (q == NULL))
        return failure_set(fail, ERR_CONFIG,
                           "the probe's template must have one placeholder, %s or %s", conversation,
                           query);
    const char *at = c != NULL ? c : q;
    const char *after = at + strlen(c != NULL ? conversation : query);
    if (strstr(after, c != NULL ? conversation : query) != NULL)
        return failure_set(fail, ERR_CONFIG, "the probe's template has its placeholder twice");
    *parts = (template_parts){text, after, (size_t)(at - text), strlen(after), c != NULL};
    return OK;
}

/* The request's own tokens in the placeholder's place. */
static error_code encode_subject(const backend *b, const request *r, const prepared_prompt *p,
                                 bool conversation, token_list *out, failure *fail)
{
    if (conversation || r->prompt_ids != NULL) {
        error_code code = token_list_append(out, p->tokens.ids, p->n_prompt);
        return code == OK ? OK : failure_set(fail, code, "no memory for the probe");
    }
    if (r->prompt != NULL)
        return tokenizer_encode(words(b), r->prompt, r->prompt_length, false, false, out, fail);
    for (size_t i = r->n_messages; i-- > 0;) {
        const chat_message *m = &r->messages[i];
        if (strcmp(m->role, "user") == 0)
            return tokenizer_encode(words(b), m->content, m->content_length, false, false, out,
                                    fail);
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
    template_parts parts;
    error_code code = split_template(t->text, &parts, fail);
    if (code != OK)
        return code;
    if (!parts.conversation) {
        if (tokenizer_adds_bos(words(b)) && token_list_add(out, tokenizer_bos(words(b))) != OK)
            return failure_set(fail, ERR_MEMORY, "no memory for the probe");
        code = tokenizer_encode(words(b), parts.before, parts.before_length, true, true, out, fail);
    }
    size_t begin = out->length;
    if (code == OK)
        code = encode_subject(b, r, p, parts.conversation, out, fail);
    if (code != OK)
        return code;
    result->prompt_tokens = out->length - begin;
    result->windowed = cut_window(out, begin, t->window_head, t->window_tail);
    /* Encoded on its own, so that the conversation before it stays the answer's own prefix. */
    code = tokenizer_encode(words(b), parts.after, parts.after_length, true, false, out, fail);
    result->probe_tokens = out->length;
    return code;
}

error_code backend_find_token(backend *b, const char *label, int32_t *id, failure *fail)
{
    token_list tokens = {0};
    error_code code = tokenizer_encode(words(b), label, strlen(label), false, false, &tokens, fail);
    if (code == OK && tokens.length != 1)
        code = failure_set(fail, ERR_CONFIG,
                           "label '%s' is %zu tokens for model '%s', a label must be exactly one: "
                           "choose another word for its token",
                           label, tokens.length, b->name);
    if (code == OK)
        *id = tokens.ids[0];
    token_list_free(&tokens);
    return code;
}

static error_code find_labels(backend *b, const char *const *labels, size_t n, int32_t *ids,
                              failure *fail)
{
    if (n < 2 || n > SEQUENCE_MAX_LABELS)
        return failure_set(fail, ERR_CONFIG, "%zu labels, must be 2 to %d", n, SEQUENCE_MAX_LABELS);
    for (size_t i = 0; i < n; i++) {
        error_code code = backend_find_token(b, labels[i], &ids[i], fail);
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

error_code backend_check_labels(backend *b, const probe_template *t, const char *const *labels,
                                size_t n_labels, failure *fail)
{
    int32_t ids[SEQUENCE_MAX_LABELS];
    template_parts parts;
    error_code code = split_template(t->text, &parts, fail);
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

error_code backend_classify(backend *b, const request *r, const prepared_prompt *p,
                            const probe_template *t, const char *const *labels, size_t n_labels,
                            wakeup wake, classification **out, failure *fail)
{
    double start = clock_ms();
    int32_t ids[SEQUENCE_MAX_LABELS];
    token_list tokens = {0};
    classification *c = calloc(1, sizeof *c);
    error_code code = c == NULL ? failure_set(fail, ERR_MEMORY, "no memory for a classification")
                                : find_labels(b, labels, n_labels, ids, fail);
    if (code == OK)
        code = encode_probe(b, r, p, t, &tokens, &c->result, fail);
    if (code == OK) {
        c->result.n_labels = n_labels;
        c->result.template_ms = clock_ms() - start;
        sequence_request wanted = {
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
        code = engine_submit(b->engine, &wanted, &c->sequence, fail);
    }
    token_list_free(&tokens);
    if (code != OK) {
        free(c);
        return code;
    }
    *out = c;
    return OK;
}

error_code classification_poll(classification *c, classification_result *out)
{
    sequence_poll_result polled;
    error_code code = sequence_poll(c->sequence, &polled, NULL, NULL);
    *out = c->result;
    out->state = polled.state;
    out->failure = polled.failure;
    out->stats = polled.stats;
    out->log_sum_exp = polled.log_sum_exp;
    memcpy(out->logits, polled.label_logits, sizeof out->logits);
    return code;
}

void classification_release(classification *c)
{
    if (c == NULL)
        return;
    sequence_release(c->sequence);
    free(c);
}

/* ---- embeddings ------------------------------------------------------------------------------ */

size_t backend_state_width(const backend *b)
{
    return engine_model(b->engine)->config.n_embd;
}

uint32_t backend_last_state(const backend *b)
{
    return model_last_state(engine_model(b->engine));
}

error_code backend_embed(backend *b, const prepared_prompt *p, const embedding_request *e,
                         wakeup wake, embedding_job **out, failure *fail)
{
    embedding_job *job = malloc(sizeof *job);
    if (job == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for an embedding");
    const sequence_request wanted = {
        .kind = SEQUENCE_EMBEDDING,
        .prompt = p->tokens.ids,
        .n_prompt = p->n_prompt,
        .layers = e->layers,
        .n_layers = e->n_layers,
        .pooling = e->pooling,
        .is_urgent = e->is_urgent,
        .is_alone = e->is_alone,
        .priority = e->priority,
        .deadline_ms = e->deadline_ms,
        .wake = wake.call,
        .wake_context = wake.context,
    };
    error_code code = engine_submit(b->engine, &wanted, &job->sequence, fail);
    if (code != OK) {
        free(job);
        return code;
    }
    *out = job;
    return OK;
}

error_code embedding_poll(embedding_job *e, embedding_result *out)
{
    sequence_poll_result polled;
    error_code code = sequence_poll(e->sequence, &polled, NULL, NULL);
    bool finished = code == OK && polled.state == SEQUENCE_FINISHED;
    *out = (embedding_result){.state = polled.state,
                              .failure = polled.failure,
                              .states = finished ? sequence_states(e->sequence) : NULL,
                              .stats = polled.stats};
    return code;
}

void embedding_release(embedding_job *e)
{
    if (e == NULL)
        return;
    sequence_release(e->sequence);
    free(e);
}
