/* copy.c: a request in one piece of memory, its texts behind it. */
#include <stdlib.h>
#include <string.h>

#include "orchestra/internal.h"

/* Adds a × b to *sum; false when it does not fit. */
static bool add_product(size_t *sum, size_t a, size_t b)
{
    size_t product = 0;
    return !__builtin_mul_overflow(a, b, &product) && !__builtin_add_overflow(*sum, product, sum);
}

#define N_CHAT_TEXTS 7

/* The places of the texts of r->chat, and of others that end with a NUL. */
static void chat_texts(request *r, const char **texts[N_CHAT_TEXTS])
{
    texts[0] = &r->chat.messages_json;
    texts[1] = &r->chat.tools_json;
    texts[2] = &r->chat.documents_json;
    texts[3] = &r->chat.variables_json;
    texts[4] = &r->chat.called;
    texts[5] = &r->grammar.text;
    texts[6] = &r->files_json;
}

static bool measure(const request *r, size_t *total)
{
    *total = 0;
    bool fits = add_product(total, r->n_messages, sizeof *r->messages) &&
                add_product(total, r->n_stops, sizeof *r->stops) &&
                add_product(total, r->sampling.n_biases, sizeof *r->sampling.biases);
    fits = fits && add_product(total, r->n_prompt_ids, sizeof *r->prompt_ids) &&
           add_product(total, r->completion_length, 1) && add_product(total, 1, 1);
    for (size_t i = 0; fits && i < r->n_messages; i++)
        fits = add_product(total, strlen(r->messages[i].role) + 1, 1) &&
               add_product(total, r->messages[i].content_length, 1) && add_product(total, 1, 1);
    for (size_t i = 0; fits && i < r->n_stops; i++)
        fits = add_product(total, strlen(r->stops[i]) + 1, 1);
    request copy = *r;
    const char **texts[N_CHAT_TEXTS];
    chat_texts(&copy, texts);
    for (size_t i = 0; fits && i < N_CHAT_TEXTS; i++)
        if (*texts[i] != NULL)
            fits = add_product(total, strlen(*texts[i]) + 1, 1);
    fits = fits && add_product(total, r->chat.begun_length, 1) &&
           add_product(total, r->suffix_length, 1) && add_product(total, 2, 1);
    return fits && (r->prompt == NULL ||
                    (add_product(total, r->prompt_length, 1) && add_product(total, 1, 1)));
}

/* Copies into the block and moves its end on. */
static void *place(char **end, const void *data, size_t length)
{
    void *at = *end;
    if (length > 0)
        memcpy(at, data, length);
    *end += length;
    return at;
}

static char *place_text(char **end, const char *text, size_t length)
{
    char *at = place(end, text, length);
    *(*end)++ = '\0';
    return at;
}

error_code request_copy_make(request_copy *out, const request *r, failure *fail)
{
    size_t total = 0;
    *out = (request_copy){.request = *r};
    char *end = measure(r, &total) ? malloc(total + 1) : NULL;
    if (end == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory to keep the request");
    out->memory = end;
    /* Arrays first: all their elements are aligned to pointers or less. */
    chat_message *messages = place(&end, r->messages, r->n_messages * sizeof *messages);
    const char **stops = place(&end, r->stops, r->n_stops * sizeof *stops);
    out->request.sampling.biases =
        place(&end, r->sampling.biases, r->sampling.n_biases * sizeof *r->sampling.biases);
    if (r->prompt_ids != NULL)
        out->request.prompt_ids =
            place(&end, r->prompt_ids, r->n_prompt_ids * sizeof *r->prompt_ids);
    for (size_t i = 0; i < r->n_messages; i++) {
        messages[i].role = place_text(&end, r->messages[i].role, strlen(r->messages[i].role));
        messages[i].content =
            place_text(&end, r->messages[i].content, r->messages[i].content_length);
    }
    for (size_t i = 0; i < r->n_stops; i++)
        stops[i] = place_text(&end, r->stops[i], strlen(r->stops[i]));
    const char **texts[N_CHAT_TEXTS];
    chat_texts(&out->request, texts);
    for (size_t i = 0; i < N_CHAT_TEXTS; i++)
        if (*texts[i] != NULL)
            *texts[i] = place_text(&end, *texts[i], strlen(*texts[i]));
    if (r->completion != NULL)
        out->request.completion = place_text(&end, r->completion, r->completion_length);
    if (r->chat.begun != NULL)
        out->request.chat.begun = place_text(&end, r->chat.begun, r->chat.begun_length);
    if (r->suffix != NULL)
        out->request.suffix = place_text(&end, r->suffix, r->suffix_length);
    if (r->prompt != NULL)
        out->request.prompt = place_text(&end, r->prompt, r->prompt_length);
    out->request.messages = messages;
    out->request.stops = stops;
    return OK;
}

void request_copy_free(request_copy *copy)
{
    free(copy->memory);
    *copy = (request_copy){.memory = NULL};
}
