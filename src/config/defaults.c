/* defaults.c: what counts where a file says nothing. */

#include "config/sections.h"

const config config_defaults = {
    .version = CONFIG_VERSION,
    .probe = {.template = "{conversation}Intent:",
              .window_head = 208,
              .window_tail = 48,
              .timeout_ms = 10000,
              .cache = 0,
              .reuse = true},
    .policy = {.name = "adaptive",
               .entropy_limit = 0.45,
               .prompt_limit = 2048,
               .seed = 0,
               .sticky = true},
    .engine = {.threads = 0,
               .prefill_chunk = 256,
               .queue_limit = 64,
               .step_budget_ms = 100,
               .memory_limit_mb = 0,
               .prefix_cache = true},
    .server = {.host = "127.0.0.1",
               .port = 8098,
               .max_connections = 256,
               .max_body_bytes = 4u << 20,
               .max_tokens_default = 0,
               .priority_default = PRIORITY_INTERACTIVE,
               .deadline_ms_default = 0},
    .decisions = {.file = NULL, .prompts = CONFIG_PROMPTS_HASH, .max_mb = 64, .keep = 2},
};
