/*
 * summary.h: figures of one run (a scenario through one arm) from its items.
 *
 * An item is one request's record, a JSON object; block.c writes it:
 *   id, kind, intent (the true label or null), label (the probe's or null), entropy (or null),
 *   model (small, large or null), lookup, rule, fallback (bool), error (text or null), right (bool
 *   or null: nothing says what is right), prompt_tokens, tokens, digest (of the answer's text)
 *   ms {ttft, latency, between, template, prefill, decide, switch, overhead}: times
 *   work {cached_tokens, steps, drafted, accepted, weight_bytes, kv_bytes}: counters that follow
 *   from times
 */
#ifndef EVIDENCE_SUMMARY_H
#define EVIDENCE_SUMMARY_H

#include <jansson.h>

/* What a request must keep to count as good. */
typedef struct summary_bounds {
    double ttft_ms;    /* to the first token */
    double between_ms; /* between tokens, mean of a request */
} summary_bounds;

/* A new object with all figures and the items (shared, not copied); NULL: no memory. `seconds`: the
 * time in which all of it ran. */
json_t *summary_run(const char *scenario, const char *policy, json_t *items, double seconds,
                    const summary_bounds *bounds);

#endif
