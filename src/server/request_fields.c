/*
 * request_fields.c: the tables of fields (promise 2): each is read, or is a hint that cannot change
 * the text and is passed over, or is refused by name. null is absence, whatever the name.
 */
#include "server/request_parser.h"

#include <string.h>

#include "base/json.h"

/* What a hint must look like: a client that is mistaken should hear of it. */
bool field_is_text(const json_t *value)
{
    return json_is_string(value);
}

bool field_is_flag(const json_t *value)
{
    return json_is_boolean(value);
}

bool field_is_object(const json_t *value)
{
    return json_is_object(value);
}

bool field_is_list(const json_t *value)
{
    return json_is_array(value);
}

bool field_is_number(const json_t *value)
{
    return json_is_number(value);
}

bool field_is_anything(const json_t *value)
{
    (void)value;
    return true;
}

const request_field request_common_fields[] = {
    {.name = "model", .read = read_model},
    {.name = "stream", .read = read_stream},
    {.name = "stream_options", .read = read_stream_options},
    {.name = "max_tokens", .read = read_max_tokens},
    {.name = "temperature", .read = read_temperature},
    {.name = "top_p", .read = read_top_p},
    {.name = "top_k", .read = read_top_k},
    {.name = "min_p", .read = read_min_p},
    {.name = "presence_penalty", .read = read_presence_penalty},
    {.name = "frequency_penalty", .read = read_frequency_penalty},
    {.name = "repetition_penalty", .read = read_repetition_penalty},
    {.name = "repeat_penalty", .read = read_repetition_penalty},
    {.name = "logit_bias", .read = read_logit_bias},
    {.name = "min_tokens", .read = read_min_tokens},
    {.name = "ignore_eos", .read = read_ignore_end},
    {.name = "stop", .read = read_stop},
    {.name = "seed", .read = read_seed},
    {.name = "n", .read = read_n},
    {.name = "prompt_lookup_num_tokens", .read = read_lookup},
    {.name = "speculative.n_max", .read = read_lookup},
    {.name = "priority", .read = read_priority},
    {.name = "service_tier", .read = read_service_tier},
    {.name = "deadline_ms", .read = read_deadline},
    {.name = "user", .read = read_user},
    {.name = "response_format", .read = read_response_format},
    {.name = "json_schema", .read = read_schema},
    {.name = "grammar", .read = read_grammar},
    {.name = "guided_json", .read = read_schema},
    {.name = "guided_regex", .read = read_guided_regex},
    {.name = "guided_choice", .read = read_guided_choice},
    {.name = "guided_grammar", .read = read_grammar},
    {.name = "structured_outputs", .read = read_structured_outputs},

    {.name = "metadata", .hint = field_is_object, .type = "an object"},
    {.name = "store", .hint = field_is_flag, .type = "true or false"},
    {.name = "prompt_cache_key", .hint = field_is_text, .type = "a string"},
    {.name = "prompt_cache_retention", .hint = field_is_text, .type = "a string"},
    {.name = "prompt_cache_options", .hint = field_is_object, .type = "an object"},
    {.name = "cache_prompt", .hint = field_is_flag, .type = "true or false"},
    {.name = "safety_identifier", .hint = field_is_text, .type = "a string"},
    {.name = NULL},
};

const request_field request_chat_fields[] = {
    {.name = "messages", .read = read_messages},
    {.name = "max_completion_tokens", .read = read_max_tokens},
    {.name = "tools", .read = read_tools},
    {.name = "tool_choice", .read = read_tool_choice},
    {.name = "functions", .read = read_functions},
    {.name = "function_call", .read = read_tool_choice},
    {.name = "logprobs", .read = read_logprobs},
    {.name = "top_logprobs", .read = read_top_logprobs},
    {.name = "continue_final_message", .read = read_continue},
    {.name = "add_generation_prompt", .read = read_generation_prompt},
    {.name = "chat_template_kwargs", .read = read_template_variables},
    {.name = "documents", .read = read_documents},
    {.name = "reasoning_effort", .read = read_reasoning_effort},
    {.name = "reasoning_format", .read = read_reasoning_format},

    {.name = "parallel_tool_calls", .read = read_parallel_calls},
    {.name = "verbosity", .hint = field_is_text, .type = "a string"},

    {.name = "modalities", .only = {"[\"text\"]"}},
    {.name = NULL},
};

