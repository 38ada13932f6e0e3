/* run.c: `a-io run`: one prompt, answered on standard output; what it took, on standard error. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/common.h"
#include "base/json.h"
#include "orchestra/describe.h"

static const char usage[] =
    "usage: a-io run [options] [PROMPT]\n"
    "\n"
    "Answers a prompt on standard output; plan and receipt go to standard error. The prompt is "
    "the\n"
    "argument, or -p, or else standard input, whose final newline is not part of it (with --raw "
    "it\n"
    "is).\n"
    "\n"
    "Which model\n"
    "      --config FILE           configuration (default: config/demo.yaml)\n"
    "      --policy NAME           adaptive, paper, small, large, random or rules, instead of the\n"
    "                              configuration's\n"
    "      --model NAME            this model of the configuration, without routing\n"
    "  -m, --model-file FILE       one GGUF file without configuration and routing, or a name at\n"
    "                              the Hugging Face hub (see a-io pull --help)\n"
    "      --chat-template NAME    with -m: the template by name, instead of the file's own\n"
    "\n"
    "Prompt and answer\n"
    "  -p, --prompt TEXT           the prompt\n"
    "      --system TEXT           a system message before it\n"
    "      --raw                   the prompt alone, without chat template (what -m does anyway "
    "for\n"
    "                              a model that has none)\n"
    "  -n, --max-tokens N          at most N tokens (default: until the model ends or its context\n"
    "                              is full)\n"
    "      --stop TEXT             end before this text; up to 16 of them\n"
    "      --json                  one JSON object on standard output: text, tokens, intent, "
    "plan,\n"
    "                              receipt, seed\n"
    "\n"
    "Sampling\n"
    "      --temperature X         0 (the default) takes the most probable token\n"
    "      --seed N                default: 0; the same seed gives the same answer\n"
    "      --top-k N               0: off (the default)\n"
    "      --top-p X               1: off (the default)\n"
    "      --min-p X               0: off (the default)\n"
    "      --repetition-penalty X  1: off (the default)\n"
    "      --presence-penalty X    0: off (the default)\n"
    "      --frequency-penalty X   0: off (the default)\n"
    "      --logit-bias ID=X       adds X to the logit of a token; may be repeated\n"
    "\n"
    "Engine (none of these changes the answer, but --kv and -c)\n"
    "      --lookup off|auto|N     prompt lookup: none, chosen step by step, or N tokens a step\n"
    "                              (1 to 16) (default: the plan's)\n"
    "  -t, --threads N             threads that compute (default: physical cores)\n"
    "  -c, --context N             tokens a request may hold (default: what the model was trained\n"
    "                              for)\n"
    "      --kv f16|f32|q8_0       type of the KV cache (default: f16)\n"
    "      --prefill-chunk N       most prompt tokens a step takes\n"
    "      --offline               fetch nothing: models named in the hub's way must be in its\n"
    "                              cache\n"
    "  -h, --help                  this text\n"
    "\n"
    "Exit status: 0; 2 for a bad option or prompt; 3 for a file or model name that is not\n"
    "there; 4 for a bad configuration; 5 for a model file that cannot be used; 6 when\n"
    "reading or writing failed; 7 for lack of memory; 8 after an interrupt.\n";

#define MAX_STOPS 16

typedef struct run_command {
    stage_options stage;
    const char *prompt;
    const char *system;
    const char *model;
    bool raw, json, help, has_lookup;
    lookup_setting lookup;
    uint64_t max_tokens;
    sampling_params sampling;
    unsigned sampling_given; /* config_sampling_bits: what a rule leaves alone */
    logit_bias *biases;      /* room for SAMPLING_MAX_BIASES once there is one */
    size_t n_biases;
    const char *stops[MAX_STOPS];
    size_t n_stops;
} run_command;

/* ---- options ------------------------------------------------------------------------------ */

