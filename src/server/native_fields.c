/* native_fields.c: what llama-server takes in every request for a reply. */
#include "server/request_parser.h"

#include <string.h>

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
