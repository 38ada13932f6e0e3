/* facts.c: what rules may look at, gathered from a request, and what is kept of conversations. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "orchestra/internal.h"

/* ---- digests -------------------------------------------------------------------------------- */

/* Lengths go before texts, so that different requests never give the same bytes. */
static void add_text(digest *d, const char *text, size_t length)
{
    uint64_t n = length;
    digest_add(d, &n, sizeof n);
    digest_add(d, text, length);
}

static void start(digest *d, const char *kind)
{
    digest_start(d);
    add_text(d, kind, strlen(kind));
}

static error_code digest_of(digest *d, const char *kind, const char *text, size_t length,
                            recent_key *out, failure *fail)
{
    start(d, kind);
    add_text(d, text, length);
    return digest_read(d, out->digest, fail);
}

static bool is_user(const chat_message *m)
{
    return strcmp(m->role, "user") == 0;
}

/* How many earlier turns are looked for. */
#define MAX_PREFIXES 8

typedef struct prefixes {
    recent_key whole;
    recent_key earlier[MAX_PREFIXES]; /* digests of the messages up to earlier user messages, in a
                                         ring; the last one is not among them */
    size_t n;
} prefixes;

static error_code digest_prompt(digest *d, const request *q, recent_key *out, failure *fail)
{
    start(d, "prompt");
    add_text(d, q->prompt, q->prompt_length);
    if (q->suffix != NULL)
        add_text(d, q->suffix, q->suffix_length);
    if (q->files_json != NULL)
        add_text(d, q->files_json, strlen(q->files_json));
    return digest_read(d, out->digest, fail);
}

/* What all turns of a conversation have besides their messages. */
static void add_chat(digest *d, const request_chat *c)
{
    const char *const texts[] = {c->tools_json, c->documents_json, c->variables_json};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i] != NULL)
            add_text(d, texts[i], strlen(texts[i]));
}

static error_code digest_request(digest *d, const request *q, prefixes *p, failure *fail)
{
    error_code code = OK;
    p->n = 0;
    if (q->prompt_ids != NULL)
        return digest_of(d, "ids", (const char *)q->prompt_ids,
                         q->n_prompt_ids * sizeof *q->prompt_ids, &p->whole, fail);
    if (q->prompt != NULL)
        return digest_prompt(d, q, &p->whole, fail);
    start(d, "messages");
    add_chat(d, &q->chat);
    for (size_t i = 0; code == OK && i < q->n_messages; i++) {
        const chat_message *m = &q->messages[i];
        add_text(d, m->role, strlen(m->role));
        add_text(d, m->content, m->content_length);
        if (is_user(m) && i + 1 < q->n_messages)
            code = digest_read(d, p->earlier[p->n++ % MAX_PREFIXES].digest, fail);
    }
    if (q->chat.messages_json != NULL)
        add_text(d, q->chat.messages_json, strlen(q->chat.messages_json));
    return code == OK ? digest_read(d, p->whole.digest, fail) : code;
}

error_code request_digest(const request *q, recent_key *out)
{
    prefixes p;
    digest *d;
    error_code code = digest_create(&d, DIGEST_SHA256, NULL);
    if (code == OK)
        code = digest_request(d, q, &p, NULL);
    if (code == OK)
        *out = p.whole;
    digest_destroy(d);
    return code;
}

/* The last user message alone: what a template with {query} shows of a conversation. */
static error_code digest_query(digest *d, const request *q, recent_key *out, failure *fail)
{
    for (size_t i = q->n_messages; i-- > 0;)
        if (is_user(&q->messages[i]))
            return digest_of(d, "query", q->messages[i].content, q->messages[i].content_length, out,
                             fail);
    return digest_of(d, "query", "", 0, out, fail);
}

/* ---- conversations -------------------------------------------------------------------------- */

/* Where the conversation's plan is kept: under the session's name, or its own messages. */
static error_code name_conversation(known_facts *k, digest *d, const prefixes *p,
                                    const char *session, failure *fail)
{
    k->conversation = p->whole;
    return session == NULL
               ? OK
               : digest_of(d, "session", session, strlen(session), &k->conversation, fail);
}

static void find_kept(known_facts *k, const routing *g, const prefixes *p, const char *session)
{
    bool found = session != NULL && recent_find(g->conversations, &k->conversation, &k->kept);
    /* The latest turn first: the longest prefix. */
    for (size_t i = p->n; session == NULL && !found && i-- > 0 && i + MAX_PREFIXES >= p->n;)
        found = recent_find(g->conversations, &p->earlier[i % MAX_PREFIXES], &k->kept);
    if (found)
        k->facts.kept = &k->kept;
}

