/*
 * kept_answers.h: what the probe said of a set of requests, kept from one start to the next
 * (base/kept.h). An answer depends on the model, the kernel, the KV type and what is read, all of
 * it, and on nothing else: so what was kept is what would be said again, bit for bit.
 */
#ifndef CLI_KEPT_ANSWERS_H
#define CLI_KEPT_ANSWERS_H

#include "cli/common.h"
#include "cli/labelled.h"

#define KEPT_KEY_SIZE 4096

/* The key of a question that is asked about a fitted set. False: it has none, keep nothing. */
bool kept_answers_key(char key[KEPT_KEY_SIZE], const stage *s, const labelled_requests *set,
                      const question *q);
/* All n answers, of so many labels each; or false, and nothing is said of what `answers` hold. */
bool kept_answers_read(const stage *s, const char *key, size_t n_labels,
                       classification_result *answers, size_t n);
void kept_answers_write(const stage *s, const char *key, const classification_result *answers,
                        size_t n);

#endif
