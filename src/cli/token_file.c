/* token_file.c: token ids from a text file of numbers. */
#include "cli/token_file.h"

#include <stdlib.h>
#include <string.h>

static error_code parse_tokens(char *at, const char *path, size_t n_vocab, token_list *out,
                               failure *fail)
{
    static const char separators[] = " \t\r\n,";
    for (;;) {
        at += strspn(at, separators);
        if (*at == '\0')
            return OK;
        char *end;
        long id = strtol(at, &end, 10);
        if (end == at || (*end != '\0' && strchr(separators, *end) == NULL))
            return failure_set(fail, ERR_INVALID, "%s: \"%.*s\" is not a token id", path,
                               (int)strcspn(at, separators), at);
        if (id < 0 || (size_t)id >= n_vocab)
            return failure_set(fail, ERR_INVALID, "%s: token %ld is not in the vocabulary of %zu",
                               path, id, n_vocab);
        if (token_list_add(out, (int32_t)id) != OK)
            return failure_set(fail, ERR_MEMORY, "no memory for the tokens of %s", path);
        at = end;
    }
}

error_code token_file_read(const char *path, size_t n_vocab, token_list *out, failure *fail)
{
    buffer text;
    buffer_init(&text, (size_t)64 << 20);
    error_code code = buffer_read_file(&text, path, fail);
    if (code == OK && text.data != NULL)
        code = parse_tokens(text.data, path, n_vocab, out, fail);
    if (code == OK && out->length == 0)
        code = failure_set(fail, ERR_INVALID, "%s: no token ids in it", path);
    buffer_free(&text);
    return code;
}
