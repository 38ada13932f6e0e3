/* request.c: questions to the hub: redirects, the token, refusals, patience. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "hub/internal.h"

#define AGENT "a-io"
#define CONNECT_MS 10e3
#define LOOK_MS 100.0 /* how often the watcher is asked */
#define MAX_REDIRECTS 10
#define MAX_PATIENCE_S 300.0 /* that the hub may ask for */
#define FIRST_PAUSE_S 0.5
#define LONGEST_PAUSE_S 8.0

/* ---- one question ------------------------------------------------------------------------- */

/* Passes on what belongs to the answer, and drops the texts of redirects and refusals. */
typedef struct receiver {
    const hub_query *query;
    const http_call *call;
} receiver;

static bool receive(void *context, const char *data, size_t length)
{
    const receiver *r = context;
    int status = http_call_status(r->call);
    if ((status != 200 && status != 206) || r->query->data == NULL)
        return true;
    return r->query->data(r->query->context, r->call, data, length);
}

error_code hub_watch(hub_session *s, failure *fail)
{
    if (s->watcher.call == NULL || s->watcher.call(s->watcher.context, &s->progress))
        return OK;
    return failure_set(fail, ERR_CANCELLED, "stopped; the same command goes on from here");
}

static error_code run_to_end(hub_session *s, const http_call *c, failure *fail)
{
    error_code code = OK;
    while (code == OK && !http_call_is_done(c)) {
        code = http_client_run(s->client, LOOK_MS, fail);
        if (code == OK)
            code = hub_watch(s, fail);
    }
    return code;
}

/* Metadata is where the hub's own servers are; any other place only has the content. */
static bool is_hub(const hub_session *s, const char *url)
{
    return http_same_origin(url, s->settings->endpoint) ||
           http_same_origin(url, "https://huggingface.co") ||
           http_same_origin(url, "https://hf.co");
}

/* One call, without its redirects. */
static error_code call(hub_session *s, const hub_query *q, const char *url, http_call **out,
                       failure *fail)
{
    receiver r = {.query = q};
    const http_call_options o = {
        .url = url,
        .is_head = q->is_head,
        .from = q->from,
        .agent = AGENT,
        .bearer = http_same_origin(url, s->settings->endpoint) ? s->settings->token : NULL,
        .connect_ms = CONNECT_MS,
        .silence_ms = q->silence_ms,
        .limit = q->limit,
        .data = receive,
        .context = &r,
    };
    error_code code = http_call_start(s->client, &o, out, fail);
    r.call = *out;
    s->is_away = !is_hub(s, url);
    if (code == OK)
        code = run_to_end(s, *out, fail);
    if (code == OK && http_call_result(*out, fail) != OK)
        code = failure_prefix(fail, "%.*s", (int)strcspn(url, "?"), url); /* no signatures */
    return code;
}

static bool is_downgrade(const char *from, const char *to)
{
    return strncmp(from, "https:", 6) == 0 && strncmp(to, "https:", 6) != 0;
}

error_code hub_ask(hub_session *s, const hub_query *q, http_call **out, failure *fail)
{
    char url[8192];
    *out = NULL;
    snprintf(url, sizeof url, "%s", q->url);
    for (int i = 0; i <= MAX_REDIRECTS; i++) {
        error_code code = call(s, q, url, out, fail);
        const char *next = code == OK ? http_call_redirect(*out) : NULL;
        if (next == NULL || (q->is_head && !is_hub(s, next)))
            return code;
        if (is_downgrade(url, next))
            return failure_set(fail, ERR_IO, "%s: redirects from https to %s", q->url, next);
        if (strlen(next) >= sizeof url)
            return failure_set(fail, ERR_IO, "%s: redirects to an address that is too long",
                               q->url);
        strcpy(url, next);
        http_call_release(*out);
        *out = NULL;
    }
    return failure_set(fail, ERR_IO, "%s: redirects without end", q->url);
}

/* ---- refusals ------------------------------------------------------------------------------- */

static error_code refuse_access(const hub_session *s, const char *code, const char *words,
                                failure *fail)
{
    const char *hub = s->settings->endpoint, *repository = s->name->repository;
    bool known = s->settings->token != NULL;
    if (strcmp(code, "GatedRepo") == 0)
        return failure_set(fail, ERR_DENIED,
                           "%s is gated: ask for access on its page %s/%s, then %s", repository,
                           hub, repository,
                           known ? "use a token of the account that got it (HF_TOKEN is of one "
                                   "that has none)"
                                 : "set HF_TOKEN to a token of your account");
    if (strstr(words, "credentials") != NULL && known)
        return failure_set(fail, ERR_DENIED,
                           "%s does not know the token it was sent (HF_TOKEN or the token file)",
                           hub);
    if (known && strcmp(code, "RepoNotFound") != 0)
        return failure_set(fail, ERR_DENIED, "%s refuses %s to the account of HF_TOKEN", hub,
                           repository);
    return failure_set(fail, ERR_NOT_FOUND, "no repository %s at %s, or it is private: %s",
                       repository, hub,
                       known ? "the account of HF_TOKEN cannot see it"
                             : "then set HF_TOKEN to a token of an account that can see it");
}

