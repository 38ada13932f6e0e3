/* request_lines.h: requests as JSON objects, one a line: "prompt" (text) or "messages" (a list of
 * {role, content}); other fields are not looked at. */
#ifndef CLI_REQUEST_LINES_H
#define CLI_REQUEST_LINES_H

#include <jansson.h>

#include "backend/backend.h"

/* One line's text to JSON, to be given back with json_decref. */
error_code request_line_parse(json_t **out, const char *text, size_t length, failure *fail);

/* *messages is to be freed; it points into `line`. */
error_code request_line_read(const json_t *line, request *q, chat_message **messages,
                             failure *fail);

/* Reads a file of lines, each a JSON object; blank lines are passed over. `call` is given one after
 * the other and may keep nothing of them. Its failure ends the reading; its message is prefixed
 * with file and line. `what` names the work in the progress line. */
error_code request_lines_each(const char *path, const char *what,
                              error_code (*call)(void *context, const json_t *line, failure *fail),
                              void *context, failure *fail);

#endif
