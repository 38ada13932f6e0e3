/*
 * builtin_requests.h: sixty requests of known kind, twenty each of code, qa and math, written for
 * this program by hand: what a probe and a policy make of them says whether the two fit a pair of
 * models at all. Several of each kind are awkward on purpose: questions of programmers without a
 * line of code, sums about programmers, questions of knowledge full of numbers.
 */
#ifndef CLI_BUILTIN_REQUESTS_H
#define CLI_BUILTIN_REQUESTS_H

#include <stddef.h>

#define BUILTIN_REQUESTS 60

typedef struct builtin_request {
    const char *label; /* "code", "qa" or "math" */
    const char *prompt;
} builtin_request;

/* No two of the same kind stand side by side, so that folds have as many of each. */
extern const builtin_request builtin_requests[BUILTIN_REQUESTS];

#endif