static error_code refuse_missing(const hub_session *s, const char *code, failure *fail)
{
    const char *hub = s->settings->endpoint, *repository = s->name->repository;
    if (strcmp(code, "RevisionNotFound") == 0)
        return failure_set(fail, ERR_NOT_FOUND, "%s has no revision %s", repository,
                           hub_revision(s->name));
    if (strcmp(code, "EntryNotFound") == 0)
        return failure_set(fail, ERR_NOT_FOUND, "%s has no file %s", repository,
                           s->progress.file != NULL ? s->progress.file : "of this name");
    return failure_set(fail, ERR_NOT_FOUND, "no repository %s at %s", repository, hub);
}

error_code hub_judge(const hub_session *s, const http_call *call, failure *fail)
{
    int status = http_call_status(call);
    if (status == 200 || status == 206 || http_call_redirect(call) != NULL)
        return OK;
    const char *code = http_call_header(call, "X-Error-Code");
    const char *words = http_call_header(call, "X-Error-Message");
    code = code != NULL ? code : "";
    words = words != NULL ? words : "";
    if (s->is_away)
        return failure_set(fail, ERR_IO, "where %s keeps the file: HTTP %d", s->settings->endpoint,
                           status);
    if (status == 401 || status == 403)
        return refuse_access(s, code, words, fail);
    if (status == 404)
        return refuse_missing(s, code, fail);
    char shown[160];
    utf8_printable(words, strlen(words), shown, sizeof shown);
    return failure_set(fail, status == 429 ? ERR_BUSY : ERR_IO, "%s answers HTTP %d%s%s",
                       s->settings->endpoint, status, shown[0] != '\0' ? ": " : "", shown);
}

/* ---- patience ------------------------------------------------------------------------------- */

bool hub_may_pass(const http_call *call, error_code code)
{
    int status = call != NULL ? http_call_status(call) : 0;
    if (status == 408 || status == 429 || status >= 500)
        return true;
    /* No whole answer: the connection failed. */
    return code != OK && (status == 0 || status == 200 || status == 206) &&
           (code == ERR_IO || code == ERR_TIMEOUT);
}

/* What the answer asks for: Retry-After, or the hub's RateLimit ("api";r=0;t=55). */
static double asked_pause_s(const http_call *call)
{
    double seconds = call != NULL ? http_call_retry_after_s(call) : 0;
    const char *limit =
        call != NULL && http_call_status(call) == 429 ? http_call_header(call, "RateLimit") : NULL;
    const char *left = limit != NULL ? strstr(limit, ";t=") : NULL;
    unsigned t;
    return seconds <= 0 && left != NULL && sscanf(left, ";t=%6u", &t) == 1 ? t : seconds;
}

error_code hub_back_off(hub_session *s, unsigned tries, const http_call *call, failure *fail)
{
    double seconds = FIRST_PAUSE_S, asked = asked_pause_s(call);
    for (unsigned i = 1; i < tries && seconds < LONGEST_PAUSE_S; i++)
        seconds *= 2;
    if (asked > MAX_PATIENCE_S) {
        failure_set(fail, ERR_BUSY, "%s asks to wait %.0f s; try again then", s->settings->endpoint,
                    asked);
        failure_retry_after(fail, asked);
        return ERR_BUSY;
    }
    seconds = asked > seconds ? asked : seconds;
    failure trouble = *fail;
    s->progress.trouble = trouble.text;
    s->progress.pause_s = seconds;
    error_code code = hub_watch(s, fail);
    s->progress.trouble = NULL;
    for (double end = clock_ms() + 1e3 * seconds; code == OK && clock_ms() < end;) {
        nanosleep(&(struct timespec){.tv_nsec = (long)(LOOK_MS * 1e6)}, NULL);
        code = hub_watch(s, fail);
    }
    return code;
}

error_code hub_ask_again(hub_session *s, const hub_query *q, unsigned tries, http_call **out,
                         failure *fail)
{
    for (unsigned i = 1;; i++) {
        if (q->restart != NULL)
            q->restart(q->context);
        error_code code = hub_ask(s, q, out, fail);
        if (code == OK)
            code = hub_judge(s, *out, fail);
        if (code == OK)
            return OK;
        bool again = i < tries && hub_may_pass(*out, code);
        if (again)
            code = hub_back_off(s, i, *out, fail);
        http_call_release(*out);
        *out = NULL;
        if (!again || code != OK)
            return code;
    }
}
