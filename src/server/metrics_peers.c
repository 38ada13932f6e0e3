/*
 * metrics_peers.c: what vLLM and llama-server tell, under their names, so that dashboards and
 * cluster schedulers made for them (Gateway API inference extension) work unchanged. vLLM's
 * docs/design/metrics.md and llama.cpp's tools/server/README.md say what each means.
 */
#include <stddef.h>

#include "server/metrics_parts.h"

static const char *name_of(const metrics *m, size_t k)
{
    return orchestra_model_name(m->orchestra, k);
}

/* ---- vLLM: by model ------------------------------------------------------------------------- */

static void put_model_number(const metrics *m, metrics_text *t, const char *name, size_t k,
                             double value)
{
    put(t, name);
    put_label(t, "{", "model_name", name_of(m, k));
    put(t, "}");
    put_number(t, value);
}

static void write_vllm_load(const metrics *m, metrics_text *t, const backend_load *statuses)
{
    const size_t n_models = orchestra_model_count(m->orchestra);
    const char *running = "vllm:num_requests_running", *waiting = "vllm:num_requests_waiting",
               *usage = "vllm:kv_cache_usage_perc";
    put_head(t, running, "gauge", "Sequences in a place.");
    for (size_t k = 0; k < n_models; k++)
        put_model_number(m, t, running, k, (double)statuses[k].running);
    put_head(t, waiting, "gauge", "Sequences without one.");
    for (size_t k = 0; k < n_models; k++)
        put_model_number(m, t, waiting, k, (double)(statuses[k].waiting + statuses[k].parked));
    put_head(t, usage, "gauge", "KV taken, of its limit; 1 is all of it.");
    for (size_t k = 0; k < n_models; k++)
        if (statuses[k].kv_limit_bytes > 0)
            put_model_number(m, t, usage, k,
                             (double)statuses[k].kv_bytes / (double)statuses[k].kv_limit_bytes);
}

static void write_vllm_counts(const metrics *m, metrics_text *t)
{
    const size_t n_models = orchestra_model_count(m->orchestra);
    const char *prompt = "vllm:prompt_tokens_total", *generated = "vllm:generation_tokens_total",
               *success = "vllm:request_success_total";
    put_head(t, prompt, "counter", "Tokens of prompts.");
    for (size_t k = 0; k < n_models; k++)
        put_model_number(m, t, prompt, k, (double)m->models[k].prompt_tokens);
    put_head(t, generated, "counter", "Tokens of replies.");
    for (size_t k = 0; k < n_models; k++)
        put_model_number(m, t, generated, k, (double)m->models[k].reply_tokens);
    put_head(t, success, "counter", "Replies that were finished, by what ended them.");
    for (size_t k = 0; k < n_models; k++)
        for (size_t i = 0; i < 2; i++) {
            put(t, success);
            put_label(t, "{", "model_name", name_of(m, k));
            put_label(t, ",", "finished_reason", i == 0 ? "stop" : "length");
            put(t, "}");
            put_count(t, i == 0 ? m->models[k].stopped : m->models[k].cut);
        }
}

static void write_vllm_times(const metrics *m, metrics_text *t)
{
    static const struct {
        const char *name, *help;
        size_t offset;
    } times[] = {
        {"vllm:time_to_first_token_seconds", "Decision, queue and prefill together.",
         offsetof(totals, first_token)},
        {"vllm:time_per_output_token_seconds", "Mean time between two tokens of a reply.",
         offsetof(totals, per_token)},
        {"vllm:e2e_request_latency_seconds", "From the complete request to the last token.",
         offsetof(totals, whole)},
        {"vllm:request_queue_time_seconds", "From submission to the first step.",
         offsetof(totals, queue)},
        {"vllm:request_prefill_time_seconds", "From the first step to the first token.",
         offsetof(totals, prefill)},
        {"vllm:request_decode_time_seconds", "From the first token to the last.",
         offsetof(totals, decode)},
    };
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        put_head(t, times[i].name, "histogram", times[i].help);
        for (size_t k = 0; k < orchestra_model_count(m->orchestra); k++)
            put_histogram(
                t, times[i].name, "model_name", name_of(m, k),
                (const histogram *)(const void *)((const char *)&m->models[k] + times[i].offset));
    }
}

/* ---- llama-server: one process is one model there, so all of ours together ------------------- */

static double per_second(double n, double ms)
{
    return ms > 0 ? n / ms * 1e3 : 0;
}

static void write_llamacpp(const metrics *m, metrics_text *t, const backend_load *statuses)
{
    double prompt = (double)m->embedded_tokens, steps = (double)m->embeddings;
    double cached = 0, prefill_ms = 0, generated = 0, decode_ms = 0, drafted = 0, accepted = 0,
           running = 0, waiting = 0;
    for (size_t k = 0; k < orchestra_model_count(m->orchestra); k++) {
        const totals *of = &m->models[k];
        prompt += (double)(of->prompt_tokens - of->cached_tokens);
        cached += (double)of->cached_tokens;
        drafted += (double)of->drafted;
        accepted += (double)of->accepted;
        prefill_ms += of->prefill.sum_ms;
        generated += (double)of->reply_tokens;
        decode_ms += of->decode.sum_ms;
        steps += (double)of->steps;
        running += (double)statuses[k].running;
        waiting += (double)(statuses[k].waiting + statuses[k].parked);
    }
    put_plain(t, "llamacpp:prompt_tokens_total", "counter", "Number of prompt tokens processed.",
              prompt);
    put_plain(t, "llamacpp:prompt_tokens_cached_total", "counter",
              "Number of prompt tokens that were there already.", cached);
    put_plain(t, "llamacpp:spec_decode_num_draft_tokens_total", "counter",
              "Number of drafted tokens.", drafted);
    put_plain(t, "llamacpp:spec_decode_num_accepted_tokens_total", "counter",
              "Number of drafted tokens that were accepted.", accepted);
    put_plain(t, "llamacpp:prompt_seconds_total", "counter", "Prompt process time.",
              prefill_ms / 1e3);
    put_plain(t, "llamacpp:tokens_predicted_total", "counter",
              "Number of generation tokens processed.", generated);
    put_plain(t, "llamacpp:tokens_predicted_seconds_total", "counter", "Predict process time.",
              decode_ms / 1e3);
    put_plain(t, "llamacpp:n_decode_total", "counter", "Steps, a reply's own; of an embedding one.",
              steps);
    put_plain(t, "llamacpp:prompt_tokens_seconds", "gauge",
              "Average prompt throughput in tokens/s.", per_second(prompt, prefill_ms));
    put_plain(t, "llamacpp:predicted_tokens_seconds", "gauge",
              "Average generation throughput in tokens/s.", per_second(generated, decode_ms));
    put_plain(t, "llamacpp:requests_processing", "gauge", "Number of requests processing.",
              running);
    put_plain(t, "llamacpp:requests_deferred", "gauge", "Number of requests deferred.", waiting);
}

void write_peers(const metrics *m, metrics_text *t, const backend_load *statuses)
{
    write_vllm_load(m, t, statuses);
    write_vllm_counts(m, t);
    write_vllm_times(m, t);
    write_llamacpp(m, t, statuses);
}
