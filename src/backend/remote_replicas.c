/* remote_replicas.c: the servers of a model: made, changed by a reload, told to who looks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/remote.h"
#include "base/log.h"

/* ---- life ------------------------------------------------------------------------------------ */

static error_code add_replica(remote_pool *p, const char *url, bool is_new, double now_ms,
                              failure *fail)
{
    size_t slot;
    error_code code = pool_add(p->replicas, url, is_new, now_ms, &slot, fail);
    if (code != OK)
        return code;
    if (slot >= p->n_checks) {
        remote_check **longer = reallocarray(p->checks, slot + 1, sizeof *longer);
        if (longer == NULL)
            return failure_set(fail, ERR_MEMORY, "no memory for one more replica");
        p->checks = longer;
        while (p->n_checks <= slot)
            p->checks[p->n_checks++] = NULL;
    }
    remote_check *check = calloc(1, sizeof *check);
    if (check == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for one more replica");
    check->due_ms = now_ms + pool_draw(p->replicas) * p->backend->setting.health_ms;
    p->checks[slot] = check;
    return OK;
}

static error_code make_pool(remote_backend *b, size_t manner, bool is_single, char *const *urls,
                            size_t n, failure *fail)
{
    remote_pool *p = &b->pools[manner];
    const pool_setting setting = {.limit = b->setting.limit,
                                  .slow_start_ms = b->setting.slow_start_ms,
                                  .is_single = is_single,
                                  .seed = manner};
    p->backend = b;
    error_code code = n > 0 ? pool_create(&p->replicas, &setting, fail) : OK;
    for (size_t i = 0; code == OK && i < n; i++)
        code = add_replica(p, urls[i], false, 0, fail);
    return code;
}

error_code remote_pools_create(remote_backend *b, failure *fail)
{
    const config_remote *r = &b->config->remote;
    bool is_single = r->replicas.n == 0;
    b->setting = r->pool;
    error_code code = make_pool(b, MANNER_PLAIN, is_single,
                                is_single ? &b->config->remote.url : r->replicas.texts,
                                is_single ? 1 : r->replicas.n, fail);
    return code == OK ? make_pool(b, MANNER_LOOKUP, false, r->lookup_replicas.texts,
                                  r->lookup_replicas.n, fail)
                      : code;
}

static void free_check(remote_pool *p, size_t slot)
{
    if (p->checks[slot] != NULL)
        http_call_release(p->checks[slot]->http);
    free(p->checks[slot]);
    p->checks[slot] = NULL;
}

void remote_pools_free(remote_backend *b)
{
    for (size_t i = 0; i < N_MANNERS; i++) {
        remote_pool *p = &b->pools[i];
        for (size_t slot = 0; slot < p->n_checks; slot++)
            free_check(p, slot);
        free(p->checks);
        pool_destroy(p->replicas);
    }
}

/* ---- reloading ------------------------------------------------------------------------------- */

static bool copy_texts(config_texts *to, const config_texts *from)
{
    to->texts = calloc(from->n + 1, sizeof *to->texts);
    for (; to->texts != NULL && to->n < from->n; to->n++)
        if ((to->texts[to->n] = strdup(from->texts[to->n])) == NULL)
            return false;
    return to->texts != NULL;
}

void remote_change_free(remote_change *c)
{
    for (size_t i = 0; c != NULL && i < N_MANNERS; i++) {
        while (c->urls[i].n > 0)
            free(c->urls[i].texts[--c->urls[i].n]);
        free(c->urls[i].texts);
    }
    free(c);
}

remote_change *remote_change_make(const config_remote *r)
{
    remote_change *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->setting = r->pool;
    if (copy_texts(&c->urls[MANNER_PLAIN], &r->replicas) &&
        copy_texts(&c->urls[MANNER_LOOKUP], &r->lookup_replicas))
        return c;
    remote_change_free(c);
    return NULL;
}

static bool has_text(const config_texts *list, const char *text)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->texts[i], text) == 0)
            return true;
    return false;
}

static void change_pool(remote_pool *p, const config_texts *urls, double now_ms)
{
    failure why = {.code = OK};
    size_t added = 0, removed = 0;
    for (size_t slot = 0; slot < p->replicas->n_slots; slot++) {
        const pool_replica *r = &p->replicas->replicas[slot];
        if (!r->is_used || r->is_leaving || has_text(urls, r->history->name))
            continue;
        free_check(p, slot);
        pool_remove(p->replicas, slot);
        removed++;
    }
    for (size_t i = 0; why.code == OK && i < urls->n; i++)
        if (pool_find(p->replicas, urls->texts[i]) == POOL_NONE)
            added += add_replica(p, urls->texts[i], true, now_ms, &why) == OK;
    if (why.code != OK)
        log_warn("model '%s': %s", p->backend->base.name, why.text);
    if (added + removed > 0)
        log_info("model '%s': %zu servers came, %zu left, %zu serve it", p->backend->base.name,
                 added, removed, p->replicas->n);
}

void remote_pools_change(remote_backend *b, remote_change *change, double now_ms)
{
    b->setting = change->setting;
    for (size_t i = 0; i < N_MANNERS; i++) {
        pool *p = b->pools[i].replicas;
        if (p == NULL || p->setting.is_single)
            continue;
        pool_change(p, change->setting.limit, change->setting.slow_start_ms);
        for (size_t slot = 0; change->setting.health_ms == 0 && slot < p->n_slots; slot++)
            p->replicas[slot].unwell = 0; /* nobody would find it well again */
        change_pool(&b->pools[i], &change->urls[i], now_ms);
    }
    remote_change_free(change);
}

/* ---- for who looks --------------------------------------------------------------------------- */

static void read_one(const pool_replica *r, bool has_lookup, backend_replica *out)
{
    static const char *const states[] = {
        [BREAKER_CLOSED] = "closed", [BREAKER_OPEN] = "open", [BREAKER_HALF_OPEN] = "half_open"};
    *out = (backend_replica){.has_lookup = has_lookup,
                             .state = states[r->breaker.state],
                             .in_flight = r->in_flight,
                             .limit = r->limit,
                             .requests = r->requests,
                             .refused = r->history->refused,
                             .failed = r->history->failed,
                             .hedged = r->history->hedged,
                             .delay_ms = r->delay_ms};
    snprintf(out->url, sizeof out->url, "%s", r->history->name);
}

size_t remote_pools_read(const remote_backend *b, backend_replica *out, size_t most)
{
    size_t n = 0;
    for (size_t i = 0; i < N_MANNERS; i++) {
        const pool *p = b->pools[i].replicas;
        for (size_t slot = 0; p != NULL && slot < p->n_slots; slot++) {
            if (!p->replicas[slot].is_used || p->replicas[slot].is_leaving)
                continue;
            if (n < most)
                read_one(&p->replicas[slot], i == MANNER_LOOKUP, &out[n]);
            n++;
        }
    }
    return n;
}
