/* reply.c: the replies of a request, from their start to their last piece. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/exchange.h"

#define TEXT_LIMIT ((size_t)64 << 20) /* bytes; far above what a context can hold */
#define MAX_CALLS 256                 /* of one reply */

static void wake(void *context)
{
    exchange_signal(context, SIGNAL_NEWS);
}

/* ---- life ----------------------------------------------------------------------------------- */

/* The model that a request pins, if it does. */
static backend *pinned_backend(const exchange *e)
{
    orchestra *o = e->server->orchestra;
    const char *name = e->request->model;
    for (size_t i = 0; i < orchestra_model_count(o); i++)
        if (orchestra_model_count(o) == 1 ||
            (name != NULL && strcmp(orchestra_model_name(o, i), name) == 0))
            return orchestra_backend(o, i);
    return NULL;
}

/* What is told before the reply: its prompt. */
static bool make_echo(const exchange *e, choice *c, api_error *error)
{
    const chat_request *r = e->request;
    if ((!r->manner.echo && e->told == NULL) || r->n_prompts == 0)
        return true;
    const request_prompt *prompt = &r->prompts[c->index / r->manner.n];
    backend *b = pinned_backend(e);
    failure fail = {.code = OK};
    if (prompt->text != NULL)
        fail.code = buffer_add(&c->echo, prompt->text, prompt->length);
    else if (b != NULL)
        backend_detokenize(b, prompt->ids, prompt->n_ids, &c->echo, &fail);
    if (fail.code != OK)
        api_error_from_failure(error, &fail);
    return fail.code == OK;
}

bool replies_create(exchange *e, chat_request *r, api_error *error)
{
    size_t prompts = r->n_prompts > 0 ? r->n_prompts : 1;
    size_t n = prompts * r->manner.n;
    e->request = r;
    r->request.lane = loop_lane(e->connection->loop);
    e->choices = calloc(n, sizeof *e->choices);
    if (e->choices == NULL)
        return api_error_set(error, 503, "out_of_memory", "", "no memory for the replies");
    e->n_choices = n;
    e->conversation = r->conversation;
    r->conversation = NULL;
    e->told = r->told;
    r->told = NULL;
    e->texts = r->texts;
    r->texts = NULL;
    if (!chat_request_find_tokens(r, pinned_backend(e), error))
        return false;
    for (size_t i = 0; i < n; i++) {
        choice *c = &e->choices[i];
        c->index = i;
        buffer_init(&c->fresh, TEXT_LIMIT);
        buffer_init(&c->echo, TEXT_LIMIT);
        buffer_init(&c->text, TEXT_LIMIT);
        buffer_init(&c->thought, TEXT_LIMIT);
        if (!make_echo(e, c, error))
            return false;
    }
    return true;
}

bool replies_have_model(exchange *e, chat_request *r, api_error *error)
{
    e->request = r;
    if (r->model == NULL || strcmp(r->model, "auto") == 0)
        return true;
    if (orchestra_find_model(e->server->orchestra, r->model) != SIZE_MAX)
        return true;
    return api_error_set(error, 404, "model_not_found", "model", "model '%.100s' not found",
                         r->model);
}

static void drop_request(exchange *e)
{
    if (e->request != NULL)
        chat_request_free(e->request);
    free(e->request);
    e->request = NULL;
}

static void free_choice(choice *c)
{
    reply_parser_destroy(c->parser);
    buffer_free(&c->fresh);
    score_list_free(&c->scores);
    token_list_free(&c->tokens);
    buffer_free(&c->echo);
    buffer_free(&c->text);
    buffer_free(&c->thought);
    for (size_t i = 0; i < c->n_calls; i++) {
        buffer_free(&c->calls[i].name);
        buffer_free(&c->calls[i].arguments);
    }
    free(c->calls);
}

static void release_run(exchange *e, choice *c)
{
    if (c->run == NULL)
        return;
    if (e->plan.known)
        metrics_count_run(e->server->metrics, c->run, c->state == RUN_FINISHED);
    if (e->holder != NULL && !isnan(run_cost(c->run)))
        key_holder_spend(e->holder, run_cost(c->run));
    run_release(c->run);
    c->run = NULL;
    atomic_fetch_sub(&e->server->running, 1);
}

void replies_release(exchange *e)
{
    if (e->plan.known && e->n_choices > 0 && e->choices[0].run != NULL)
        e->stats = replies_stats(e);
    /* Those that follow a plan go before the one that they follow. */
    for (size_t i = e->n_choices; i-- > 0;)
        release_run(e, &e->choices[i]);
    drop_request(e);
}

