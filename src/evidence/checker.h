/*
 * checker.h: whether an answer is right.
 *
 * A check is a JSON object; its "type" is one of
 *   exact    the answer without white space around it equals "value" (a text, or one of a list)
 *   contains the words of "value" (a text, or one of a list) stand in the answer one after another;
 *            neither case nor punctuation nor articles count (answer.h)
 *   number   the last number in the answer equals "value" ("final_number" is the same)
 *   choice   the letter that the answer chooses equals "value"
 *   json     the answer, or the first ``` block in it, is JSON and equals "value"
 *   python   the answer, or the first ``` block in it, is code. With "call", a list of [expression,
 *            value]: after running it repr(expression) is the value. With "reference" too, the list
 *            has expressions alone and the reference's code says their values. With "prompt",
 * "test" and "entry_point", as in HumanEval: the answer continues the prompt or defines the
 *            function anew, and check(entry_point) of the test must pass
 * One thread at a time. The sandbox starts with the first python check.
 */
#ifndef EVIDENCE_CHECKER_H
#define EVIDENCE_CHECKER_H

#include <jansson.h>
#include <stdbool.h>

#include "base/failure.h"

typedef struct checker checker;

error_code checker_create(checker **out, failure *fail);
void checker_destroy(checker *c); /* NULL too */

/* ERR_FORMAT: what is wrong with the check itself. */
error_code check_validate(const json_t *check, failure *fail);

/* `check` is a valid one. */
error_code checker_check(checker *c, const json_t *check, const char *answer, bool *right,
                         failure *fail);

#endif