static const request_field text_fields[] = {
    {.name = "prompt", .read = read_raw_prompt},
    {.name = "suffix", .read = read_suffix},
    {.name = "echo", .read = read_echo},
    {.name = "best_of", .read = read_best_of},
    {.name = "logprobs", .read = read_text_logprobs},
    {.name = NULL},
};

const request_form openai_text_form = {
    .tables = {text_fields, request_common_fields, request_native_fields},
    .finish = finish_prompt,
};

const request_form openai_chat_form = {
    .tables = {request_chat_fields, request_common_fields, request_native_fields},
    .finish = finish_chat,
};

/* NULL: there are no more. */
static const request_field *field_at(const request_form *form, size_t index)
{
    for (size_t t = 0; t < FORM_MAX_TABLES && form->tables[t] != NULL; t++)
        for (const request_field *f = form->tables[t]; f->name != NULL; f++)
            if (index-- == 0)
                return f;
    return NULL;
}

size_t request_field_count(const request_form *form)
{
    size_t n = 0;
    while (field_at(form, n) != NULL)
        n++;
    return n;
}

const char *request_field_name(const request_form *form, size_t index)
{
    return field_at(form, index)->name;
}

/* 1 and 1.0 are one number. */
static bool is_same(const json_t *value, const char *text)
{
    json_t *wanted = json_loads(text, JSON_DECODE_ANY, NULL);
    bool same = json_is_number(wanted)
                    ? json_is_number(value) && json_number_value(wanted) == json_number_value(value)
                    : json_equal(wanted, value) == 1;
    json_decref(wanted);
    return same;
}

static bool read_only(parser *p, const request_field *f, const json_t *value)
{
    for (size_t i = 0; f->only[i] != NULL; i++)
        if (is_same(value, f->only[i]))
            return true;
    if (json_was_short())
        return api_error_set(p->error, 503, "out_of_memory", f->name, "no memory for '%s'",
                             f->name);
    bool is_one = f->only[1] == NULL;
    return api_error_set(
        p->error, 400, NULL, f->name, "'%s' is only supported with the value%s %s%s%s", f->name,
        is_one ? "" : "s", f->only[0], is_one ? "" : " and ", is_one ? "" : f->only[1]);
}

static bool read_known(parser *p, const request_field *f, json_t *value)
{
    if (f->read != NULL)
        return f->read(p, f->name, value);
    if (f->hint == NULL)
        return read_only(p, f, value);
    return f->hint(value) ||
           api_error_set(p->error, 400, NULL, f->name, "'%s' must be %s", f->name, f->type);
}

static bool read_field(parser *p, const request_form *form, const char *name, json_t *value)
{
    if (json_is_null(value))
        return true;
    for (size_t t = 0; t < FORM_MAX_TABLES && form->tables[t] != NULL; t++)
        for (const request_field *f = form->tables[t]; f->name != NULL; f++)
            if (strcmp(name, f->name) == 0)
                return read_known(p, f, value);
    return api_error_set(p->error, 400, NULL, name,
                         "unknown field '%s': nothing is accepted and ignored", name);
}

bool read_fields(parser *p, const request_form *form, json_t *body)
{
    const char *key;
    json_t *value;
    json_object_foreach(body, key, value)
    {
        if (!read_field(p, form, key, value))
            return false;
    }
    return true;
}

static bool wants_window(const sampling_params *s)
{
    return s->repetition_penalty != 1 || s->presence_penalty != 0 || s->frequency_penalty != 0;
}

bool finish_manner(parser *p)
{
    const reply_manner *m = &p->out->manner;
    if (p->has_stream_options && !m->stream)
        return parser_refuse(p, "stream_options", "is for requests with 'stream': true");
    if (p->out->request.n_top > 0 && !m->wants_scores)
        return parser_refuse(p, "top_logprobs", "is for requests with 'logprobs': true");
    if (p->has_window && wants_window(&p->out->request.sampling))
        return parser_refuse(p, "repeat_last_n",
                             "is only supported with the value -1 where there are penalties");
    p->out->request.wants_scores = m->wants_scores;
    p->out->request.scores_drawn = m->scores_drawn;
    p->out->request.scores_prompt = m->wants_scores && m->echo;
    size_t prompts = p->out->n_prompts > 0 ? p->out->n_prompts : 1;
    if (m->n * prompts > REQUEST_MAX_REPLIES)
        return api_error_set(p->error, 400, NULL, "n",
                             "%zu replies are asked for; at most %d are given", m->n * prompts,
                             REQUEST_MAX_REPLIES);
    return true;
}
