/*
 * request_parser.h: what the files that read a request share. Inside the server room only.
 *
 *   openai_request.c     the body as a whole
 *   request_fields.c     the tables of fields: who reads which, and what may stand unread
 *   request_parser.c     refusals, memory, values of the usual kinds, the walk over a body
 *   request_sampling.c   numbers: sampling, seed, limits, lookup
 *   request_manner.c     how it is answered: stream, stops, model, user
 *   request_priority.c   priority and deadline, as fields and as headers
 *   request_messages.c   the conversation
 *   request_grammar.c    what the reply must match
 *   request_tools.c      tools, and what the template is told besides
 *   request_prompt.c     raw prompts
 *   request_bias.c       biases of tokens and of words
 *   request_tokens.c     what can be read once the model is known
 *   native_fields.c      what llama-server takes besides in every request for a reply
 *   native_request.c     its own forms: /completion and /infill
 */
#ifndef SERVER_REQUEST_PARSER_H
#define SERVER_REQUEST_PARSER_H

#include "server/openai.h"

typedef struct parser {
    chat_request *out;
    api_error *error;
    const char *limit; /* the field that set max_tokens, or NULL */
    const char *lookup;
    const char *grammar, *tool_choice;
    const char *repetition;
    const char *priority, *deadline; /* the field or header that said it first, or NULL */
    json_t *tier;
    bool lacks_memory; /* for something that would look otherwise with it */
    bool has_seed;
    bool has_window; /* penalties look at the last tokens only: not supported where there are any */
    bool has_stream_options;
    bool is_raw;             /* a prompt is not what a user says */
    size_t most;             /* replies to all prompts, or texts */
    const char *prompt_name; /* the field that the prompt is in */

    /* Read when all fields are known; the body's. */
    json_t *messages;
    json_t *tools;
    json_t *prompt;
    response_store *store;
    const char *previous; /* the response that is gone on with; or NULL */
    json_t *system;       /* what stands before the messages, where that is a field of its own */
    json_t *best_of;
    json_t *fields;          /* of the reply, that alone are wanted; or NULL */
    json_t *prefix, *suffix; /* of what is to be filled in */
    bool hides_tools;        /* tool_choice: none */
    bool binds_calls;        /* some tool is strict */
    bool continues;          /* the last message is what the reply goes on with */
    bool begins;             /* the request says that it has a turn of its own */
    json_t *variables;       /* that the template is told; owned; NULL: none */
} parser;

/* False: refused, and the error is set. */
typedef bool field_reader(parser *p, const char *name, json_t *value);

/* A field is read, or is a hint that cannot change the text and is passed over, or has one value
 * only: JSON that asks for what is done anyway. */
typedef struct request_field {
    const char *name;
    field_reader *read;
    bool (*hint)(const json_t *value); /* instead of `read` */
    const char *type;                  /* of a hint, for the message */
    const char *only[3];               /* instead of both */
} request_field;

#define FORM_MAX_TABLES 4

struct request_form {
    const request_field *tables[FORM_MAX_TABLES]; /* each ends with a field without a name */
    bool (*finish)(parser *p);                    /* when every field was read */
    bool is_stored;                               /* unless the request says otherwise */
    bool is_streamed;                             /* likewise */
    bool is_of_texts;                             /* which are not replied to */
};

/* For several APIs: sampling, model, stop, priority. */
extern const request_field request_common_fields[];
/* What llama-server takes in every request for a reply. */
extern const request_field request_native_fields[];

bool field_is_text(const json_t *value);
bool field_is_flag(const json_t *value);
bool field_is_object(const json_t *value);
bool field_is_list(const json_t *value);
bool field_is_number(const json_t *value);
bool field_is_anything(const json_t *value);

bool parser_refuse(parser *p, const char *param, const char *what);
bool parser_refuse_difference(parser *p, const char *name, const char *other);
bool parser_no_memory(parser *p, const char *name);
/* A whole number; clients write it as 100, 100.0 or 1e2. */
bool parser_read_integer(parser *p, const char *name, json_t *value, int64_t low, int64_t high,
                         int64_t *out);
bool parser_read_float(parser *p, const char *name, json_t *value, double low, double high,
                       float *out);
bool parser_read_flag(parser *p, const char *name, json_t *value, bool *out);
/* Memory that lives as long as the request; NULL: the error is set. */
void *parser_keep(parser *p, const char *name, void *made);
/* A value that was made here, and lives as long as the request; NULL: no memory. */
json_t *parser_own(parser *p, json_t *made);
/* The text of a value, for free(): jansson's own may lie in its reserve. NULL: no memory. */
char *parser_write_json(json_t *value);
/* The same, kept. */
const char *parser_keep_json(parser *p, const char *name, json_t *value);
/* A tool's "strict", where it is more than absent or false; borrowed. */
json_t *tool_strictness(const json_t *tool);
/* What the template is told; the value is taken over. */
bool parser_set_variable(parser *p, const char *name, json_t *value);

/* Every field of the body: read, passed over as a hint, or refused. */
bool read_fields(parser *p, const request_form *form, json_t *body);

field_reader read_temperature, read_top_p, read_min_p, read_top_k, read_repetition_penalty,
    read_presence_penalty, read_frequency_penalty, read_logit_bias, read_seed, read_max_tokens,
    read_num_predict, read_min_tokens, read_ignore_end, read_lookup, read_n;
field_reader read_logprobs, read_top_logprobs, read_text_logprobs;
field_reader read_model, read_user, read_stream, read_stream_options, read_stop;
field_reader read_priority, read_service_tier, read_deadline;
field_reader read_messages, read_tools, read_functions, read_tool_choice, read_parallel_calls,
    read_continue, read_generation_prompt;
field_reader read_template_variables, read_reasoning_effort, read_reasoning_format, read_documents;
field_reader read_raw_prompt, read_echo, read_suffix, read_text_behind, read_best_of;
field_reader read_dimensions;
field_reader read_response_format, read_schema, read_grammar, read_guided_regex, read_guided_choice,
    read_structured_outputs;

bool read_priority_headers(parser *p, const request_text *text);
/* The tier that the reply is given in; NULL: the request names none. */
const char *priority_tier(const parser *p);

/* Makes a conversation, its tools and its variables of what was read. */
bool finish_chat(parser *p);
bool finish_tools(parser *p);
/* Makes raw prompts. */
bool finish_prompt(parser *p);
/* What every form has to check at its end. */
bool finish_manner(parser *p);

#endif
