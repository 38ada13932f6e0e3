/* lookup_texts.h: for the benches of prompt lookup: requests with their replies (lookup_texts.py)
 * as tokens; models. */
#ifndef BENCH_LOOKUP_TEXTS_H
#define BENCH_LOOKUP_TEXTS_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench.h"
#include "model/model.h"

#define MAX_TEXTS 64 /* of a kind */

typedef struct text {
    token_list tokens; /* prompt, then reply */
    size_t n_prompt;
} text;

typedef struct text_kind {
    const char *name;
    text texts[MAX_TEXTS];
    size_t n;
} text_kind;

enum { COPY, EDIT, WORD, PROSE, TEXT_KINDS };

static inline void must(error_code code, const failure *fail)
{
    if (code == OK)
        return;
    fprintf(stderr, "bench-lookup: %s\n", fail->text);
    exit(1);
}

/* A file or a synthetic shape and type (pangu-1b:q4_0). */
static inline model *load_model(const char *spec)
{
    failure fail;
    char path[BENCH_PATH_SIZE];
    bench_synthetic shape;
    model *m;
    bool is_file = strstr(spec, ".gguf") != NULL;
    if (is_file)
        snprintf(path, sizeof path, "%s", spec);
    else {
        must(bench_synthetic_parse(spec, &shape, &fail), &fail);
        must(bench_synthetic_file(&shape, NULL, path, &fail), &fail);
    }
    must(model_load(&m, path, &(model_options){.chat_template = is_file ? NULL : "none"}, &fail),
         &fail);
    return m;
}

static inline tokenizer *load_words(const char *path)
{
    failure fail;
    gguf *file;
    tokenizer *t;
    must(gguf_open(&file, path, &fail), &fail);
    must(tokenizer_load(&t, file, &fail), &fail);
    gguf_close(file);
    return t;
}

static inline void add_part(const tokenizer *t, const json_t *line, const char *key, bool at_start,
                            token_list *out)
{
    failure fail;
    const json_t *part = json_object_get(line, key);
    must(tokenizer_encode(t, json_string_value(part), json_string_length(part), false, at_start,
                          out, &fail),
         &fail);
}

static inline void add_text(text_kind *kinds, const tokenizer *t, const json_t *line)
{
    const char *kind = json_string_value(json_object_get(line, "kind"));
    for (size_t i = 0; i < TEXT_KINDS; i++) {
        text_kind *k = &kinds[i];
        if (kind == NULL || strcmp(k->name, kind) != 0 || k->n == MAX_TEXTS)
            continue;
        text *x = &k->texts[k->n++];
        add_part(t, line, "prompt", true, &x->tokens);
        x->n_prompt = x->tokens.length;
        add_part(t, line, "reply", false, &x->tokens);
    }
}

/* The file's texts, by kind. They live as long as the program. */
static inline text_kind *load_texts(const char *path, const tokenizer *t)
{
    static text_kind kinds[TEXT_KINDS] = {[COPY] = {.name = "copy"},
                                          [EDIT] = {.name = "edit"},
                                          [WORD] = {.name = "word"},
                                          [PROSE] = {.name = "prose"}};
    FILE *file = fopen(path, "r");
    failure fail;
    if (file == NULL)
        must(failure_set(&fail, ERR_IO, "cannot read the texts in %s", path), &fail);
    for (json_t *line; (line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL)) != NULL;) {
        add_text(kinds, t, line);
        json_decref(line);
    }
    fclose(file);
    return kinds;
}

#endif
