/* embeddings.c: what a model makes of texts, one vector each; as OpenAI asks for it and is told. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "server/exchange.h"
#include "server/request_parser.h"

/* Of one request. */
struct embeddings {
    chat_request request;
    const char *model;
    backend *backend;
    embedding_job **jobs; /* as many as prompts; NULL: not started */
    size_t n, n_started, n_done, width;
    size_t n_done_before; /* when some were started last */
    double began_ms;
    bool is_written;
    size_t tokens; /* of all prompts */
};

#define MOST_NUMBERS ((size_t)1 << 20) /* of a request's vectors, as JSON */
#define AT_ONCE ((size_t)16) /* texts of a request in the engine: others use its queue, too */

void embeddings_destroy(embeddings *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->n; i++)
        if (m->jobs[i] != NULL)
            embedding_release(m->jobs[i]);
    free(m->jobs);
    chat_request_free(&m->request);
    free(m);
}

/* ---- the request ----------------------------------------------------------------------------- */

static bool read_format(parser *p, const char *name, json_t *value)
{
    const char *format = json_is_string(value) ? json_string_value(value) : "";
    p->out->is_base64 = strcmp(format, "base64") == 0;
    return p->out->is_base64 || strcmp(format, "float") == 0 ||
           parser_refuse(p, name, "must be 'float' or 'base64'");
}

bool read_dimensions(parser *p, const char *name, json_t *value)
{
    int64_t number = 0;
    if (!parser_read_integer(p, name, value, 1, INT32_MAX, &number))
        return false;
    p->out->dimensions = (size_t)number;
    return true;
}

static bool read_pooling(parser *p, const char *name, json_t *value)
{
    const char *pooling = json_is_string(value) ? json_string_value(value) : "";
    p->out->pools_last = strcmp(pooling, "last") == 0;
    return p->out->pools_last || strcmp(pooling, "mean") == 0 ||
           parser_refuse(p, name, "must be 'mean' or 'last'");
}

static bool finish_embeddings(parser *p)
{
    return p->prompt != NULL ? finish_prompt(p) : parser_refuse(p, "input", "is missing");
}

static const request_field fields[] = {
    {.name = "input", .read = read_raw_prompt},
    {.name = "model", .read = read_model},
    {.name = "encoding_format", .read = read_format},
    {.name = "dimensions", .read = read_dimensions},
    {.name = "pooling", .read = read_pooling},
    {.name = "user", .read = read_user},
    {.name = "priority", .read = read_priority},
    {.name = "deadline_ms", .read = read_deadline},
    {.name = NULL},
};

const request_form embeddings_form = {
    .tables = {fields}, .finish = finish_embeddings, .is_of_texts = true};

/* ---- starting -------------------------------------------------------------------------------- */

/* The model that is named; else the one that reads the least for it. */
static backend *choose(exchange *e, embeddings *m, api_error *error)
{
    orchestra *o = e->server->orchestra;
    const char *name = exchange_model(e, m->request.model);
    bool is_any = name == NULL || strcmp(name, "auto") == 0;
    size_t found = SIZE_MAX;
    for (size_t i = 0; i < orchestra_model_count(o); i++) {
        const model *own = orchestra_model(o, i),
                    *least = found == SIZE_MAX ? NULL : orchestra_model(o, found);
        bool is_smaller = own != NULL && (least == NULL || own->weight_bytes < least->weight_bytes);
        if (is_any ? is_smaller : strcmp(orchestra_model_name(o, i), name) == 0)
            found = i;
    }
    if (found == SIZE_MAX && is_any) {
        api_error_set(error, 501, NULL, "model", "no model in this process can embed a text");
        return NULL;
    }
    if (found == SIZE_MAX) {
        api_error_set(error, 404, "model_not_found", "model",
                      "there is no model '%.100s'; GET /v1/models lists them", name);
        return NULL;
    }
    m->model = orchestra_model_name(o, found);
    return orchestra_backend(o, found);
}

static void wake(void *context)
{
    exchange_signal(context, SIGNAL_NEWS);
}

