#include "evidence/server_block.h"

#include <stdlib.h>
#include <string.h>

#include "backend/event_stream.h"
#include "base/clock.h"
#include "base/http_client.h"
#include "base/json.h"
#include "evidence/item.h"
#include "evidence/workload.h"

#define RESPONSE_LIMIT ((size_t)64 << 20) /* bytes */
#define REFUSAL_LIMIT ((size_t)64 << 10)  /* bytes of a response that is no stream */
#define CONNECT_MS 5000.0
#define SILENCE_MS 300e3 /* a prompt may wait and be read for long before the first byte */
#define LOOK_MS 100.0    /* how often an interruption is looked for */

/* One request in flight. */
typedef struct exchange {
    size_t task;
    http_call *call;
    event_stream events;
    buffer text, refusal;
    double due_ms, first_ms, last_ms;
    size_t pieces;   /* of the text, for a server that does not count tokens */
    bool is_whole;   /* the stream said that it had ended */
    json_t *account; /* a_io */
    json_t *usage;
    char error[160]; /* "": none */
} exchange;

typedef struct server_block {
    const char *url, *name, *key;
    workload load;
    http_client *client;
    exchange **flights;
} server_block;

/* ---- what comes back ------------------------------------------------------------------------ */

static void note_problem(exchange *x, const char *kind, const char *text)
{
    if (x->error[0] == '\0')
        snprintf(x->error, sizeof x->error, "%s%s%.110s", kind, text[0] != '\0' ? ": " : "", text);
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

static void take_text(exchange *x, const json_t *choice)
{
    const json_t *content = json_object_get(json_object_get(choice, "delta"), "content");
    size_t length = json_string_length(content);
    if (json_is_string(json_object_get(choice, "finish_reason")))
        x->is_whole = true;
    if (length == 0)
        return;
    x->last_ms = clock_ms();
    if (x->pieces++ == 0)
        x->first_ms = x->last_ms;
    if (buffer_add(&x->text, json_string_value(content), length) != OK)
        note_problem(x, "the answer is too long", "");
}

static void on_event(void *context, const char *data, size_t length)
{
    exchange *x = context;
    if (strcmp(data, "[DONE]") == 0) {
        x->is_whole = true;
        return;
    }
    error_code code;
    json_t *event = json_read(data, length, JSON_ALLOW_NUL, NULL, &code);
    const json_t *error = json_object_get(event, "error");
    if (code == ERR_MEMORY)
        note_problem(x, "no memory for the stream", "");
    else if (event == NULL)
        note_problem(x, "the stream is malformed", "");
    else if (error != NULL)
        note_problem(x, "error in the stream", text_at(error, "message"));
    keep(&x->account, json_object_get(event, "a_io"));
    keep(&x->usage, json_object_get(event, "usage"));
    take_text(x, json_array_get(json_object_get(event, "choices"), 0));
    json_decref(event);
}

static bool on_data(void *context, const char *data, size_t length)
{
    exchange *x = context;
    if (http_call_status(x->call) != 200)
        buffer_add(&x->refusal, data, length); /* what does not fit is not shown */
    else if (event_stream_feed(&x->events, data, length, on_event, x) != OK)
        note_problem(x, "an event of the stream is too long", "");
    return true;
}

/* The server's own words, where it has any. */
static void note_refusal(exchange *x)
{
    char kind[32];
    json_t *body =
        x->refusal.data != NULL ? json_loadb(x->refusal.data, x->refusal.length, 0, NULL) : NULL;
    snprintf(kind, sizeof kind, "HTTP %d", http_call_status(x->call));
    note_problem(x, kind, text_at(json_object_get(body, "error"), "message"));
    json_decref(body);
}

static void judge_call(exchange *x)
{
    failure why;
    error_code code = http_call_result(x->call, &why);
    int status = http_call_status(x->call);
    if (code != OK && status == 200)
        note_problem(x, "the stream broke off", why.text);
    else if (code != OK)
        note_problem(x, error_code_text(code), why.text);
    else if (status != 200)
        note_refusal(x);
    else if (!x->is_whole)
        note_problem(x, "the stream ended early", "");
}

/* ---- figures ------------------------------------------------------------------------------ */

#define MOST_MS 1e12
#define MOST_NATS 1e3

/* What an A-IO counts of a reply, and what it took for the decision: in its words and in ours. */
static const char *const counters[] = {"cached_tokens", "steps",        "drafted",
                                       "accepted",      "weight_bytes", "kv_bytes"};
static const char *const phases[][2] = {{"template", "template_ms"},
                                        {"prefill", "prefill_ms"},
                                        {"decide", "decide_ms"},
                                        {"switch", "switch_ms"},
                                        {"overhead", "total_ms"}};
enum {
    N_COUNTERS = sizeof counters / sizeof counters[0],
    N_PHASES = sizeof phases / sizeof phases[0],
};

/* A server may say anything. What it leaves out is in range, and so is null. */
static void check_figure(exchange *x, const json_t *object, const char *key, bool counts,
                         double most)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL || json_is_null(value))
        return;
    bool right = counts ? json_is_integer(value) : json_is_number(value);
    double number = json_number_value(value);
    if (!right || !(number >= 0 && number <= most))
        note_problem(x, "a figure that cannot be", key);
}

