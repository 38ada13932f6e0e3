/* prompt.c: what a request's prompt is, for who does not ask for a reply. On a worker's thread. */
#include "server/exchange.h"

#include <string.h>

#include "base/json.h"

#define TEXT_LIMIT ((size_t)64 << 20)

/* The model that is named; else the large one. */
static backend *model_of(const exchange *e, const char *name, api_error *error)
{
    orchestra *o = e->server->orchestra;
    name = exchange_model(e, name);
    size_t found = name != NULL ? orchestra_find_model(o, name) : SIZE_MAX;
    if (found != SIZE_MAX)
        return orchestra_backend(o, found);
    if (name == NULL || strcmp(name, "auto") == 0 || orchestra_model_count(o) == 1)
        return orchestra_backend(o, models_largest(e->server));
    api_error_set(error, 404, "model_not_found", "model",
                  "there is no model '%.100s'; GET /v1/models lists them", name);
    return NULL;
}

static bool told(failure *fail, error_code code, api_error *error)
{
    if (code == OK)
        return true;
    if (fail->code != code)
        failure_set(fail, code, "%s", error_code_text(code));
    api_error_from_failure(error, fail);
    return false;
}

/* ---- of a conversation ----------------------------------------------------------------------- */

static bool read_request(exchange *e, json_t *body, chat_request *out, api_error *error)
{
    const request_text text = {.form = e->api->form, .store = e->server->responses};
    return chat_request_read(out, json_incref(body), &text, &e->server->options.defaults, error);
}

static bool count(exchange *e, json_t *body, size_t *n, api_error *error)
{
    chat_request r;
    failure fail = {.code = OK};
    if (!read_request(e, body, &r, error))
        return false;
    backend *b = model_of(e, r.model, error);
    bool counted = b != NULL && told(&fail, backend_count_tokens(b, &r.request, n, &fail), error);
    chat_request_free(&r);
    return counted;
}

json_t *prompt_count_anthropic(exchange *e, json_t *body, api_error *error)
{
    size_t n = 0;
    return count(e, body, &n, error) ? json_pack("{s:I}", "input_tokens", (json_int_t)n) : NULL;
}

json_t *prompt_count(exchange *e, json_t *body, api_error *error)
{
    size_t n = 0;
    return count(e, body, &n, error) ? json_pack("{s:s, s:I}", "object", "response.input_tokens",
                                                 "input_tokens", (json_int_t)n)
                                     : NULL;
}

json_t *prompt_render(exchange *e, json_t *body, api_error *error)
{
    chat_request r;
    failure fail = {.code = OK};
    buffer text;
    if (!read_request(e, body, &r, error))
        return NULL;
    buffer_init(&text, TEXT_LIMIT);
    backend *b = model_of(e, r.model, error);
    json_t *answer = NULL;
    if (b != NULL && told(&fail, backend_render(b, &r.request, &text, &fail), error))
        answer = json_pack("{s:o}", "prompt", json_text(text.data, text.length));
    buffer_free(&text);
    chat_request_free(&r);
    return answer;
}

/* ---- of a text ------------------------------------------------------------------------------- */

/* Only these fields, of these types. */
typedef struct plain_field {
    const char *name;
    bool (*fits)(const json_t *value);
} plain_field;

static bool is_text(const json_t *value)
{
    return json_is_string(value);
}

static bool is_flag(const json_t *value)
{
    return json_is_boolean(value);
}

static bool is_list(const json_t *value)
{
    return json_is_array(value);
}

static bool check_fields(json_t *body, const plain_field *fields, size_t n, api_error *error)
{
    const char *key;
    json_t *value;
    json_object_foreach(body, key, value)
    {
        size_t i = 0;
        while (i < n && strcmp(fields[i].name, key) != 0)
            i++;
        if (json_is_null(value))
            continue;
        if (i == n)
            return api_error_set(error, 400, NULL, key,
                                 "unknown field '%s': nothing is accepted and ignored", key);
        if (!fields[i].fits(value))
            return api_error_set(error, 400, NULL, key, "'%s' is of another type than it must be",
                                 key);
    }
    return true;
}

static backend *read_model_field(exchange *e, json_t *body, api_error *error)
{
    return model_of(e, json_string_value(json_object_get(body, "model")), error);
}

static const json_t *prompt_of(const json_t *body)
{
    const json_t *prompt = json_object_get(body, "prompt");
    return json_is_string(prompt) ? prompt : NULL;
}

