/* reply_options.c: the options that `run` and `chat` have in common: limits, sampling, grammars. */
#include "cli/reply_options.h"

#include <stdlib.h>
#include <string.h>

#define GRAMMAR_LIMIT ((size_t)1 << 20) /* bytes of a file; the grammar's own limit is less */

void reply_options_init(reply_options *o)
{
    *o = (reply_options){.sampling = sampling_defaults()};
    o->sampling.temperature = 0;
    buffer_init(&o->grammar_text, GRAMMAR_LIMIT);
}

void reply_options_free(reply_options *o)
{
    free(o->biases);
    buffer_free(&o->grammar_text);
    o->biases = NULL;
}

/* ---- reading -------------------------------------------------------------------------------- */

static error_code add_stop(reply_options *o, const char *text, failure *fail)
{
    if (text[0] == '\0')
        return failure_set(fail, ERR_INVALID, "--stop: the text must not be empty");
    if (o->n_stops == REPLY_MAX_STOPS)
        return failure_set(fail, ERR_INVALID, "--stop: at most %d of them", REPLY_MAX_STOPS);
    o->stops[o->n_stops++] = text;
    return OK;
}

/* A file's text, of a schema or of a grammar in either language. */
static error_code read_grammar(reply_options *o, int c, const char *path, failure *fail)
{
    const char *option = c == REPLY_GRAMMAR ? "--grammar" : "--json-schema";
    if (o->grammar.text != NULL)
        return failure_set(fail, ERR_INVALID, "--grammar and --json-schema: one of them, once");
    error_code code = buffer_read_file(&o->grammar_text, path, fail);
    if (code == OK && memchr(o->grammar_text.data, '\0', o->grammar_text.length) != NULL)
        code = failure_set(fail, ERR_INVALID, "%s: it has a NUL byte", path);
    if (code == OK && buffer_add(&o->grammar_text, "", 1) != OK)
        code = failure_set(fail, ERR_MEMORY, "no memory for %s", path);
    if (code != OK)
        return failure_prefix(fail, "%s", option);
    const char *text = o->grammar_text.data;
    o->grammar = (reply_grammar){
        c == REPLY_GRAMMAR ? grammar_language(text) : GRAMMAR_JSON_SCHEMA, text};
    return OK;
}

static error_code add_bias(reply_options *o, const char *text, failure *fail)
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

static error_code read_sampling(reply_options *o, int c, failure *fail)
{
    sampling_params *s = &o->sampling;
    uint64_t number = 0;
    error_code code;
    static const struct {
        int option;
        config_sampling_bits bit;
    } bits[] = {{REPLY_TEMPERATURE, CONFIG_TEMPERATURE},
                {REPLY_TOP_K, CONFIG_TOP_K},
                {REPLY_TOP_P, CONFIG_TOP_P},
                {REPLY_MIN_P, CONFIG_MIN_P},
                {REPLY_REPETITION_PENALTY, CONFIG_REPETITION_PENALTY},
                {REPLY_PRESENCE_PENALTY, CONFIG_PRESENCE_PENALTY},
                {REPLY_FREQUENCY_PENALTY, CONFIG_FREQUENCY_PENALTY}};
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++)
        o->sampling_given |= bits[i].option == c ? bits[i].bit : 0;
    switch (c) {
    case REPLY_TEMPERATURE:
        return option_real("--temperature", optarg, &s->temperature, fail);
    case REPLY_SEED:
        return option_number("--seed", optarg, 0, INT64_MAX, &s->seed, fail);
    case REPLY_TOP_K:
        code = option_number("--top-k", optarg, 0, UINT32_MAX, &number, fail);
        s->top_k = (uint32_t)number;
        return code;
    case REPLY_TOP_P:
        return option_real("--top-p", optarg, &s->top_p, fail);
    case REPLY_MIN_P:
        return option_real("--min-p", optarg, &s->min_p, fail);
    case REPLY_REPETITION_PENALTY:
        return option_real("--repetition-penalty", optarg, &s->repetition_penalty, fail);
    case REPLY_PRESENCE_PENALTY:
        return option_real("--presence-penalty", optarg, &s->presence_penalty, fail);
    case REPLY_FREQUENCY_PENALTY:
        return option_real("--frequency-penalty", optarg, &s->frequency_penalty, fail);
    default:
        return add_bias(o, optarg, fail);
    }
}

bool reply_take_option(reply_options *o, int option, error_code *code, failure *fail)
{
    *code = OK;
    switch (option) {
    case REPLY_MODEL:
        o->model = optarg;
        return true;
    case REPLY_SYSTEM:
        o->system = optarg;
        return true;
    case 'n':
        *code = option_number("--max-tokens", optarg, 1, 1 << 24, &o->max_tokens, fail);
        return true;
    case REPLY_STOP:
        *code = add_stop(o, optarg, fail);
        return true;
    case REPLY_JSON_SCHEMA:
    case REPLY_GRAMMAR:
        *code = read_grammar(o, option, optarg, fail);
        return true;
    case REPLY_LOOKUP:
        o->has_lookup = true;
        *code = option_lookup(optarg, &o->lookup, fail);
        return true;
    default:
        if (option < REPLY_TEMPERATURE || option >= REPLY_OWN)
            return false;
        *code = read_sampling(o, option, fail);
        return true;
    }
}

error_code reply_options_check(reply_options *o, const stage_options *models, failure *fail)
{
    if (models->model_path != NULL && o->model != NULL)
        return failure_set(fail, ERR_INVALID,
                           "-m runs one model without routing: --model has no effect");
    o->sampling.biases = o->biases;
    o->sampling.n_biases = o->n_biases;
    /* Before minutes of loading; the ids are checked again against the model's vocabulary. */
    return sampling_check(&o->sampling, (size_t)INT32_MAX + 1, fail);
}

/* ---- asking --------------------------------------------------------------------------------- */

request reply_request(const reply_options *o)
{
    return (request){.sampling = o->sampling,
                     .grammar = o->grammar,
                     .max_tokens = o->max_tokens,
                     .stops = o->stops,
                     .n_stops = o->n_stops};
}

run_options reply_run_options(const reply_options *o)
{
    return (run_options){.model = o->model,
                         .lookup = o->has_lookup ? &o->lookup : NULL,
                         .sampling_given = o->sampling_given};
}
