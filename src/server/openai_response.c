/* openai_response.c: pieces of JSON that OpenAI's replies have in common: errors, usage, models. */
#include "server/openai.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/json_fields.h"

#define USAGE_LIMIT ((size_t)1 << 10)

/* ---- errors --------------------------------------------------------------------------------- */

static const char *error_type(int status)
{
    switch (status) {
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 404:
        return "not_found_error";
    case 429:
        return "rate_limit_error";
    case 501:
        return "not_supported_error";
    case 503:
        return "unavailable_error";
    case 504:
        return "timeout_error";
    default:
        return status < 500 ? "invalid_request_error" : "server_error";
    }
}

bool api_error_set(api_error *e, int status, const char *code, const char *param,
                   const char *format, ...)
{
    *e = (api_error){.status = status, .type = error_type(status), .code = code};
    snprintf(e->param, sizeof e->param, "%s", param);
    va_list args;
    va_start(args, format);
    vsnprintf(e->message, sizeof e->message, format, args);
    va_end(args);
    return false;
}

void api_error_from_failure(api_error *e, const failure *fail)
{
    switch (fail->code) {
    case ERR_NOT_FOUND:
        api_error_set(e, 404, "model_not_found", "model", "%s", fail->text);
        break;
    case ERR_CONTEXT:
        api_error_set(e, 400, "context_length_exceeded", "messages", "%s", fail->text);
        break;
    case ERR_CANCELLED: /* of the two who can cancel, only a server that stops still has a listener
                         */
        api_error_set(e, 503, "cancelled", "", "%s", fail->text);
        break;
    case ERR_BUSY:
        api_error_set(e, 429, "queue_full", "", "%s", fail->text);
        break;
    case ERR_TIMEOUT:
        api_error_set(e, 504, "deadline_exceeded", "deadline_ms", "%s", fail->text);
        break;
    default:
        api_error_set(e, error_code_http(fail->code), NULL, "", "%s", fail->text);
    }
    e->retry_after_s = fail->retry_after_s;
}

bool api_error_set_stopping(api_error *e)
{
    return api_error_set(e, 503, "stopping", "", "the server is shutting down");
}

json_t *api_error_json(const api_error *e)
{
    json_was_short(); /* of what failed before, this error tells */
    json_t *param = e->param[0] != '\0' ? json_text(e->param, strlen(e->param)) : json_null();
    return json_pack("{s:{s:o, s:s, s:o, s:s?}}", "error", "message",
                     json_text(e->message, strlen(e->message)), "type", e->type, "param", param,
                     "code", e->code);
}

/* ---- replies -------------------------------------------------------------------------------- */

void usage_write(json_out *o, const char *name, const reply_stats *stats)
{
    int64_t prompt = (int64_t)stats->prompt_tokens, tokens = (int64_t)stats->reply_tokens;
    json_out_open(o, name, '{');
    json_out_count(o, "prompt_tokens", prompt);
    json_out_count(o, "completion_tokens", tokens);
    json_out_count(o, "total_tokens", prompt + tokens);
    json_out_open(o, "prompt_tokens_details", '{');
    json_out_count(o, "cached_tokens", (int64_t)stats->cached_tokens);
    json_out_close(o, '}');
    json_out_close(o, '}');
}

json_t *usage_json(const reply_stats *stats)
{
    buffer text;
    buffer_init(&text, USAGE_LIMIT);
    json_out o = {.to = &text};
    usage_write(&o, NULL, stats);
    return json_out_read(&o);
}

/* Of what has not begun: nothing. */
static double share(double part, double of)
{
    return of > 0 ? json_finite(part / of) : 0;
}

typedef struct timings {
    size_t cache_n, prompt_n, predicted_n, draft_n, draft_n_accepted;
    double prompt_ms, prompt_per_token_ms, prompt_per_second;
    double predicted_ms, predicted_per_token_ms, predicted_per_second;
} timings;

static const json_field timings_fields[] = {
    JSON_COUNT(timings, cache_n),
    JSON_COUNT(timings, prompt_n),
    JSON_NUMBER(timings, prompt_ms),
    JSON_NUMBER(timings, prompt_per_token_ms),
    JSON_NUMBER(timings, prompt_per_second),
    JSON_COUNT(timings, predicted_n),
    JSON_NUMBER(timings, predicted_ms),
    JSON_NUMBER(timings, predicted_per_token_ms),
    JSON_NUMBER(timings, predicted_per_second),
    JSON_COUNT(timings, draft_n), /* these two where something was drafted */
    JSON_COUNT(timings, draft_n_accepted),
};

static size_t timings_count(const reply_stats *stats)
{
    return sizeof timings_fields / sizeof *timings_fields - (stats->drafted > 0 ? 0 : 2);
}

/* The first token comes out of the prefill, so decoding took the time of one token fewer. */
static timings timings_of(const reply_stats *stats)
{
    double prompt_n = (double)(stats->prompt_tokens - stats->cached_tokens);
    double decoded = stats->reply_tokens > 1 ? (double)(stats->reply_tokens - 1) : 0;
    return (timings){.cache_n = stats->cached_tokens,
                     .prompt_n = stats->prompt_tokens - stats->cached_tokens,
                     .prompt_ms = stats->prefill_ms,
                     .prompt_per_token_ms = share(stats->prefill_ms, prompt_n),
                     .prompt_per_second = share(1e3 * prompt_n, stats->prefill_ms),
                     .predicted_n = stats->reply_tokens,
                     .predicted_ms = stats->decode_ms,
                     .predicted_per_token_ms = share(stats->decode_ms, decoded),
                     .predicted_per_second = share(1e3 * decoded, stats->decode_ms),
                     .draft_n = stats->drafted,
                     .draft_n_accepted = stats->accepted};
}

json_t *timings_json(const reply_stats *stats)
{
    const timings t = timings_of(stats);
    return json_fields_value(timings_fields, timings_count(stats), &t);
}

void timings_write(json_out *o, const char *name, const reply_stats *stats)
{
    const timings t = timings_of(stats);
    json_fields_write(o, name, timings_fields, timings_count(stats), &t);
}

json_t *model_json(const char *id, size_t context, int64_t created)
{
    json_t *entry = json_pack("{s:s, s:s, s:I, s:s}", "id", id, "object", "model", "created",
                              (json_int_t)created, "owned_by", "a-io");
    if (entry != NULL && context > 0)
        json_object_set_new(entry, "max_model_len", json_integer((json_int_t)context));
    return entry;
}
