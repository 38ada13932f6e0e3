/* tokenizer_special.c: where special tokens are in a text, the longest first. */
#include "model/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* ---- building ---- */

static int compare_specials(const void *a, const void *b, void *context)
{
    const tokenizer *t = context;
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    uint32_t m = t->tokens[x].length, n = t->tokens[y].length;
    int order = memcmp(token_text(t, x), token_text(t, y), m < n ? m : n);
    if (order != 0)
        return order;
    if (m != n)
        return m < n ? -1 : 1;
    return (x > y) - (x < y);
}

static bool is_special(const tokenizer *t, size_t id, bool only_added)
{
    const token_entry *token = &t->tokens[id];
    if (token->length == 0)
        return false;
    if (!only_added)
        return token->type == TOKEN_CONTROL || token->type == TOKEN_UNKNOWN ||
               token->type == TOKEN_USER_DEFINED;
    /* Other engines take every "</s>" for the end of a text and never find it in plain text; so
     * Gemma's HTML tag is spelled by pieces there. */
    bool sentence_end = token->length == 4 && memcmp(token_text(t, (int32_t)id), "</s>", 4) == 0;
    return token->type == TOKEN_USER_DEFINED && !sentence_end;
}

static error_code index_build(tokenizer *t, special_index *index, bool only_added, failure *fail)
{
    size_t n = 0;
    for (size_t id = 0; id < t->size; id++)
        n += is_special(t, id, only_added);
    index->ids = reallocarray(NULL, n + 1, sizeof *index->ids);
    if (index->ids == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for %zu special tokens", n);
    for (size_t id = 0; id < t->size; id++)
        if (is_special(t, id, only_added))
            index->ids[index->n++] = (int32_t)id;
    qsort_r(index->ids, n, sizeof *index->ids, compare_specials, t);
    for (size_t i = 0; i < n; i++)
        index->first[(unsigned char)token_text(t, index->ids[i])[0] + 1]++;
    for (size_t byte = 0; byte < 256; byte++)
        index->first[byte + 1] += index->first[byte];
    return OK;
}

error_code special_indices_build(tokenizer *t, failure *fail)
{
    error_code code = index_build(t, &t->specials, false, fail);
    return code == OK ? index_build(t, &t->added, true, fail) : code;
}

/* ---- finding ---- */

/* The first special in [low, high) whose byte `depth` is at least `byte`; all of them share the
 * bytes before and are longer than depth. */
static size_t special_bound(const tokenizer *t, const special_index *index, size_t low, size_t high,
                            size_t depth, int byte)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((unsigned char)token_text(t, index->ids[middle])[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int32_t match_of(const tokenizer *t, const special_index *index, const char *text,
                        size_t length)
{
    int32_t found = -1;
    if (length == 0)
        return -1;
    size_t low = index->first[(unsigned char)text[0]];
    size_t high = index->first[(unsigned char)text[0] + 1];
    /* Walks the sorted list like a trie: [low, high) share text's first `depth` bytes. */
    for (size_t depth = 1; low < high; depth++) {
        while (low < high && t->tokens[index->ids[low]].length == depth) {
            if (found < 0 || t->tokens[found].length < depth)
                found = index->ids[low];
            low++;
        }
        if (depth == length)
            break;
        int byte = (unsigned char)text[depth];
        low = special_bound(t, index, low, high, depth, byte);
        high = special_bound(t, index, low, high, depth, byte + 1);
    }
    return found;
}

int32_t special_match(const tokenizer *t, const char *text, size_t length)
{
    return match_of(t, &t->specials, text, length);
}

int32_t special_next_of(const tokenizer *t, const special_index *index, const char *text,
                        size_t length, size_t from, size_t *at)
{
    *at = index->n == 0 && from < length ? length : from;
    for (; *at < length; ++*at) {
        int32_t id = match_of(t, index, text + *at, length - *at);
        if (id >= 0)
            return id;
    }
    return -1;
}

int32_t special_next(const tokenizer *t, const char *text, size_t length, size_t from, size_t *at)
{
    return special_next_of(t, &t->specials, text, length, from, at);
}

/* The bytes of the white-space character (Unicode's White_Space) at the front of text, or 0. */
static size_t white_space(const char *text, size_t length)
{
    static const char *const wide[] = {
        "\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\xA8",
        "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80",
    };
    if (text[0] == ' ' || (text[0] >= '\t' && text[0] <= '\r'))
        return 1;
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        if (length >= strlen(wide[i]) && memcmp(text, wide[i], strlen(wide[i])) == 0)
            return strlen(wide[i]);
    bool en_quad_to_hair_space = length >= 3 && memcmp(text, "\xE2\x80", 2) == 0 &&
                                 (unsigned char)text[2] >= 0x80 && (unsigned char)text[2] <= 0x8A;
    return en_quad_to_hair_space ? 3 : 0;
}

size_t special_end(const tokenizer *t, int32_t id, const char *text, size_t length, size_t at)
{
    at += t->tokens[id].length;
    while (t->tokens[id].strips_after && at < length) {
        size_t bytes = white_space(text + at, length - at);
        if (bytes == 0)
            break;
        at += bytes;
    }
    return at;
}
