/* stress_judge.c: whether an answer in company is that of its solo run, or a beginning of it. */
#include <string.h>

#include "stress.h"

static bool begins_with(const void *whole, size_t n_whole, const void *part, size_t n_part)
{
    return n_part <= n_whole && (n_part == 0 || memcmp(whole, part, n_part) == 0);
}

static bool is_beginning(const answer *part, const answer *whole)
{
    return begins_with(whole->tokens.ids, whole->tokens.length * sizeof(int32_t), part->tokens.ids,
                       part->tokens.length * sizeof(int32_t)) &&
           begins_with(whole->text.data, whole->text.length, part->text.data, part->text.length);
}

static bool is_same(const client *c)
{
    const answer *got = &c->got, *solo = c->solo;
    if (c->asked->classify)
        return memcmp(got->last.label_logits, solo->last.label_logits,
                      STRESS_LABELS * sizeof(float)) == 0 &&
               got->last.log_sum_exp == solo->last.log_sum_exp;
    return got->tokens.length == solo->tokens.length && got->text.length == solo->text.length &&
           got->last.finish == solo->last.finish && is_beginning(got, solo);
}

const char *stress_judge(const client *c)
{
    const sequence_poll_result *r = &c->got.last;
    if (r->state == SEQUENCE_FAILED) {
        bool allowed = (r->failure.code == ERR_CANCELLED && c->cancelled) ||
                       (r->failure.code == ERR_TIMEOUT && c->how.deadline_ms > 0);
        if (!allowed)
            return r->failure.text;
    }
    if (r->state == SEQUENCE_FINISHED ? !is_same(c) : !is_beginning(&c->got, c->solo))
        return "the answer differs from its solo run";
    if (r->stats.cached_tokens >= c->asked->prompt.length)
        return "the whole prompt came from the cache";
    bool is_batch = c->how.priority == PRIORITY_BATCH && !c->asked->classify;
    if (!is_batch && r->stats.parked + r->stats.refilled_tokens > 0)
        return "it had to make room, and is not batch";
    return NULL;
}
