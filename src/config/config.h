/*
 * config.h: the YAML configuration as one plain struct. Schema-checked: an unknown or malformed key
 * is refused with its name and line. Knows no behaviour. A config owns all its strings; config_free
 * gives them back. Relative paths in a file are relative to that file; a leading ~ is the home.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"
#include "base/priority.h"

#define CONFIG_VERSION 1
#define CONFIG_MAX_LABELS 64
#define CONFIG_MAX_RULES 64
#define CONFIG_MAX_HEADERS 8  /* of one rule */
#define CONFIG_MAX_ALLOWED 64 /* hosts, and origins, that are served without a key */
#define CONFIG_MAX_ALIASES 64
#define CONFIG_MAX_REPLICAS 4096
#define CONFIG_MAX_DRAFT 16      /* longest fixed lookup */
#define CONFIG_LABEL_CODE "code" /* the label that the policies paper and adaptive route by */
#define CONFIG_MAX_MODELS 16

typedef enum config_kv { CONFIG_KV_F16, CONFIG_KV_F32, CONFIG_KV_Q8_0, CONFIG_KV_Q4 } config_kv;

typedef enum config_lookup_mode {
    CONFIG_LOOKUP_OFF,
    CONFIG_LOOKUP_AUTO,
    CONFIG_LOOKUP_FIXED,
    CONFIG_LOOKUP_DRAFT, /* the small model drafts for the large one */
} config_lookup_mode;

typedef struct config_lookup {
    config_lookup_mode mode;
    uint32_t length; /* CONFIG_LOOKUP_FIXED: 1 … CONFIG_MAX_DRAFT, else 0 */
} config_lookup;

/* A list of texts, owned. */
typedef struct config_texts {
    char **texts;
    uint32_t n;
} config_texts;

/* How the replicas of a model are used. */
typedef struct config_pool {
    uint32_t limit;         /* requests in flight at each; 0: learned */
    uint32_t queue;         /* requests that wait for one, at most */
    uint32_t wait_ms;       /* how long one may */
    uint32_t retries;       /* of a request that failed before its answer began */
    uint32_t health_ms;     /* between two checks of a replica; 0: none */
    uint32_t slow_start_ms; /* until one that is new or came back has its full share */
    uint32_t hedge_tokens;  /* a request for no more of them may be sent twice; 0: none is */
} config_pool;

/* A model at other servers, which speak OpenAI's API. */
typedef struct config_remote {
    char *url; /* up to /v1, without a slash at its end, the first replica's where there are
                  several; NULL: the model is in this process */
    config_texts replicas;        /* URLs likewise; none: there is the one url alone */
    config_texts lookup_replicas; /* those with speculation on, for replies whose plan wants it */
    config_pool pool;
    char *health_path; /* what is asked of a server to see that it is well; NULL: its models */
    char *model;       /* what the server calls it */
    char *key_env;     /* the environment variable that has the key … */
    char *key_file;    /* … or the file that holds it; NULL, NULL: there is none */
    char *ca_file;     /* certificates of who may vouch for the server; NULL: the system's */
    char *fields;      /* a JSON object of more fields for each request; or NULL */
    uint32_t connect_ms;
    uint32_t first_byte_ms; /* from the request to the first byte of the answer */
    uint32_t idle_ms;       /* between two pieces of the answer */
} config_remote;

/* Of 10^6 tokens, in whatever currency all of them are; 0: nothing. */
typedef struct config_price {
    double input, output;
} config_price;

typedef struct config_model {
    char *name; /* what a client pins */
    config_price price;
    config_remote remote;
    char *given;         /* the path as it is written, which may be a name of another kind */
    char *path;          /* of the file; NULL: remote */
    char *chat_template; /* a built-in one's name, file:PATH or none; NULL: the file's own */
    uint32_t context;    /* tokens; 0: what the model was trained for */
    uint32_t slots;      /* replies that run at once */
    uint32_t parked;     /* batch replies parked besides; 0: as many as slots */
    config_kv kv;
    char *requant; /* "head=q4_k": fewer bits than the file has; NULL: none */
} config_model;

typedef struct config_label {
    char *name;  /* what decisions and headers say */
    char *token; /* the text that must be one token */
} config_label;

/* Where the intent comes from. */
typedef enum config_probe_kind {
    CONFIG_PROBE_TOKENS, /* the label tokens' logits after a template */
    CONFIG_PROBE_LEARNED /* a head on the hidden state of the conversation's last position */
} config_probe_kind;

typedef struct config_probe {
    config_probe_kind kind;
    size_t model;   /* that is asked: its number */
    char *template; /* with {conversation} or {query} */
    uint32_t window_head;
    uint32_t window_tail;
    uint32_t timeout_ms; /* then the large model answers; 0: no limit */
    uint32_t cache;      /* recent probes whose result is kept for identical requests; 0: none */
    bool reuse; /* answers take over what the probe prefilled, and the probe what others did */
    config_label *labels;
    uint32_t n_labels;
    char *calibration; /* a file of `a-io calibrate`, which has the learned probe's head, too; NULL:
                          the probabilities as they come */
    bool is_online;    /* its entropy limit moves with what POST /v1/feedback tells */
    double online_step; /* nats; by so much for a misroute */
} config_probe;

