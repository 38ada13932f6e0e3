/*
 * openai.h: OpenAI's JSON, read strictly and written exactly. Inside the server room only.
 *
 * Reading keeps promise 2: a field is honoured, or is of the published hints that cannot change the
 * text (docs/http.md) and passed over, or is refused by name. A field whose value asks for what
 * A-IO does anyway (n: 1, tools: [] …) is accepted; null means absent.
 */
#ifndef SERVER_OPENAI_H
#define SERVER_OPENAI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/json_out.h"
#include "orchestra/describe.h"
#include "orchestra/orchestra.h"
#include "server/response_store.h"
#include "server/server.h"

typedef struct api_error {
    int status;       /* HTTP */
    const char *type; /* static */
    const char *code; /* static, or NULL */
    char param[128];  /* the field's name, or "" */
    char message[640];
    double retry_after_s; /* of 429 and 503; 0: unknown */
    bool is_final;        /* not worth trying again soon */
} api_error;

/* Fills the error, its type from the status; returns false, so that `return api_error_set(...)`
 * reads well in a parser. */
bool api_error_set(api_error *e, int status, const char *code, const char *param,
                   const char *format, ...) __attribute__((format(printf, 5, 6)));
void api_error_from_failure(api_error *e, const failure *fail);
/* The server ends; returns false. */
bool api_error_set_stopping(api_error *e);
json_t *api_error_json(const api_error *e);

/* ---- requests ------------------------------------------------------------------------------- */

#define REQUEST_MAX_STOPS 16
#define REPLY_ID_DIGITS 24 /* behind "resp_" and the like */
#define REQUEST_USER_SIZE 128
#define REQUEST_MAX_REPLIES 128 /* prompts times n */
#define REQUEST_MAX_TEXTS 2048  /* of one request for embeddings, as OpenAI has it */

/* How a reply is told: what of a request outlives its reading. */
typedef struct reply_manner {
    bool stream;
    bool include_usage;
    bool continuous_usage;        /* in every chunk */
    bool echo;                    /* the prompt before the reply */
    bool takes_calls;             /* the request has tools, … */
    bool binds_calls;             /* … of which some are strict: request_chat's */
    bool wants_scores;            /* the log-probabilities of its tokens */
    bool scores_drawn;            /* by what they were drawn from */
    bool tells_tokens;            /* their ids */
    bool tells_timings;           /* with every piece of a stream */
    bool keeps_thoughts;          /* thoughts are told apart from the text */
    bool is_stored;               /* a later request may go on with it */
    size_t n;                     /* replies to each prompt */
    int64_t seed;                 /* the client's, or one drawn here */
    char user[REQUEST_USER_SIZE]; /* for the log line; printable ASCII */
    const char *service_tier; /* to be told in the reply; static; NULL: the request names none */
} reply_manner;

/* A raw prompt: a text, or tokens. */
typedef struct request_prompt {
    const char *text; /* NULL: tokens */
    size_t length;
    const int32_t *ids;
    size_t n_ids;
    const json_t *mixed; /* texts and tokens in turn; NULL: not */
    token_list found;    /* what they are for one model; `ids` then points to it */
} request_prompt;

typedef struct chat_request {
    request request;
    reply_manner manner;
    const char *model; /* NULL: auto */
    bool asks_nothing; /* but that the model be loaded, where an API has that */
    bool has_lookup;
    lookup_wish lookup;
    unsigned sampling_given; /* config_sampling_bits that the client set */
    request_prompt *prompts; /* instead of a conversation */
    size_t n_prompts;
    /* Of embeddings. */
    bool is_base64, pools_last;
    size_t dimensions; /* 0: all */

    /* What the pointers above point into. */
    json_t *body;
    json_t *conversation; /* of a reply that is stored: what it answers; or NULL */
    json_t *converted;    /* what was made of the body; or NULL */
    json_t *told;         /* what of the request its reply tells; or NULL */
    json_t *texts;        /* of each tool, its parameters that are texts by their schema; or NULL */
    json_t *word_biases;  /* a list of [text, bias], which become the biases of tokens; or NULL */
    chat_message *messages;
    char *joined; /* texts of messages whose content came in parts */
    logit_bias *biases;
    char *grammar_text;
    const char *stops[REQUEST_MAX_STOPS];
    char **kept; /* texts that were written here, and prompts in tokens */
    size_t n_kept;
} chat_request;

/* Of an API: which fields there are, and what follows from all of them together. */
typedef struct request_form request_form;
/* Between a namespace and its function's name, where both are one name: to the model and within
 * here. OpenAI's names have no colon. */
#define NAMESPACE_MARK "::"

extern const request_form openai_chat_form, openai_text_form, anthropic_form, responses_form,
    ollama_chat_form, ollama_generate_form, ollama_options_form, embeddings_form, score_form,
    native_form, infill_form, ollama_embed_form, ollama_embeddings_form;

/* A request as it came. A header says the same as the field without "x-a-io-"; NULL: not sent. */
typedef struct request_text {
    const char *body;
    size_t length;
    const char *priority;     /* x-a-io-priority */
    const char *deadline_ms;  /* x-a-io-deadline-ms */
    const request_form *form; /* NULL: OpenAI's chat completions */
    response_store *store;    /* of what may be gone on with; or NULL */
} request_text;

/* The body, new; NULL: it is not a JSON object, `e` says why. */
json_t *request_object(const char *body, size_t length, api_error *e);

/* The fields that are known. */
size_t request_field_count(const request_form *form);
const char *request_field_name(const request_form *form, size_t index);

/* False: `e` says what is wrong, and nothing needs to be freed. */
bool chat_request_parse(chat_request *out, const request_text *text,
                        const request_defaults *defaults, api_error *e);
/* The same of a body that is read already, which is taken over. */
bool chat_request_read(chat_request *out, json_t *body, const request_text *text,
                       const request_defaults *defaults, api_error *e);
void chat_request_free(chat_request *r);

/* What of it says something of one model's tokens can be read once the model is known: mixed
 * prompts, and biases of words. True: nothing is left to do, or it is done. `b` NULL: it is not
 * known which. */
bool chat_request_find_tokens(chat_request *r, backend *b, api_error *e);

/* ---- replies -------------------------------------------------------------------------------- */

#define SYSTEM_FINGERPRINT "a-io"

void usage_write(json_out *o, const char *name, const reply_stats *stats);
void timings_write(json_out *o, const char *name, const reply_stats *stats);

/* These return a new object, or NULL when there is no memory. */
json_t *usage_json(const reply_stats *stats);
json_t *timings_json(const reply_stats *stats);
json_t *model_json(const char *id, size_t context, int64_t created);
/* What a request that says nothing of its reply asks for, as llama-server tells it. */
json_t *native_defaults_json(const request_defaults *defaults);

#endif
