/* consider.c: what would be decided of what a probe said, and nothing counts. */
#include "orchestra/internal.h"
#include "orchestra/probe.h"

error_code orchestra_consider(const orchestra *o, const classification_result *said,
                              size_t prompt_tokens, double coin, intent *found, plan *out,
                              failure *fail)
{
    const routing *g = o->routing;
    const calibration *calibrated =
        g->config->probe.calibration != NULL ? &g->calibration.calibration : NULL;
    error_code code = probe_read(said, g->label_names, calibrated, found, fail);
    if (code != OK)
        return code;
    double limit = g->online != NULL ? online_limit_now(g->online) : 0;
    const policy_facts facts = {.intent = found,
                                .prompt_tokens = prompt_tokens,
                                .turn = 1,
                                .coin = coin,
                                .entropy_limit = g->online != NULL ? &limit : NULL};
    policy_decide(g->policy, &facts, out); /* always decides once the intent is known */
    return OK;
}