/* How probable it is that the small model's answer is right. */
typedef struct config_success {
    char *calibration;  /* a file of `a-io calibrate --success`; NULL: nobody asks */
    bool is_online;     /* its limit moves with what POST /v1/feedback tells */
    double online_step; /* of a probability; by so much for a wrong answer */
} config_success;

/* What a rule may bound. A bound holds when above < value ≤ max, so that the same number splits the
 * values in two; -INFINITY … INFINITY is no condition. */
typedef enum config_quantity {
    CONFIG_ENTROPY, /* nats */
    CONFIG_MARGIN,
    CONFIG_SUCCESS, /* probability that the small model's answer is right; its keys are min_success
                       (that or more) and below_success */
    CONFIG_PROMPT_TOKENS, /* of the model that the probe asks */
    CONFIG_TURN,          /* user messages so far; the first request of a conversation is turn 1 */
    CONFIG_COIN,          /* the request's own random number in [0, 1) */
    CONFIG_LOADS,         /* from here on config_load_of each model */
    CONFIG_QUANTITIES = CONFIG_LOADS + 3 * CONFIG_MAX_MODELS,
} config_quantity;

/* What a model has to do. */
typedef enum config_load_kind {
    CONFIG_RUNNING, /* replies and classifications that have a place … */
    CONFIG_WAITING, /* … and those that wait for one */
    CONFIG_DELAY,   /* ms until a reply's first token, as it is expected; 0: not known */
    CONFIG_LOAD_KINDS,
} config_load_kind;

static inline config_quantity config_load_of(size_t number, config_load_kind kind)
{
    return (config_quantity)(CONFIG_LOADS + number * CONFIG_LOAD_KINDS + kind);
}

typedef struct config_bound {
    double above, max;
} config_bound;

/* The part of a key after above_ or max_ ("entropy" … "waiting"). */
const char *config_quantity_name(config_quantity q);

/* A success of at least this is one above the number that comes before it; one below this is at
 * most that number. */
double config_number_before(double x);
double config_number_after(double x);

typedef struct config_header {
    char *name;
    char *value; /* NULL: any, as long as the header was sent */
} config_header;

typedef enum config_session {
    CONFIG_SESSION_ANY,
    CONFIG_SESSION_NAMED,   /* the request names its conversation (x-session-id) */
    CONFIG_SESSION_UNNAMED, /* it does not */
} config_session;

/* Of the calibration's entropy limit. */
typedef enum config_certain {
    CONFIG_CERTAIN_ANY,
    CONFIG_CERTAIN,   /* entropy at most the limit */
    CONFIG_UNCERTAIN, /* above it */
} config_certain;

/* Of the limit of success that its calibration found. */
typedef enum config_likely {
    CONFIG_LIKELY_ANY,
    CONFIG_LIKELY,   /* success at least the limit */
    CONFIG_UNLIKELY, /* below it */
} config_likely;

/* What a rule sets where the client said nothing. */
typedef enum config_sampling_bits {
    CONFIG_TEMPERATURE = 1,
    CONFIG_TOP_P = 2,
    CONFIG_MIN_P = 4,
    CONFIG_TOP_K = 8,
    CONFIG_REPETITION_PENALTY = 16,
    CONFIG_PRESENCE_PENALTY = 32,
    CONFIG_FREQUENCY_PENALTY = 64,
} config_sampling_bits;

typedef struct config_sampling {
    unsigned set; /* bits: which of the following are set */
    float temperature, top_p, min_p;
    uint32_t top_k;
    float repetition_penalty, presence_penalty, frequency_penalty;
} config_sampling;

#define CONFIG_ANY_INTENT UINT64_MAX

/* How a rule says which model answers. */
typedef enum config_choice {
    CONFIG_MODEL_NAMED,
    CONFIG_MODEL_NEXT,     /* one above the conversation's, or, of a new one, above the probe's */
    CONFIG_MODEL_CHEAPEST, /* of those whose delay is at most within_ms; where there is none, the
                              rule does not hold */
} config_choice;

/* One rule: the first whose conditions all hold gives the plan. Several may share a name. */
typedef struct config_rule {
    char *name;
    uint64_t intents; /* bit i: label i of the probe */
    config_bound bounds[CONFIG_QUANTITIES];
    config_certain certain;
    config_likely likely;
    config_session session;
    config_header *headers; /* all must hold */
    uint32_t n_headers;
    config_choice choice;
    size_t model;         /* its number; CONFIG_MODEL_NAMED */
    uint32_t within_ms;   /* CONFIG_MODEL_CHEAPEST */
    config_lookup lookup; /* default: auto */
    config_sampling sampling;
    uint32_t max_tokens; /* of a reply, whatever the client asks for; 0: no limit */
} config_rule;

/* Of a calibration: one limit for each step up in the order of escalation, within limit i the
 * models 0 … i answer. */
typedef struct config_limits {
    double at[CONFIG_MAX_MODELS];
    size_t n; /* 0: none is known */
} config_limits;

