/* item.c: fields that every record has, written once. */
#include "evidence/item.h"

#include "base/json.h"

uint32_t item_digest(const char *text)
{
    uint32_t hash = UINT32_C(2166136261); /* FNV-1a */
    for (; text != NULL && *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * UINT32_C(16777619);
    return hash;
}

static json_t *optional_text(const char *text)
{
    return text != NULL ? json_string(text) : json_null();
}

json_t *item_new(const task *t)
{
    return json_pack("{s:s, s:s, s:o, s:n, s:n, s:n, s:n, s:n, s:b, s:n, s:n, s:i, s:i, s:n, "
                     "s:{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}, "
                     "s:{s:i, s:i, s:i, s:i, s:i, s:i}}",
                     "id", t->id, "kind", t->kind, "intent", optional_text(t->intent), "label",
                     "entropy", "model", "lookup", "rule", "fallback", 0, "error", "right",
                     "prompt_tokens", 0, "tokens", 0, "digest", "ms", "ttft", 0.0, "latency", 0.0,
                     "between", 0.0, "template", 0.0, "prefill", 0.0, "decide", 0.0, "switch", 0.0,
                     "overhead", 0.0, "work", "cached_tokens", 0, "steps", 0, "drafted", 0,
                     "accepted", 0, "weight_bytes", 0, "kv_bytes", 0);
}

void item_put_integer(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

void item_put_real(json_t *object, const char *key, double value)
{
    json_object_set_new(object, key, json_real(json_finite(value)));
}
