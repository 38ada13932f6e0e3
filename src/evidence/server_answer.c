/* server_answer.c: events of a stream into text, times and figures, each of them checked. */
#include "evidence/server_answer.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "evidence/item.h"

#define ANSWER_LIMIT ((size_t)64 << 20) /* bytes */

void server_answer_init(server_answer *a)
{
    *a = (server_answer){.text = {0}};
    event_stream_init(&a->events);
    buffer_init(&a->text, ANSWER_LIMIT);
}

void server_answer_free(server_answer *a)
{
    event_stream_free(&a->events);
    buffer_free(&a->text);
    json_decref(a->account);
    json_decref(a->usage);
}

/* ---- what comes back ------------------------------------------------------------------------ */

void server_answer_note(server_answer *a, const char *kind, const char *text)
{
    if (a->error[0] == '\0')
        snprintf(a->error, sizeof a->error, "%s%s%.110s", kind, text[0] != '\0' ? ": " : "", text);
}

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

static void keep(json_t **kept, json_t *value)
{
    if (!json_is_object(value))
        return;
    json_decref(*kept);
    *kept = json_incref(value);
}

static void take_text(server_answer *a, const json_t *choice)
{
    const json_t *content = json_object_get(json_object_get(choice, "delta"), "content");
    size_t length = json_string_length(content);
    if (json_is_string(json_object_get(choice, "finish_reason")))
        a->is_whole = true;
    if (length == 0)
        return;
    a->last_ms = clock_ms();
    if (a->pieces++ == 0)
        a->first_ms = a->last_ms;
    if (buffer_add(&a->text, json_string_value(content), length) != OK)
        server_answer_note(a, "the answer is too long", "");
}

static void on_event(void *context, const char *data, size_t length)
{
    server_answer *a = context;
    if (event_stream_is_end(data, length)) {
        a->is_whole = true;
        return;
    }
    error_code code;
    json_t *event = json_read(data, length, JSON_ALLOW_NUL, NULL, &code);
    const json_t *error = json_object_get(event, "error");
    if (code == ERR_MEMORY)
        server_answer_note(a, "no memory for the stream", "");
    else if (event == NULL)
        server_answer_note(a, "the stream is malformed", "");
    else if (error != NULL)
        server_answer_note(a, "error in the stream", text_at(error, "message"));
    keep(&a->account, json_object_get(event, "a_io"));
    keep(&a->usage, json_object_get(event, "usage"));
    take_text(a, json_array_get(json_object_get(event, "choices"), 0));
    json_decref(event);
}

void server_answer_feed(server_answer *a, const char *data, size_t length)
{
    if (event_stream_feed(&a->events, data, length, on_event, a) != OK)
        server_answer_note(a, "an event of the stream is too long", "");
}

/* ---- figures ------------------------------------------------------------------------------ */

#define MOST_MS 1e12
#define MOST_NATS 1e3

/* What an A-IO counts of a reply, and what it took for the decision: in its words and in ours. */
static const char *const counters[] = {"cached_tokens", "steps",        "drafted",
                                       "accepted",      "weight_bytes", "kv_bytes"};
static const char *const read[] = {"weight_bytes", "kv_bytes"}; /* for the probe, too */
static const char *const phases[][2] = {{"template", "template_ms"},
                                        {"prefill", "prefill_ms"},
                                        {"decide", "decide_ms"},
                                        {"switch", "switch_ms"},
                                        {"overhead", "total_ms"}};
enum {
    N_COUNTERS = sizeof counters / sizeof counters[0],
    N_READ = sizeof read / sizeof read[0],
    N_PHASES = sizeof phases / sizeof phases[0],
};

/* A server may say anything. What it leaves out is in range, and so is null. */
static void check_figure(server_answer *a, const json_t *object, const char *key, bool counts,
                         double most)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL || json_is_null(value))
        return;
    bool right = counts ? json_is_integer(value) : json_is_number(value);
    double number = json_number_value(value);
    if (!right || !(number >= 0 && number < most))
        server_answer_note(a, "a figure that cannot be", key);
}