enum {
    MODEL = STAGE_OWN,
    SYSTEM,
    RAW,
    STOP,
    JSON,
    LOOKUP,
    TEMPERATURE,
    SEED,
    TOP_K,
    TOP_P,
    MIN_P,
    REPETITION_PENALTY,
    PRESENCE_PENALTY,
    FREQUENCY_PENALTY,
    LOGIT_BIAS,
};

static const struct option names[] = {
    STAGE_CONFIG_OPTIONS,
    {"model", required_argument, NULL, MODEL},
    STAGE_MODEL_FILE_OPTIONS,
    {"prompt", required_argument, NULL, 'p'},
    {"system", required_argument, NULL, SYSTEM},
    {"raw", no_argument, NULL, RAW},
    {"max-tokens", required_argument, NULL, 'n'},
    {"stop", required_argument, NULL, STOP},
    {"json", no_argument, NULL, JSON},
    {"temperature", required_argument, NULL, TEMPERATURE},
    {"seed", required_argument, NULL, SEED},
    {"top-k", required_argument, NULL, TOP_K},
    {"top-p", required_argument, NULL, TOP_P},
    {"min-p", required_argument, NULL, MIN_P},
    {"repetition-penalty", required_argument, NULL, REPETITION_PENALTY},
    {"presence-penalty", required_argument, NULL, PRESENCE_PENALTY},
    {"frequency-penalty", required_argument, NULL, FREQUENCY_PENALTY},
    {"logit-bias", required_argument, NULL, LOGIT_BIAS},
    {"lookup", required_argument, NULL, LOOKUP},
    STAGE_ENGINE_OPTIONS,
    {"prefill-chunk", required_argument, NULL, STAGE_PREFILL_CHUNK},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static error_code add_stop(run_command *o, const char *text, failure *fail)
{
    if (text[0] == '\0')
        return failure_set(fail, ERR_INVALID, "--stop: the text must not be empty");
    if (o->n_stops == MAX_STOPS)
        return failure_set(fail, ERR_INVALID, "--stop: at most %d of them", MAX_STOPS);
    o->stops[o->n_stops++] = text;
    return OK;
}

static error_code add_bias(run_command *o, const char *text, failure *fail)
{
    char id[16] = "";
    uint64_t token = 0;
    const char *sign = strchr(text, '=');
    if (sign == NULL || sign == text || (size_t)(sign - text) >= sizeof id)
        return failure_set(fail, ERR_INVALID, "--logit-bias: \"%s\" is not ID=NUMBER", text);
    memcpy(id, text, (size_t)(sign - text));
    if (o->biases == NULL)
        o->biases = calloc(SAMPLING_MAX_BIASES, sizeof *o->biases);
    if (o->biases == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for --logit-bias");
    if (o->n_biases == SAMPLING_MAX_BIASES)
        return failure_set(fail, ERR_INVALID, "--logit-bias: at most %d of them",
                           SAMPLING_MAX_BIASES);
    logit_bias *b = &o->biases[o->n_biases++];
    error_code code = option_number("--logit-bias", id, 0, INT32_MAX, &token, fail);
    b->token = (int32_t)token;
    return code == OK ? option_real("--logit-bias", sign + 1, &b->bias, fail) : code;
}

static error_code read_sampling(run_command *o, int c, failure *fail)
{
    sampling_params *s = &o->sampling;
    uint64_t number = 0;
    error_code code;
    static const struct {
        int option;
        config_sampling_bits bit;
    } bits[] = {{TEMPERATURE, CONFIG_TEMPERATURE},
                {TOP_K, CONFIG_TOP_K},
                {TOP_P, CONFIG_TOP_P},
                {MIN_P, CONFIG_MIN_P},
                {REPETITION_PENALTY, CONFIG_REPETITION_PENALTY},
                {PRESENCE_PENALTY, CONFIG_PRESENCE_PENALTY},
                {FREQUENCY_PENALTY, CONFIG_FREQUENCY_PENALTY}};
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++)
        o->sampling_given |= bits[i].option == c ? bits[i].bit : 0;
    switch (c) {
    case TEMPERATURE:
        return option_real("--temperature", optarg, &s->temperature, fail);
    case SEED:
        return option_number("--seed", optarg, 0, INT64_MAX, &s->seed, fail);
    case TOP_K:
        code = option_number("--top-k", optarg, 0, UINT32_MAX, &number, fail);
        s->top_k = (uint32_t)number;
        return code;
    case TOP_P:
        return option_real("--top-p", optarg, &s->top_p, fail);
    case MIN_P:
        return option_real("--min-p", optarg, &s->min_p, fail);
    case REPETITION_PENALTY:
        return option_real("--repetition-penalty", optarg, &s->repetition_penalty, fail);
    case PRESENCE_PENALTY:
        return option_real("--presence-penalty", optarg, &s->presence_penalty, fail);
    case FREQUENCY_PENALTY:
        return option_real("--frequency-penalty", optarg, &s->frequency_penalty, fail);
    default:
        return add_bias(o, optarg, fail);
    }
}

static error_code take_option(void *context, int option, failure *fail)
{
    run_command *o = context;
    switch (option) {
    case MODEL:
        o->model = optarg;
        return OK;
    case 'p':
        o->prompt = optarg;
        return OK;
    case SYSTEM:
        o->system = optarg;
        return OK;
    case RAW:
        o->raw = true;
        return OK;
    case 'n':
        return option_number("--max-tokens", optarg, 1, 1 << 24, &o->max_tokens, fail);
    case STOP:
        return add_stop(o, optarg, fail);
    case JSON:
        o->json = true;
        return OK;
    case LOOKUP:
        o->has_lookup = true;
        return option_lookup(optarg, &o->lookup, fail);
    case 'h':
        o->help = true;
        return OK;
    default:
        return read_sampling(o, option, fail);
    }
}

static error_code check_options(run_command *o, failure *fail)
{
    if (o->stage.model_path != NULL && o->model != NULL)
        return failure_set(fail, ERR_INVALID,
                           "-m runs one model without routing: --model has no "
                           "effect");
    if (o->raw && o->system != NULL)
        return failure_set(fail, ERR_INVALID,
                           "--raw takes the prompt alone: --system has no effect");
    o->sampling.biases = o->biases;
    o->sampling.n_biases = o->n_biases;
    /* Before minutes of loading; the ids are checked again against the model's vocabulary. */
    return sampling_check(&o->sampling, (size_t)INT32_MAX + 1, fail);
}

static error_code read_run_options(run_command *o, int argc, char **argv, failure *fail)
{
    *o = (run_command){.sampling = sampling_defaults()};
    o->sampling.temperature = 0;
    const option_table table = {names, ":m:p:n:t:c:h", take_option, o};
    error_code code = stage_read_options(&table, argc, argv, &o->stage, fail);
    return code == OK ? check_options(o, fail) : code;
}

/* ---- answering ---------------------------------------------------------------------------- */

/* What the listener keeps between two calls. */
typedef struct output {
    bool plan_shown;
    bool ends_line;
    int write_error; /* errno, 0: none */
} output;

static bool show_news(void *context, const run *r, buffer *text)
{
    output *o = context;
    if (!o->plan_shown)
        print_plan(stderr, r);
    o->plan_shown = true;
    if (text->length == 0)
        return true;
    o->ends_line = text->data[text->length - 1] == '\n';
    bool written = fwrite(text->data, 1, text->length, stdout) == text->length;
    if (!written || fflush(stdout) != 0)
        o->write_error = errno;
    buffer_clear(text);
    return o->write_error == 0;
}

static error_code answer_as_text(stage *s, const request *q, const run_options *options,
                                 failure *fail)
{
    output o = {.ends_line = false};
    run *r = NULL;
    error_code code = stage_perform(s, q, options, (run_listener){.call = show_news, .context = &o},
                                    NULL, &r, fail);
    if (o.write_error == 0 && o.plan_shown && !o.ends_line)
        o.write_error = fputc('\n', stdout) == EOF || fflush(stdout) != 0 ? errno : 0;
    if (code == OK)
        print_receipt(stderr, r);
    run_release(r);
    if (o.write_error != 0)
        return failure_set(fail, ERR_IO, "cannot write to standard output: %s",
                           strerror(o.write_error));
    return code;
}

/* Keeps the whole text: a listener that lets it stand. */
static bool keep_text(void *context, const run *r, buffer *text)
{
    (void)r;
    buffer *whole = context;
    error_code code = buffer_add(whole, text->data, text->length);
    buffer_clear(text);
    return code == OK;
}

static json_t *ids_json(const token_list *tokens)
{
    json_t *list = json_array();
    for (size_t i = 0; i < tokens->length; i++)
        json_array_append_new(list, json_integer(tokens->ids[i]));
    return list;
}

static json_t *answer_object(const run *r, const buffer *text, const token_list *tokens,
                             uint64_t seed)
{
    json_t *all = json_pack("{s:o, s:o}", "text", json_text(text->data, text->length), "tokens",
                            ids_json(tokens));
    json_t *rest = account_json(r, seed);
    json_object_set_new(json_object_get(rest, "receipt"), "finish_reason",
                        json_string(finish_reason_text(run_finish_reason(r))));
    json_object_update_new(all, rest);
    return all;
}

static error_code answer_as_json(stage *s, const request *q, const run_options *options,
                                 failure *fail)
{
    buffer text;
    token_list tokens = {0};
    run *r = NULL;
    buffer_init(&text, (size_t)1 << 30);
    error_code code = stage_perform(
        s, q, options, (run_listener){.call = keep_text, .context = &text}, &tokens, &r, fail);
    if (code == OK)
        code = print_json(answer_object(r, &text, &tokens, q->sampling.seed), fail);
    run_release(r);
    buffer_free(&text);
    token_list_free(&tokens);
    return code;
}

static error_code answer(stage *s, const run_command *o, const buffer *prompt, failure *fail)
{
    bool raw = o->raw || (o->stage.model_path != NULL && !orchestra_has_template(s->orchestra, 0));
    if (raw && o->system != NULL)
        return failure_set(
            fail, ERR_INVALID,
            "--system: the model has no chat template; name one with --chat-template");
    chat_message messages[] = {
        {.role = "system",
         .content = o->system,
         .content_length = o->system != NULL ? strlen(o->system) : 0},
        {.role = "user", .content = prompt->data, .content_length = prompt->length}};
    size_t first = o->system == NULL;
    request q = {.sampling = o->sampling,
                 .max_tokens = o->max_tokens,
                 .stops = o->stops,
                 .n_stops = o->n_stops};
    if (raw) {
        q.prompt = prompt->data;
        q.prompt_length = prompt->length;
    } else {
        q.messages = messages + first;
        q.n_messages = 2 - first;
    }
    run_options options = {.model = o->model,
                           .lookup = o->has_lookup ? &o->lookup : NULL,
                           .sampling_given = o->sampling_given};
    return o->json ? answer_as_json(s, &q, &options, fail) : answer_as_text(s, &q, &options, fail);
}

/* ---- the command ---------------------------------------------------------------------------- */

int command_run(int argc, char **argv)
{
    run_command o;
    failure fail;
    stage s = {.config = NULL};
    buffer prompt;
    buffer_init(&prompt, INPUT_LIMIT);
    error_code code = read_run_options(&o, argc, argv, &fail);
    if (code == OK && o.help)
        fputs(usage, stdout);
    if (code == OK && !o.help)
        code = read_prompt(&prompt, o.prompt, argc, argv, o.raw, &fail);
    if (code == OK && !o.help)
        code = stage_open(&s, &o.stage, &fail);
    if (code == OK && !o.help)
        code = answer(&s, &o, &prompt, &fail);
    stage_close(&s);
    buffer_free(&prompt);
    free(o.biases);
    return code == OK ? 0 : command_failed("run", &fail);
}
