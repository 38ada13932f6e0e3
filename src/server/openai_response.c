#include "server/openai.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

/* ---- errors --------------------------------------------------------------------------------- */

static const char *error_type(int status)
{
    switch (status) {
    case 401:
        return "authentication_error";
    case 404:
        return "not_found_error";
    case 429:
        return "rate_limit_error";
    case 501:
        return "not_supported_error";
    case 503:
        return "unavailable_error";
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
    default:
        api_error_set(e, error_code_http(fail->code), NULL, "", "%s", fail->text);
    }
}

json_t *api_error_json(const api_error *e)
{
    json_t *param = e->param[0] != '\0' ? json_text(e->param, strlen(e->param)) : json_null();
    return json_pack("{s:{s:o, s:s, s:o, s:s?}}", "error", "message",
                     json_text(e->message, strlen(e->message)), "type", e->type, "param", param,
                     "code", e->code);
}

/* ---- text ----------------------------------------------------------------------------------- */

static json_t *repaired_text(const char *text, size_t length)
{
    buffer clean;
    buffer_init(&clean, 3 * length + 1);
    for (size_t at = 0; at < length;) {
        size_t n;
        bool whole = utf8_next(text + at, length - at, &n) == UTF8_WHOLE;
        if ((whole ? buffer_add(&clean, text + at, n)
                   : buffer_add_text(&clean, UTF8_REPLACEMENT)) != OK)
            break;
        at += n;
    }
    json_t *value = json_stringn(clean.data == NULL ? "" : clean.data, clean.length);
    buffer_free(&clean);
    return value;
}

json_t *json_text(const char *text, size_t length)
{
    json_t *value = json_stringn(text == NULL ? "" : text, length);
    return value != NULL ? value : repaired_text(text, length);
}

error_code json_write(buffer *out, json_t *value)
{
    if (value == NULL)
        return ERR_MEMORY;
    const size_t flags = JSON_COMPACT | JSON_REAL_PRECISION(9);
    size_t need = json_dumpb(value, NULL, 0, flags);
    error_code code = need == 0 ? ERR_MEMORY : buffer_reserve(out, need);
    if (code == OK) {
        json_dumpb(value, out->data + out->length, need, flags);
        out->length += need;
        out->data[out->length] = '\0';
    }
    json_decref(value);
    return code;
}

const char *finish_reason_text(finish_reason reason)
{
    return reason == FINISH_STOP ? "stop" : "length";
}

/* ---- facts ---------------------------------------------------------------------------------- */

json_t *lookup_json(const lookup_setting *lookup)
{
    if (lookup->mode == LOOKUP_FIXED)
        return json_integer(lookup->length);
    return json_string(lookup->mode == LOOKUP_AUTO ? "auto" : "off");
}

/* JSON has no infinity; what was not measured is 0. */
static double finite_or_zero(double value)
{
    return isfinite(value) ? value : 0;
}

static json_t *intent_json(const intent *i)
{
    if (i == NULL || !i->known)
        return json_null();
    json_t *probabilities = json_object();
    for (size_t k = 0; k < i->n_labels; k++)
        json_object_set_new(probabilities, i->labels[k],
                            json_real(finite_or_zero(i->probabilities[k])));
    return json_pack("{s:s, s:o, s:f, s:f, s:f, s:b, s:I}", "label", i->labels[i->best],
                     "probabilities", probabilities, "entropy", finite_or_zero(i->entropy),
                     "margin", finite_or_zero(i->margin), "outside", finite_or_zero(i->outside),
                     "windowed", (int)i->windowed, "probe_tokens", (json_int_t)i->probe_tokens);
}

static json_t *overhead_json(const overhead *o)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f}", "template_ms", finite_or_zero(o->template_ms),
                     "prefill_ms", finite_or_zero(o->prefill_ms), "decide_ms",
                     finite_or_zero(o->decide_ms), "switch_ms", finite_or_zero(o->switch_ms),
                     "total_ms", finite_or_zero(o->total_ms));
}

static json_t *stats_json(const sequence_stats *s)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:I, s:I}",
                     "prompt_tokens", (json_int_t)s->prompt_tokens, "cached_tokens",
                     (json_int_t)s->cached_tokens, "reply_tokens", (json_int_t)s->reply_tokens,
                     "steps", (json_int_t)s->steps, "drafted", (json_int_t)s->drafted, "accepted",
                     (json_int_t)s->accepted, "queue_ms", finite_or_zero(s->queue_ms), "prefill_ms",
                     finite_or_zero(s->prefill_ms), "decode_ms", finite_or_zero(s->decode_ms),
                     "switch_ms", finite_or_zero(s->switch_ms), "weight_bytes",
                     (json_int_t)s->weight_bytes, "kv_bytes", (json_int_t)s->kv_bytes);
}

