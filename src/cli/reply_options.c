/* reply_options.c: the options that `run` and `chat` have in common: limits, sampling, grammars. */
#include "cli/reply_options.h"

#include <stdlib.h>
#include <string.h>

#include "orchestra/policy.h"

#define GRAMMAR_LIMIT ((size_t)1 << 20) /* bytes of a file; the grammar's own limit is less */

void reply_options_init(reply_options *o)
{
    *o = (reply_options){.sampling = sampling_defaults()};
    o->sampling.temperature = 0;
    o->top_k = o->sampling.top_k;
    buffer_init(&o->grammar_text, GRAMMAR_LIMIT);
}

void reply_options_free(reply_options *o)
{
    free(o->biases);
    buffer_free(&o->grammar_text);
    o->biases = NULL;
}

/* ---- reading -------------------------------------------------------------------------------- */

error_code reply_take_stop(void *context, const char *text, failure *fail)
{
    reply_options *o = context;
    if (text[0] == '\0')
        return failure_set(fail, ERR_INVALID, "--stop: the text must not be empty");
    if (o->n_stops == REPLY_MAX_STOPS)
        return failure_set(fail, ERR_INVALID, "--stop: at most %d of them", REPLY_MAX_STOPS);
    o->stops[o->n_stops++] = text;
    return OK;
}

/* A file's text, of a schema or of a grammar in either language. */
static error_code read_grammar(reply_options *o, const char *option, const char *path,
                               failure *fail)
{
    if (o->grammar.text != NULL)
        return failure_set(fail, ERR_INVALID, "--grammar and --json-schema: one of them, once");
    error_code code = buffer_read_file(&o->grammar_text, path, fail);
    if (code == OK && memchr(o->grammar_text.data, '\0', o->grammar_text.length) != NULL)
        code = failure_set(fail, ERR_INVALID, "%s: it has a NUL byte", path);
    if (code == OK && buffer_add(&o->grammar_text, "", 1) != OK)
        code = failure_set(fail, ERR_MEMORY, "no memory for %s", path);
    if (code != OK)
        return failure_prefix(fail, "%s", option);
    o->grammar.text = o->grammar_text.data;
    return OK;
}

error_code reply_take_grammar(void *context, const char *path, failure *fail)
{
    reply_options *o = context;
    error_code code = read_grammar(o, "--grammar", path, fail);
    if (code == OK)
        o->grammar.kind = grammar_language(o->grammar.text);
    return code;
}

error_code reply_take_schema(void *context, const char *path, failure *fail)
{
    reply_options *o = context;
    error_code code = read_grammar(o, "--json-schema", path, fail);
    if (code == OK)
        o->grammar.kind = GRAMMAR_JSON_SCHEMA;
    return code;
}

error_code reply_take_lookup(void *context, const char *text, failure *fail)
{
    reply_options *o = context;
    config_lookup l;
    if (!config_lookup_parse(text, &l) || l.mode == CONFIG_LOOKUP_DRAFT)
        return failure_set(fail, ERR_INVALID,
                           "--lookup: \"%s\" is none of off, auto, or a length from 1 to %d", text,
                           CONFIG_MAX_DRAFT);
    o->has_lookup = true;
    o->lookup = policy_lookup(&l, 0);
    return OK;
}

error_code reply_take_bias(void *context, const char *text, failure *fail)
{
    reply_options *o = context;
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

error_code reply_options_check(reply_options *o, const stage_options *models, failure *fail)
{
    if (models->model_path != NULL && o->model != NULL)
        return failure_set(fail, ERR_INVALID,
                           "-m runs one model without routing: --model has no effect");
    o->sampling.top_k = (uint32_t)o->top_k;
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
