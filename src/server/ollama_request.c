/* ollama_request.c: requests of Ollama's chat and generate. */
#include "server/request_parser.h"

#include <string.h>

/* ---- options --------------------------------------------------------------------------------- */

static const request_field option_fields[] = {
    {.name = "temperature", .read = read_temperature},
    {.name = "top_p", .read = read_top_p},
    {.name = "top_k", .read = read_top_k},
    {.name = "min_p", .read = read_min_p},
    {.name = "seed", .read = read_seed},
    {.name = "stop", .read = read_stop},
    {.name = "num_predict", .read = read_num_predict},
    {.name = "repeat_penalty", .read = read_repetition_penalty},
    {.name = "presence_penalty", .read = read_presence_penalty},
    {.name = "frequency_penalty", .read = read_frequency_penalty},

    {.name = "num_ctx", .hint = field_is_number, .type = "a number"},
    {.name = "num_keep", .hint = field_is_number, .type = "a number"},
    {.name = "num_batch", .hint = field_is_number, .type = "a number"},
    {.name = "num_gpu", .hint = field_is_number, .type = "a number"},
    {.name = "main_gpu", .hint = field_is_number, .type = "a number"},
    {.name = "num_thread", .hint = field_is_number, .type = "a number"},
    {.name = "use_mmap", .hint = field_is_flag, .type = "true or false"},
    {.name = "use_mlock", .hint = field_is_flag, .type = "true or false"},
    {.name = "numa", .hint = field_is_flag, .type = "true or false"},
    {.name = "low_vram", .hint = field_is_flag, .type = "true or false"},
    {.name = "f16_kv", .hint = field_is_flag, .type = "true or false"},
    {.name = "mirostat_tau", .hint = field_is_number, .type = "a number"},
    {.name = "mirostat_eta", .hint = field_is_number, .type = "a number"},

    {.name = "repeat_last_n", .only = {"-1"}},
    {.name = "typical_p", .only = {"1"}},
    {.name = "tfs_z", .only = {"1"}},
    {.name = "mirostat", .only = {"0"}},
    {.name = NULL},
};

const request_form ollama_options_form = {.tables = {option_fields}};

static bool read_options(parser *p, const char *name, json_t *value)
{
    return json_is_object(value) ? read_fields(p, &ollama_options_form, value)
                                 : parser_refuse(p, name, "must be an object");
}

/* ---- fields ---------------------------------------------------------------------------------- */

/* true, false, or how much. */
static bool read_think(parser *p, const char *name, json_t *value)
{
    if (json_is_string(value))
        return read_reasoning_effort(p, name, value);
    p->out->manner.keeps_thoughts = true;
    return json_is_boolean(value)
               ? parser_set_variable(p, "enable_thinking", json_incref(value))
               : parser_refuse(p, name, "must be true, false, 'low', 'medium' or 'high'");
}

/* "json": any object; a schema; or "". */
static bool read_format(parser *p, const char *name, json_t *value)
{
    if (json_is_string(value) && json_string_length(value) == 0)
        return true;
    if (json_is_object(value))
        return read_schema(p, name, value);
    const char *format = json_string_value(value);
    if (format == NULL || strcmp(format, "json") != 0)
        return parser_refuse(p, name, "must be \"json\" or a JSON Schema");
    return read_schema(p, name, parser_own(p, json_pack("{s:s}", "type", "object")));
}

static bool read_generate_system(parser *p, const char *name, json_t *value)
{
    p->system = value;
    return json_is_string(value) || parser_refuse(p, name, "must be a string");
}

static bool read_raw(parser *p, const char *name, json_t *value)
{
    return parser_read_flag(p, name, value, &p->is_raw);
}

static bool read_text_prompt(parser *p, const char *name, json_t *value)
{
    p->prompt = value;
    return json_is_string(value) || parser_refuse(p, name, "must be a string");
}

/* Who sends no words wants the model to be loaded, which it is. */
static bool ask_nothing(parser *p)
{
    p->out->asks_nothing = true;
    return true;
}

static bool read_chat_messages(parser *p, const char *name, json_t *value)
{
    return json_is_array(value) && json_array_size(value) == 0 ? ask_nothing(p)
                                                               : read_messages(p, name, value);
}

static bool finish_ollama_chat(parser *p)
{
    return p->messages == NULL ? ask_nothing(p) : finish_chat(p);
}

/* A prompt is what a user says, unless it is raw or has a hole to be filled. */
static bool finish_generate(parser *p)
{
    bool is_text = json_string_length(p->system) > 0;
    if (json_string_length(p->prompt) == 0 && p->suffix == NULL)
        return ask_nothing(p);
    if (p->is_raw || p->suffix != NULL)
        return read_raw_prompt(p, "prompt", p->prompt) && finish_prompt(p);
    json_t *list = parser_own(p, json_array());
    if (is_text)
        json_array_append_new(list,
                              json_pack("{s:s, s:O}", "role", "system", "content", p->system));
    json_array_append_new(list, json_pack("{s:s, s:O}", "role", "user", "content", p->prompt));
    return read_messages(p, "messages", list) && finish_chat(p);
}

static const request_field common[] = {
    {.name = "model", .read = read_model},
    {.name = "stream", .read = read_stream},
    {.name = "options", .read = read_options},
    {.name = "think", .read = read_think},
    {.name = "keep_alive", .hint = field_is_anything},
    {.name = "format", .read = read_format},
    {.name = "images", .only = {"[]"}},
    {.name = NULL},
};

static const request_field chat[] = {
    {.name = "messages", .read = read_chat_messages},
    {.name = "tools", .read = read_tools},
    {.name = NULL},
};

static const request_field generate[] = {
    {.name = "prompt", .read = read_text_prompt},
    {.name = "suffix", .read = read_text_behind},
    {.name = "system", .read = read_generate_system},
    {.name = "raw", .read = read_raw},
    {.name = "template", .only = {"\"\""}},
    {.name = "context", .only = {"[]"}},
    {.name = NULL},
};

const request_form ollama_chat_form = {
    .tables = {chat, common}, .finish = finish_ollama_chat, .is_streamed = true};
const request_form ollama_generate_form = {
    .tables = {generate, common}, .finish = finish_generate, .is_streamed = true};