/* What a moment decided, by its trouble or by who had time, says nothing about the conversation. */
static bool is_passing(const policy *of, const plan *p)
{
    bool is_of_delay = p->number < policy_rule_count(of) &&
                       policy_rule(of, p->number)->choice == CONFIG_MODEL_CHEAPEST;
    return is_of_delay || p->fallback == FALLBACK_PROBE_ERROR ||
           p->fallback == FALLBACK_PROBE_TIMEOUT || p->fallback == FALLBACK_LOAD;
}

void facts_keep_plan(const known_facts *k, const routing *g, const plan *p)
{
    if (g->conversations == NULL || is_passing(g->policy, p))
        return;
    policy_kept kept = {.rule = p->number, .level = p->level, .prior = p->lookup.prior};
    recent_store(g->conversations, &k->conversation, &kept);
}

/* ---- gathering ------------------------------------------------------------------------------ */

static error_code copy_headers(known_facts *k, const routing *g, const run_options *options,
                               failure *fail)
{
    size_t n = policy_header_count(g->policy), room = 0;
    if (n == 0 || options->header == NULL)
        return OK;
    for (size_t i = 0; i < n; i++) {
        const char *value = options->header(options->header_context, policy_header(g->policy, i));
        room += value != NULL ? strlen(value) + 1 : 0;
    }
    k->headers = calloc(1, n * sizeof *k->headers + room);
    if (k->headers == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the request's headers");
    char *end = (char *)(k->headers + n);
    for (size_t i = 0; i < n; i++) {
        const char *value = options->header(options->header_context, policy_header(g->policy, i));
        if (value == NULL)
            continue;
        size_t length = strlen(value) + 1;
        k->headers[i] = memcpy(end, value, length);
        end += length;
    }
    k->facts.headers = (const char *const *)k->headers;
    return OK;
}

static policy_load load_of(const orchestra *o, size_t index)
{
    backend_load s;
    backend_read_load(o->players[index].backend, &s);
    return (policy_load){.running = (uint32_t)s.running,
                         .waiting = (uint32_t)s.waiting,
                         .delay_ms = delay_expected(&o->players[index].delay, &s, clock_ms())};
}

static error_code gather_keys(known_facts *k, const routing *g, const request *q,
                              const char *session, failure *fail)
{
    prefixes p;
    digest *d;
    error_code code = digest_create(&d, DIGEST_SHA256, fail);
    if (code == OK)
        code = digest_request(d, q, &p, fail);
    if (code == OK)
        k->probe = p.whole;
    bool is_raw = q->prompt != NULL || q->prompt_ids != NULL;
    if (code == OK && !is_raw && !g->reads_states && strstr(g->template.text, "{query}") != NULL)
        code = digest_query(d, q, &k->probe, fail);
    if (code == OK && g->conversations != NULL)
        code = name_conversation(k, d, &p, session, fail);
    if (code == OK && g->conversations != NULL)
        find_kept(k, g, &p, session);
    digest_destroy(d);
    return code;
}

error_code facts_gather(known_facts *k, orchestra *o, const routing *g, const request *q,
                        const run_options *options, failure *fail)
{
    policy_facts *f = &k->facts;
    f->has_session = options->session != NULL;
    f->coin = random_uniform(g->config->policy.seed, 0, atomic_fetch_add(&o->routed, 1));
    for (size_t i = 0; i < o->n_players; i++)
        f->load[i] = load_of(o, i);
    if (g->online != NULL) {
        k->entropy_limit = online_limit_now(g->online);
        f->entropy_limit = &k->entropy_limit;
    }
    if (g->online_doubt != NULL) {
        k->success_limit = 1 - online_limit_now(g->online_doubt);
        f->success_limit = &k->success_limit;
    }
    bool is_raw = q->prompt != NULL || q->prompt_ids != NULL;
    f->turn = is_raw ? 1 : 0;
    for (size_t i = 0; !is_raw && i < q->n_messages; i++)
        f->turn += is_user(&q->messages[i]);
    error_code code = gather_keys(k, g, q, options->session, fail);
    if (code != OK)
        return code;
    return copy_headers(k, g, options, fail);
}

void facts_free(known_facts *k)
{
    free(k->headers);
    k->headers = NULL;
    k->facts.headers = NULL;
}
