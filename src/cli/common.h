/*
 * common.h: what the commands that work with prompts share: options, loading with progress, driving
 * one run to its end, and showing what it did.
 */
#ifndef CLI_COMMON_H
#define CLI_COMMON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/model_file.h"
#include "cli/options.h"
#include "config/config.h"
#include "orchestra/orchestra.h"

/* ---- options ------------------------------------------------------------------------------ */

/* Prints "a-io COMMAND: text" on standard error; returns the exit status. */
int command_failed(const char *command, const failure *fail);

/* Of every command that takes a model by name: models come from the cache alone. */
/* clang-format off */
#define OFFLINE_OPTION {"offline", .call = model_files_stay_offline}
#define THREADS_OPTION(out) {"threads", 't', .number = out, .low = 1, .high = 1024}
#define HELP_OPTION(o) {"help", 'h', .flag = &(o)->help}, {.name = NULL} /* the last one */
/* clang-format on */

/* What the commands that load models have in common. */
typedef struct stage_options {
    const char *config_path;   /* NULL: the default one */
    const char *model_path;    /* one model without routing, instead of a configuration */
    const char *policy;        /* the rest: NULL or 0 is what the configuration says */
    const char *chat_template; /* with model_path only */
    const char *kv;
    const char *requant;
    uint64_t threads, context, prefill_chunk;
    bool measure; /* nothing that an earlier start measured is taken */
} stage_options;

/* Their rows; a command's table lists those that it has. */
/* clang-format off */
#define STAGE_CONFIG_OPTIONS(s)                                              \
    {"config", .text = &(s)->config_path},                                   \
    {"policy", .text = &(s)->policy},                                        \
    OFFLINE_OPTION
#define STAGE_MODEL_FILE_OPTIONS(s)                                          \
    {"model-file", 'm', .text = &(s)->model_path},                           \
    {"chat-template", .text = &(s)->chat_template}
#define STAGE_ENGINE_OPTIONS(s)                                              \
    THREADS_OPTION(&(s)->threads),                                           \
    {"context", 'c', .number = &(s)->context, .low = 1, .high = 1 << 24},    \
    {"kv", .text = &(s)->kv},                                                \
    {"requant", .text = &(s)->requant},                                      \
    {"measure", .flag = &(s)->measure}
#define STAGE_PREFILL_OPTION(s)                                              \
    {"prefill-chunk", .number = &(s)->prefill_chunk, .low = 1, .high = 65536}
/* clang-format on */

/* ---- prompts ------------------------------------------------------------------------------ */

#define INPUT_LIMIT ((size_t)64 << 20) /* bytes of a prompt or of a line of prompts */

/* The only argument left after the options, or `given` (-p), or else standard input to its end. A
 * final newline of standard input is not part of the prompt unless `exact`. */
error_code read_prompt(buffer *out, const char *given, int argc, char **argv, bool exact,
                       failure *fail);

/* The model file of a command that takes one: -m (`given`, or NULL) or the only argument. */
error_code read_model_path(const char **out, const char *given, int argc, char **argv,
                           failure *fail);

/* ---- models and runs ------------------------------------------------------------------------ */

typedef struct stage {
    config *config;
    struct kept_store *kept; /* NULL: nothing is kept */
    orchestra *orchestra;
} stage;

/* Loads models, with a progress bar when standard error is a terminal and it takes a while. From
 * then on SIGINT and SIGTERM cancel the run in progress; a second one ends the process. */
error_code stage_open(stage *s, const stage_options *options, failure *fail);
/* Its two steps, for a command that changes the configuration between them; after a failed second
 * one, stage_close. stage_load leaves the signals to the command. */
error_code stage_configure(stage *s, const stage_options *options, failure *fail);
error_code stage_start(stage *s, failure *fail);
error_code stage_load(stage *s, failure *fail);
/* ERR_UNSUPPORTED: the model that the probe asks is at another server, where a command cannot look
 * into it. */
error_code stage_check_asked(const stage *s, failure *fail);
void stage_close(stage *s); /* a zeroed one too */

/* For a command that goes on after an interrupt: the signal that came is forgotten, and from now on
 * any number of them end the run in progress, never the process. */
void stage_go_on(void);
int stage_signal(void); /* that came since; 0: none */

/* Told of whatever is new: `text` since the last call (to be cleared by the listener). False: stop.
 */
typedef struct run_listener {
    bool (*call)(void *context, const run *r, buffer *text);
    void *context;
} run_listener;

/* Drives one run to its end. OK: *out is the finished run, to be released; else *out is NULL. Token
 * ids are appended to `tokens` unless NULL. A listener that stops it makes ERR_CANCELLED. */
error_code stage_perform(stage *s, const request *q, const run_options *options,
                         run_listener listener, token_list *tokens, run **out, failure *fail);

/* ---- showing ------------------------------------------------------------------------------ */

/* A report stands apart from the answer: what is printed between the two is dim on a terminal with
 * colours. */
void report_open(FILE *out);
void report_close(FILE *out);

void print_plan(FILE *out, const run *r);
/* " (fallback REASON)", where there was one; a model that the request named is none. */
void print_fallback(FILE *out, const plan *p);
void print_receipt(FILE *out, const run *r);

/* Writes one JSON object (taken over; NULL: no memory) as a line on standard output and flushes. */
error_code print_json(json_t *value, failure *fail);

#endif
