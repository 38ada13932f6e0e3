/* tokenizer_table.c: hash tables of pieces and of pairs, built once, read-only then. */
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
    t->pieces = reallocarray(NULL, slots, sizeof *t->pieces);
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
        t->pieces[i] = (piece_slot){hash, (int32_t)id, token->begin, token->length};
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
        if (slot->hash == hash && slot->length == length &&
            memcmp(t->arena + slot->begin, text, length) == 0)
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

static size_t part_decode(const tokenizer *t, const char *text, size_t length, char *bytes)
{
    return t->kind == VOCABULARY_BYTE_BPE ? bpe_decode_text(text, length, bytes)
                                          : unmark_spaces(text, length, bytes);
}

/* The token a merge speaks of: a piece, or one that the file calls something else. */
static int32_t part_find(const tokenizer *t, const char *text, size_t length)
{
    int32_t id = piece_find(t, text, length);
    if (id >= 0)
        return id;
    id = special_match(t, text, length);
    return id >= 0 && t->tokens[id].length == length ? id : -1;
}

/* Decodes the two parts of a merge line one after the other; scratch holds merge.length bytes. */
static bool merge_parts(const tokenizer *t, gguf_string merge, char *scratch, size_t *left,
                        size_t *right)
{
    /* Tokens write a space otherwise, so the first one (never at the very front) is the divider. */
    const char *space = merge.length < 3 ? NULL : memchr(merge.data + 1, ' ', merge.length - 2);
    if (space == NULL)
        return false;
    size_t left_text = (size_t)(space - merge.data);
    *left = part_decode(t, merge.data, left_text, scratch);
    if (*left == SIZE_MAX)
        return false;
    *right = part_decode(t, space + 1, merge.length - left_text - 1, scratch + *left);
    return *right != SIZE_MAX;
}

/* Finds the two tokens of a merge line and their joint token. */
static bool merge_line(const tokenizer *t, gguf_string merge, char *scratch, pair_slot *slot)
{
    size_t left, right;
    if (!merge_parts(t, merge, scratch, &left, &right))
        return false;
    slot->left = part_find(t, scratch, left);
    slot->right = part_find(t, scratch + left, right);
    slot->merged = part_find(t, scratch, left + right);
    return slot->left >= 0 && slot->right >= 0 && slot->merged >= 0;
}

/* Half a million merges look three tokens up each, all over a table that no cache holds: asking for
 * the slots some lines ahead takes a fifth off the time to load a vocabulary. */
static void merge_prefetch(const tokenizer *t, gguf_string merge, char *scratch)
{
    size_t left, right;
    if (!merge_parts(t, merge, scratch, &left, &right))
        return;
    __builtin_prefetch(&t->pieces[text_hash(scratch, left) & t->pieces_mask]);
    __builtin_prefetch(&t->pieces[text_hash(scratch + left, right) & t->pieces_mask]);
    __builtin_prefetch(&t->pieces[text_hash(scratch, left + right) & t->pieces_mask]);
}

static void pair_add(tokenizer *t, pair_slot slot)
{
    size_t i = pair_start(t, slot.left, slot.right);
    for (; t->pairs[i].left >= 0; i = (i + 1) & t->pairs_mask)
        if (t->pairs[i].left == slot.left && t->pairs[i].right == slot.right)
            return; /* the earlier one has the better rank */
    t->pairs[i] = slot;
}

static error_code pair_table_fill(tokenizer *t, const gguf_string *merges, size_t n, char *scratch,
                                  failure *fail)
{
    for (size_t rank = 0; rank < n; rank++) {
        pair_slot slot = {.rank = (uint32_t)rank};
        if (rank + 8 < n)
            merge_prefetch(t, merges[rank + 8], scratch);
        if (!merge_line(t, merges[rank], scratch, &slot)) {
            char shown[80];
            utf8_printable(merges[rank].data, merges[rank].length, shown, sizeof shown);
            return failure_set(fail, ERR_FORMAT,
                               "tokenizer.ggml.merges: entry %zu (\"%s\") does not join two tokens "
                               "of the vocabulary into a third",
                               rank, shown);
        }
        if (t->tokens[slot.merged].type != TOKEN_CONTROL) /* no ordinary text becomes one */
            pair_add(t, slot);
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
    t->pairs = reallocarray(NULL, slots, sizeof *t->pairs);
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
