/* chat_form.c: the table of forms, found by what their templates write. */
#include "model/chat_form.h"

#include <string.h>

#define D_CALLS_BEGIN "<｜tool▁calls▁begin｜>"
#define D_CALLS_END "<｜tool▁calls▁end｜>"
#define D_CALL_BEGIN "<｜tool▁call▁begin｜>"
#define D_CALL_END "<｜tool▁call▁end｜>"

/* The first whose mark is in the template counts. */
static const chat_form forms[] = {
    {.name = "gpt-oss", .shown = "<|channel|>", .syntax = CALL_CHANNEL, .is_control = true},
    {.name = "deepseek",
     .shown = D_CALL_BEGIN,
     .syntax = CALL_NAMED,
     .begin = D_CALL_BEGIN,
     .dropped = {"```" D_CALL_END, D_CALL_END, D_CALLS_END, D_CALLS_BEGIN},
     .is_control = true},
    {.name = "gemma4",
     .shown = "<|tool_call>",
     .syntax = CALL_LOOSE,
     .begin = "<|tool_call>",
     .dropped = {"<tool_call|>"},
     .quote = "<|\"|>",
     .is_control = true},
    {.name = "functiongemma",
     .shown = "<start_function_call>",
     .syntax = CALL_LOOSE,
     .begin = "<start_function_call>",
     .dropped = {"<end_function_call>"},
     .quote = "<escape>",
     .is_control = true},
    {.name = "seed",
     .shown = "<seed:tool_call>",
     .syntax = CALL_ELEMENT,
     .begin = "<seed:tool_call>",
     .dropped = {"</seed:tool_call>"},
     .is_control = true},
    {.name = "qwen-coder",
     .shown = "<function=",
     .syntax = CALL_ELEMENT,
     .begin = "<tool_call>",
     .dropped = {"</tool_call>"}},
    {.name = "hermes",
     .shown = "<tool_call>",
     .syntax = CALL_OBJECT,
     .begin = "<tool_call>",
     .dropped = {"</tool_call>"},
     .is_bare = true},
    {.name = "kimi",
     .shown = "<|tool_call_begin|>",
     .syntax = CALL_NAMED,
     .begin = "<|tool_call_begin|>",
     .dropped = {"<|tool_call_end|>", "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"},
     .is_control = true},
    {.name = "granite",
     .shown = "<|tool_call|>",
     .syntax = CALL_LIST,
     .begin = "<|tool_call|>",
     .is_control = true},
    {.name = "mistral",
     .shown = "[TOOL_CALLS]",
     .syntax = CALL_LIST,
     .begin = "[TOOL_CALLS]",
     .is_control = true,
     .short_ids = true},
    {.name = "llama3",
     .shown = "<|python_tag|>",
     .syntax = CALL_OBJECT,
     .begin = "<|python_tag|>",
     .is_bare = true,
     .is_control = true},
    {.name = "json", .syntax = CALL_OBJECT, .is_bare = true},
};
#define N_FORMS (sizeof forms / sizeof *forms)

static const chat_thoughts thoughts[] = {
    {"<think>", "</think>"},
    {"[THINK]", "[/THINK]"},
    {"<|channel>thought", "<channel|>"},
    {"<seed:think>", "</seed:think>"},
};

static bool has(const char *jinja, size_t length, const char *text)
{
    return memmem(jinja, length, text, strlen(text)) != NULL;
}

chat_style chat_style_of(const char *jinja, size_t length)
{
    chat_style style = {.form = &forms[N_FORMS - 1], .takes_tools = has(jinja, length, "tools")};
    for (size_t i = N_FORMS - 1; i-- > 0;)
        if (has(jinja, length, forms[i].shown))
            style.form = &forms[i];
    for (size_t i = sizeof thoughts / sizeof *thoughts; i-- > 0;)
        if (has(jinja, length, thoughts[i].end))
            style.thoughts = &thoughts[i];
    return style;
}

const chat_form *chat_form_find(const char *name)
{
    for (size_t i = 0; i < N_FORMS; i++)
        if (strcmp(forms[i].name, name) == 0)
            return &forms[i];
    return NULL;
}
