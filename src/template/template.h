/*
 * template.h: Jinja chat templates as model files carry them, rendered as Python's Jinja renders
 * them in the transformers library.
 *
 * The library behind it is written in Rust (this folder). Templates are untrusted: steps, depth,
 * memory and output of a rendering are bounded, a failed allocation is an error. A compiled
 * template is read-only: any thread may render with it at once. Rendering takes up to 0.5 MB of the
 * caller's stack; compiling brings its own.
 */
#ifndef TEMPLATE_TEMPLATE_H
#define TEMPLATE_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct template_text {
    const char *data; /* UTF-8, need not end with NUL; NULL: absent */
    size_t length;
} template_text;

typedef enum template_status {
    TEMPLATE_OK,
    TEMPLATE_SYNTAX,  /* it does not compile */
    TEMPLATE_RAISED,  /* its own refusal of this conversation, in its own words */
    TEMPLATE_FAILED,  /* it fails on this conversation */
    TEMPLATE_LIMIT,   /* it needs more steps, memory or depth than a template may have */
    TEMPLATE_REQUEST, /* the request is malformed */
    TEMPLATE_MEMORY,
} template_status;

#define TEMPLATE_MESSAGE_SIZE 400

typedef struct template template;

/* `specials` are the texts of the tokens that only the template may write; both are copied.
 * Anything but OK leaves its words in `message`. */
template_status template_compile(template **out, template_text text, const template_text *specials,
                                 size_t n_specials, char (*message)[TEMPLATE_MESSAGE_SIZE]);
void template_destroy(template *t);

typedef struct template_message {
    template_text role, content;
} template_message;

/* A local time. */
typedef struct template_moment {
    int32_t year, month, day, hour, minute, second; /* month 1 to 12 */
    int32_t weekday;                                /* 0: Sunday */
    int32_t yearday;                                /* 1 to 366 */
} template_moment;

typedef struct template_input {
    const template_message *messages; /* plain ones, or … */
    size_t n_messages;
    template_text messages_json;  /* … a JSON array of message objects, when there is one */
    template_text tools_json;     /* JSON; absent: none */
    template_text documents_json; /* JSON; absent: none */
    template_text variables_json; /* a JSON object of more variables */
    template_text tokens[4];      /* texts of bos, eos, unk and pad; absent: undefined */
    bool generation_prompt;
    template_moment now; /* what strftime_now tells */
} template_input;

/* Begin and end of bytes of the text that the request wrote, not the template, and that a special
 * token's text could begin or end with. Other bytes count as the template's: none of them can make
 * a special token with those of the request. */
typedef struct template_range {
    size_t begin, end;
} template_range;

typedef struct template_output {
    const char *text; /* not ended by NUL */
    size_t length;
    const template_range *foreign; /* in order */
    size_t n_foreign;
    char message[TEMPLATE_MESSAGE_SIZE]; /* why there is no text */
    void *owner;                         /* of both */
} template_output;

/* OK: the output is to be freed. */
template_status template_render(const template *t, const template_input *input,
                                template_output *out);
void template_output_free(template_output *out);

#endif
