/* native_request.c: requests of llama-server's own forms, /completion and /infill. */
#include "server/request_parser.h"

#include "base/json.h"

/* ---- of its own forms ------------------------------------------------------------------------ */

static bool read_probabilities(parser *p, const char *name, json_t *value)
{
    if (!read_top_logprobs(p, name, value))
        return false;
    p->out->manner.wants_scores = p->out->request.n_top > 0;
    return true;
}

static bool read_drawn(parser *p, const char *name, json_t *value)
{
    return parser_read_flag(p, name, value, &p->out->manner.scores_drawn);
}

static bool read_return_tokens(parser *p, const char *name, json_t *value)
{
    return parser_read_flag(p, name, value, &p->out->manner.tells_tokens);
}

static bool read_response_fields(parser *p, const char *name, json_t *value)
{
    size_t i;
    json_t *field;
    bool is_list = json_is_array(value);
    json_array_foreach(value, i, field)
    {
        is_list = is_list && json_is_string(field);
    }
    p->fields = value;
    return is_list || parser_refuse(p, name, "must be a list of strings");
}

/* -1, and the same as 32 bits: one that is drawn. */
static bool read_native_seed(parser *p, const char *name, json_t *value)
{
    bool is_drawn = json_number_value(value) == -1 || json_number_value(value) == UINT32_MAX;
    return (json_is_number(value) && is_drawn) || read_seed(p, name, value);
}

static const request_field own_fields[] = {
    {.name = "n_cmpl", .read = read_n},
    {.name = "seed", .read = read_native_seed},
    {.name = "n_probs", .read = read_probabilities},
    {.name = "post_sampling_probs", .read = read_drawn},
    {.name = "return_tokens", .read = read_return_tokens},
    {.name = "response_fields", .read = read_response_fields},
    {.name = NULL},
};

static const request_field prompt_fields[] = {
    {.name = "prompt", .read = read_raw_prompt},
    {.name = NULL},
};

/* ---- what is told of it ---------------------------------------------------------------------- */

static json_t *biases_json(const sampling_params *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->n_biases; i++)
        json_array_append_new(list, json_pack("{s:i, s:f}", "token", (int)s->biases[i].token,
                                              "bias", (double)s->biases[i].bias));
    return list;
}

static json_t *stops_json(const chat_request *r)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->request.n_stops; i++)
        json_array_append_new(list, json_string(r->stops[i]));
    return list;
}

/* llama-server's settings, with what it has and is off here; the seed is not drawn yet. */
static json_t *settings_json(const chat_request *r)
{
    const request *q = &r->request;
    const sampling_params *s = &q->sampling;
    json_int_t most = q->max_tokens > 0 ? (json_int_t)q->max_tokens : -1;
    json_t *settings = json_pack(
        "{s:f, s:I, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:I, s:o, s:o, s:b, s:b, s:I, s:s, s:b}",
        "temperature", (double)s->temperature, "top_k", (json_int_t)s->top_k, "top_p",
        (double)s->top_p, "min_p", (double)s->min_p, "repeat_penalty",
        (double)s->repetition_penalty, "presence_penalty", (double)s->presence_penalty,
        "frequency_penalty", (double)s->frequency_penalty, "repeat_last_n", (json_int_t)-1,
        "n_predict", most, "max_tokens", most, "logit_bias", biases_json(s), "stop", stops_json(r),
        "ignore_eos", (int)(q->min_tokens == SIZE_MAX), "stream", (int)r->manner.stream, "n_probs",
        (json_int_t)(r->manner.wants_scores ? q->n_top : 0), "grammar",
        q->grammar.text != NULL ? q->grammar.text : "", "post_sampling_probs",
        (int)r->manner.scores_drawn);
    json_object_update_new(
        settings,
        json_pack("{s:f, s:f, s:f, s:f, s:f, s:i, s:f, s:f, s:i, s:[s, s, s, s, s], s:[]}",
                  "typical_p", 1.0, "top_n_sigma", -1.0, "dynatemp_range", 0.0, "xtc_probability",
                  0.0, "dry_multiplier", 0.0, "mirostat", 0, "adaptive_target", -1.0,
                  "adaptive_decay", 0.0, "min_keep", 0, "samplers", "penalties", "temperature",
                  "top_k", "top_p", "min_p", "lora"));
    return settings;
}

json_t *native_defaults_json(const request_defaults *defaults)
{
    const chat_request nothing = {
        .request = {.sampling = sampling_defaults(), .max_tokens = defaults->max_tokens}};
    json_t *settings = settings_json(&nothing);
    json_object_set_new(settings, "seed",
                        json_integer(defaults->has_seed ? (json_int_t)defaults->seed : -1));
    return settings;
}

static bool keep_told(parser *p)
{
    chat_request *out = p->out;
    out->manner.tells_tokens = out->manner.tells_tokens || out->manner.stream;
    out->told = json_pack("{s:o, s:O*}", "settings", settings_json(out), "fields",
                          json_array_size(p->fields) > 0 ? p->fields : NULL);
    return out->told != NULL || parser_no_memory(p, "");
}

static bool finish_native(parser *p)
{
    return finish_prompt(p) && keep_told(p);
}

const request_form native_form = {
    .tables = {prompt_fields, own_fields, request_common_fields, request_native_fields},
    .finish = finish_native,
};

/* ---- with a hole ----------------------------------------------------------------------------- */

static bool read_before(parser *p, const char *name, json_t *value)
{
    p->prefix = value;
    return json_is_string(value) || parser_refuse(p, name, "must be a string");
}

/* What the filling begins with. */
static bool read_begun(parser *p, const char *name, json_t *value)
{
    p->out->request.chat.begun = json_string_value(value);
    p->out->request.chat.begun_length = json_string_length(value);
    return json_is_string(value) || parser_refuse(p, name, "must be a string");
}

static bool read_files(parser *p, const char *name, json_t *value)
{
    size_t i;
    json_t *file;
    bool is_known = json_is_array(value);
    json_array_foreach(value, i, file)
    {
        json_t *text = json_object_get(file, "text"), *of = json_object_get(file, "filename");
        is_known = is_known && json_is_string(text) && (of == NULL || json_is_string(of)) &&
                   json_object_size(file) == (of == NULL ? 1 : 2);
    }
    if (!is_known)
        return parser_refuse(p, name, "must be a list of {\"filename\": string, \"text\": string}");
    p->out->request.files_json = parser_keep_json(p, name, value);
    return p->out->request.files_json != NULL;
}

static const request_field hole_fields[] = {
    {.name = "input_prefix", .read = read_before},
    {.name = "input_suffix", .read = read_suffix},
    {.name = "input_extra", .read = read_files},
    {.name = "prompt", .read = read_begun},
    {.name = NULL},
};

static bool finish_infill(parser *p)
{
    if (p->prefix == NULL || p->suffix == NULL)
        return parser_refuse(p, p->prefix == NULL ? "input_prefix" : "input_suffix", "is missing");
    return read_raw_prompt(p, "input_prefix", p->prefix) && finish_native(p);
}

const request_form infill_form = {
    .tables = {hole_fields, own_fields, request_common_fields, request_native_fields},
    .finish = finish_infill,
};
