/* chat_builtin.c: templates for files that carry none, or a wrong one: `chat_template: NAME`. */
#include <string.h>

#include "model/chat_internal.h"

#define CHATML_MESSAGES                                                                            \
    "{%- for message in messages %}"                                                               \
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"             \
    "{%- endfor %}"
#define CHATML_PROMPT "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
#define CHATML_WITH_SYSTEM(text)                                                                   \
    "{%- if messages[0].role != 'system' %}"                                                       \
    "{{- '<|im_start|>system\\n" text "<|im_end|>\\n' }}"                                          \
    "{%- endif %}" CHATML_MESSAGES CHATML_PROMPT

/* Earlier answers lose their thoughts; those after the last question keep them. */
#define QWEN3                                                                                      \
    "{%- set ns = namespace(question=messages|length - 1, found=false) %}"                         \
    "{%- for message in messages[::-1] %}"                                                         \
    "{%- if not ns.found and message.role == 'user' and not (message.content.startswith("          \
    "'<tool_response>') and message.content.endswith('</tool_response>')) %}"                      \
    "{%- set ns.question = messages|length - loop.index %}{%- set ns.found = true %}"              \
    "{%- endif %}{%- endfor %}"                                                                    \
    "{%- for message in messages %}"                                                               \
    "{%- set ns.text = message.content %}"                                                         \
    "{%- if message.role == 'assistant' %}"                                                        \
    "{%- set thought = '' %}"                                                                      \
    "{%- if '</think>' in ns.text %}"                                                              \
    "{%- set thought = ns.text.split('</think>')[0].rstrip('\\n').split('<think>')[-1]"            \
    ".lstrip('\\n') %}"                                                                            \
    "{%- set ns.text = ns.text.split('</think>')[-1].lstrip('\\n') %}"                             \
    "{%- endif %}"                                                                                 \
    "{%- if loop.index0 > ns.question and (loop.last or thought) %}"                               \
    "{%- set ns.text = '<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n'"                  \
    " + ns.text.lstrip('\\n') %}"                                                                  \
    "{%- endif %}{%- endif %}"                                                                     \
    "{{- '<|im_start|>' + message.role + '\\n' + ns.text + '<|im_end|>\\n' }}"                     \
    "{%- endfor %}" CHATML_PROMPT

#define LLAMA_HEADER(role) "<|start_header_id|>" role "<|end_header_id|>\\n\\n"
#define LLAMA_PROMPT                                                                               \
    "{%- if add_generation_prompt %}{{- '" LLAMA_HEADER("assistant") "' }}{%- endif %}"
#define LLAMA_MESSAGE                                                                              \
    "{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content|trim"  \
    " + '<|eot_id|>' }}"
/* The system message that begins every conversation tells two dates. */
#define LLAMA_WITH_DATES(today)                                                                    \
    "{{- bos_token }}{{- '" LLAMA_HEADER(                                                          \
        "system") "Cutting Knowledge Date: December 2023\\nToday Date: ' + " today                 \
                  " + '\\n\\n' }}"                                                                 \
                  "{%- if messages[0].role == 'system' %}{{- messages[0].content|trim }}"          \
                  "{%- endif %}{{- '<|eot_id|>' }}"                                                \
                  "{%- for message in messages %}"                                                 \
                  "{%- if not (loop.first and message.role == 'system') %}" LLAMA_MESSAGE          \
                  "{%- endif %}{%- endfor %}" LLAMA_PROMPT

static const struct {
    const char *name, *jinja;
} templates[] = {
    {"chatml", CHATML_MESSAGES CHATML_PROMPT},
    {"qwen1.5", CHATML_WITH_SYSTEM("You are a helpful assistant")},
    {"qwen2", CHATML_WITH_SYSTEM("You are a helpful assistant.")},
    {"qwen2.5",
     CHATML_WITH_SYSTEM("You are Qwen, created by Alibaba Cloud. You are a helpful assistant.")},
    {"qwen3", QWEN3},
    {"llama3",
     "{{- bos_token }}{%- for message in messages %}" LLAMA_MESSAGE "{%- endfor %}" LLAMA_PROMPT},
    {"llama3.1", LLAMA_WITH_DATES("'26 Jul 2024'")},
    {"llama3.2", LLAMA_WITH_DATES("strftime_now('%d %b %Y')")},
    {"pangu",
     "{%- set names = {'system': '<s>[unused9]系统：', 'user': '[unused9]用户：',"
     " 'assistant': '[unused9]助手：', 'tool': '[unused9]工具：'} %}"
     "{%- if messages[0].role != 'system' %}{{- '<s>[unused9]系统：[unused10]' }}{%- endif %}"
     "{%- for message in messages %}{%- if message.role in names %}"
     "{{- names[message.role] + message.content + '[unused10]' }}"
     "{%- endif %}{%- endfor %}"
     "{%- if add_generation_prompt %}{{- '[unused9]助手：' }}{%- endif %}"},
};

const char *chat_builtin_find(const char *name)
{
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++)
        if (strcmp(templates[i].name, name) == 0)
            return templates[i].jinja;
    return NULL;
}

const char *chat_builtin_names(void)
{
    return "chatml, qwen1.5, qwen2, qwen2.5, qwen3, llama3, llama3.1, llama3.2, pangu";
}
