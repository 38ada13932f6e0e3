/* tool_grammar.c: a grammar for calls of the given tools, in the model's own form. */
#include "model/tool_grammar.h"

#include <string.h>

#include "base/json.h"

/* A mark as constraint.h wants it: its token's id where no text makes the token. */
static json_t *mark(const tokenizer *t, const char *before, const char *text, const char *after)
{
    int32_t id = tokenizer_find(t, text, strlen(text));
    json_t *token = id >= 0 && tokenizer_is_control(t, id) ? json_integer(id) : json_string(text);
    return json_pack("[s, o, s]", before, token, after);
}

static json_t *wanted_functions(const tool_demand *d)
{
    size_t i;
    json_t *tool, *functions = json_array();
    json_error_t error;
    error_code code;
    json_t *tools = json_read(d->tools_json, strlen(d->tools_json), 0, &error, &code);
    json_array_foreach(tools, i, tool)
    {
        json_t *function = json_object_get(tool, "function");
        const char *name = json_string_value(json_object_get(function, "name"));
        if (name != NULL && (d->name == NULL || strcmp(name, d->name) == 0))
            json_array_append_new(functions, json_pack("{s:s, s:O*}", "name", name, "parameters",
                                                       json_object_get(function, "parameters")));
    }
    json_decref(tools);
    return functions;
}

/* {"name", "arguments"} between marks, each call in its own. */
static json_t *marked_calls(const tokenizer *t, const chat_form *form)
{
    return json_pack("{s:o, s:o, s:[s]}", "begin", mark(t, "", form->begin, "\n"), "end",
                     mark(t, "\n", form->dropped[0], ""), "between", "\n");
}

static json_t *listed_calls(const tokenizer *t, const chat_form *form)
{
    return json_pack("{s:o, s:[s], s:[s]}", "before", mark(t, "", form->begin, "["), "after", "]",
                     "between", ", ");
}

/* NULL: no grammar is known. */
static json_t *calls_of(const tokenizer *t, const chat_form *form)
{
    if (form->syntax == CALL_LIST)
        return listed_calls(t, form);
    if (form->syntax != CALL_OBJECT)
        return NULL;
    if (form->begin != NULL && form->dropped[0] != NULL)
        return marked_calls(t, form);
    return json_pack("{s:b, s:s}", "most_one", 1, "key",
                     form->begin != NULL ? "parameters" : "arguments"); /* Llama's */
}

error_code tool_grammar_write(buffer *out, const tokenizer *t, const chat_form *form,
                              const tool_demand *d, failure *fail)
{
    json_t *functions = wanted_functions(d), *calls = calls_of(t, form);
    error_code code = OK;
    if (calls == NULL)
        code = failure_set(fail, ERR_UNSUPPORTED,
                           "a call cannot be required of a model that writes calls as '%s'",
                           form->name);
    else if (json_array_size(functions) == 0)
        code =
            failure_set(fail, ERR_INVALID, "there is no tool '%s'", d->name != NULL ? d->name : "");
    if (code != OK) {
        json_decref(functions);
        json_decref(calls);
        return code;
    }
    json_object_set_new(calls, "functions", functions);
    if (d->is_one)
        json_object_set_new(calls, "most_one", json_true());
    if (d->thought_end != NULL)
        json_object_set_new(calls, "thought_end", json_string(d->thought_end));
    code = json_write(out, calls);
    return code == OK ? OK : failure_set(fail, code, "no memory for the tools' grammar");
}
