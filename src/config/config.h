/*
 * config.h: the YAML configuration as one plain struct. Schema-checked: an unknown or malformed key is
 * refused with its name and line. Knows no behaviour. A config owns all its strings; config_free gives
 * them back. Relative paths in a file are relative to that file.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"

#define CONFIG_VERSION 1

typedef enum config_role { ROLE_SMALL, ROLE_LARGE } config_role;
typedef enum config_kv { CONFIG_KV_F16, CONFIG_KV_F32 } config_kv;
typedef enum config_lookup_mode { CONFIG_LOOKUP_OFF, CONFIG_LOOKUP_AUTO } config_lookup_mode;

typedef struct config_model {
    char *name; /* what a client pins */
    config_role role;
    char *path;
    char *chat_template; /* override by name, or NULL */
    uint32_t context;    /* tokens; 0: what the model was trained for */
    uint32_t slots;      /* sequences resident at once */
    config_kv kv;
} config_model;

typedef struct config_label {
    char *name;  /* what decisions and headers say */
    char *token; /* the text that must be one token; NULL: the name */
} config_label;

typedef struct config_probe {
    char *template; /* with {conversation} or {query} */
    uint32_t window_head;
    uint32_t window_tail;
    config_label *labels;
    uint32_t n_labels;
} config_probe;

/* One rule: conditions that are absent hold. The first rule whose conditions all hold gives the plan. */
typedef struct config_rule {
    char *name;
    char *intent;              /* label name, or NULL: any */
    double *max_entropy;       /* nats, or NULL */
    double *min_margin;        /* or NULL */
    uint32_t *max_prompt_tokens; /* of the small model, or NULL */
    config_role model;
    char *lookup;              /* "off", "auto" or a length "1" … "16" */
} config_rule;

typedef struct config_policy {
    char *name; /* "adaptive", "paper", "small", "large", "random", or "rules" */
    double entropy_limit; /* nats */
    uint32_t prompt_limit; /* tokens */
    uint64_t seed;         /* random */
    config_rule *rules;    /* only with name "rules" */
    uint32_t n_rules;
} config_policy;

typedef struct config_engine {
    uint32_t threads; /* 0: the physical cores this process may use */
    uint32_t prefill_chunk;
    uint32_t queue_limit;
} config_engine;

typedef struct config_server {
    char *host;
    uint16_t port;
    uint32_t max_connections;
    uint32_t max_body_bytes;
    uint32_t max_tokens_default; /* when a request says none; 0: to the context's end */
} config_server;

typedef struct config {
    uint32_t version;
    config_model *models; /* exactly one small and one large */
    uint32_t n_models;
    config_probe probe;
    config_policy policy;
    config_engine engine;
    config_server server;
} config;

/* path NULL: config/demo.yaml, looked for under the working directory, beside the program's own place,
 * and where it was installed. ERR_CONFIG with file, line and key. */
error_code config_load(config **out, const char *path, failure *fail);
void config_free(config *c);

#endif
