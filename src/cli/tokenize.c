/* tokenize.c: the command `tokenize`: texts to ids and back, a line each. */
#include "base/json.h"
#include "cli/cli.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/utf8.h"
#include "cli/common.h"
#include "cli/help.h"
#include "cli/model_file.h"
#include "model/tokenizer.h"

#define MAX_INPUT ((size_t)1 << 30)
/* A token is a few bytes; JSON writes some of them as six. */
#define MAX_OUTPUT ((size_t)8 << 30)

typedef enum tokenize_mode { MODE_LINES, MODE_ENCODE, MODE_DECODE } tokenize_mode;

/* ---- plain text ----------------------------------------------------------------------------- */

static error_code print_lines(const tokenizer *t, const buffer *input, failure *fail)
{
    token_list ids = {0};
    error_code code = tokenizer_encode(t, input->length > 0 ? input->data : "", input->length,
                                       false, true, &ids, fail);
    for (size_t i = 0; code == OK && i < ids.length; i++) {
        size_t length;
        const char *bytes = tokenizer_bytes(t, ids.ids[i], true, &length);
        char shown[512];
        utf8_printable(bytes, length, shown, sizeof shown);
        printf("%d\t%s\n", (int)ids.ids[i], shown);
    }
    token_list_free(&ids);
    return code;
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static json_t *encode_text(const tokenizer *t, const json_t *text, token_list *ids, failure *fail)
{
    if (!json_is_string(text)) {
        failure_set(fail, ERR_INVALID, "expected an array of texts");
        return NULL;
    }
    ids->length = 0;
    if (tokenizer_encode(t, json_string_value(text), json_string_length(text), false, true, ids,
                         fail) != OK)
        return NULL;
    json_t *array = json_array();
    for (size_t i = 0; i < ids->length; i++)
        json_array_append_new(array, json_integer(ids->ids[i]));
    return array;
}

static json_t *decode_ids(const tokenizer *t, const json_t *ids, buffer *text, failure *fail)
{
    if (!json_is_array(ids)) {
        failure_set(fail, ERR_INVALID, "expected an array of arrays of token ids");
        return NULL;
    }
    text_decoder decoder;
    text_decoder_init(&decoder, t, true);
    buffer_clear(text);
    error_code code = OK;
    size_t i;
    json_t *id;
    json_array_foreach(ids, i, id)
    {
        json_int_t value = json_is_integer(id) ? json_integer_value(id) : -1;
        if (value < 0 || value >= (json_int_t)tokenizer_size(t)) {
            failure_set(fail, ERR_INVALID, "entry %zu is no token id (0 … %zu)", i,
                        tokenizer_size(t) - 1);
            return NULL;
        }
        if (code == OK)
            code = text_decoder_push(&decoder, (int32_t)value, text);
    }
    if (code == OK)
        code = text_decoder_finish(&decoder, text);
    if (code != OK) {
        failure_set(fail, code, "cannot decode: %s", error_code_text(code));
        return NULL;
    }
    return json_stringn(text->length > 0 ? text->data : "", text->length);
}

/* The answer to each item of the input, in order; NULL with the failure set. */
static json_t *convert(const tokenizer *t, const json_t *input, tokenize_mode mode, failure *fail)
{
    token_list ids = {0};
    buffer text;
    buffer_init(&text, MAX_OUTPUT);
    json_t *output = json_array();
    size_t i;
    json_t *item;
    json_array_foreach(input, i, item)
    {
        json_t *answer = mode == MODE_ENCODE ? encode_text(t, item, &ids, fail)
                                             : decode_ids(t, item, &text, fail);
        if (answer == NULL) {
            failure_prefix(fail, "item %zu", i);
            json_decref(output);
            output = NULL;
            break;
        }
        json_array_append_new(output, answer);
    }
    token_list_free(&ids);
    buffer_free(&text);
    return output;
}

static error_code print_ids(const tokenizer *t, const buffer *input, tokenize_mode mode,
                            failure *fail)
{
    json_error_t error;
    error_code code;
    json_t *items = json_read(input->length > 0 ? input->data : "", input->length, JSON_ALLOW_NUL,
                              &error, &code);
    if (code == ERR_MEMORY)
        return failure_set(fail, code, "no memory for standard input");
    if (items == NULL)
        return failure_set(fail, ERR_INVALID, "standard input is not JSON: line %d: %s", error.line,
                           error.text);
    json_t *output = NULL;
    if (json_is_array(items))
        output = convert(t, items, mode, fail);
    else
        failure_set(fail, ERR_INVALID, "standard input is JSON, but no array");
    json_decref(items);
    if (output == NULL)
        return fail->code;
    if (json_dumpf(output, stdout, 0) == 0)
        putchar('\n');
    json_decref(output);
    return OK;
}

/* ---- the command ---------------------------------------------------------------------------- */

static error_code load(tokenizer **out, const char *path, failure *fail)
{
    gguf *file;
    error_code code = gguf_open(&file, path, fail);
    if (code != OK)
        return code;
    code = tokenizer_load(out, file, fail);
    if (code != OK)
        failure_prefix(fail, "%s", path);
    gguf_close(file);
    return code;
}

static error_code tokenize(const char *named, tokenize_mode mode, failure *fail)
{
    tokenizer *t = NULL;
    char *path;
    error_code code = model_file_find(named, NULL, &path, fail);
    if (code == OK)
        code = load(&t, path, fail);
    free(path);
    buffer input;
    buffer_init(&input, MAX_INPUT);
    if (code == OK)
        code = buffer_read_fd(&input, STDIN_FILENO, fail);
    if (code == OK)
        code = mode == MODE_LINES ? print_lines(t, &input, fail) : print_ids(t, &input, mode, fail);
    if (code == OK && (fflush(stdout) != 0 || ferror(stdout) != 0))
        code = failure_set(fail, ERR_IO, "cannot write to standard output");
    buffer_free(&input);
    tokenizer_destroy(t);
    return code;
}

typedef struct tokenize_options {
    const char *model_path;
    bool json, decode, help;
} tokenize_options;

int command_tokenize(int argc, char **argv)
{
    tokenize_options o = {.json = false};
    const option_row rows[] = {{"model-file", 'm', .text = &o.model_path},
                               {"json", .flag = &o.json},
                               {"decode", .flag = &o.decode},
                               OFFLINE_OPTION,
                               HELP_OPTION(&o)};
    const char *path = NULL;
    failure fail;
    error_code code = options_read(rows, argc, argv, &fail);
    if (code == OK && o.help) {
        help_print("tokenize", stdout);
        return 0;
    }
    if (code == OK)
        code = read_model_path(&path, o.model_path, argc, argv, &fail);
    if (code == OK && o.decode && !o.json)
        code = failure_set(&fail, ERR_INVALID,
                           "--decode reads and writes JSON: add --json; try: a-io tokenize --help");
    if (code == OK)
        code = tokenize(path, o.decode ? MODE_DECODE : o.json ? MODE_ENCODE : MODE_LINES, &fail);
    return code == OK ? 0 : command_failed("tokenize", &fail);
}
