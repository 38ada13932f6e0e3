/* local_stats.c: what an engine says of a sequence, in the words of backend.h. */
#include "backend/local.h"

work_state local_state(sequence_state s)
{
    static const work_state states[] = {[SEQUENCE_RUNNING] = WORK_RUNNING,
                                        [SEQUENCE_FINISHED] = WORK_FINISHED,
                                        [SEQUENCE_FAILED] = WORK_FAILED};
    return states[s];
}

reply_stats local_stats(const sequence_stats *s)
{
    return (reply_stats){.prompt_tokens = s->prompt_tokens,
                         .cached_tokens = s->cached_tokens,
                         .reply_tokens = s->reply_tokens,
                         .steps = s->steps,
                         .drafted = s->drafted,
                         .accepted = s->accepted,
                         .parked = s->parked,
                         .refilled_tokens = s->refilled_tokens,
                         .queue_ms = s->queue_ms,
                         .prefill_ms = s->prefill_ms,
                         .decode_ms = s->decode_ms,
                         .switch_ms = s->switch_ms,
                         .weight_bytes = s->weight_bytes,
                         .kv_bytes = s->kv_bytes};
}