static json_t *token_json(backend *b, int32_t id, bool with_pieces)
{
    buffer piece;
    if (!with_pieces)
        return json_integer(id);
    buffer_init(&piece, TEXT_LIMIT);
    backend_detokenize(b, &id, 1, &piece, NULL);
    json_t *made =
        json_pack("{s:i, s:o}", "id", (int)id, "piece", json_text(piece.data, piece.length));
    buffer_free(&piece);
    return made;
}

/* vLLM calls the text prompt, and adds the first token unless it is told not to. */
static bool tokenize(backend *b, json_t *body, token_list *out, api_error *error)
{
    const json_t *content = json_object_get(body, "content"), *prompt = prompt_of(body);
    json_t *specials = json_object_get(body, "parse_special");
    failure fail = {.code = OK};
    bool adds = json_is_true(json_object_get(body, "add_special")) ||
                (prompt != NULL && !json_is_false(json_object_get(body, "add_special_tokens")));
    if (json_is_string(content) == (prompt != NULL))
        return api_error_set(error, 400, NULL, "content",
                             "'content' must be a string, or 'prompt' in its place");
    content = prompt != NULL ? prompt : content;
    if (adds && backend_first_token(b) >= 0 && token_list_add(out, backend_first_token(b)) != OK)
        return told(&fail, ERR_MEMORY, error);
    return told(&fail,
                backend_tokenize(b, json_string_value(content), json_string_length(content),
                                 specials == NULL || json_is_true(specials), out, &fail),
                error);
}

json_t *prompt_tokenize(exchange *e, json_t *body, api_error *error)
{
    static const plain_field fields[] = {
        {"content", is_text},     {"prompt", is_text},        {"add_special_tokens", is_flag},
        {"add_special", is_flag}, {"parse_special", is_flag}, {"with_pieces", is_flag},
        {"model", is_text}};
    token_list tokens = {0};
    json_t *list = NULL;
    backend *b = check_fields(body, fields, sizeof fields / sizeof *fields, error)
                     ? read_model_field(e, body, error)
                     : NULL;
    if (b != NULL && tokenize(b, body, &tokens, error)) {
        bool with_pieces = json_is_true(json_object_get(body, "with_pieces"));
        list = json_array();
        for (size_t i = 0; i < tokens.length; i++)
            json_array_append_new(list, token_json(b, tokens.ids[i], with_pieces));
    }
    json_t *answer = list != NULL ? json_pack("{s:o}", "tokens", list) : NULL;
    if (answer != NULL && prompt_of(body) != NULL) {
        json_object_set_new(answer, "count", json_integer((json_int_t)tokens.length));
        json_object_set_new(answer, "max_model_len", json_integer((json_int_t)backend_context(b)));
    }
    token_list_free(&tokens);
    return answer;
}

static bool read_tokens(const json_t *list, token_list *out, api_error *error)
{
    size_t i;
    json_t *id;
    if (!json_is_array(list))
        return api_error_set(error, 400, NULL, "tokens", "'tokens' must be a list of token ids");
    json_array_foreach(list, i, id)
    {
        json_int_t n = json_integer_value(id);
        if (!json_is_integer(id) || n < 0 || n > INT32_MAX)
            return api_error_set(error, 400, NULL, "tokens", "'tokens[%zu]' is no token id", i);
        if (token_list_add(out, (int32_t)n) != OK)
            return api_error_set(error, 503, "out_of_memory", "", "no memory for the tokens");
    }
    return true;
}

json_t *prompt_detokenize(exchange *e, json_t *body, api_error *error)
{
    static const plain_field fields[] = {{"tokens", is_list}, {"model", is_text}};
    token_list tokens = {0};
    failure fail = {.code = OK};
    buffer text;
    buffer_init(&text, TEXT_LIMIT);
    json_t *answer = NULL;
    backend *b = check_fields(body, fields, sizeof fields / sizeof *fields, error)
                     ? read_model_field(e, body, error)
                     : NULL;
    if (b != NULL && read_tokens(json_object_get(body, "tokens"), &tokens, error) &&
        told(&fail, backend_detokenize(b, tokens.ids, tokens.length, &text, &fail), error))
        answer = json_pack("{s:o, s:o}", "content", json_text(text.data, text.length), "prompt",
                           json_text(text.data, text.length));
    buffer_free(&text);
    token_list_free(&tokens);
    return answer;
}
