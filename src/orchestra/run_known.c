/* run_known.c: what there is to know of a run. */
#include "orchestra/run_internal.h"

const score_list *run_scores(const run *r)
{
    static const score_list none = {.n_top = 0};
    return r->reply != NULL ? reply_scores(r->reply) : &none;
}

const intent *run_intent(const run *r)
{
    return &r->sensed.intent;
}

const plan *run_plan(const run *r)
{
    return &r->plan;
}

const receipt *run_receipt(const run *r)
{
    return &r->receipt;
}

reply_end run_finish_reason(const run *r)
{
    return r->finish;
}

const char *run_stop(const run *r)
{
    return r->stop;
}

bool run_follows(const run *r)
{
    return r->follows;
}

reply_style run_style(const run *r)
{
    return reply_style_of(r->reply);
}

const failure *run_failure(const run *r)
{
    return &r->failure;
}

const routing *run_routing(const run *r)
{
    return r->routing;
}

const known_facts *run_facts(const run *r)
{
    return &r->known;
}

run_state run_reached(const run *r)
{
    return r->state;
}

const char *run_id(const run *r)
{
    return r->id;
}

bool run_only_decides(const run *r)
{
    return r->decide_only;
}
