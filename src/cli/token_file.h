/* token_file.h: token ids as text, separated by white space or commas. */
#ifndef CLI_TOKEN_FILE_H
#define CLI_TOKEN_FILE_H

#include "base/buffer.h"

/* Appends the file's ids to `out`; each must be below n_vocab, and there must be one. */
error_code token_file_read(const char *path, size_t n_vocab, token_list *out, failure *fail);

#endif