static error_code start_one(exchange *e, embeddings *m, size_t i, failure *fail)
{
    backend *b = m->backend;
    const uint32_t layer = backend_last_state(b);
    const request_prompt *text = &m->request.prompts[i];
    request q = m->request.request;
    q.prompt = text->text;
    q.prompt_length = text->length;
    q.prompt_ids = text->ids;
    q.n_prompt_ids = text->n_ids;
    /* It is for all texts together: 0 would be none. */
    double left_ms = q.deadline_ms - (clock_ms() - m->began_ms);
    if (q.deadline_ms > 0 && left_ms <= 0)
        return failure_set(fail, ERR_TIMEOUT, "the request's deadline has passed");
    q.deadline_ms = q.deadline_ms > 0 ? left_ms : 0;
    const embedding_request wanted = {
        .layers = &layer,
        .n_layers = 1,
        .pooling = m->request.pools_last ? EMBEDDING_LAST : EMBEDDING_MEAN,
        .priority = q.priority,
        .deadline_ms = q.deadline_ms,
    };
    prepared_prompt *p = NULL;
    error_code code = backend_check_length(b, &q, fail);
    if (code == OK)
        code = backend_prepare(b, &q, &p, fail);
    if (code != OK)
        return code;
    code = backend_embed(b, p, &wanted, (wakeup){wake, e}, &m->jobs[i], fail);
    m->tokens += code == OK ? prompt_tokens(p) : 0;
    prompt_destroy(p);
    return code;
}

/* Where the engine has no room for more, those that are under way will leave some. */
static bool start_more(exchange *e, embeddings *m, api_error *error)
{
    failure fail = {.code = OK};
    error_code code = OK;
    m->n_done_before = m->n_done;
    while (code == OK && m->n_started < m->n && m->n_started < m->n_done + AT_ONCE) {
        code = start_one(e, m, m->n_started, &fail);
        m->n_started += code == OK;
    }
    if (code == OK || (code == ERR_BUSY && m->n_started > m->n_done))
        return true;
    api_error_from_failure(error, &fail);
    return false;
}

static bool start(exchange *e, embeddings *m, api_error *error)
{
    request_text text = {.body = e->body.data, .length = e->body.length, .form = e->api->form};
    if (!exchange_read_headers(e, &text, error) ||
        !chat_request_parse(&m->request, &text, &e->server->options.defaults, error))
        return false;
    m->backend = choose(e, m, error);
    if (m->backend == NULL || !chat_request_find_tokens(&m->request, m->backend, error))
        return false;
    m->width = backend_state_width(m->backend);
    if (m->width > 0 && m->request.dimensions > m->width)
        return api_error_set(error, 400, NULL, "dimensions", "'dimensions' is at most %zu of '%s'",
                             m->width, m->model);
    size_t numbers = m->request.dimensions > 0 ? m->request.dimensions : m->width;
    if (!m->request.is_base64 && m->request.n_prompts * numbers > MOST_NUMBERS)
        return api_error_set(error, 400, NULL, "input",
                             "%zu vectors of %zu numbers are too long to be written as numbers: "
                             "fewer texts, 'dimensions', or in /v1/embeddings 'encoding_format': "
                             "'base64'",
                             m->request.n_prompts, numbers);
    m->jobs = calloc(m->request.n_prompts, sizeof *m->jobs);
    if (m->jobs == NULL)
        return api_error_set(error, 503, "out_of_memory", "", "no memory for the request");
    m->n = m->request.n_prompts;
    m->began_ms = clock_ms();
    return start_more(e, m, error);
}

/* On a worker's thread. */
static void go_on(work *w)
{
    exchange *e = exchange_of(w);
    e->has_work_error = !start_more(e, e->embeddings, &e->work_error);
    exchange_signal(e, SIGNAL_WORKED);
}

/* On a worker's thread. */
static void begin(work *w)
{
    exchange *e = exchange_of(w);
    e->embeddings = calloc(1, sizeof *e->embeddings);
    e->has_work_error = e->embeddings == NULL ? !api_error_set(&e->work_error, 503, "out_of_memory",
                                                               "", "no memory for the request")
                                              : !start(e, e->embeddings, &e->work_error);
    memcpy(e->manner.user, e->embeddings != NULL ? e->embeddings->request.manner.user : "",
           e->embeddings != NULL ? sizeof e->manner.user : 1);
    exchange_drop_body(e);
    exchange_signal(e, SIGNAL_WORKED);
}

/* ---- the answer ------------------------------------------------------------------------------ */

/* The first `n` numbers, of length 1 together. */
static void normalise(float *out, const float *states, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)states[i] * (double)states[i];
    double scale = sum > 0 ? 1 / sqrt(sum) : 0;
    for (size_t i = 0; i < n; i++)
        out[i] = (float)((double)states[i] * scale);
}

