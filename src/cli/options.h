/*
 * options.h: a command's options as a table: what each is called, and where its value goes.
 *
 *   const option_row rows[] = {{"output", 'o', .text = &o->output},
 *                              {"threads", 't', .number = &o->threads, .low = 1, .high = 1024},
 *                              {"json", .flag = &o->json},
 *                              {.name = NULL}};
 *
 * Strict: unknown options, abbreviations, missing values and numbers out of range are refused by
 * name. Texts point into argv. One thread: getopt_long's state is the process's.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <getopt.h> /* optind */
#include <stdbool.h>
#include <stdint.h>

#include "base/failure.h"

typedef struct option_row {
    const char *name; /* without its dashes; NULL: the table ends */
    char letter;      /* 0: none */

    /* One of these. The first two take no value. */
    bool *flag;         /* becomes true */
    void (*call)(void); /* is called */
    const char **text;
    uint64_t *number; /* from low to high */
    uint64_t low, high;
    float *real; /* finite */
    error_code (*take)(void *context, const char *value, failure *fail);
    void *context;

    /* Or NULL: gets `bit` when the option is there. */
    unsigned *given;
    unsigned bit;
} option_row;

/* Reads all options, in order; what is left begins at optind. The same text or number given twice:
 * the last one holds. ERR_INVALID. */
error_code options_read(const option_row *rows, int argc, char **argv, failure *fail);

/* A value's text as a number; messages begin with the option's name, "--top-k". */
error_code option_number(const char *option, const char *text, uint64_t low, uint64_t high,
                         uint64_t *out, failure *fail);
error_code option_real(const char *option, const char *text, float *out, failure *fail);

#endif
