/* openai_request.c: a request, from the body's bytes to what the orchestra takes. */
#include "server/request_parser.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/json.h"

static bool draw_seed(parser *p, const request_defaults *defaults)
{
    uint32_t seed = defaults->seed; /* 32 bits survive every client's JSON numbers, so that it can
                                       be sent back */
    if (!p->has_seed) {
        if (!defaults->has_seed && getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
            return api_error_set(p->error, 500, NULL, "seed", "cannot draw a seed; send one");
        p->out->manner.seed = seed;
    }
    p->out->request.sampling.seed = (uint64_t)p->out->manner.seed;
    return true;
}

json_t *request_object(const char *body, size_t length, api_error *e)
{
    static const char byte_order_mark[] = "\xEF\xBB\xBF"; /* some editors put it before a text */
    const size_t mark = sizeof byte_order_mark - 1;
    json_error_t error;
    if (length >= mark && memcmp(body, byte_order_mark, mark) == 0) {
        body += mark;
        length -= mark;
    }
    error_code code;
    json_t *object = json_read(body == NULL ? "" : body, length,
                               JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error, &code);
    if (code == ERR_MEMORY) {
        api_error_set(e, 503, "out_of_memory", "", "no memory for the request");
    } else if (object == NULL) {
        api_error_set(e, 400, "invalid_json", "",
                      "the body is not valid JSON: %s (line %d, column %d)", error.text, error.line,
                      error.column);
    } else if (!json_is_object(object)) {
        json_decref(object);
        object = NULL;
        api_error_set(e, 400, "invalid_json", "", "the body must be a JSON object");
    }
    return object;
}

bool chat_request_read(chat_request *out, json_t *body, const request_text *text,
                       const request_defaults *defaults, api_error *e)
{
    const request_form *form = text->form != NULL ? text->form : &openai_chat_form;
    *out = (chat_request){.request.sampling = sampling_defaults(),
                          .request.max_tokens = defaults->max_tokens,
                          .request.priority = defaults->priority,
                          .request.deadline_ms = defaults->deadline_ms,
                          .manner = {.stream = form->is_streamed,
                                     .n = 1,
                                     .keeps_thoughts = true,
                                     .is_stored = form->is_stored},
                          .body = body};
    parser p = {.out = out,
                .error = e,
                .store = text->store,
                .most = form->is_of_texts ? REQUEST_MAX_TEXTS : REQUEST_MAX_REPLIES};
    bool is_read = read_priority_headers(&p, text) && read_fields(&p, form, body) &&
                   form->finish(&p) && finish_manner(&p) && draw_seed(&p, defaults);
    json_decref(p.variables);
    if (json_was_short() ||
        p.lacks_memory) /* what was made of the body may lack parts, whatever was found of it */
        is_read = api_error_set(e, 503, "out_of_memory", "", "no memory for the request");
    if (!is_read) {
        chat_request_free(out);
        return false;
    }
    out->request.stops = out->stops;
    out->request.chat.is_parted = out->prompts == NULL;
    out->manner.service_tier = priority_tier(&p);
    return true;
}

bool chat_request_parse(chat_request *out, const request_text *text,
                        const request_defaults *defaults, api_error *e)
{
    json_t *body = request_object(text->body, text->length, e);
    return body != NULL && chat_request_read(out, body, text, defaults, e);
}

void chat_request_free(chat_request *r)
{
    json_decref(r->body);
    json_decref(r->converted);
    json_decref(r->conversation);
    json_decref(r->told);
    json_decref(r->texts);
    json_decref(r->word_biases);
    for (size_t i = 0; i < r->n_prompts; i++)
        token_list_free(&r->prompts[i].found);
    free(r->messages);
    free(r->joined);
    free(r->biases);
    free(r->grammar_text);
    free(r->prompts);
    for (size_t i = 0; i < r->n_kept; i++)
        free(r->kept[i]);
    free(r->kept);
    *r = (chat_request){.body = NULL};
}
