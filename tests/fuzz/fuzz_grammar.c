/* fuzz_grammar.c: a schema, grammar, expression or list of choices: refused in words, or it says of
 * a few tokens one after another which may follow. The library behind it is Rust, whose
 * branches libFuzzer sees (Makefile, RUST_TRACE). */
#include "fuzz/target.h"

#include "base/log.h"
#include "kernel/kernel.h"
#include "model/grammar.h"

#define FOLLOWED 4 /* tokens: each may take 20 ms */

static model *small;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    failure fail;
    model_options options = {0};
    log_set_level(LOG_ERROR);
    HOLDS(kernel_init(NULL, &fail) == OK);
    HOLDS(model_load(&small, "models/demo/small.gguf", &options, &fail) == OK);
    return 0;
}

/* The first that may follow, from a place that the input gives on; -1: none. */
static int32_t choose(const uint32_t *mask, size_t words, uint32_t from)
{
    size_t n = words * 32;
    for (size_t i = 0; i < n; i++) {
        size_t id = (from + i) % n;
        if (mask[id / 32] >> id % 32 & 1)
            return (int32_t)id;
    }
    return -1;
}

static void follow(const grammar *g, uint32_t from)
{
    token_constraint *c;
    failure fail = {0};
    if (token_constraint_create(&c, g, &fail) != OK)
        return;
    size_t words = token_constraint_words(c);
    uint32_t *mask = calloc(words, sizeof *mask);
    HOLDS(mask != NULL);
    for (int i = 0; i < FOLLOWED && token_constraint_mask(c, mask, &fail) == OK; i++) {
        int32_t token = choose(mask, words, from * (uint32_t)(i + 1));
        if (token < 0 || token_constraint_is_complete(c) ||
            token_constraint_accept(c, token, &fail) != OK)
            break;
    }
    free(mask);
    token_constraint_destroy(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    grammar *g;
    failure fail = {0};
    error_code code = grammar_compile(&g, small, (grammar_kind)(data[0] % (GRAMMAR_CHOICE + 1)),
                                      (const char *)data + 2, size - 2, &fail);
    check_refusal(code, &fail);
    if (code == OK) {
        follow(g, data[1]);
        grammar_destroy(g);
    }
    return 0;
}
