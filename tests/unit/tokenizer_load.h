/* tokenizer_load.h: what the tests of tokenizers share: tokenizers of small vocabularies, and what
 * they make of a text. */
#ifndef TESTS_TOKENIZER_LOAD_H
#define TESTS_TOKENIZER_LOAD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tokenizer_vocabulary.h"

static inline tokenizer *load(const vocabulary *v)
{
    tokenizer *t = NULL;
    failure fail = {0};
    if (vocabulary_load(v, &t, &fail) != OK)
        fail_msg("%s", fail.text);
    return t;
}

static inline tokenizer *load_bpe(const char *pre)
{
    vocabulary v;
    vocabulary_bpe(&v);
    v.pre = pre;
    return load(&v);
}

static inline tokenizer *load_spm(void)
{
    vocabulary v;
    vocabulary_spm(&v);
    return load(&v);
}

/* Encodes and compares with the ids given, which end with -1. */
static inline void expect_ids(const tokenizer *t, const char *text, size_t length, bool specials,
                              bool at_start, const int *want)
{
    token_list ids = {0};
    failure fail = {0};
    assert_int_equal(tokenizer_encode(t, text, length, specials, at_start, &ids, &fail), OK);
    size_t n = 0;
    for (; want[n] != -1; n++) {
        if (n >= ids.length || ids.ids[n] != want[n])
            fail_msg("\"%s\": id %zu is %d, not %d", text, n, n < ids.length ? ids.ids[n] : -1,
                     want[n]);
    }
    assert_int_equal(ids.length, n);
    token_list_free(&ids);
}

#define IDS(...) ((const int[]){__VA_ARGS__, -1})

#endif
