/*
 * reply_parser.h: parts the text of a reply, as it comes, into what is said, what is thought and
 * which tools are called. Inside the server room only.
 *
 *   reply_parser.c   text and thoughts, and where a call begins
 *   reply_held.c     what came and is not told yet
 *   reply_call.c     calls that are JSON objects, or a name with one
 *   reply_element.c  calls that are elements, or objects without quotes
 *   reply_channel.c  gpt-oss's messages on channels
 *
 * Everything is told as soon as it is certain; whole or in pieces of any size, a text gives the
 * same parts. What looks like a call and turns out to be none is text.
 */
#ifndef SERVER_REPLY_PARSER_H
#define SERVER_REPLY_PARSER_H

#include <jansson.h>

#include "base/buffer.h"
#include "model/chat_form.h"

typedef enum reply_part {
    REPLY_TEXT,
    REPLY_THOUGHT,
    REPLY_CALL,      /* a call begins: `text` is the function's name */
    REPLY_ARGUMENTS, /* of the call that began last: a piece of a JSON text */
} reply_part;

typedef struct reply_piece {
    reply_part part;
    size_t call; /* CALL, ARGUMENTS: its number in the reply, from 0 */
    const char *text;
    size_t length;
} reply_piece;

/* False: no memory. */
typedef bool reply_sink(void *context, const reply_piece *piece);

typedef struct reply_parser reply_parser;

typedef struct reply_options {
    chat_style style; /* form NULL: all is text */
    bool takes_calls; /* the request has tools, … */
    bool binds_calls; /* … and a grammar that binds calls: what it does not know is none */
    bool only_calls;  /* the style's: a call that is cut is no text either */
    bool takes_thoughts;
    bool is_in_thought; /* the prompt ends in a thought's beginning */
    /* All tools, {TOOL: {PARAMETER: true}}: parameters that are texts by their schema, whatever else
     * the text could be. NULL: not known. It lives as long as the parser. */
    const json_t *texts;
} reply_options;

error_code reply_parser_create(reply_parser **out, const reply_options *options);
void reply_parser_destroy(reply_parser *p); /* NULL too */

/* `is_end`: nothing comes after this piece. False: the sink said so, or no memory. */
bool reply_parser_feed(reply_parser *p, const char *text, size_t length, bool is_end,
                       reply_sink *sink, void *context);

/* ---- for the files above --------------------------------------------------------------------- */

typedef enum reply_mode {
    IN_TEXT,
    IN_THOUGHT,
    IN_CALL,      /* before its name is told */
    IN_ARGUMENTS, /* after that */
    IN_REST,      /* of a call's object, behind its arguments */
    IN_LIST,      /* between two calls of a list */
    IN_HEADER,    /* of a channel */
} reply_mode;

typedef struct json_scan {
    size_t depth; /* of open brackets */
    bool is_in_text, is_escaped;
} json_scan;

struct reply_parser {
    reply_options options;
    reply_mode mode;
    reply_part channel; /* of a channel's body: what it is */
    buffer held;        /* came and is not told */
    bool is_end;
    bool has_text;       /* in IN_TEXT: some of it was told */
    bool trims;          /* in IN_TEXT: the spaces that come first are not told */
    const char *opening; /* IN_CALL: what stood before it */
    bool is_fenced;      /* the call stands between ``` and ``` */
    bool is_in_list;
    size_t n_calls;
    json_scan scan;    /* of arguments, and what is behind them */
    size_t rest_depth; /* brackets to be closed behind the arguments */
    reply_sink *sink;
    void *context;
};

typedef enum reply_step {
    STEP_MOVED, /* go on */
    STEP_WAITS, /* for more text */
    STEP_FAILED,
} reply_step;

bool reply_tell(reply_parser *p, reply_part part, const char *text, size_t length);
/* Tells what is held up to `length`, and drops it. */
bool reply_tell_held(reply_parser *p, reply_part part, size_t length);
void reply_drop(reply_parser *p, size_t length);
/* Where the first of the marks begins. *found NULL: none is whole, and from there on what is held
 * may still become one. */
size_t reply_find(const reply_parser *p, const char *const *marks, size_t n, const char **found);
bool reply_is_space(char c);
size_t reply_skip_spaces(const char *text, size_t length, size_t at);
/* The call is over: text, or the next of the list. */
void reply_end_call(reply_parser *p);
/* What was taken for a call is text. */
reply_step reply_refuse_call(reply_parser *p);

reply_step reply_step_call(reply_parser *p);
reply_step reply_step_arguments(reply_parser *p);
reply_step reply_step_rest(reply_parser *p);
reply_step reply_step_list(reply_parser *p);
reply_step reply_step_element(reply_parser *p);
reply_step reply_step_loose(reply_parser *p);
reply_step reply_step_channel(reply_parser *p);
reply_step reply_step_header(reply_parser *p);

#endif
