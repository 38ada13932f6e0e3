/* tokenizer_merge.c: merging the best pair first, by a heap over a linked list. */
#include "model/tokenizer_internal.h"

#include <stdlib.h>

void merge_space_free(merge_space *m)
{
    free(m->symbols);
    free(m->heap);
    *m = (merge_space){0};
}

static error_code grow(void **items, size_t *capacity, size_t item_bytes)
{
    size_t more = *capacity < 64 ? 64 : *capacity + *capacity / 2;
    void *memory = reallocarray(*items, more, item_bytes);
    if (memory == NULL)
        return ERR_MEMORY;
    *items = memory;
    *capacity = more;
    return OK;
}

error_code merge_symbol_add(merge_space *m, uint32_t begin, uint32_t length, int32_t id)
{
    if (m->n_symbols == m->symbols_capacity) {
        void *items = m->symbols;
        error_code code = grow(&items, &m->symbols_capacity, sizeof *m->symbols);
        m->symbols = items;
        if (code != OK)
            return code;
    }
    uint32_t index = (uint32_t)m->n_symbols++;
    m->symbols[index] =
        (merge_symbol){begin, length, index == 0 ? MERGE_NONE : index - 1, MERGE_NONE, id};
    if (index > 0)
        m->symbols[index - 1].next = index;
    return OK;
}

static error_code heap_push(merge_space *m, merge_candidate candidate)
{
    if (m->n_heap == m->heap_capacity) {
        void *items = m->heap;
        error_code code = grow(&items, &m->heap_capacity, sizeof *m->heap);
        m->heap = items;
        if (code != OK)
            return code;
    }
    size_t i = m->n_heap++;
    while (i > 0 && candidate.order < m->heap[(i - 1) / 2].order) {
        m->heap[i] = m->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    m->heap[i] = candidate;
    return OK;
}

static merge_candidate heap_pop(merge_space *m)
{
    merge_candidate top = m->heap[0];
    merge_candidate last = m->heap[--m->n_heap];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= m->n_heap)
            break;
        if (child + 1 < m->n_heap && m->heap[child + 1].order < m->heap[child].order)
            child++;
        if (last.order <= m->heap[child].order)
            break;
        m->heap[i] = m->heap[child];
        i = child;
    }
    m->heap[i] = last;
    return top;
}

/* Offers the pair (left, right) when the vocabulary joins it. */
static error_code offer(const tokenizer *t, merge_space *m, const char *text, uint32_t left,
                        uint32_t right)
{
    const merge_symbol *a = &m->symbols[left], *b = &m->symbols[right];
    uint32_t priority;
    int32_t merged;
    if (t->kind == VOCABULARY_SPM) {
        merged = piece_find(t, text + a->begin, (size_t)a->length + b->length);
        if (merged < 0)
            return OK;
        priority = t->tokens[merged].priority;
    } else {
        const pair_slot *pair = pair_find(t, a->id, b->id);
        if (pair == NULL)
            return OK;
        merged = pair->merged;
        priority = pair->rank;
    }
    return heap_push(m, (merge_candidate){.order = (uint64_t)priority << 32 | left,
                                          .right = right,
                                          .length = a->length + b->length,
                                          .merged = merged});
}

error_code merge_run(const tokenizer *t, merge_space *m, const char *text)
{
    error_code code = OK;
    m->n_heap = 0;
    for (uint32_t i = 1; code == OK && i < m->n_symbols; i++)
        code = offer(t, m, text, i - 1, i);
    while (code == OK && m->n_heap > 0) {
        merge_candidate best = heap_pop(m);
        uint32_t left = (uint32_t)best.order;
        merge_symbol *a = &m->symbols[left], *b = &m->symbols[best.right];
        /* Symbols only grow, so an unchanged joint length means that both are what they were; one
         * that was swallowed has length 0. */
        if (a->length == 0 || a->next != best.right || a->length + b->length != best.length)
            continue;
        a->id = best.merged;
        a->length = best.length;
        a->next = b->next;
        b->length = 0;
        if (a->next != MERGE_NONE)
            m->symbols[a->next].previous = left;
        if (a->previous != MERGE_NONE)
            code = offer(t, m, text, a->previous, left);
        if (code == OK && a->next != MERGE_NONE)
            code = offer(t, m, text, left, a->next);
    }
    return code;
}