typedef struct config_policy {
    char *name;            /* "adaptive", "paper", "small", "large", "random", or "rules" */
    double entropy_limit;  /* nats; adaptive and paper: of the first model */
    bool is_limit_given;   /* else a calibration's own limit goes before the default */
    config_limits certain; /* nats; of rules that say certain: the calibration's own, set by who has
                              read it */
    config_limits likely;  /* success; of rules that say likely, in the same way */
    uint32_t prompt_limit; /* tokens; adaptive and paper */
    uint64_t seed;         /* random and rules: of the coin */
    bool sticky;           /* a conversation stays with its model, unless it goes small → large */
    config_rule *rules;    /* rules */
    uint32_t n_rules;
} config_policy;

typedef struct config_engine {
    uint32_t threads; /* 0: the physical cores this process may use */
    uint32_t prefill_chunk;
    uint32_t queue_limit;
    uint32_t step_budget_ms;  /* that prompts may add between two tokens of a reply that streams */
    uint32_t memory_limit_mb; /* 10^6 bytes, for weights and KV; 0: none */
    bool prefix_cache;        /* prompts take over the KV of a prefix that is there */
    char *machine;            /* a file of `a-io calibrate`; NULL: steps are measured at start-up */
    /* Not in files: what earlier starts measured; the caller's, NULL: nothing is kept. */
    const struct kept_store *kept;
    bool fixed_step_cost; /* not in files: the machine's figures hold on every machine, and stay */
} config_engine;

typedef struct config_server {
    char *host;
    uint16_t port;          /* 0: any free one */
    char *socket;           /* path of a Unix socket that is listened on instead; NULL: none */
    char *keys_file;        /* NULL: none */
    char *budget_file;      /* what they have spent is kept there; NULL: in memory alone */
    bool allow_without_key; /* another address than this machine's own may go without */
    char *tls_certificate, *tls_key; /* PEM files; both or neither */
    uint32_t loops; /* threads that wait for sockets; 0: as suits models and processors */
    uint32_t max_connections;
    uint32_t max_connections_per_address; /* 0: half of them, and for this machine all */
    config_texts allowed_hosts;   /* NAME or NAME:PORT; without a key others are refused … */
    config_texts allowed_origins; /* … and so are pages of other origins, SCHEME://NAME[:PORT] */
    /* What clients may call a model, or auto, besides its name: text i of both. */
    config_texts alias_names, alias_models;
    char *unknown_model; /* what any other name means; NULL: it is refused */
    uint32_t max_body_bytes;
    /* When a request says none. */
    uint32_t max_tokens_default; /* 0: to the context's end */
    bool has_seed;               /* else it is drawn for each request */
    uint32_t seed_default;
    request_priority priority_default;
    uint32_t deadline_ms_default; /* 0: none */
} config_server;

typedef enum config_prompts { CONFIG_PROMPTS_HASH, CONFIG_PROMPTS_TEXT } config_prompts;

/* The decision log (docs/decision-log.md). */
typedef struct config_decisions {
    char *file; /* NULL: none is written */
    config_prompts prompts;
    uint32_t max_mb; /* of one file; then it becomes FILE.1 */
    uint32_t keep;   /* how many of those */
} config_decisions;

typedef struct config {
    uint32_t version;
    config_model *models; /* in the order of escalation, whose last one is called the large model;
                             a single one, and nothing is routed */
    uint32_t n_models;
    config_probe probe;
    config_success success;
    config_policy policy;
    config_engine engine;
    config_server server;
    config_decisions decisions;
} config;

/* path NULL: config/demo.yaml, found as path_find_own says. ERR_CONFIG with file, line and key;
 * ERR_NOT_FOUND or ERR_IO for a file that cannot be read. */
error_code config_load(config **out, const char *path, failure *fail);
/* The same from text in memory; `file` is its name in messages and its base for relative paths. */
error_code config_parse(config **out, const char *text, size_t length, const char *file,
                        failure *fail);
/* All defaults and one model, named after its file: no routing, every request goes to it. */
error_code config_for_model(config **out, const char *model_path, failure *fail);
/* Replaces the policy's name (from the command line); the same checks as in a file. */
error_code config_set_policy(config *c, const char *name, failure *fail);
/* T(n) is what this file of `a-io calibrate` says, on whatever machine, and steps teach nothing. */
error_code config_fix_step_cost(config *c, const char *path, failure *fail);
/* What rules, logs and counts call a model: small and large of a pair, its name of any others; of
 * one model large. */
const char *config_role(const config *c, size_t number);
/* Whether any model costs anything. */
bool config_has_prices(const config *c);
/* The model of that name; else "small" is the first and "large" the last one. False: none. */
bool config_find_model(const config *c, const char *name, size_t *out);
/* "off", "auto" or a length "1" … "16"; false when text is none of these. */
bool config_lookup_parse(const char *text, config_lookup *out);
/* False: none of f16, f32, q8_0, q4. */
bool config_kv_parse(const char *text, config_kv *out);
void config_free(config *c);

#endif
