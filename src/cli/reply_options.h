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

/* Their part of a usage text. */
#define REPLY_MODEL_USAGE                                                                         \
    "Which model\n"                                                                               \
    "      --config FILE           configuration (default: config/demo.yaml)\n"                   \
    "      --policy NAME           adaptive, paper, small, large, random or rules, instead of\n"  \
    "                              the configuration's\n"                                         \
    "      --model NAME            this model of the configuration, without routing\n"            \
    "  -m, --model-file FILE       one GGUF file without configuration and routing, or a name at\n"\
    "                              the Hugging Face hub (see a-io pull --help)\n"                 \
    "      --chat-template NAME    with -m, instead of the file's own template: a built-in one\n"     \
    "                              (chatml, llama3 ...), a file's as file:PATH, or none\n"
#define REPLY_LENGTH_USAGE                                                                        \
    "  -n, --max-tokens N          at most N tokens (default: until the model ends or its\n"      \
    "                              context is full)\n"                                            \
    "      --stop TEXT             end before this text; up to 16 of them\n"                      \
    "      --json-schema FILE      the answer is JSON that this JSON Schema allows\n"             \
    "      --grammar FILE          the answer matches this grammar, GBNF or Lark\n"
#define REPLY_SAMPLING_USAGE                                                                      \
    "Sampling\n"                                                                                  \
    "      --temperature X         0 (the default) takes the most probable token\n"               \
    "      --seed N                default: 0; the same seed gives the same answer\n"             \
    "      --top-k N               0: off (the default)\n"                                        \
    "      --top-p X               1: off (the default)\n"                                        \
    "      --min-p X               0: off (the default)\n"                                        \
    "      --repetition-penalty X  1: off (the default)\n"                                        \
    "      --presence-penalty X    0: off (the default)\n"                                        \
    "      --frequency-penalty X   0: off (the default)\n"                                        \
    "      --logit-bias ID=X       adds X to the logit of a token; may be repeated\n"
#define REPLY_ENGINE_USAGE                                                                        \
    "Engine (none of these changes an answer, but --kv and -c)\n"                                 \
    "      --lookup off|auto|N     prompt lookup: none, chosen step by step, or N tokens a step\n"\
    "                              (1 to 16) (default: the plan's)\n"                             \
    "  -t, --threads N             threads that compute (default: physical cores)\n"              \
    "  -c, --context N             tokens a request may hold (default: what the model was\n"      \
    "                              trained for)\n"                                                \
    "      --kv f16|f32|q8_0       type of the KV cache (default: f16)\n"                         \
    "      --prefill-chunk N       most prompt tokens a step takes\n"                             \
    "      --requant head=TYPE     output matrices in fewer bits than the files have: q8_0, q6_k,\n" \
    "                              q4_k, q4_0: faster, and other answers\n"                       \
    "      --measure               measure steps anew (an earlier start's:\n"                     \
    "                              ~/.cache/a-io/measured)\n"                                     \
    "      --offline               fetch nothing: models named in the hub's way must be in its\n" \
    "                              cache\n"
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
