/*
 * attention_entry.h: from a set's inlined bodies to its functions of attention, one copy of a body
 * for each type. A set's file defines expand_type, score_queries and accumulate_queries, whose
 * first argument is then a constant; and expand_q4 and expand_group.
 */
#ifndef KERNEL_ATTENTION_ENTRY_H
#define KERNEL_ATTENTION_ENTRY_H

#include "kernel/internal.h"

#define CALL_FOR_TYPE(call, type, ...)                                                             \
    do {                                                                                           \
        if (type == KV_F16)                                                                        \
            call(KV_F16, __VA_ARGS__);                                                             \
        else if (type == KV_Q8_0)                                                                  \
            call(KV_Q8_0, __VA_ARGS__);                                                            \
        else                                                                                       \
            call(KV_F32, __VA_ARGS__);                                                             \
    } while (0)

#define DEFINE_ATTENTION(set)                                                                      \
    void set##_expand(kv_type type, float *dst, const void *src, size_t n, const void *next)       \
    {                                                                                              \
        if (type == KV_Q4)                                                                         \
            expand_q4(dst, src, n, distance(src, next));                                           \
        else                                                                                       \
            CALL_FOR_TYPE(expand_type, type, dst, src, n, distance(src, next));                    \
    }                                                                                              \
    void set##_expand_keys(float *dst, const void *group, size_t begin, size_t end,                \
                           size_t head_dim, const void *next)                                      \
    {                                                                                              \
        expand_group(dst, group, begin, end, head_dim, distance(group, next));                     \
    }                                                                                              \
    void set##_scores(kv_type type, const float *q, size_t n_queries, const void *k, size_t n,     \
                      size_t head_dim, const void *next, float *s)                                 \
    {                                                                                              \
        ptrdiff_t ahead = distance(k, next);                                                       \
        CALL_FOR_TYPE(score_queries, type, q, n_queries, k, n, head_dim, ahead, s);                \
    }                                                                                              \
    void set##_accumulate(kv_type type, float *out, const float *rescale, const float *s,          \
                          size_t n_queries, const void *v, size_t n, size_t head_dim,              \
                          const void *next)                                                        \
    {                                                                                              \
        ptrdiff_t ahead = distance(v, next);                                                       \
        CALL_FOR_TYPE(accumulate_queries, type, out, rescale, s, n_queries, v, n, head_dim,        \
                      ahead);                                                                      \
    }

#endif
