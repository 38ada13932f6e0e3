/*
 * docs/fields.md, row by row: what is said to be honoured changes a request, what is said to have
 * no effect leaves it as it was, and what is said to be refused is refused by its name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "server/openai.h"

static const struct {
    const char *heading;
    const request_form *form;
    const char *least; /* the members that a request must have, by the first one's name */
} sections[] = {
    {"## OpenAI: `POST /v1/chat/completions`", &openai_chat_form,
     "\"messages\": [{\"role\": \"user\", \"content\": \"one\"}]"},
    {"## OpenAI: `POST /v1/completions`", &openai_text_form, "\"prompt\": \"one\""},
    {"## OpenAI: `POST /v1/embeddings`", &embeddings_form, "\"input\": \"one\""},
    {"## OpenAI: `POST /v1/responses`", &responses_form, "\"input\": \"one\""},
    {"## Anthropic: `POST /v1/messages`", &anthropic_form,
     "\"messages\": [{\"role\": \"user\", \"content\": \"one\"}]"},
    {"## llama-server: `POST /completion`", &native_form, "\"prompt\": \"one\""},
    {"## llama-server: `POST /infill`", &infill_form,
     "\"input_prefix\": \"one\", \"input_suffix\": \"two\""},
    {"## llama-server: `POST /v1/chat/completions`", &openai_chat_form,
     "\"messages\": [{\"role\": \"user\", \"content\": \"one\"}]"},
};
#define N_SECTIONS (sizeof sections / sizeof *sections)

/* ---- a request as text ----------------------------------------------------------------------- */

static void add(buffer *out, const char *name, const char *text)
{
    assert_int_equal(buffer_add_format(out, "%s=%s\n", name, text != NULL ? text : "-"), OK);
}

static void add_number(buffer *out, const char *name, double number)
{
    assert_int_equal(buffer_add_format(out, "%s=%.9g\n", name, number), OK);
}

static void add_json(buffer *out, const char *name, const json_t *value)
{
    char *text = value != NULL ? json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    add(out, name, text);
    free(text);
}

static void add_sampling(buffer *out, const sampling_params *s)
{
    add_number(out, "temperature", (double)s->temperature);
    add_number(out, "top_k", s->top_k);
    add_number(out, "top_p", (double)s->top_p);
    add_number(out, "min_p", (double)s->min_p);
    add_number(out, "repetition", (double)s->repetition_penalty);
    add_number(out, "presence", (double)s->presence_penalty);
    add_number(out, "frequency", (double)s->frequency_penalty);
    add_number(out, "seed", (double)s->seed);
    for (size_t i = 0; i < s->n_biases; i++) {
        add_number(out, "bias of", s->biases[i].token);
        add_number(out, "bias", (double)s->biases[i].bias);
    }
}

static void add_manner(buffer *out, const reply_manner *m)
{
    const bool flags[] = {m->stream,        m->include_usage,  m->continuous_usage, m->echo,
                          m->takes_calls,   m->wants_scores,   m->scores_drawn,     m->tells_tokens,
                          m->tells_timings, m->keeps_thoughts, m->is_stored};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        add_number(out, "flag", flags[i]);
    add_number(out, "n", (double)m->n);
    add(out, "user", m->user);
    add(out, "tier", m->service_tier);
}

static void add_prompt(buffer *out, const request *q)
{
    const request_chat *c = &q->chat;
    for (size_t i = 0; i < q->n_messages; i++)
        add(out, q->messages[i].role, q->messages[i].content);
    add(out, "messages", c->messages_json);
    add(out, "tools", c->tools_json);
    add(out, "documents", c->documents_json);
    add(out, "variables", c->variables_json);
    add(out, "begun", c->begun);
    add(out, "called", c->called);
    add_number(out, "must call", c->must_call);
    add_number(out, "once", c->calls_once);
    add_number(out, "bound", c->binds_calls);
    add(out, "suffix", q->suffix);
    add(out, "files", q->files_json);
    add(out, "grammar", q->grammar.text);
}

