/* turns.c: shares of time, by comparing what each engine had. */
#include "engine/turns.h"

static bool is_overdue(const turn_claim *c)
{
    return c->waited_ms >= c->budget_ms;
}

bool turn_goes_before(const turn_claim *a, const turn_claim *b)
{
    if (is_overdue(a) != is_overdue(b))
        return is_overdue(a);
    if (is_overdue(a))
        return a->waited_ms > b->waited_ms;
    if (a->used_ms == b->used_ms)
        return a->waited_ms > b->waited_ms;
    return a->used_ms < b->used_ms;
}

void turn_taken(turn_claim *by, double ms)
{
    by->used_ms += ms / (double)(by->sequences > 0 ? by->sequences : 1);
    by->waited_ms = 0;
}

void turn_passed(turn_claim *other, const turn_claim *by, double ms)
{
    if (other->sequences > 0) {
        other->waited_ms += ms;
        return;
    }
    other->waited_ms = 0;
    if (other->used_ms < by->used_ms)
        other->used_ms = by->used_ms;
}
