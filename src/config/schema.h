/*
 * schema.h: the file's shape as libcyaml reads it. Inside the room only.
 *
 * Every optional value is a pointer, NULL when the file does not name it, so that a default and a
 * value the user wrote can be told apart: a value that would have no effect is refused.
 */
#ifndef CONFIG_SCHEMA_H
#define CONFIG_SCHEMA_H

#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"

typedef struct file_model {
    char *name;
    char *role;
    char *path;
    char *chat_template;
    uint32_t *context;
    uint32_t *slots;
    uint32_t *parked;
    char *kv;
} file_model;

typedef struct file_label {
    char *name;
    char *token;
} file_label;

typedef struct file_probe {
    char *template;
    uint32_t *window_head;
    uint32_t *window_tail;
    file_label *labels;
    uint32_t n_labels;
} file_probe;

typedef struct file_rule {
    char *name;
    char *intent;
    double *above_entropy, *max_entropy;
    double *above_margin, *max_margin;
    uint32_t *above_prompt_tokens, *max_prompt_tokens;
    char *model;
    char *lookup;
} file_rule;

typedef struct file_policy {
    char *name;
    double *entropy_limit;
    uint32_t *prompt_limit;
    uint64_t *seed;
    file_rule *rules;
    uint32_t n_rules;
} file_policy;

typedef struct file_engine {
    uint32_t *threads;
    uint32_t *prefill_chunk;
    uint32_t *queue_limit;
    uint32_t *step_budget_ms;
    uint32_t *memory_limit_mb;
} file_engine;

typedef struct file_server {
    char *host;
    uint16_t *port;
    uint32_t *max_connections;
    uint32_t *max_body_bytes;
    uint32_t *max_tokens_default;
    char *priority_default;
    uint32_t *deadline_ms_default;
} file_server;

typedef struct file_config {
    uint32_t version;
    file_model *models;
    uint32_t n_models;
    file_probe *probe;
    file_policy *policy;
    file_engine *engine;
    file_server *server;
} file_config;

/* ERR_CONFIG names file, line and key. Give the result back with file_config_free. */
error_code file_config_read(file_config **out, const char *text, size_t length, const char *file,
                            failure *fail);
void file_config_free(file_config *f);

#endif