static void check_figures(exchange *x)
{
    const json_t *cost = json_object_get(x->account, "receipt");
    const json_t *work = json_object_get(cost, "reply"), *spent = json_object_get(cost, "overhead");
    const double most = (double)JSON_LARGEST_COUNT;
    check_figure(x, x->usage, "prompt_tokens", true, most);
    check_figure(x, x->usage, "completion_tokens", true, most);
    check_figure(x, json_object_get(x->account, "intent"), "entropy", false, MOST_NATS);
    for (size_t i = 0; i < N_COUNTERS; i++)
        check_figure(x, work, counters[i], true, most);
    for (size_t i = 0; i < N_PHASES; i++)
        check_figure(x, spent, phases[i][1], false, MOST_MS);
}

/* ---- items -------------------------------------------------------------------------------- */

static void copy(json_t *to, const char *key, const json_t *from, const char *name)
{
    json_t *value = json_object_get(from, name);
    if (value != NULL && !json_is_null(value))
        json_object_set(to, key, value);
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
}

static void describe_times(json_t *item, const exchange *x, size_t tokens)
{
    json_t *ms = json_object_get(item, "ms");
    double gaps = tokens > 1 ? (double)(tokens - 1) : 1;
    item_put_real(ms, "ttft", x->first_ms > 0 ? x->first_ms - x->due_ms : 0);
    item_put_real(ms, "latency", (x->last_ms > 0 ? x->last_ms : clock_ms()) - x->due_ms);
    item_put_real(ms, "between", (x->last_ms - x->first_ms) / gaps);
}

static void note_answer(server_block *b, const exchange *x)
{
    json_t *item = b->load.items[x->task];
    json_t *counted = json_object_get(x->usage, "completion_tokens");
    size_t tokens = json_is_integer(counted) ? (size_t)json_integer_value(counted) : x->pieces;
    copy(item, "prompt_tokens", x->usage, "prompt_tokens");
    item_put_integer(item, "tokens", tokens);
    item_put_integer(item, "digest", item_digest(x->text.data));
    if (x->account != NULL)
        describe_account(item, x->account);
    describe_times(item, x, tokens);
    workload_keep_answer(&b->load, x->task, x->text.data);
}

static void note_error(server_block *b, const exchange *x)
{
    json_t *item = b->load.items[x->task];
    json_object_set_new(item, "error", json_text(x->error, strlen(x->error)));
    item_put_real(json_object_get(item, "ms"), "latency", clock_ms() - x->due_ms);
}

/* ---- sending ------------------------------------------------------------------------------ */

static error_code write_body(const server_block *b, const task *t, buffer *out)
{
    size_t limit = t->max_tokens > 0 ? t->max_tokens : b->load.options->max_tokens;
    return json_write(out, json_pack("{s:s, s:O, s:b, s:{s:b}, s:I, s:f, s:I}", "model", b->name,
                                     "messages", t->source, "stream", 1, "stream_options",
                                     "include_usage", 1, "max_tokens", (json_int_t)limit,
                                     "temperature", (double)b->load.options->temperature, "seed",
                                     (json_int_t)b->load.options->seed));
}

static void exchange_free(exchange *x)
{
    if (x == NULL)
        return;
    http_call_release(x->call);
    event_stream_free(&x->events);
    buffer_free(&x->text);
    buffer_free(&x->refusal);
    json_decref(x->account);
    json_decref(x->usage);
    free(x);
}

static error_code send_task(server_block *b, size_t index, double due_ms, failure *fail)
{
    const task *t = &b->load.tasks[index];
    exchange *x = calloc(1, sizeof *x);
    b->load.items[index] = item_new(t);
    if (x == NULL || b->load.items[index] == NULL) {
        free(x);
        return failure_set(fail, ERR_MEMORY, "no memory for the replay");
    }
    x->task = index;
    x->due_ms = due_ms;
    event_stream_init(&x->events);
    buffer_init(&x->text, RESPONSE_LIMIT);
    buffer_init(&x->refusal, REFUSAL_LIMIT);
    b->flights[b->load.in_flight++] = x;
    buffer body;
    buffer_init(&body, RESPONSE_LIMIT);
    error_code code = write_body(b, t, &body);
    if (code != OK)
        failure_set(fail, code, "task %s: cannot be written as JSON", t->id);
    http_call_options call = {.url = b->url,
                              .json = body.data,
                              .bearer = b->key,
                              .connect_ms = CONNECT_MS,
                              .silence_ms = SILENCE_MS,
                              .limit = RESPONSE_LIMIT,
                              .data = on_data,
                              .context = x};
    if (code == OK)
        code = http_call_start(b->client, &call, &x->call, fail);
    buffer_free(&body);
    return code;
}

