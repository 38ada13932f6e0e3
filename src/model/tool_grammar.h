/* tool_grammar.h: what a reply must be that calls tools, in the form that its model knows. */
#ifndef MODEL_TOOL_GRAMMAR_H
#define MODEL_TOOL_GRAMMAR_H

#include "base/buffer.h"
#include "base/failure.h"
#include "model/chat_form.h"
#include "model/tokenizer.h"

typedef struct tool_demand {
    const char *tools_json; /* a list of {"type": "function", "function": {"name", "parameters"}} */
    const char *name;       /* of the function that is to be called; NULL: any of them */
    bool is_one;            /* one call and no more */
    bool is_free; /* the reply may as well be text; of its calls those are bound whose function has
                     "strict": true, the others' arguments are any object */
    const chat_thoughts *thoughts; /* NULL: the model has none */
    bool is_in_thought;            /* the reply begins within one */
} tool_demand;

/* A grammar is known for calls of this form (NULL: no). */
bool tool_grammar_is_known(const chat_form *form);
/* Appends the text of a grammar (GRAMMAR_CALLS, not ended by NUL). ERR_INVALID: there is no such
 * function; ERR_UNSUPPORTED: no grammar is known for the form's calls. */
error_code tool_grammar_write(buffer *out, const tokenizer *t, const chat_form *form,
                              const tool_demand *demand, failure *fail);

#endif