static json_t *base64_json(const float *values, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *bytes = (const unsigned char *)values;
    size_t length = n * sizeof *values, at = 0;
    char *text = malloc((length + 2) / 3 * 4 + 1);
    if (text == NULL)
        return NULL;
    for (size_t i = 0; i < length; i += 3) {
        size_t left = length - i;
        uint32_t three = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                         (left > 2 ? (uint32_t)bytes[i + 2] : 0);
        text[at++] = digits[three >> 18];
        text[at++] = digits[three >> 12 & 63];
        text[at++] = left > 1 ? digits[three >> 6 & 63] : '=';
        text[at++] = left > 2 ? digits[three & 63] : '=';
    }
    json_t *value = json_stringn(text, at);
    free(text);
    return value;
}

static json_t *vector_json(const embeddings *m, const float *states)
{
    size_t n = m->request.dimensions > 0 ? m->request.dimensions : m->width;
    float *values = reallocarray(NULL, n, sizeof *values);
    if (values == NULL)
        return NULL;
    normalise(values, states, n);
    json_t *made = m->request.is_base64 ? base64_json(values, n) : json_array();
    for (size_t i = 0; i < n && !m->request.is_base64; i++)
        json_array_append_new(made, json_real((double)values[i]));
    free(values);
    return made;
}

/* NULL: no memory. */
static json_t *vector_at(const embeddings *m, size_t i)
{
    embedding_result r;
    return embedding_poll(m->jobs[i], &r) == OK && r.states != NULL ? vector_json(m, r.states)
                                                                    : NULL;
}

json_t *embeddings_vectors(const exchange *e)
{
    const embeddings *m = e->embeddings;
    json_t *list = json_array();
    for (size_t i = 0; i < m->n; i++) {
        if (json_array_append_new(list, vector_at(m, i)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

const char *embeddings_model(const exchange *e)
{
    return e->embeddings->model;
}

size_t embeddings_tokens(const exchange *e)
{
    return e->embeddings->tokens;
}

static json_t *whole(const exchange *e)
{
    size_t i;
    json_t *vector, *vectors = embeddings_vectors(e), *data = json_array();
    json_int_t tokens = (json_int_t)embeddings_tokens(e);
    json_array_foreach(vectors, i, vector)
    {
        json_array_append_new(data, json_pack("{s:s, s:I, s:O}", "object", "embedding", "index",
                                              (json_int_t)i, "embedding", vector));
    }
    bool is_whole = vectors != NULL;
    json_decref(vectors);
    json_t *body =
        json_pack("{s:s, s:o, s:s, s:{s:I, s:I}}", "object", "list", "data", data, "model",
                  embeddings_model(e), "usage", "prompt_tokens", tokens, "total_tokens", tokens);
    if (is_whole)
        return body;
    json_decref(body);
    return NULL;
}

const api embeddings_api = {.form = &embeddings_form, .whole = whole};

/* On a worker's thread: a million numbers take longer than a loop may. */
static void write_vectors(work *w)
{
    exchange *e = exchange_of(w);
    e->computed = e->api->whole(e);
    e->has_work_error = e->computed == NULL && !api_error_set(&e->work_error, 503, "out_of_memory",
                                                              "", "no memory for the embeddings");
    exchange_signal(e, SIGNAL_WORKED);
}

static bool answer_finished(exchange *e)
{
    json_t *body = e->computed;
    api_error error;
    if (!e->embeddings->is_written) {
        e->embeddings->is_written = true;
        return exchange_give_work(e, write_vectors, &error) || exchange_answer_error(e, &error);
    }
    e->computed = NULL;
    metrics_count_embedding(e->server->metrics, embeddings_tokens(e));
    return exchange_answer(e, 200, body);
}

bool embeddings_begin(exchange *e)
{
    api_error error;
    return exchange_give_work(e, begin, &error) || exchange_answer_error(e, &error);
}

bool embeddings_resume(exchange *e)
{
    bool is_well;
    api_error error;
    if (!exchange_await_work(e, &is_well))
        return is_well;
    embeddings *m = e->embeddings;
    for (embedding_result r; m->n_done < m->n_started; m->n_done++) {
        embedding_poll(m->jobs[m->n_done], &r);
        if (r.state == WORK_RUNNING)
            break;
        if (r.state == WORK_FAILED) {
            api_error_from_failure(&error, &r.failure);
            return exchange_answer_error(e, &error);
        }
    }
    bool has_room = m->n_done > m->n_done_before && m->n_started <= m->n_done + AT_ONCE / 2;
    if (m->n_started < m->n)
        return !has_room || exchange_give_work(e, go_on, &error) ||
               exchange_answer_error(e, &error);
    if (m->n_done < m->n)
        return true;
    return answer_finished(e);
}
