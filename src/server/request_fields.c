/*
 * request_fields.c: the tables of fields (promise 2): each is read, or is a hint that cannot change
 * the text and is passed over, or is refused by name. null is absence, whatever the name.
 */
#include "server/request_parser.h"

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

/* What a chat has. */
static const request_field chat_fields[] = {
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
    {.name = "suffix", .read = read_text_behind},
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
    .tables = {chat_fields, request_common_fields, request_native_fields},
    .finish = finish_chat,
};