void replies_destroy(exchange *e)
{
    replies_release(e);
    for (size_t i = 0; i < e->n_choices; i++)
        free_choice(&e->choices[i]);
    free(e->choices);
    e->choices = NULL;
    e->n_choices = 0;
}

/* ---- starting ------------------------------------------------------------------------------- */

/* Another reply of the same prompt is the same request with another choice of random numbers. */
static request request_of(const exchange *e, const choice *c)
{
    const chat_request *r = e->request;
    request q = r->request;
    q.sampling.choice = (uint32_t)(c->index % r->manner.n);
    if (r->n_prompts > 0) {
        const request_prompt *prompt = &r->prompts[c->index / r->manner.n];
        q.prompt = prompt->text;
        q.prompt_length = prompt->length;
        q.prompt_ids = prompt->ids;
        q.n_prompt_ids = prompt->n_ids;
    }
    return q;
}

static void poll_run(const exchange *e, choice *c)
{
    c->state = run_poll(c->run, &c->fresh, e->manner.tells_tokens ? &c->tokens : NULL);
    const score_list *came = c->state != RUN_PROBING ? run_scores(c->run) : NULL;
    if (came != NULL && score_list_append(&c->scores, came) != OK)
        c->lacks_memory = true;
}

static bool submit(exchange *e, choice *c, const run *like, api_error *error)
{
    const chat_request *r = e->request;
    run_options options = {.model = r->model,
                           .lookup = r->has_lookup ? &r->lookup : NULL,
                           .decide_only = e->decide_only,
                           .sampling_given = r->sampling_given,
                           .id = e->id,
                           .session = exchange_header(e, "x-session-id"),
                           .header = exchange_header,
                           .header_context = e,
                           .like = like};
    wakeup woken = {wake, e};
    failure fail;
    const request q = request_of(e, c);
    if (orchestra_submit(e->server->orchestra, &q, &options, woken, &c->run, &fail) != OK) {
        api_error_from_failure(error, &fail);
        return false;
    }
    atomic_fetch_add(&e->server->running, 1);
    poll_run(e, c);
    return true;
}

static bool is_planned(const choice *c)
{
    return c->run != NULL && c->state != RUN_PROBING;
}

bool replies_start(exchange *e, api_error *error)
{
    for (size_t i = 0; i < e->n_choices; i++) {
        choice *c = &e->choices[i], *first = &e->choices[i - i % e->manner.n];
        if (c->run != NULL && c->state == RUN_PROBING)
            poll_run(e, c);
        bool waits = c->run != NULL || (c != first && !is_planned(first));
        if (first->run != NULL && first->state == RUN_FAILED)
            break;
        if (!waits && !submit(e, c, c != first ? first->run : NULL, error))
            return false;
    }
    if (replies_have_plans(e))
        drop_request(e);
    return true;
}

bool replies_have_plans(const exchange *e)
{
    for (size_t i = 0; i < e->n_choices; i++)
        if (!is_planned(&e->choices[i]))
            return false;
    return true;
}

const failure *replies_failure(const exchange *e)
{
    for (size_t i = 0; i < e->n_choices; i++)
        if (e->choices[i].run != NULL && e->choices[i].state == RUN_FAILED)
            return run_failure(e->choices[i].run);
    return NULL;
}

/* ---- what comes ------------------------------------------------------------------------------ */

typedef struct taker {
    exchange *exchange;
    choice *choice;
} taker;

/* Nine letters and digits where a template wants that of the ids that it is sent back. */
static void choose_call_id(const choice *c, char id[CALL_ID_SIZE])
{
    const chat_form *form = run_style(c->run).chat.form;
    if (form != NULL && form->short_ids) {
        exchange_random_id(id, 10);
        id[9] = '\0';
        return;
    }
    memcpy(id, "call_", 6);
    exchange_random_id(id + 5, 24);
}

static bool add_call(choice *c, const reply_piece *piece)
{
    if (c->n_calls == MAX_CALLS)
        return false;
    reply_call *more = reallocarray(c->calls, c->n_calls + 1, sizeof *more);
    if (more == NULL)
        return false;
    c->calls = more;
    reply_call *call = &c->calls[c->n_calls++];
    *call = (reply_call){.id = ""};
    choose_call_id(c, call->id);
    buffer_init(&call->name, TEXT_LIMIT);
    buffer_init(&call->arguments, TEXT_LIMIT);
    return buffer_add(&call->name, piece->text, piece->length) == OK;
}

