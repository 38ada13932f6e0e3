/*
 * reply_channel.c: gpt-oss's replies: messages, each with a header that says on which channel it is
 * and to whom.
 *
 *   <|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>commentary to=functions.NAME
 *   <|constrain|>json<|message|>{…}<|call|>
 */
#include "server/reply_parser.h"

#include <string.h>

static const char *const marks[] = {"<|start|>", "<|channel|>", "<|end|>", "<|call|>",
                                    "<|return|>"};
#define N_MARKS (sizeof marks / sizeof *marks)

static const char *const message_mark[] = {"<|message|>"};

reply_step reply_step_channel(reply_parser *p)
{
    const char *mark;
    size_t n = reply_find(p, marks, N_MARKS, &mark);
    if (!reply_tell_held(p, p->channel, n))
        return STEP_FAILED;
    if (mark == NULL)
        return STEP_WAITS;
    if (mark == marks[0] || mark == marks[1])
        p->mode = IN_HEADER;
    else
        reply_drop(p, strlen(mark));
    p->channel = REPLY_TEXT;
    return STEP_MOVED;
}

static bool has(const char *text, size_t length, const char *word)
{
    return memmem(text, length, word, strlen(word)) != NULL;
}

/* What the header says of the message that follows. False: no memory. */
static bool read_header(reply_parser *p, size_t length)
{
    static const char to[] = "to=functions.";
    const char *text = p->held.data, *call = memmem(text, length, to, sizeof to - 1);
    p->channel = has(text, length, "<|channel|>analysis") ? REPLY_THOUGHT : REPLY_TEXT;
    if (call == NULL || !p->options.takes_calls)
        return true;
    call += sizeof to - 1;
    size_t n = 0;
    while (call + n < text + length && strchr(" <\n", call[n]) == NULL)
        n++;
    p->channel = REPLY_ARGUMENTS;
    return reply_tell(p, REPLY_CALL, call, n);
}

reply_step reply_step_header(reply_parser *p)
{
    const char *mark;
    size_t n = reply_find(p, message_mark, 1, &mark);
    if (mark == NULL && !p->is_end)
        return STEP_WAITS;
    p->mode = IN_TEXT;
    if (mark == NULL) { /* a header alone says nothing */
        reply_drop(p, p->held.length);
        return STEP_WAITS;
    }
    if (!read_header(p, n))
        return STEP_FAILED;
    reply_drop(p, n + strlen(mark));
    return STEP_MOVED;
}
