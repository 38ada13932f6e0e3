/* loop_tell.c: what a loop is told by its connections, and by other threads. */
#include "server/loop_parts.h"

size_t loop_lane(const loop *l)
{
    return l->number;
}

void loop_post(connection *c)
{
    mailbox_post(c->loop->mailbox, c);
}

void loop_note_closed(connection *c)
{
    gate_leave(c);
    atomic_fetch_sub(&c->loop->open, 1);
}

void loop_note_over(connection *c)
{
    c->loop->has_dead = true;
}
