/*
 * line_input.h: messages typed by a person or given by a script, one at a time.
 *
 * On a terminal lines can be edited and earlier ones called back (libedit); pasted text is one
 * message however many lines it has. Otherwise a line is a message. A line that ends in a backslash
 * goes on in the next one either way. One at a time in a process, used by one thread.
 */
#ifndef CLI_LINE_INPUT_H
#define CLI_LINE_INPUT_H

#include <stdbool.h>

#include "base/buffer.h"
#include "base/failure.h"

typedef struct line_input line_input;

/* Edits when standard input and standard error, where it then prompts, are terminals.
 * `history_path`: earlier messages are read from that file, and line_input_close keeps the newest
 * there; NULL: they are kept in memory. ERR_FORMAT when the file holds something else. */
error_code line_input_open(line_input **out, const char *history_path, failure *fail);
/* Restores the terminal. ERR_IO when the history could not be kept. NULL is allowed. */
error_code line_input_close(line_input *in, failure *fail);

/* True: a person edits, and prompts are shown. */
bool line_input_edits(const line_input *in);

typedef enum line_event {
    LINE_MESSAGE,
    LINE_INTERRUPTED,       /* a signal came; what was typed is dropped */
    LINE_INTERRUPTED_EMPTY, /* likewise, and nothing had been typed */
    LINE_END,               /* of the input */
    LINE_FAILED,
} line_event;

/* The next message into `text` (cleared first), without its final newline and NUL-terminated. */
line_event line_input_read(line_input *in, buffer *text, failure *fail);

#endif
