/*
 * fill.h: inside the backend room only: prompts with a hole that the model fills, in the order of
 * tokens that models are trained on.
 */
#ifndef BACKEND_FILL_H
#define BACKEND_FILL_H

#include "backend/backend.h"

/* Appends the tokens of a request with a suffix: its files, the text before the hole, the text
 * behind it, and what the filling begins with. ERR_UNSUPPORTED: the model (its name, for messages)
 * has no tokens for that. */
error_code fill_encode(const tokenizer *t, const char *name, const request *r, token_list *out,
                       failure *fail);

#endif
