/* queue.c: sequences in the order they came, linked through themselves. */
#include "engine/queue.h"

void queue_push(sequence_queue *q, sequence *s)
{
    s->next = NULL;
    if (q->last != NULL)
        q->last->next = s;
    else
        q->first = s;
    q->last = s;
    q->length++;
}

sequence *queue_pop(sequence_queue *q)
{
    sequence *s = q->first;
    if (s != NULL)
        queue_remove(q, s);
    return s;
}

void queue_remove(sequence_queue *q, sequence *s)
{
    sequence *before = NULL;
    for (sequence *at = q->first; at != s; at = at->next)
        before = at;
    if (before != NULL)
        before->next = s->next;
    else
        q->first = s->next;
    if (q->last == s)
        q->last = before;
    q->length--;
    s->next = NULL;
}
