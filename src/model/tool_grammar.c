/* tool_grammar.c: a grammar for calls of the given tools, in the model's own form. */
#include "model/tool_grammar.h"

#include <string.h>

#include "base/json.h"

/* A mark's token, or its text where text makes it. */
static json_t *part(const tokenizer *t, const char *text)
{
    int32_t id = tokenizer_find(t, text, strlen(text));
    return id >= 0 && tokenizer_is_control(t, id) ? json_integer(id) : json_string(text);
}

/* As constraint.h wants it. */
static json_t *mark(const tokenizer *t, const char *before, const char *text, const char *after)
{
    return json_pack("[s, o, s]", before, part(t, text), after);
}

static const json_t *parameters_of(const json_t *function, const tool_demand *d)
{
    bool is_bound = !d->is_free || json_is_true(json_object_get(function, "strict"));
    return is_bound ? json_object_get(function, "parameters") : NULL;
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
                                                       parameters_of(function, d)));
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

bool tool_grammar_is_known(const chat_form *form)
{
    return form != NULL && (form->syntax == CALL_LIST || form->syntax == CALL_OBJECT);
}

static json_t *calls_of(const tokenizer *t, const chat_form *form)
{
    if (form->syntax == CALL_LIST)
        return listed_calls(t, form);
    if (form->begin != NULL && form->dropped[0] != NULL)
        return marked_calls(t, form);
    return json_pack("{s:b, s:s}", "most_one", 1, "key",
                     form->begin != NULL ? "parameters" : "arguments"); /* Llama's */
}

/* What may stand before calls, or instead of them. */
static void add_manner(json_t *calls, const tokenizer *t, const chat_form *form,
                       const tool_demand *d)
{
    if (d->is_one)
        json_object_set_new(calls, "most_one", json_true());
    if (d->thoughts != NULL && (d->is_in_thought || d->is_free))
        json_object_set_new(calls, "thought_end", part(t, d->thoughts->end));
    if (!d->is_free)
        return;
    json_object_set_new(calls, "is_free", json_true());
    json_object_set_new(calls, "is_bare", json_boolean(form->is_bare));
    if (d->thoughts != NULL && !d->is_in_thought)
        json_object_set_new(calls, "thought_begin", part(t, d->thoughts->begin));
    if (form->syntax == CALL_OBJECT && form->begin != NULL &&
        json_object_get(calls, "begin") == NULL)
        json_object_set_new(calls, "begin", mark(t, "", form->begin, "")); /* Llama's */
}

error_code tool_grammar_write(buffer *out, const tokenizer *t, const chat_form *form,
                              const tool_demand *d, failure *fail)
{
    if (!tool_grammar_is_known(form))
        return failure_set(fail, ERR_UNSUPPORTED,
                           "a call cannot be required of a model that writes calls as '%s'",
                           form->name);
    json_t *functions = wanted_functions(d);
    if (json_array_size(functions) == 0) {
        json_decref(functions);
        return failure_set(fail, ERR_INVALID, "there is no tool '%s'",
                           d->name != NULL ? d->name : "");
    }
    json_t *calls = calls_of(t, form);
    json_object_set_new(calls, "functions", functions);
    add_manner(calls, t, form, d);
    error_code code = json_write_exact(out, calls);
    return code == OK ? OK : failure_set(fail, code, "no memory for the tools' grammar");
}
