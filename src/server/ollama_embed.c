/* ollama_embed.c: embeddings as Ollama asks for them and tells them. */
#include "server/exchange.h"
#include "server/request_parser.h"

static bool finish(parser *p)
{
    return p->prompt != NULL ? finish_prompt(p) : parser_refuse(p, "input", "is missing");
}

/* A text that is too long is refused here, not cut. */
static const request_field embed_fields[] = {
    {.name = "input", .read = read_raw_prompt},
    {.name = "model", .read = read_model},
    {.name = "dimensions", .read = read_dimensions},
    {.name = "truncate", .only = {"false"}},
    {.name = "options", .hint = field_is_object, .type = "an object"},
    {.name = "keep_alive", .hint = field_is_anything},
    {.name = NULL},
};

/* The older one. */
static const request_field embeddings_fields[] = {
    {.name = "prompt", .read = read_raw_prompt},
    {.name = "model", .read = read_model},
    {.name = "options", .hint = field_is_object, .type = "an object"},
    {.name = "keep_alive", .hint = field_is_anything},
    {.name = NULL},
};

const request_form ollama_embed_form = {
    .tables = {embed_fields}, .finish = finish, .is_of_texts = true};
const request_form ollama_embeddings_form = {.tables = {embeddings_fields},
                                             .finish = finish_prompt};

static json_t *whole_list(const exchange *e)
{
    json_t *vectors = embeddings_vectors(e);
    return vectors == NULL
               ? NULL
               : json_pack("{s:s, s:o, s:I}", "model", embeddings_model(e), "embeddings", vectors,
                           "prompt_eval_count", (json_int_t)embeddings_tokens(e));
}

static json_t *whole_one(const exchange *e)
{
    json_t *vectors = embeddings_vectors(e);
    json_t *one = json_incref(json_array_get(vectors, 0));
    json_decref(vectors);
    return one == NULL ? NULL : json_pack("{s:o}", "embedding", one);
}

const api ollama_embed_api = {
    .form = &ollama_embed_form, .whole = whole_list, .error = ollama_error_json};
const api ollama_embeddings_api = {
    .form = &ollama_embeddings_form, .whole = whole_one, .error = ollama_error_json};