/* Everything of it that a reply could depend on. */
static void describe(buffer *out, const chat_request *r)
{
    const request *q = &r->request;
    add_sampling(out, &q->sampling);
    add_manner(out, &r->manner);
    add_prompt(out, q);
    add(out, "model", r->model);
    add_number(out, "most", (double)q->max_tokens);
    add_number(out, "least", (double)q->min_tokens);
    for (size_t i = 0; i < q->n_stops; i++)
        add(out, "stop", q->stops[i]);
    for (size_t i = 0; i < r->n_prompts; i++)
        add(out, "prompt", r->prompts[i].text);
    add_number(out, "priority", q->priority);
    add_number(out, "deadline", q->deadline_ms);
    add_number(out, "top", (double)q->n_top);
    add_number(out, "lookup", r->has_lookup ? r->lookup.length : -1.0);
    add_number(out, "base64", r->is_base64);
    add_number(out, "dimensions", (double)r->dimensions);
    add_json(out, "fields", json_object_get(r->told, "fields"));
    add_json(out, "words", r->word_biases);
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* `more` members replace those of the least request that have the same name. */
static bool read(size_t section, const char *more, buffer *out, api_error *error)
{
    char text[1024];
    snprintf(text, sizeof text, "{%s}", sections[section].least);
    json_t *body = json_loads(text, 0, NULL);
    snprintf(text, sizeof text, "{%s}", more);
    json_t *members = json_loads(text, 0, NULL);
    if (members == NULL)
        fail_msg("no JSON: %s", more);
    json_object_update(body, members);
    json_decref(members);
    const request_text how = {.form = sections[section].form};
    const request_defaults defaults = {.max_tokens = 77, .has_seed = true, .seed = 1};
    chat_request r;
    buffer_init(out, 1 << 20);
    if (!chat_request_read(&r, body, &how, &defaults, error))
        return false;
    describe(out, &r);
    chat_request_free(&r);
    return true;
}

static bool check_row(size_t section, const char *field, const char *sent, const char *verdict)
{
    buffer least, with;
    api_error error = {.status = 0};
    assert_true(read(section, "", &least, &error));
    bool is_read = read(section, sent, &with, &error);
    bool is_same = is_read && strcmp(least.data, with.data) == 0;
    bool names_it = strncmp(error.param, field, strlen(field)) == 0;
    const char *is = !is_read && error.status == 404 ? "honoured" /* it looks for it */
                     : !is_read                      ? (names_it ? "refused" : error.message)
                     : is_same                       ? "no effect"
                                                     : "honoured";
    bool is_right = strcmp(is, verdict) == 0;
    if (!is_right)
        print_error("%s, %s: said to be %s, but is: %s\n", sections[section].heading, sent, verdict,
                    is);
    buffer_free(&least);
    buffer_free(&with);
    return is_right;
}

/* | `field` | `members` | verdict | */
static bool check_line(size_t section, char *line)
{
    char *parts[4], *at = line;
    for (size_t i = 0; i < 4; i++) {
        char *end = strchr(at, '`');
        assert_non_null(end);
        *end = '\0';
        parts[i] = at;
        at = end + 1;
    }
    char *verdict = strchr(at, '|');
    assert_non_null(verdict);
    verdict += 2;
    *strstr(verdict, " |") = '\0';
    return check_row(section, parts[1], parts[3], verdict);
}

static void test_rows(void **state)
{
    (void)state;
    buffer page;
    failure fail;
    size_t rows = 0, wrong = 0, section = N_SECTIONS, seen = 0;
    buffer_init(&page, 1 << 20);
    if (buffer_read_file(&page, "docs/fields.md", &fail) != OK)
        fail_msg("%s (run from the repository's root)", fail.text);
    for (char *line = strtok(page.data, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        for (size_t i = 0; i < N_SECTIONS; i++)
            if (strcmp(line, sections[i].heading) == 0) {
                section = i;
                seen++;
            }
        if (strncmp(line, "| `", 3) != 0)
            continue;
        assert_true(section < N_SECTIONS);
        wrong += check_line(section, line) ? 0 : 1;
        rows++;
    }
    buffer_free(&page);
    assert_int_equal(seen, N_SECTIONS);
    assert_true(rows > 180);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
