/*
 * common.h: what the commands that work with prompts share: strict options, loading with progress,
 * driving one run to its end, and showing what it did.
 */
#ifndef CLI_COMMON_H
#define CLI_COMMON_H

#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "config/config.h"
#include "orchestra/orchestra.h"

/* ---- options ------------------------------------------------------------------------------ */

/* Prints "a-io COMMAND: text" on standard error; returns the exit status. */
int command_failed(const char *command, const failure *fail);

typedef struct option_table {
    const struct option *names; /* ends with an empty row */
    const char *letters;        /* getopt's, beginning with ':' */
    /* One option; its value is optarg. */
    error_code (*take)(void *context, int option, failure *fail);
    void *context;
} option_table;

/* Of every command that takes a model by name: models come from the cache alone. options_read knows
 * it itself (model_file.h); the commands' tables list it. */
#define OFFLINE_OPTION                                                                             \
    {                                                                                              \
        "offline", no_argument, NULL, OPTION_OFFLINE                                               \
    }
#define OPTION_OFFLINE 255 /* below all of the commands' own, above all letters */

/* Reads all options, in order; what is left begins at optind. Unknown options and missing values
 * are refused by name. */
error_code options_read(const option_table *t, int argc, char **argv, failure *fail);
/* getopt_long's '?' and ':' as a failure; call with opterr = 0 and an option string that begins
 * with
 * ':'. */
error_code option_refused(int c, char *const *argv, failure *fail);

/* Decimal digits and nothing else; the message names option, value and range. */
error_code option_number(const char *option, const char *text, uint64_t low, uint64_t high,
                         uint64_t *out, failure *fail);
error_code option_real(const char *option, const char *text, float *out, failure *fail);
error_code option_lookup(const char *text, lookup_setting *out, failure *fail);

/* What the commands that load models have in common. */
typedef struct stage_options {
    const char *config_path;   /* NULL: the default one */
    const char *model_path;    /* one model without routing, instead of a configuration */
    const char *policy;        /* the rest: NULL or 0 is what the configuration says */
    const char *chat_template; /* with model_path only */
    const char *kv;
    uint64_t threads, context, prefill_chunk;
} stage_options;

/* What getopt_long gives for them, beside 'm', 't' and 'c'; a command's own begin at STAGE_OWN. The
 * rows below are for the command's table, which lists those that it has. */
enum {
    STAGE_CONFIG = 256,
    STAGE_POLICY,
    STAGE_CHAT_TEMPLATE,
    STAGE_KV,
    STAGE_PREFILL_CHUNK,
    STAGE_OWN,
};
/* clang-format off */
#define STAGE_CONFIG_OPTIONS                                  \
    {"config", required_argument, NULL, STAGE_CONFIG},        \
    {"policy", required_argument, NULL, STAGE_POLICY},        \
    OFFLINE_OPTION
#define STAGE_MODEL_FILE_OPTIONS                              \
    {"model-file", required_argument, NULL, 'm'},             \
    {"chat-template", required_argument, NULL, STAGE_CHAT_TEMPLATE}
#define STAGE_ENGINE_OPTIONS                                  \
    {"threads", required_argument, NULL, 't'},                \
    {"context", required_argument, NULL, 'c'},                \
    {"kv", required_argument, NULL, STAGE_KV}
/* clang-format on */

/* As options_read; the table's `take` is asked for the command's own only. */
error_code stage_read_options(const option_table *t, int argc, char **argv, stage_options *out,
                              failure *fail);

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
