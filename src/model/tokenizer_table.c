#include "model/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

static uint64_t mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0x9E3779B97F4A7C15u;
    return x ^ (x >> 29);
}

static uint32_t text_hash(const char *text, size_t length)
{
    uint64_t hash = length;
    while (length >= 8) {
        uint64_t eight;
        memcpy(&eight, text, 8);
        hash = mix(hash ^ eight);
        text += 8;
        length -= 8;
    }
    uint64_t rest = 0;
    memcpy(&rest, text, length);
    return (uint32_t)mix(hash ^ rest * 0xD6E8FEB86659FD93u);
}

/* The number of slots for n entries: a power of two, at most half full. */
static size_t table_slots(size_t n)
{
    size_t slots = 16;
    while (slots < 2 * n)
        slots *= 2;
    return slots;
}

/* ---- pieces ---- */

error_code piece_table_build(tokenizer *t, failure *fail)
{
    size_t slots = table_slots(t->size);
    t->pieces = malloc(slots * sizeof *t->pieces);
    if (t->pieces == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a vocabulary of %zu", t->size);
    t->pieces_mask = slots - 1;
    for (size_t i = 0; i < slots; i++)
        t->pieces[i].id = -1;
    for (size_t id = 0; id < t->size; id++) {
        const token_entry *token = &t->tokens[id];
        if (!token_is_piece(t, (int32_t)id) || token->length == 0)
            continue;
        if (piece_find(t, token_text(t, (int32_t)id), token->length) >= 0)
            continue; /* of two tokens with one text the lower id is the one that is written */
        uint32_t hash = text_hash(token_text(t, (int32_t)id), token->length);
        size_t i = hash & t->pieces_mask;
        while (t->pieces[i].id >= 0)
            i = (i + 1) & t->pieces_mask;
        t->pieces[i] = (piece_slot){hash, (int32_t)id};
        if (token->length > t->longest_piece)
            t->longest_piece = token->length;
    }
    return OK;
}

int32_t piece_find(const tokenizer *t, const char *text, size_t length)
{
    if (length > t->longest_piece)
        return -1;
    uint32_t hash = text_hash(text, length);
    for (size_t i = hash & t->pieces_mask;; i = (i + 1) & t->pieces_mask) {
        const piece_slot *slot = &t->pieces[i];
        if (slot->id < 0)
            return -1;
        if (slot->hash == hash && t->tokens[slot->id].length == length &&
            memcmp(token_text(t, slot->id), text, length) == 0)
            return slot->id;
    }
}

/* ---- pairs ---- */

static size_t pair_start(const tokenizer *t, int32_t left, int32_t right)
{
    return mix((uint64_t)(uint32_t)left << 32 | (uint32_t)right) & t->pairs_mask;
}

const pair_slot *pair_find(const tokenizer *t, int32_t left, int32_t right)
{
    for (size_t i = pair_start(t, left, right);; i = (i + 1) & t->pairs_mask) {
        const pair_slot *slot = &t->pairs[i];
        if (slot->left < 0)
            return NULL;
        if (slot->left == left && slot->right == right)
            return slot;
    }
}

/* Finds the two pieces of a merge line and their joint piece; scratch holds merge.length bytes. */
static bool merge_line(const tokenizer *t, gguf_string merge, char *scratch, pair_slot *slot)
{
    /* The byte alphabet has no space, so the first one (never at the very front) is the divider. */
    const char *space = merge.length < 3 ? NULL : memchr(merge.data + 1, ' ', merge.length - 2);
    if (space == NULL)
        return false;
    size_t left_text = (size_t)(space - merge.data);
    size_t left = bpe_decode_text(merge.data, left_text, scratch);
    if (left == SIZE_MAX)
        return false;
    size_t right = bpe_decode_text(space + 1, merge.length - left_text - 1, scratch + left);
    if (right == SIZE_MAX)
        return false;
    slot->left = piece_find(t, scratch, left);
    slot->right = piece_find(t, scratch + left, right);
    slot->merged = piece_find(t, scratch, left + right);
    return slot->left >= 0 && slot->right >= 0 && slot->merged >= 0;
}

static error_code pair_table_fill(tokenizer *t, const gguf_string *merges, size_t n, char *scratch,
                                  failure *fail)
{
    for (size_t rank = 0; rank < n; rank++) {
        pair_slot slot = {.rank = (uint32_t)rank};
        if (!merge_line(t, merges[rank], scratch, &slot)) {
            char shown[80];
            utf8_printable(merges[rank].data, merges[rank].length, shown, sizeof shown);
            return failure_set(fail, ERR_FORMAT,
                               "tokenizer.ggml.merges: entry %zu (\"%s\") does not join two tokens "
                               "of the vocabulary into a third",
                               rank, shown);
        }
        if (pair_find(t, slot.left, slot.right) != NULL)
            continue; /* the earlier one has the better rank */
        size_t i = pair_start(t, slot.left, slot.right);
        while (t->pairs[i].left >= 0)
            i = (i + 1) & t->pairs_mask;
        t->pairs[i] = slot;
    }
    return OK;
}

error_code pair_table_build(tokenizer *t, const gguf_string *merges, size_t n, failure *fail)
{
    if (n > INT32_MAX)
        return failure_set(fail, ERR_TOO_LARGE, "tokenizer.ggml.merges has %zu entries", n);
    size_t longest = 0;
    for (size_t i = 0; i < n; i++)
        if (merges[i].length > longest)
            longest = merges[i].length;
    size_t slots = table_slots(n);
    t->pairs = malloc(slots * sizeof *t->pairs);
    char *scratch = malloc(longest + 1);
    if (t->pairs == NULL || scratch == NULL) {
        free(scratch);
        return failure_set(fail, ERR_MEMORY, "no memory for %zu merges", n);
    }
    t->pairs_mask = slots - 1;
    for (size_t i = 0; i < slots; i++)
        t->pairs[i].left = -1;
    error_code code = pair_table_fill(t, merges, n, scratch, fail);
    free(scratch);
    return code;
}

/* ---- specials ---- */

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

static bool is_special(const tokenizer *t, size_t id)
{
    uint8_t type = t->tokens[id].type;
    return (type == TOKEN_CONTROL || type == TOKEN_USER_DEFINED) && t->tokens[id].length > 0 &&
           !token_is_piece(t, (int32_t)id);
}

error_code special_index_build(tokenizer *t, failure *fail)
{
    size_t n = 0;
    for (size_t id = 0; id < t->size; id++)
        n += is_special(t, id);
    t->specials = malloc((n + 1) * sizeof *t->specials);
    if (t->specials == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for %zu special tokens", n);
    for (size_t id = 0; id < t->size; id++)
        if (is_special(t, id))
            t->specials[t->n_specials++] = (int32_t)id;
    qsort_r(t->specials, n, sizeof *t->specials, compare_specials, t);
    for (size_t i = 0; i < n; i++)
        t->special_first[(unsigned char)token_text(t, t->specials[i])[0] + 1]++;
    for (size_t byte = 0; byte < 256; byte++)
        t->special_first[byte + 1] += t->special_first[byte];
    return OK;
}

/* The first special in [low, high) whose byte `depth` is at least `byte`; all of them share the
 * bytes before and are longer than depth. */
static size_t special_bound(const tokenizer *t, size_t low, size_t high, size_t depth, int byte)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((unsigned char)token_text(t, t->specials[middle])[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int32_t special_match(const tokenizer *t, const char *text, size_t length)
{
    int32_t found = -1;
    if (length == 0)
        return -1;
    size_t low = t->special_first[(unsigned char)text[0]];
    size_t high = t->special_first[(unsigned char)text[0] + 1];
    /* Walks the sorted list like a trie: [low, high) share text's first `depth` bytes. */
    for (size_t depth = 1; low < high; depth++) {
        while (low < high && t->tokens[t->specials[low]].length == depth) {
            if (found < 0 || t->tokens[found].length < depth)
                found = t->specials[low];
            low++;
        }
        if (depth == length)
            break;
        int byte = (unsigned char)text[depth];
        low = special_bound(t, low, high, depth, byte);
        high = special_bound(t, low, high, depth, byte + 1);
    }
    return found;
}

int32_t special_next(const tokenizer *t, const char *text, size_t length, size_t from, size_t *at)
{
    for (*at = from; *at < length; ++*at) {
        int32_t id = special_match(t, text + *at, length - *at);
        if (id >= 0)
            return id;
    }
    return -1;
}
