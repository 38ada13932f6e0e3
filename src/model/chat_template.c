#include "model/chat_internal.h"

#include <string.h>
#include <time.h>

/* ---- the templates ---- */

#define CHATML_ROLES                                                                               \
    .open = {"<|im_start|>system\n", "<|im_start|>user\n", "<|im_start|>assistant\n"},             \
    .close = "<|im_end|>\n", .generation = "<|im_start|>assistant\n"

#define LLAMA_HEADER(role) "<|start_header_id|>" role "<|end_header_id|>\n\n"
#define LLAMA_ROLES                                                                                \
    .open = {LLAMA_HEADER("system"), LLAMA_HEADER("user"), LLAMA_HEADER("assistant")},             \
    .close = "<|eot_id|>", .generation = LLAMA_HEADER("assistant"), .starts_with_bos = true,       \
    .trims = true
#define LLAMA_DATES(today)                                                                         \
    LLAMA_HEADER("system")                                                                         \
    "Cutting Knowledge Date: December 2023\nToday Date: " today "\n\n"

static const chat_template templates[] = {
    {.name = "chatml", CHATML_ROLES},
    {.name = "qwen1.5", CHATML_ROLES, .default_system = "You are a helpful assistant"},
    {.name = "qwen2", CHATML_ROLES, .default_system = "You are a helpful assistant."},
    {.name = "qwen2.5",
     CHATML_ROLES,
     .default_system = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."},
    {.name = "qwen3", CHATML_ROLES, .thinks = true},
    {.name = "llama3", LLAMA_ROLES},
    {.name = "llama3.1",
     LLAMA_ROLES,
     .first_system = LLAMA_DATES("26 Jul 2024"),
     .default_system = ""},
    {.name = "llama3.2", LLAMA_ROLES, .first_system = LLAMA_DATES("{date}"), .default_system = ""},
    {.name = "pangu",
     .open = {"<s>[unused9]系统：", "[unused9]用户：", "[unused9]助手："},
     .close = "[unused10]",
     .default_system = "",
     .generation = "[unused9]助手："},
};

/* Which Jinja texts each of them is the whole effect of (chat_fingerprint). The failure for an
 * unknown text prints its fingerprint, so that a new entry is one line. */
static const struct {
    uint64_t fingerprint;
    const char *name;
} fingerprints[] = {
    {0xC91F394FE8477D74u, "chatml"},
    {0x9C959AA9863FAAF7u, "chatml"}, /* sets add_generation_prompt when it is not defined */
    {0x559B122FAAD24009u, "qwen1.5"},
    {0x0943DDE4262C4ECFu, "qwen2"},
    {0xC9C3907074DCC649u, "qwen2.5"},
    {0x061559654DC924DAu, "qwen3"},
    {0xCB257B70E567D40Eu, "llama3"},
    {0x202CE8DB51AEB81Cu, "llama3.1"},
    {0xCEF2C4C5040E0493u, "llama3.2"},
    {0x6E6C05A888359FFEu, "pangu"},
    {0x0D5D70926E341376u, "pangu"}, /* loop.index0 == 0 for loop.first */
};

#define N_TEMPLATES (sizeof templates / sizeof *templates)

const char *chat_template_names(void)
{
    return "chatml, qwen1.5, qwen2, qwen2.5, qwen3, llama3, llama3.1, llama3.2, pangu";
}

static const chat_template *find(const char *name)
{
    for (size_t i = 0; i < N_TEMPLATES; i++)
        if (strcmp(templates[i].name, name) == 0)
            return &templates[i];
    return NULL;
}

const chat_template *chat_template_fingerprinted(uint64_t fingerprint)
{
    for (size_t i = 0; i < sizeof fingerprints / sizeof *fingerprints; i++)
        if (fingerprints[i].fingerprint == fingerprint)
            return find(fingerprints[i].name);
    return NULL;
}

error_code chat_template_named(const chat_template **out, const char *name, failure *fail)
{
    *out = find(name);
    if (*out == NULL)
        return failure_set(fail, ERR_NOT_FOUND, "unknown chat template \"%.64s\" (known: %s)", name,
                           chat_template_names());
    return OK;
}

const char *chat_template_name(const chat_template *t)
{
    return t->name;
}

/* ---- rendering ---- */

typedef struct text_range {
    const char *data;
    size_t length;
} text_range;

typedef struct message_place {
    bool is_first, is_last;
    bool after_query; /* after the user's last question */
} message_place;

static error_code add_template(chat_text *out, const char *text)
{
    return chat_text_add(out, text, strlen(text), true);
}

static error_code add_range(chat_text *out, text_range range)
{
    return chat_text_add(out, range.data, range.length, false);
}

static error_code add_first_system(chat_text *out, const chat_template *t)
{
    const char *text = t->first_system != NULL ? t->first_system : t->open[ROLE_OF_SYSTEM];
    const char *mark = strstr(text, "{date}");
    if (mark == NULL)
        return add_template(out, text);
    char date[32];
    time_t now = time(NULL);
    struct tm local;
    if (localtime_r(&now, &local) == NULL || strftime(date, sizeof date, "%d %b %Y", &local) == 0)
        return ERR_INTERNAL;
    error_code code = chat_text_add(out, text, (size_t)(mark - text), true);
    if (code == OK)
        code = add_template(out, date);
    return code == OK ? add_template(out, mark + strlen("{date}")) : code;
}

/* The bytes of the white-space character at the beginning (end) of the range, as Python's str.strip
 * and so Jinja's trim see it; 0: none. */
static size_t space_bytes(const unsigned char *s, size_t length)
{
    if (length == 0)
        return 0;
    if ((s[0] >= 0x09 && s[0] <= 0x0D) || (s[0] >= 0x1C && s[0] <= 0x20))
        return 1;
    if (length >= 2 && s[0] == 0xC2 && (s[1] == 0x85 || s[1] == 0xA0))
        return 2;
    if (length < 3 || s[0] < 0xE1 || s[0] > 0xE3)
        return 0;
    unsigned code_point = (s[0] & 0x0Fu) << 12 | (s[1] & 0x3Fu) << 6 | (s[2] & 0x3Fu);
    bool space = code_point == 0x1680 || (code_point >= 0x2000 && code_point <= 0x200A) ||
                 code_point == 0x2028 || code_point == 0x2029 || code_point == 0x202F ||
                 code_point == 0x205F || code_point == 0x3000;
    return space ? 3 : 0;
}

static text_range trim(text_range r)
{
    const unsigned char *s = (const unsigned char *)r.data;
    size_t begin = 0, end = r.length, bytes;
    while ((bytes = space_bytes(s + begin, end - begin)) > 0)
        begin += bytes;
    for (;;) {
        bytes = 0;
        for (size_t back = 1; back <= 3 && back <= end - begin && bytes == 0; back++)
            if (space_bytes(s + end - back, back) == back)
                bytes = back;
        if (bytes == 0)
            return (text_range){r.data + begin, end - begin};
        end -= bytes;
    }
}

static text_range strip_newlines(text_range r, bool left, bool right)
{
    while (left && r.length > 0 && r.data[0] == '\n') {
        r.data++;
        r.length--;
    }
    while (right && r.length > 0 && r.data[r.length - 1] == '\n')
        r.length--;
    return r;
}

/* What follows the last (precedes the first) `mark` in r; all of r when there is none. */
static text_range after_last(text_range r, const char *mark)
{
    size_t n = strlen(mark);
    for (const char *found; (found = memmem(r.data, r.length, mark, n)) != NULL;) {
        r.length -= (size_t)(found + n - r.data);
        r.data = found + n;
    }
    return r;
}

static text_range before_first(text_range r, const char *mark)
{
    const char *found = memmem(r.data, r.length, mark, strlen(mark));
    if (found != NULL)
        r.length = (size_t)(found - r.data);
    return r;
}

static bool starts_and_ends(const chat_message *m, const char *start, const char *end)
{
    size_t a = strlen(start), b = strlen(end);
    return m->content_length >= a && memcmp(m->content, start, a) == 0 && m->content_length >= b &&
           memcmp(m->content + m->content_length - b, end, b) == 0;
}

/* Qwen3: answers after the last real question keep their thoughts, earlier ones lose them. */
static size_t last_query(const chat_message *messages, size_t n)
{
    for (size_t i = n; i-- > 0;)
        if (strcmp(messages[i].role, "user") == 0 &&
            !starts_and_ends(&messages[i], "<tool_response>", "</tool_response>"))
            return i;
    return n - 1;
}

static error_code add_thinking(chat_text *out, text_range content, message_place place)
{
    text_range thought = {"", 0};
    if (memmem(content.data, content.length, "</think>", 8) != NULL) {
        thought = strip_newlines(before_first(content, "</think>"), false, true);
        thought = strip_newlines(after_last(thought, "<think>"), true, false);
        content = strip_newlines(after_last(content, "</think>"), true, false);
    }
    if (!place.after_query || (!place.is_last && thought.length == 0))
        return add_range(out, content);
    error_code code = add_template(out, "<think>\n");
    if (code == OK)
        code = add_range(out, strip_newlines(thought, true, true));
    if (code == OK)
        code = add_template(out, "\n</think>\n\n");
    return code == OK ? add_range(out, strip_newlines(content, true, false)) : code;
}

static int role_of(const char *name)
{
    static const char *const names[N_CHAT_ROLES] = {"system", "user", "assistant"};
    for (int role = 0; role < N_CHAT_ROLES; role++)
        if (strcmp(names[role], name) == 0)
            return role;
    return -1;
}

static error_code add_message(chat_text *out, const chat_template *t, const chat_message *message,
                              message_place place)
{
    int role = role_of(message->role);
    error_code code = place.is_first && role == ROLE_OF_SYSTEM ? add_first_system(out, t)
                                                               : add_template(out, t->open[role]);
    if (code != OK)
        return code;
    text_range content = {message->content, message->content_length};
    if (t->trims)
        content = trim(content);
    if (t->thinks && role == ROLE_OF_ASSISTANT)
        code = add_thinking(out, content, place);
    else
        code = add_range(out, content);
    return code == OK ? add_template(out, t->close) : code;
}

static error_code render(chat_text *out, const chat_template *t, const chat_message *messages,
                         size_t n, bool generation_prompt)
{
    error_code code = OK;
    if (out->text.length == 0)
        out->starts_with_bos = t->starts_with_bos;
    if (role_of(messages[0].role) != ROLE_OF_SYSTEM && t->default_system != NULL) {
        code = add_first_system(out, t);
        if (code == OK)
            code = add_template(out, t->default_system);
        if (code == OK)
            code = add_template(out, t->close);
    }
    size_t query = last_query(messages, n);
    for (size_t i = 0; code == OK && i < n; i++)
        code = add_message(out, t, &messages[i], (message_place){i == 0, i == n - 1, i > query});
    return code == OK && generation_prompt ? add_template(out, t->generation) : code;
}

error_code chat_render(const chat_template *t, const chat_message *messages, size_t n_messages,
                       bool generation_prompt, chat_text *out, failure *fail)
{
    if (n_messages == 0)
        return failure_set(fail, ERR_INVALID, "the conversation has no messages");
    for (size_t i = 0; i < n_messages; i++)
        if (role_of(messages[i].role) < 0)
            return failure_set(fail, ERR_INVALID,
                               "message %zu has the role \"%.32s\"; the %s template takes system, "
                               "user and assistant",
                               i, messages[i].role, t->name);
    error_code code = render(out, t, messages, n_messages, generation_prompt);
    if (code == ERR_TOO_LARGE)
        return failure_set(fail, code, "the conversation is larger than %zu bytes",
                           out->text.limit);
    if (code != OK)
        return failure_set(fail, code, "cannot render the conversation");
    return OK;
}