static json_t *plan_json(const plan *p)
{
    return json_pack("{s:s, s:s, s:o, s:s, s:o, s:I}", "model", p->model, "role",
                     p->role == ROLE_SMALL ? "small" : "large", "lookup", lookup_json(&p->lookup),
                     "rule", p->rule, "reason", json_text(p->reason, strlen(p->reason)),
                     "prompt_tokens", (json_int_t)p->prompt_tokens);
}

json_t *a_io_json(const run *r, int64_t seed)
{
    const receipt *cost = run_receipt(r);
    return json_pack("{s:o, s:o, s:{s:o, s:o, s:o}, s:I}", "intent", intent_json(run_intent(r)),
                     "plan", plan_json(run_plan(r)), "receipt", "overhead",
                     overhead_json(&cost->overhead), "probe", stats_json(&cost->probe), "reply",
                     stats_json(&cost->reply), "seed", (json_int_t)seed);
}

json_t *decision_json(const run *decided)
{
    const plan *p = run_plan(decided);
    return json_pack(
        "{s:s, s:s, s:s, s:o, s:s, s:o, s:o, s:I, s:o}", "object", "route", "model", p->model,
        "role", p->role == ROLE_SMALL ? "small" : "large", "lookup", lookup_json(&p->lookup),
        "rule", p->rule, "reason", json_text(p->reason, strlen(p->reason)), "intent",
        intent_json(run_intent(decided)), "prompt_tokens", (json_int_t)p->prompt_tokens, "overhead",
        overhead_json(&run_receipt(decided)->overhead));
}

/* ---- replies -------------------------------------------------------------------------------- */

json_t *usage_json(const sequence_stats *stats)
{
    json_int_t prompt = (json_int_t)stats->prompt_tokens, tokens = (json_int_t)stats->reply_tokens;
    return json_pack("{s:I, s:I, s:I, s:{s:I}}", "prompt_tokens", prompt, "completion_tokens",
                     tokens, "total_tokens", prompt + tokens, "prompt_tokens_details",
                     "cached_tokens", (json_int_t)stats->cached_tokens);
}

/* The first token comes out of the prefill, so decoding took the time of one token fewer. */
json_t *timings_json(const sequence_stats *stats)
{
    double prompt_n = (double)(stats->prompt_tokens - stats->cached_tokens);
    double decoded = stats->reply_tokens > 1 ? (double)(stats->reply_tokens - 1) : 0;
    json_t *timings =
        json_pack("{s:I, s:I, s:f, s:f, s:f, s:I, s:f, s:f, s:f}", "cache_n",
                  (json_int_t)stats->cached_tokens, "prompt_n", (json_int_t)prompt_n, "prompt_ms",
                  finite_or_zero(stats->prefill_ms), "prompt_per_token_ms",
                  finite_or_zero(stats->prefill_ms / prompt_n), "prompt_per_second",
                  finite_or_zero(1e3 * prompt_n / stats->prefill_ms), "predicted_n",
                  (json_int_t)stats->reply_tokens, "predicted_ms", finite_or_zero(stats->decode_ms),
                  "predicted_per_token_ms", finite_or_zero(stats->decode_ms / decoded),
                  "predicted_per_second", finite_or_zero(1e3 * decoded / stats->decode_ms));
    if (timings != NULL && stats->drafted > 0) {
        json_object_set_new(timings, "draft_n", json_integer((json_int_t)stats->drafted));
        json_object_set_new(timings, "draft_n_accepted", json_integer((json_int_t)stats->accepted));
    }
    return timings;
}

json_t *completion_json(const completion_head *head, const char *text, size_t length,
                        const run *finished, int64_t seed)
{
    const sequence_stats *stats = &run_receipt(finished)->reply;
    return json_pack("{s:s, s:s, s:I, s:s, s:[{s:i, s:{s:s, s:o, s:n}, s:n, s:s}], s:o, s:o, s:o}",
                     "id", head->id, "object", "chat.completion", "created",
                     (json_int_t)head->created, "model", head->model, "choices", "index", 0,
                     "message", "role", "assistant", "content", json_text(text, length), "refusal",
                     "logprobs", "finish_reason", finish_reason_text(run_finish_reason(finished)),
                     "usage", usage_json(stats), "timings", timings_json(stats), "a_io",
                     a_io_json(finished, seed));
}

json_t *chunk_json(const completion_head *head, json_t *delta, const char *finish)
{
    return json_pack("{s:s, s:s, s:I, s:s, s:[{s:i, s:o, s:n, s:s?}]}", "id", head->id, "object",
                     "chat.completion.chunk", "created", (json_int_t)head->created, "model",
                     head->model, "choices", "index", 0, "delta", delta, "logprobs",
                     "finish_reason", finish);
}

json_t *model_json(const char *id, size_t context, int64_t created)
{
    json_t *entry = json_pack("{s:s, s:s, s:I, s:s}", "id", id, "object", "model", "created",
                              (json_int_t)created, "owned_by", "a-io");
    if (entry != NULL && context > 0)
        json_object_set_new(entry, "max_model_len", json_integer((json_int_t)context));
    return entry;
}
