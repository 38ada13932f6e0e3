/*
 * schema.h: the file's shape as libcyaml reads it. Inside the room only.
 *
 * Every optional value is a pointer, NULL when the file does not name it, so that a default and a
 * value the user wrote can be told apart: a value that would have no effect is refused.
 */
#ifndef CONFIG_SCHEMA_H
#define CONFIG_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"

typedef struct file_pool {
    uint32_t *limit, *queue, *wait_ms, *retries;
    uint32_t *health_ms, *slow_start_ms, *hedge_tokens;
    char *health_path;
} file_pool;

typedef struct file_price {
    double *input, *output;
} file_price;

typedef struct file_model {
    char *name;
    file_price *price;
    char *role;
    char *path;
    char *url, *model, *key_env, *key_file, *ca_file, *fields;
    uint32_t *connect_ms, *first_byte_ms, *idle_ms;
    char **replicas, **lookup_replicas;
    uint32_t n_replicas, n_lookup_replicas;
    file_pool *pool;
    char *chat_template;
    uint32_t *context;
    uint32_t *slots;
    uint32_t *parked;
    char *kv;
    char *requant;
} file_model;

typedef struct file_label {
    char *name;
    char *token;
} file_label;

typedef struct file_online {
    double *step;
} file_online;

typedef struct file_probe {
    char *kind;
    char *model;
    char *template;
    uint32_t *window_head;
    uint32_t *window_tail;
    uint32_t *timeout_ms;
    uint32_t *cache;
    bool *reuse;
    file_label *labels;
    uint32_t n_labels;
    char *calibration;
    file_online *online;
} file_probe;

typedef struct file_success {
    char *calibration;
    file_online *online;
} file_success;

typedef struct file_header {
    char *name;
    char *value;
} file_header;

typedef struct file_load {
    char *model;
    uint32_t *above_running, *max_running;
    uint32_t *above_waiting, *max_waiting;
    uint32_t *above_delay_ms, *max_delay_ms;
} file_load;

typedef struct file_sampling {
    double *temperature, *top_p, *min_p;
    double *repetition_penalty, *presence_penalty, *frequency_penalty;
    uint32_t *top_k;
} file_sampling;

typedef struct file_rule {
    char *name;
    char *intent;
    char **intents;
    uint32_t n_intents;
    double *above_entropy, *max_entropy;
    char *certain;
    double *above_margin, *max_margin;
    double *min_success, *below_success;
    char *likely;
    double *above_coin, *max_coin;
    uint32_t *above_prompt_tokens, *max_prompt_tokens;
    uint32_t *above_turn, *max_turn;
    char *session;
    file_header *headers;
    uint32_t n_headers;
    file_load *load;
    uint32_t n_load;
    char *model;
    uint32_t *cheapest_within_ms;
    char *lookup;
    char *kv;
    file_sampling *sampling;
    uint32_t *max_tokens;
} file_rule;

typedef struct file_policy {
    char *name;
    double *entropy_limit;
    uint32_t *prompt_limit;
    uint64_t *seed;
    char *sticky; /* libcyaml would take any word for true */
    file_rule *rules;
    uint32_t n_rules;
} file_policy;

typedef struct file_engine {
    uint32_t *threads;
    uint32_t *prefill_chunk;
    uint32_t *queue_limit;
    uint32_t *step_budget_ms;
    uint32_t *memory_limit_mb;
    bool *prefix_cache;
    char *machine;
} file_engine;

typedef struct file_alias {
    char *name;
    char *model;
} file_alias;

typedef struct file_server {
    char *host;
    uint16_t *port;
    char *socket;
    char *keys_file, *budget_file;
    bool *allow_without_key;
    char *tls_certificate;
    char *tls_key;
    uint32_t *loops;
    uint32_t *max_connections;
    uint32_t *max_connections_per_address;
    char **allowed_hosts;
    uint32_t n_allowed_hosts;
    char **allowed_origins;
    uint32_t n_allowed_origins;
    file_alias *aliases;
    uint32_t n_aliases;
    char *unknown_model;
    uint32_t *max_body_bytes;
    uint32_t *max_tokens_default;
    uint32_t *seed_default;
    char *priority_default;
    uint32_t *deadline_ms_default;
} file_server;

typedef struct file_decisions {
    char *file;
    char *prompts;
    uint32_t *max_mb;
    uint32_t *keep;
} file_decisions;

typedef struct file_config {
    uint32_t version;
    file_model *models;
    uint32_t n_models;
    file_probe *probe;
    file_success *success;
    file_policy *policy;
    file_engine *engine;
    file_server *server;
    file_decisions *decisions;
} file_config;

/* ERR_CONFIG names file, line and key. Give the result back with file_config_free. */
error_code file_config_read(file_config **out, const char *text, size_t length, const char *file,
                            failure *fail);
void file_config_free(file_config *f);

/* The line of the value that a path such as policy.rules[2].model leads to, or of what comes
 * nearest to it; 0: the text says nothing of it. The path ends at the first character that cannot
 * stand in one. */
int file_config_line(const char *text, size_t length, const char *path);

#endif
