/*
 * answer.h: what an answer says: its number, its letter, its code, its words; and whether two
 * answers say the same. Answers are any text.
 */
#ifndef EVIDENCE_ANSWER_H
#define EVIDENCE_ANSWER_H

#include <stdbool.h>

#include "base/buffer.h"

/* The last number; NAN: there is none. Commas between digits are read over. */
double answer_number(const char *text);
/* Within one in a million. */
bool answer_is_number(const char *text, double value);

/* The capital letter that is chosen: the one that the answer begins with; else the first after
 * "answer"; else the last that stands alone. '\0': none. */
char answer_letter(const char *text);

/* What stands within the first pair of ```, without the line of the first; else all of it. */
const char *answer_block(const char *text, size_t *length);

/* Appends the words: small letters, no ASCII punctuation, no articles; a space before, between and
 * after them. As answers to questions are compared since SQuAD (Rajpurkar et al. 2016). */
error_code answer_words(buffer *out, const char *text);

/* Whether two answers come to the same, where nothing says what is right: their code, but for white
 * space; else their last numbers; else their words. */
error_code answers_agree(const char *one, const char *other, bool *agree, failure *fail);

#endif