static bool keep(choice *c, const reply_piece *piece)
{
    buffer *to = piece->part == REPLY_TEXT      ? &c->text
                 : piece->part == REPLY_THOUGHT ? &c->thought
                                                : &c->calls[piece->call].arguments;
    return buffer_add(to, piece->text, piece->length) == OK;
}

static bool take_piece(void *context, const reply_piece *piece)
{
    const taker *t = context;
    exchange *e = t->exchange;
    const api *a = e->api;
    if (piece->part == REPLY_CALL && !add_call(t->choice, piece))
        return false;
    bool is_kept = piece->part != REPLY_CALL && (!e->manner.stream || a->keeps_text);
    if (is_kept && !keep(t->choice, piece))
        return false;
    return !e->manner.stream || a->piece(e, t->choice, piece);
}

static bool make_parser(const exchange *e, choice *c)
{
    reply_style style = run_style(c->run);
    const reply_options options = {
        .style = style.chat,
        .takes_calls = e->manner.takes_calls,
        .binds_calls = e->manner.binds_calls,
        .only_calls = style.only_calls,
        .takes_thoughts = e->manner.keeps_thoughts,
        .is_in_thought = style.is_in_thought,
        .texts = e->texts,
    };
    return c->parser != NULL || reply_parser_create(&c->parser, &options) == OK;
}

/* Those that came without a text that could be told. */
static bool tell_scores(exchange *e, choice *c)
{
    const reply_piece nothing = {.part = REPLY_TEXT, .text = ""};
    return e->api->piece(e, c, &nothing);
}

static bool poll_choice(exchange *e, choice *c)
{
    if (c->is_told)
        return true;
    if (c->state == RUN_REPLYING)
        poll_run(e, c);
    bool tells_rest = e->manner.stream && c->fresh.length > 0; /* what came before it failed */
    if (c->state == RUN_FAILED && !tells_rest)
        return true;
    bool is_end = c->state == RUN_FINISHED;
    taker t = {e, c};
    if (c->lacks_memory || !make_parser(e, c) ||
        !reply_parser_feed(c->parser, c->fresh.data, c->fresh.length, is_end, take_piece, &t))
        return false;
    buffer_clear(&c->fresh);
    if (!is_end)
        return !e->manner.stream || c->scores.length == 0 || tell_scores(e, c);
    c->is_told = true;
    c->finish = run_finish_reason(c->run);
    return !e->manner.stream || e->api->choice_end(e, c);
}

bool replies_poll(exchange *e)
{
    for (size_t i = 0; i < e->n_choices; i++)
        if (!poll_choice(e, &e->choices[i]))
            return false;
    return true;
}

bool replies_are_told(const exchange *e)
{
    for (size_t i = 0; i < e->n_choices; i++)
        if (!e->choices[i].is_told)
            return false;
    return true;
}

/* ---- what there is to know ------------------------------------------------------------------- */

reply_stats replies_stats(const exchange *e)
{
    reply_stats all = {.prompt_tokens = 0};
    for (size_t i = 0; i < e->n_choices && e->choices[i].run != NULL; i++) {
        reply_stats one = run_receipt(e->choices[i].run)->reply;
        if (i == 0) {
            all = one;
            continue;
        }
        if (i % e->manner.n == 0) {
            all.prompt_tokens += one.prompt_tokens;
            all.cached_tokens += one.cached_tokens;
        }
        all.reply_tokens += one.reply_tokens;
        all.estimated_tokens += one.estimated_tokens;
        all.drafted += one.drafted;
        all.accepted += one.accepted;
        all.prefill_ms += one.prefill_ms;
        all.decode_ms += one.decode_ms;
    }
    return all;
}

bool replies_tell_timings(const exchange *e, reply_stats *so_far)
{
    if (e->manner.tells_timings)
        *so_far = replies_stats(e);
    return e->manner.tells_timings && so_far->reply_tokens > 0;
}

void replies_write_account(const exchange *e, json_out *o)
{
    const reply_stats stats = replies_stats(e);
    timings_write(o, "timings", &stats);
    account_write(o, "a_io", e->choices[0].run, (uint64_t)e->manner.seed);
}

const char *choice_finish_text(const choice *c)
{
    return c->n_calls > 0 && c->finish == END_STOP ? "tool_calls" : finish_reason_text(c->finish);
}
