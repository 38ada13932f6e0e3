#include <stdlib.h>
#include <string.h>

#include "orchestra/internal.h"

/* ---- digests -------------------------------------------------------------------------------- */

/* Lengths go before texts, so that different requests never give the same bytes. */
static void add_text(sha256 *s, const char *text, size_t length)
{
    uint64_t n = length;
    sha256_add(s, &n, sizeof n);
    sha256_add(s, text, length);
}

static void start(sha256 *s, const char *kind)
{
    sha256_init(s);
    add_text(s, kind, strlen(kind));
}

static recent_key finish(const sha256 *s)
{
    sha256 copy = *s;
    recent_key key;
    sha256_end(&copy, key.digest);
    return key;
}

static recent_key digest_of(const char *kind, const char *text, size_t length)
{
    sha256 s;
    start(&s, kind);
    add_text(&s, text, length);
    return finish(&s);
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

static void digest_request(const request *q, prefixes *p)
{
    sha256 s;
    p->n = 0;
    if (q->prompt != NULL) {
        p->whole = digest_of("prompt", q->prompt, q->prompt_length);
        return;
    }
    start(&s, "messages");
    for (size_t i = 0; i < q->n_messages; i++) {
        const chat_message *m = &q->messages[i];
        add_text(&s, m->role, strlen(m->role));
        add_text(&s, m->content, m->content_length);
        if (is_user(m) && i + 1 < q->n_messages)
            p->earlier[p->n++ % MAX_PREFIXES] = finish(&s);
    }
    p->whole = finish(&s);
}

recent_key request_digest(const request *q)
{
    prefixes p;
    digest_request(q, &p);
    return p.whole;
}

/* The last user message alone: what a template with {query} shows of a conversation. */
static recent_key digest_query(const request *q)
{
    for (size_t i = q->n_messages; i-- > 0;)
        if (is_user(&q->messages[i]))
            return digest_of("query", q->messages[i].content, q->messages[i].content_length);
    return digest_of("query", "", 0);
}

/* ---- conversations -------------------------------------------------------------------------- */

static void find_kept(known_facts *k, orchestra *o, const prefixes *p, const char *session)
{
    bool found = false;
    k->conversation = p->whole;
    if (session != NULL) {
        k->conversation = digest_of("session", session, strlen(session));
        found = recent_find(o->conversations, &k->conversation, &k->kept);
    }
    /* The latest turn first: the longest prefix. */
    for (size_t i = p->n; session == NULL && !found && i-- > 0 && i + MAX_PREFIXES >= p->n;)
        found = recent_find(o->conversations, &p->earlier[i % MAX_PREFIXES], &k->kept);
    if (found)
        k->facts.kept = &k->kept;
}

void facts_keep_plan(const known_facts *k, orchestra *o, const plan *p)
{
    /* What a moment's trouble decided says nothing about the conversation. */
    bool is_passing = p->fallback == FALLBACK_PROBE_ERROR ||
                      p->fallback == FALLBACK_PROBE_TIMEOUT || p->fallback == FALLBACK_LOAD;
    if (o->conversations == NULL || is_passing)
        return;
    policy_kept kept = {.rule = p->number, .prior = p->lookup.prior};
    recent_store(o->conversations, &k->conversation, &kept);
}

/* ---- gathering ------------------------------------------------------------------------------ */

static error_code copy_headers(known_facts *k, const orchestra *o, const run_options *options,
                               failure *fail)
{
    size_t n = policy_header_count(o->policy), room = 0;
    if (n == 0 || options->header == NULL)
        return OK;
    for (size_t i = 0; i < n; i++) {
        const char *value = options->header(options->header_context, policy_header(o->policy, i));
        room += value != NULL ? strlen(value) + 1 : 0;
    }
    k->headers = calloc(1, n * sizeof *k->headers + room);
    if (k->headers == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the request's headers");
    char *end = (char *)(k->headers + n);
    for (size_t i = 0; i < n; i++) {
        const char *value = options->header(options->header_context, policy_header(o->policy, i));
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
    engine_status s;
    backend_read_status(o->players[index].backend, &s);
    return (policy_load){.running = (uint32_t)s.running, .waiting = (uint32_t)s.waiting};
}

error_code facts_gather(known_facts *k, orchestra *o, const request *q, const run_options *options,
                        failure *fail)
{
    policy_facts *f = &k->facts;
    f->has_session = options->session != NULL;
    f->coin = random_uniform(o->config->policy.seed, 0, atomic_fetch_add(&o->routed, 1));
    f->load[ROLE_SMALL] = load_of(o, o->small);
    f->load[ROLE_LARGE] = load_of(o, o->large);
    if (o->online != NULL) {
        k->entropy_limit = online_limit_now(o->online);
        f->entropy_limit = &k->entropy_limit;
    }
    f->turn = q->prompt != NULL ? 1 : 0;
    for (size_t i = 0; q->prompt == NULL && i < q->n_messages; i++)
        f->turn += is_user(&q->messages[i]);
    prefixes p;
    digest_request(q, &p);
    k->probe = p.whole;
    if (q->prompt == NULL && strstr(o->template.text, "{query}") != NULL)
        k->probe = digest_query(q);
    if (o->conversations != NULL)
        find_kept(k, o, &p, options->session);
    return copy_headers(k, o, options, fail);
}

void facts_free(known_facts *k)
{
    free(k->headers);
    k->headers = NULL;
    k->facts.headers = NULL;
}
