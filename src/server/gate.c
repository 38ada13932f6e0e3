/* gate.c: counting connections by address. */
#include "server/gate.h"

#include <netinet/in.h>
#include <string.h>

#include "server/exchange.h"

peer peer_of(const struct sockaddr_storage *address)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    peer p = {.is_v6 = false};
    const unsigned char *v4 = NULL;
    if (address->ss_family == AF_UNIX) {
        p.is_unix = p.is_loopback = true;
    } else if (address->ss_family == AF_INET) {
        v4 = (const unsigned char *)&((const struct sockaddr_in *)address)->sin_addr;
    } else if (address->ss_family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)address)->sin6_addr;
        if (memcmp(v6->s6_addr, mapped, sizeof mapped) == 0) {
            v4 = v6->s6_addr + 12;
        } else {
            p.is_v6 = true;
            p.is_loopback = IN6_IS_ADDR_LOOPBACK(v6);
            memcpy(p.network, v6->s6_addr, sizeof p.network);
        }
    }
    if (v4 != NULL) {
        memcpy(p.network, v4, 4);
        p.is_loopback = v4[0] == 127;
    }
    return p;
}

static bool is_same_peer(const peer *a, const peer *b)
{
    return a->is_v6 == b->is_v6 && a->is_loopback == b->is_loopback &&
           memcmp(a->network, b->network, sizeof a->network) == 0;
}

/* Many clients of a proxy on this machine are one address: without a limit of the operator's, those
 * of this machine have all. */
static size_t peer_limit(const server *s, const peer *p)
{
    if (s->options.max_connections_per_address > 0)
        return s->options.max_connections_per_address;
    size_t all = s->options.max_connections;
    return p->is_loopback || all < 2 ? all : all / 2;
}

/* What it is too much for, beside the others that have a place. Under the lock. */
static connection_excess find_excess(const gate *g, const connection *c)
{
    const server *s = c->server;
    size_t all = 0, same = 0;
    for (const connection *other = g->oldest; other != NULL; other = other->newer) {
        bool counts = other != c && other->excess == EXCESS_NONE;
        all += counts;
        same += counts && is_same_peer(&other->peer, &c->peer);
    }
    if (all >= s->options.max_connections)
        return EXCESS_ALL;
    return same >= peer_limit(s, &c->peer) ? EXCESS_PEER : EXCESS_NONE;
}

void gate_init(gate *g)
{
    *g = (gate){.oldest = NULL};
    pthread_mutex_init(&g->lock, NULL);
}

void gate_free(gate *g)
{
    pthread_mutex_destroy(&g->lock);
}

void gate_enter(connection *c)
{
    gate *g = &c->server->gate;
    pthread_mutex_lock(&g->lock);
    c->excess = find_excess(g, c);
    c->older = g->newest;
    if (g->newest != NULL)
        g->newest->newer = c;
    else
        g->oldest = c;
    g->newest = c;
    pthread_mutex_unlock(&g->lock);
}

void gate_leave(connection *c)
{
    gate *g = &c->server->gate;
    pthread_mutex_lock(&g->lock);
    if (c->older != NULL)
        c->older->newer = c->newer;
    else
        g->oldest = c->newer;
    if (c->newer != NULL)
        c->newer->older = c->older;
    else
        g->newest = c->older;
    pthread_mutex_unlock(&g->lock);
}

bool gate_has_place(connection *c)
{
    gate *g = &c->server->gate;
    if (c->excess == EXCESS_NONE)
        return true;
    pthread_mutex_lock(&g->lock);
    c->excess = find_excess(g, c);
    pthread_mutex_unlock(&g->lock);
    return c->excess == EXCESS_NONE;
}

connection *gate_find_spare(gate *g)
{
    connection *found = NULL;
    pthread_mutex_lock(&g->lock);
    for (connection *c = g->oldest; c != NULL; c = c->newer) {
        if (!connection_is_spare(c) || (found != NULL && c->excess == EXCESS_NONE))
            continue;
        found = c;
        if (c->excess != EXCESS_NONE)
            break;
    }
    pthread_mutex_unlock(&g->lock);
    return found;
}
