/* connection_out.c: a connection's state, and what an answer does to it. */
#include "base/clock.h"
#include "server/connection_parts.h"

void connection_await(connection *c, connection_state state, double within_ms)
{
    c->state = state;
    c->deadline_ms = within_ms > 0 ? clock_ms() + within_ms : 0;
}

bool connection_is_spare(const connection *c)
{
    return c->state == CONNECTION_HEAD || c->state == CONNECTION_LINGERING;
}

void connection_send(connection *c, buffer *answer, bool streams)
{
    if (buffer_add(&c->out, answer->data, answer->length) != OK) {
        buffer_free(answer);
        c->closes = true;
        c->streams = false;
    } else {
        buffer_free(answer);
        c->streams = streams;
    }
    connection_await(c, CONNECTION_SENDING, CONNECTION_STALL_MS);
}
