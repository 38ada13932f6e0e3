/* replay.h: what `a-io replay` and the commands that read its results share. */
#ifndef CLI_REPLAY_H
#define CLI_REPLAY_H

#include <jansson.h>
#include <stdbool.h>

#include "base/failure.h"

/* The table of figures on standard output. */
void replay_print(const json_t *results);

/* What the policies would give with the measurements of a profile, beside what was published;
 * `policies` NULL: all that can be said. */
error_code replay_simulate(const char *path, const char *policies, bool json, failure *fail);

/* A results file of replay; *out is to be released. ERR_FORMAT: it is none. */
error_code replay_load(const char *path, json_t **out, failure *fail);

#endif
