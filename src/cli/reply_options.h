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
    sampling_params sampling;
    unsigned sampling_given; /* config_sampling_bits: what a rule leaves alone */
    logit_bias *biases;      /* room for SAMPLING_MAX_BIASES once there is one */
    size_t n_biases;
    const char *stops[REPLY_MAX_STOPS];
    size_t n_stops;
    bool has_lookup;
    lookup_setting lookup;
    reply_grammar grammar;
    buffer grammar_text; /* what it points to */
} reply_options;

enum {
    REPLY_MODEL = STAGE_OWN,
    REPLY_SYSTEM,
    REPLY_STOP,
    REPLY_JSON_SCHEMA,
    REPLY_GRAMMAR,
    REPLY_LOOKUP,
    REPLY_TEMPERATURE,
    REPLY_SEED,
    REPLY_TOP_K,
    REPLY_TOP_P,
    REPLY_MIN_P,
    REPLY_REPETITION_PENALTY,
    REPLY_PRESENCE_PENALTY,
    REPLY_FREQUENCY_PENALTY,
    REPLY_LOGIT_BIAS,
    REPLY_OWN, /* where a command's own begin */
};

/* clang-format off */
#define REPLY_OPTIONS                                                          \
    {"model", required_argument, NULL, REPLY_MODEL},                           \
    {"system", required_argument, NULL, REPLY_SYSTEM},                         \
    {"max-tokens", required_argument, NULL, 'n'},                              \
    {"stop", required_argument, NULL, REPLY_STOP},                             \
    {"json-schema", required_argument, NULL, REPLY_JSON_SCHEMA},               \
    {"grammar", required_argument, NULL, REPLY_GRAMMAR},                       \
    {"lookup", required_argument, NULL, REPLY_LOOKUP},                         \
    {"temperature", required_argument, NULL, REPLY_TEMPERATURE},               \
    {"seed", required_argument, NULL, REPLY_SEED},                             \
    {"top-k", required_argument, NULL, REPLY_TOP_K},                           \
    {"top-p", required_argument, NULL, REPLY_TOP_P},                           \
    {"min-p", required_argument, NULL, REPLY_MIN_P},                           \
    {"repetition-penalty", required_argument, NULL, REPLY_REPETITION_PENALTY}, \
    {"presence-penalty", required_argument, NULL, REPLY_PRESENCE_PENALTY},     \
    {"frequency-penalty", required_argument, NULL, REPLY_FREQUENCY_PENALTY},   \
    {"logit-bias", required_argument, NULL, REPLY_LOGIT_BIAS}

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
    "      --offline               fetch nothing: models named in the hub's way must be in its\n" \
    "                              cache\n"
/* clang-format on */

/* Greedy, and nothing else said. */
void reply_options_init(reply_options *o);
void reply_options_free(reply_options *o);

/* False: it is an option of the command's own. `optarg` is its value. */
bool reply_take_option(reply_options *o, int option, error_code *code, failure *fail);
/* Once all are read: what contradicts, and what no model would take. */
error_code reply_options_check(reply_options *o, const stage_options *models, failure *fail);

/* A request for such an answer, its messages or prompt to be added, and what the orchestra is told
 * beside it; both point into `o`. */
request reply_request(const reply_options *o);
run_options reply_run_options(const reply_options *o);

#endif
