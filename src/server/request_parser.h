/*
 * request_parser.h: what the files that read a chat request share. Inside the server room only.
 *
 *   openai_request.c     the body as a whole
 *   request_fields.c     the table of fields: who reads which, and what may stand unread
 *   request_sampling.c   numbers: sampling, seed, limits, lookup
 *   request_manner.c     how it is answered: stream, stops, model, user
 *   request_priority.c   priority and deadline, as fields and as headers
 *   request_messages.c   the conversation
 *   request_grammar.c    what the reply must match
 */
#ifndef SERVER_REQUEST_PARSER_H
#define SERVER_REQUEST_PARSER_H

#include "server/openai.h"

typedef struct parser {
    chat_request *out;
    api_error *error;
    const char *limit; /* the field that set max_tokens, or NULL */
    const char *lookup;
    const char *grammar;
    const char *priority, *deadline; /* the field or header that said it first, or NULL */
    json_t *tier;
    bool has_seed;
    bool has_stream_options;
} parser;

/* False: refused, and the error is set. */
typedef bool field_reader(parser *p, const char *name, json_t *value);

bool parser_refuse(parser *p, const char *param, const char *what);
bool parser_refuse_difference(parser *p, const char *name, const char *other);
/* A whole number; clients write it as 100, 100.0 or 1e2. */
bool parser_read_integer(parser *p, const char *name, json_t *value, int64_t low, int64_t high,
                         int64_t *out);

/* Every field of the body: read, passed over as a hint, or refused. */
bool read_fields(parser *p);

field_reader read_temperature, read_top_p, read_min_p, read_top_k, read_repetition_penalty,
    read_presence_penalty, read_frequency_penalty, read_logit_bias, read_seed, read_max_tokens,
    read_lookup;
field_reader read_model, read_user, read_stream, read_stream_options, read_stop;
field_reader read_priority, read_service_tier, read_deadline;
field_reader read_messages;
field_reader read_response_format, read_schema, read_grammar, read_guided_regex, read_guided_choice,
    read_structured_outputs;

bool read_priority_headers(parser *p, const request_text *text);
/* The tier that the reply is given in; NULL: the request names none. */
const char *priority_tier(const parser *p);

#endif
