/* reply_options.h: what `run` and `chat` let a user say of an answer: who gives it, how long it may
 * be, how it is sampled, and lookup. */
#ifndef CLI_REPLY_OPTIONS_H
#define CLI_REPLY_OPTIONS_H

#include "cli/common.h"

#define REPLY_MAX_STOPS 16

typedef struct reply_options {
    const char *model;  /* of the configuration, without routing; NULL: routed */
    const char *system; /* NULL: no system message */
    uint64_t max_tokens;
    uint64_t top_k; /* goes into `sampling` when all is checked */
    sampling_params sampling;
    unsigned sampling_given; /* config_sampling_bits: what a rule leaves alone */
    logit_bias *biases;      /* room for SAMPLING_MAX_BIASES once there is one */
    size_t n_biases;
    const char *stops[REPLY_MAX_STOPS];
    size_t n_stops;
    bool has_lookup;
    lookup_wish lookup;
    reply_grammar grammar;
    buffer grammar_text; /* what it points to */
} reply_options;

/* clang-format off */
#define REPLY_SAMPLING_OPTION(o, field, its_bit) \
    .real = &(o)->sampling.field, .given = &(o)->sampling_given, .bit = its_bit
#define REPLY_OPTIONS(o)                                                                       \
    {"model", .text = &(o)->model},                                                            \
    {"system", .text = &(o)->system},                                                          \
    {"max-tokens", 'n', .number = &(o)->max_tokens, .low = 1, .high = 1 << 24},                \
    {"stop", .take = reply_take_stop, .context = o},                                           \
    {"json-schema", .take = reply_take_schema, .context = o},                                  \
    {"grammar", .take = reply_take_grammar, .context = o},                                     \
    {"lookup", .take = reply_take_lookup, .context = o},                                       \
    {"temperature", REPLY_SAMPLING_OPTION(o, temperature, CONFIG_TEMPERATURE)},                \
    {"seed", .number = &(o)->sampling.seed, .high = INT64_MAX},                                \
    {"top-k", .number = &(o)->top_k, .high = UINT32_MAX, .given = &(o)->sampling_given,        \
     .bit = CONFIG_TOP_K},                                                                     \
    {"top-p", REPLY_SAMPLING_OPTION(o, top_p, CONFIG_TOP_P)},                                  \
    {"min-p", REPLY_SAMPLING_OPTION(o, min_p, CONFIG_MIN_P)},                                  \
    {"repetition-penalty",                                                                     \
     REPLY_SAMPLING_OPTION(o, repetition_penalty, CONFIG_REPETITION_PENALTY)},                 \
    {"presence-penalty", REPLY_SAMPLING_OPTION(o, presence_penalty, CONFIG_PRESENCE_PENALTY)}, \
    {"frequency-penalty",                                                                      \
     REPLY_SAMPLING_OPTION(o, frequency_penalty, CONFIG_FREQUENCY_PENALTY)},                   \
    {"logit-bias", .take = reply_take_bias, .context = o}

/* clang-format on */

/* Greedy, and nothing else said. */
void reply_options_init(reply_options *o);
void reply_options_free(reply_options *o);

/* What the rows above call; the context is a reply_options. */
error_code reply_take_stop(void *context, const char *text, failure *fail);
error_code reply_take_schema(void *context, const char *path, failure *fail);
error_code reply_take_grammar(void *context, const char *path, failure *fail);
error_code reply_take_lookup(void *context, const char *text, failure *fail);
error_code reply_take_bias(void *context, const char *text, failure *fail);
/* Once all are read: what contradicts, and what no model would take. */
error_code reply_options_check(reply_options *o, const stage_options *models, failure *fail);

/* A request for such an answer, its messages or prompt to be added, and what the orchestra is told
 * beside it; both point into `o`. */
request reply_request(const reply_options *o);
run_options reply_run_options(const reply_options *o);

#endif