void server_answer_check(server_answer *a)
{
    const json_t *cost = json_object_get(a->account, "receipt");
    const json_t *work = json_object_get(cost, "reply"), *spent = json_object_get(cost, "overhead");
    const json_t *probe = json_object_get(cost, "probe");
    const double most = (double)JSON_LARGEST_COUNT;
    check_figure(a, a->usage, "prompt_tokens", true, most);
    check_figure(a, a->usage, "completion_tokens", true, most);
    check_figure(a, json_object_get(a->account, "intent"), "entropy", false, MOST_NATS);
    for (size_t i = 0; i < N_COUNTERS; i++)
        check_figure(a, work, counters[i], true, most);
    for (size_t i = 0; i < N_READ; i++)
        check_figure(a, probe, read[i], true, most / 2); /* they are added up */
    for (size_t i = 0; i < N_PHASES; i++)
        check_figure(a, spent, phases[i][1], false, MOST_MS);
}

/* ---- items -------------------------------------------------------------------------------- */

static void copy(json_t *to, const char *key, const json_t *from, const char *name)
{
    json_t *value = json_object_get(from, name);
    if (value != NULL && !json_is_null(value))
        json_object_set(to, key, value);
}

/* Deciding reads, too. */
static void add_to(json_t *work, const char *key, const json_t *probe)
{
    json_int_t sum = json_integer_value(json_object_get(work, key)) +
                     json_integer_value(json_object_get(probe, key));
    item_put_integer(work, key, (uint64_t)sum);
}

/* What an A-IO says of itself. */
static void describe_account(json_t *item, const json_t *account)
{
    const json_t *decided = json_object_get(account, "plan"), *fell_back;
    const json_t *sensed = json_object_get(account, "intent");
    const json_t *cost = json_object_get(account, "receipt");
    copy(item, "label", sensed, "label");
    copy(item, "entropy", sensed, "entropy");
    copy(item, "model", decided, "role");
    copy(item, "lookup", decided, "lookup");
    copy(item, "rule", decided, "rule");
    fell_back = json_object_get(decided, "fallback");
    json_object_set_new(item, "fallback",
                        json_boolean(json_is_string(fell_back) &&
                                     strcmp(json_string_value(fell_back), "pinned") != 0));
    for (size_t i = 0; i < N_PHASES; i++)
        copy(json_object_get(item, "ms"), phases[i][0], json_object_get(cost, "overhead"),
             phases[i][1]);
    for (size_t i = 0; i < N_COUNTERS; i++)
        copy(json_object_get(item, "work"), counters[i], json_object_get(cost, "reply"),
             counters[i]);
    for (size_t i = 0; i < N_READ; i++)
        add_to(json_object_get(item, "work"), read[i], json_object_get(cost, "probe"));
}

static void describe_times(json_t *item, const server_answer *a, double due_ms, size_t tokens)
{
    json_t *ms = json_object_get(item, "ms");
    double gaps = tokens > 1 ? (double)(tokens - 1) : 1;
    item_put_real(ms, "ttft", a->first_ms > 0 ? a->first_ms - due_ms : 0);
    item_put_real(ms, "latency", (a->last_ms > 0 ? a->last_ms : clock_ms()) - due_ms);
    item_put_real(ms, "between", (a->last_ms - a->first_ms) / gaps);
}

static void describe(const server_answer *a, json_t *item, double due_ms)
{
    json_t *counted = json_object_get(a->usage, "completion_tokens");
    size_t tokens = json_is_integer(counted) ? (size_t)json_integer_value(counted) : a->pieces;
    copy(item, "prompt_tokens", a->usage, "prompt_tokens");
    item_put_integer(item, "tokens", tokens);
    item_put_integer(item, "digest", item_digest(a->text.data));
    if (a->account != NULL)
        describe_account(item, a->account);
    describe_times(item, a, due_ms, tokens);
}

void server_answer_describe(const server_answer *a, json_t *item, double due_ms)
{
    if (a->error[0] == '\0') {
        describe(a, item, due_ms);
        return;
    }
    json_object_set_new(item, "error", json_text(a->error, strlen(a->error)));
    item_put_real(json_object_get(item, "ms"), "latency", clock_ms() - due_ms);
}
