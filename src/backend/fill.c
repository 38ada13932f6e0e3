/* fill.c: the marks that models know around a hole, and the files before it. */
#include "backend/fill.h"

#include <jansson.h>
#include <string.h>

#include "base/json.h"

typedef struct fill_marks {
    const char *prefix, *suffix, *middle;
    const char *repository, *file; /* NULL: files stand before the prefix without marks */
} fill_marks;

static const fill_marks known[] = {
    {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|repo_name|>", "<|file_sep|>"},
    {"<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<reponame>", "<file_sep>"},
    {"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", NULL, NULL},
    {"▁<PRE>", "▁<SUF>", "▁<MID>", NULL, NULL},
};

typedef struct filler {
    const tokenizer *tokenizer;
    token_list *out;
    failure *fail;
    const fill_marks *marks;
} filler;

static int32_t find(const tokenizer *t, const char *mark)
{
    return mark != NULL ? tokenizer_find(t, mark, strlen(mark)) : -1;
}

static const fill_marks *find_marks(const tokenizer *t)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (find(t, known[i].prefix) >= 0 && find(t, known[i].suffix) >= 0 &&
            find(t, known[i].middle) >= 0)
            return &known[i];
    return NULL;
}

static error_code add_mark(filler *f, const char *mark)
{
    return token_list_add(f->out, find(f->tokenizer, mark)) == OK
               ? OK
               : failure_set(f->fail, ERR_MEMORY, "no memory for the prompt");
}

static error_code add_text(filler *f, const char *text, size_t length)
{
    return tokenizer_encode(f->tokenizer, text, length, false, false, f->out, f->fail);
}

static error_code add_name(filler *f, const char *name)
{
    error_code code = add_mark(f, f->marks->file);
    if (code == OK)
        code = add_text(f, name, strlen(name));
    return code == OK ? add_text(f, "\n", 1) : code;
}

/* A file as the models with marks for it were trained to see it; else only its text. */
static error_code add_file(filler *f, const json_t *file, bool is_marked)
{
    const json_t *text = json_object_get(file, "text");
    const char *name = json_string_value(json_object_get(file, "filename"));
    error_code code = is_marked ? add_name(f, name != NULL ? name : "tmp") : OK;
    if (code == OK)
        code = add_text(f, json_string_value(text), json_string_length(text));
    return code == OK && !is_marked ? add_text(f, "\n\n", 2) : code;
}

static error_code add_files(filler *f, const json_t *files)
{
    static const char repository[] = "repository\n";
    const tokenizer *t = f->tokenizer;
    bool is_marked = find(t, f->marks->file) >= 0 && find(t, f->marks->repository) >= 0;
    error_code code = is_marked ? add_mark(f, f->marks->repository) : OK;
    if (code == OK && is_marked)
        code = add_text(f, repository, strlen(repository));
    for (size_t i = 0; code == OK && i < json_array_size(files); i++)
        code = add_file(f, json_array_get(files, i), is_marked);
    return code == OK && is_marked ? add_name(f, "filename") : code;
}

static error_code add_files_json(filler *f, const char *text)
{
    error_code code;
    json_error_t error;
    json_t *files = json_read(text, strlen(text), JSON_ALLOW_NUL, &error, &code);
    if (files == NULL)
        return failure_set(f->fail, code, "the files cannot be read: %s", error.text);
    code = json_array_size(files) > 0 ? add_files(f, files) : OK;
    json_decref(files);
    return code;
}

error_code fill_encode(const tokenizer *t, const char *name, const request *r, token_list *out,
                       failure *fail)
{
    filler f = {t, out, fail, find_marks(t)};
    if (f.marks == NULL)
        return failure_set(fail, ERR_UNSUPPORTED,
                           "model '%s' was not trained to fill in: it has no tokens for it", name);
    if (tokenizer_adds_bos(t) && token_list_add(out, tokenizer_bos(t)) != OK)
        return failure_set(fail, ERR_MEMORY, "no memory for the prompt");
    error_code code = r->files_json != NULL ? add_files_json(&f, r->files_json) : OK;
    if (code == OK)
        code = add_mark(&f, f.marks->prefix);
    if (code == OK)
        code = add_text(&f, r->prompt, r->prompt_length);
    if (code == OK)
        code = add_mark(&f, f.marks->suffix);
    if (code == OK)
        code = add_text(&f, r->suffix, r->suffix_length);
    if (code == OK)
        code = add_mark(&f, f.marks->middle);
    return code == OK && r->chat.begun != NULL ? add_text(&f, r->chat.begun, r->chat.begun_length)
                                               : code;
}
