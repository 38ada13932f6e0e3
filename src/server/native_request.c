/*
 * native_request.c: what llama-server takes: in every request for a reply, and in those of its own
 * forms, /completion and /infill.
 */
#include "server/request_parser.h"

#include <string.h>

#include "base/json.h"

/* ---- of every request -------------------------------------------------------------------------
 */

static bool read_timings(parser *p, const char *name, json_t *value)
{
    return parser_read_flag(p, name, value, &p->out->manner.tells_timings);
}

/* -1: all tokens, as is done anyway. What no penalty looks at may be any number. */
static bool read_window(parser *p, const char *name, json_t *value)
{
    int64_t number = -1;
    if (!parser_read_integer(p, name, value, -1, INT32_MAX, &number))
        return false;
    p->has_window = number != -1;
    return true;
}

/* The filters in the order in which they are applied here, those left out being off. */
static bool read_samplers(parser *p, const char *name, json_t *value)
{
    static const char *const order[] = {"penalties", "temperature", "top_k", "top_p", "min_p"};
    const size_t n = sizeof order / sizeof *order;
    bool is_known = json_array_size(value) == n;
    for (size_t i = 0; is_known && i < n; i++) {
        const char *one = json_string_value(json_array_get(value, i));
        is_known = one != NULL && strcmp(one, order[i]) == 0;
    }
    return is_known || parser_refuse(p, name,
                                     "is only supported with the value [\"penalties\", "
                                     "\"temperature\", \"top_k\", \"top_p\", \"min_p\"]");
}

/* What is not supported is taken where it is off, and what then has no effect is a hint. */
const request_field request_native_fields[] = {
    {.name = "n_predict", .read = read_num_predict},
    {.name = "timings_per_token", .read = read_timings},
    {.name = "repeat_last_n", .read = read_window},
    {.name = "samplers", .read = read_samplers},

    {.name = "typical_p", .only = {"1"}},
    {.name = "top_n_sigma", .only = {"-1"}},
    {.name = "dynatemp_range", .only = {"0"}},
    {.name = "xtc_probability", .only = {"0"}},
    {.name = "dry_multiplier", .only = {"0"}},
    {.name = "mirostat", .only = {"0"}},
    {.name = "adaptive_target", .only = {"-1"}},
    {.name = "min_keep", .only = {"0", "1"}},
    {.name = "n_indent", .only = {"0"}},
    {.name = "t_max_predict_ms", .only = {"0", "-1"}},
    {.name = "lora", .only = {"[]"}},
    {.name = "return_progress", .only = {"false"}},
    {.name = "grammar_lazy", .only = {"false"}},
    {.name = "grammar_triggers", .only = {"[]"}},
    {.name = "preserved_tokens", .only = {"[]"}},

    {.name = "dynatemp_exponent", .hint = field_is_number, .type = "a number"},
    {.name = "xtc_threshold", .hint = field_is_number, .type = "a number"},
    {.name = "dry_base", .hint = field_is_number, .type = "a number"},
    {.name = "dry_allowed_length", .hint = field_is_number, .type = "a number"},
    {.name = "dry_penalty_last_n", .hint = field_is_number, .type = "a number"},
    {.name = "dry_sequence_breakers", .hint = field_is_list, .type = "a list"},
    {.name = "mirostat_tau", .hint = field_is_number, .type = "a number"},
    {.name = "mirostat_eta", .hint = field_is_number, .type = "a number"},
    {.name = "adaptive_decay", .hint = field_is_number, .type = "a number"},
    {.name = "n_keep", .hint = field_is_number, .type = "a number"},
    {.name = "n_discard", .hint = field_is_number, .type = "a number"},
    {.name = "n_cache_reuse", .hint = field_is_number, .type = "a number"},
    {.name = "id_slot", .hint = field_is_number, .type = "a number"},
    {.name = "sse_ping_interval", .hint = field_is_number, .type = "a number"},
    {.name = "backend_sampling", .hint = field_is_flag, .type = "true or false"},
    {.name = "speculative.n_min", .hint = field_is_number, .type = "a number"},
    {.name = "speculative.p_min", .hint = field_is_number, .type = "a number"},
    {.name = NULL},
};

/* ---- of its own forms -------------------------------------------------------------------------
 */

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

/* ---- what is told of it -----------------------------------------------------------------------
 */

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
    json_object_set_new(settings, "seed", json_integer(defaults->has_seed ? (json_int_t)defaults->seed : -1));
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

/* ---- with a hole ------------------------------------------------------------------------------
 */

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
