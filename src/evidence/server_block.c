/* server_block.c: keeping requests in flight at a server by the HTTP client. */
#include "evidence/server_block.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/http_client.h"
#include "base/json.h"
#include "evidence/item.h"
#include "evidence/server_answer.h"
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
    server_answer answer;
    buffer refusal;
    double due_ms;
} exchange;

typedef struct server_block {
    const char *url, *name, *key;
    workload load;
    http_client *client;
    exchange **flights;
} server_block;

/* ---- what comes back ------------------------------------------------------------------------ */

static bool on_data(void *context, const char *data, size_t length)
{
    exchange *x = context;
    if (http_call_status(x->call) != 200)
        buffer_add(&x->refusal, data, length); /* what does not fit is not shown */
    else
        server_answer_feed(&x->answer, data, length);
    return true;
}

/* The server's own words, where it has any. */
static void note_refusal(exchange *x)
{
    char kind[32];
    json_t *body =
        x->refusal.data != NULL ? json_loadb(x->refusal.data, x->refusal.length, 0, NULL) : NULL;
    const char *words =
        json_string_value(json_object_get(json_object_get(body, "error"), "message"));
    snprintf(kind, sizeof kind, "HTTP %d", http_call_status(x->call));
    server_answer_note(&x->answer, kind, words != NULL ? words : "");
    json_decref(body);
}

static void judge_call(exchange *x)
{
    failure why;
    error_code code = http_call_result(x->call, &why);
    int status = http_call_status(x->call);
    if (code != OK && status == 200)
        server_answer_note(&x->answer, "the stream broke off", why.text);
    else if (code != OK)
        server_answer_note(&x->answer, error_code_text(code), why.text);
    else if (status != 200)
        note_refusal(x);
    else if (!x->answer.is_whole)
        server_answer_note(&x->answer, "the stream ended early", "");
}

static void note_answer(server_block *b, exchange *x)
{
    server_answer_check(&x->answer);
    server_answer_describe(&x->answer, b->load.items[x->task], x->due_ms);
    if (x->answer.error[0] == '\0')
        workload_keep_answer(&b->load, x->task, x->answer.text.data);
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
    server_answer_free(&x->answer);
    buffer_free(&x->refusal);
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
    server_answer_init(&x->answer);
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
