/* run_known.c: what there is to know of a run. */
#include <math.h>

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

static double price_of(const config_price *p, size_t prompt_tokens, size_t reply_tokens)
{
    return 1e-6 * (p->input * (double)prompt_tokens + p->output * (double)reply_tokens);
}

double run_cost(const run *r)
{
    const config *c = r->routing->config;
    const reply_stats *probe = &r->receipt.probe, *said = &r->receipt.reply;
    double asked =
        price_of(&c->models[c->probe.model].price, probe->prompt_tokens, probe->reply_tokens);
    double answered = price_of(&c->models[r->plan.level].price,
                               r->follows ? 0 : said->prompt_tokens, said->reply_tokens);
    return config_has_prices(c) ? (r->follows ? 0 : asked) + answered : NAN;
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