/* ---- the loop ----------------------------------------------------------------------------- */

static error_code send_due(server_block *b, failure *fail)
{
    size_t index;
    double due_ms;
    error_code code = OK;
    while (code == OK && workload_take_due(&b->load, &index, &due_ms))
        code = send_task(b, index, due_ms, fail);
    return code;
}

static void land_done(server_block *b)
{
    for (size_t i = 0; i < b->load.in_flight;) {
        exchange *x = b->flights[i];
        if (!http_call_is_done(x->call)) {
            i++;
            continue;
        }
        judge_call(x);
        check_figures(x);
        if (x->error[0] != '\0')
            note_error(b, x);
        else
            note_answer(b, x);
        exchange_free(x);
        b->flights[i] = b->flights[--b->load.in_flight];
        workload_count_done(&b->load);
    }
}

static error_code fly(server_block *b, failure *fail)
{
    error_code code = OK;
    workload_begin(&b->load);
    while (code == OK && b->load.done < b->load.n_tasks) {
        code = send_due(b, fail);
        if (code == OK)
            code = workload_check_stopped(&b->load, fail);
        double due = workload_next_due(&b->load), wait = due >= 0 && due < LOOK_MS ? due : LOOK_MS;
        if (code == OK)
            code = http_client_run(b->client, wait, fail);
        if (code == OK)
            land_done(b); /* what could not be sent has no call */
    }
    return code;
}

/* ---- whole blocks --------------------------------------------------------------------------- */

static error_code prepare(server_block *b, failure *fail)
{
    b->flights = calloc(b->load.capacity, sizeof(exchange *));
    if (b->flights == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the replay");
    return http_client_create(&b->client, fail);
}

static void clean_up(server_block *b)
{
    for (size_t i = 0; i < b->load.in_flight; i++)
        exchange_free(b->flights[i]);
    free(b->flights);
    workload_free(&b->load);
    http_client_destroy(b->client);
}

error_code server_block_run(const char *address, const char *name, const task *tasks,
                            size_t n_tasks, const block_options *options, checker *judge,
                            json_t **items, double *seconds, failure *fail)
{
    char url[2048];
    server_block b = {.url = url, .name = name, .key = getenv("A_IO_API_KEY")};
    *items = NULL;
    snprintf(url, sizeof url, "%s/chat/completions", address);
    error_code code = workload_prepare(&b.load, tasks, n_tasks, options, fail);
    if (code == OK)
        code = prepare(&b, fail);
    if (code == OK)
        code = fly(&b, fail);
    if (code == OK)
        code = workload_results(&b.load, judge, items, seconds, fail);
    clean_up(&b);
    return code;
}

/* ---- the server ----------------------------------------------------------------------------- */

error_code server_address(const char *text, char **out, failure *fail)
{
    size_t scheme = strncmp(text, "http://", 7) == 0    ? 7
                    : strncmp(text, "https://", 8) == 0 ? 8
                                                        : 0;
    size_t length = strlen(text);
    *out = NULL;
    if (scheme == 0 || text[scheme] == '\0' || text[scheme] == '/' || length > 1024 ||
        strpbrk(text, " ?#") != NULL)
        return failure_set(fail, ERR_INVALID,
                           "--server: \"%.100s\" is no address such as http://127.0.0.1:8080",
                           text);
    while (text[length - 1] == '/')
        length--;
    bool is_bare = memchr(text + scheme, '/', length - scheme) == NULL;
    char *made = malloc(length + 4);
    if (made == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory left");
    snprintf(made, length + 4, "%.*s%s", (int)length, text, is_bare ? "/v1" : "");
    *out = made;
    return OK;
}

static error_code judge_answer(const http_call *c, const char *url, failure *fail)
{
    int status = http_call_status(c);
    if (http_call_result(c, fail) != OK)
        return failure_prefix(fail, "%s", url);
    if (status == 401 || status == 403)
        return failure_set(fail, ERR_INVALID,
                           "%s: HTTP %d: A_IO_API_KEY must hold the server's key", url, status);
    if (status != 200)
        return failure_set(fail, ERR_NOT_FOUND,
                           "%s: HTTP %d: no OpenAI-compatible server at this address", url, status);
    return OK;
}

error_code server_check(const char *address, failure *fail)
{
    char url[2048];
    http_client *client = NULL;
    http_call *c = NULL;
    snprintf(url, sizeof url, "%s/models", address);
    http_call_options o = {.url = url,
                           .bearer = getenv("A_IO_API_KEY"),
                           .connect_ms = CONNECT_MS,
                           .silence_ms = CONNECT_MS,
                           .limit = RESPONSE_LIMIT};
    error_code code = http_client_create(&client, fail);
    if (code == OK)
        code = http_call_start(client, &o, &c, fail);
    while (code == OK && !http_call_is_done(c))
        code = http_client_run(client, LOOK_MS, fail);
    if (code == OK)
        code = judge_answer(c, url, fail);
    http_call_release(c);
    http_client_destroy(client);
    return code;
}
