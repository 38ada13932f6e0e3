/* remote_health.c: a model's replicas are asked whether they are well; who waits at one that is not
 * goes elsewhere. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/remote.h"
#include "base/log.h"

#define CHECK_MOST_MS 2000.0 /* that a check may take */
#define CHECK_LEAST_MS 500.0
#define CHECK_AGAIN_MS 300.0 /* after one that failed */
#define CHECK_LOOK_MS 20.0   /* while one is under way */

static char *check_url(const remote_backend *b, const char *url)
{
    char *out;
    const char *path = b->config->remote.health_path;
    const char *host = strstr(url, "://") + 3;
    size_t origin = (size_t)(host - url) + strcspn(host, "/");
    int length = path != NULL ? asprintf(&out, "%.*s%s", (int)origin, url, path)
                              : asprintf(&out, "%s/models", url);
    return length < 0 ? NULL : out;
}

/* That a check may take. */
static double check_ms(const remote_backend *b)
{
    return fmin(fmax(b->setting.health_ms, CHECK_LEAST_MS), CHECK_MOST_MS);
}

static void begin_check(remote_pool *p, size_t slot, double now_ms)
{
    remote_check *check = p->checks[slot];
    remote_backend *b = p->backend;
    failure why;
    char *url = check_url(b, p->replicas->replicas[slot].history->name);
    const http_call_options options = {.url = url,
                                       .agent = "a-io",
                                       .bearer = b->key,
                                       .ca_file = b->config->remote.ca_file,
                                       .connect_ms = check_ms(b),
                                       .limit = (size_t)16 << 20};
    check->began_ms = now_ms;
    check->due_ms = now_ms + b->setting.health_ms * (0.9 + 0.2 * pool_draw(p->replicas));
    if (url != NULL)
        http_call_start(b->house->lanes[0]->client, &options, &check->http, &why);
    free(url);
}

/* Those that wait there for a first byte go elsewhere, whichever lane has them. */
static void move_away(const remote_pool *p, size_t slot)
{
    log_warn("%s: a server of model '%s' does not answer",
             p->replicas->replicas[slot].history->name, p->backend->base.name);
    remote_house_look(p->backend->house);
}

static void end_check(remote_pool *p, size_t slot, bool is_well, double now_ms)
{
    remote_check *check = p->checks[slot];
    http_call_release(check->http);
    check->http = NULL;
    if (!is_well)
        check->due_ms = fmin(check->due_ms, now_ms + CHECK_AGAIN_MS);
    if (pool_check(p->replicas, slot, is_well, now_ms))
        move_away(p, slot);
}

/* Returns when the replica's check is to be looked at again. */
static double look_at_check(remote_pool *p, size_t slot, double now_ms)
{
    remote_check *check = p->checks[slot];
    double end_ms = check->began_ms + check_ms(p->backend);
    if (check->http != NULL && http_call_is_done(check->http)) {
        int status = http_call_status(check->http);
        end_check(p, slot, http_call_result(check->http, NULL) == OK && status < 500, now_ms);
    } else if (check->http != NULL && now_ms >= end_ms)
        end_check(p, slot, false, now_ms);
    if (check->http == NULL && now_ms >= check->due_ms)
        begin_check(p, slot, now_ms);
    return check->http != NULL ? now_ms + CHECK_LOOK_MS : check->due_ms;
}

static double look_at_pool(remote_pool *p, double now_ms)
{
    double next_ms = INFINITY;
    if (p->replicas == NULL || p->replicas->setting.is_single || p->backend->setting.health_ms == 0)
        return next_ms;
    for (size_t slot = 0; slot < p->replicas->n_slots; slot++) {
        const pool_replica *r = &p->replicas->replicas[slot];
        if (r->is_used && !r->is_leaving)
            next_ms = fmin(next_ms, look_at_check(p, slot, now_ms));
    }
    return next_ms;
}

double remote_health_look(remote_backend *b, double now_ms)
{
    double next_ms = INFINITY;
    for (size_t i = 0; i < N_MANNERS; i++)
        next_ms = fmin(next_ms, look_at_pool(&b->pools[i], now_ms));
    return next_ms;
}
