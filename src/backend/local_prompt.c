/* local_prompt.c: a request's prompt in tokens, and what its reply must match. */
#include <stdlib.h>
#include <string.h>

#include "backend/local.h"
#include "base/clock.h"
#include "model/tool_grammar.h"

static error_code encode_all(const backend *b, const request *r, local_prompt *p, failure *fail)
{
    error_code code = local_encode(b, r, &p->tokens, &p->style, fail);
    p->base.n_tokens = p->style.prompt_tokens = p->tokens.length;
    p->style.first_token = p->tokens.length > 0 ? p->tokens.ids[0] : -1;
    p->style.only_calls = r->chat.must_call;
    if (code == OK && r->completion != NULL)
        code = tokenizer_encode(local_words(b), r->completion, r->completion_length, false, false,
                                &p->tokens, fail);
    p->base.ids = p->tokens.ids;
    return code;
}

static bool has_calls_bound(const request *r, const chat_style *style)
{
    return r->chat.must_call ||
           (r->chat.binds_calls && r->grammar.text == NULL && tool_grammar_is_known(style->form));
}

/* What the reply must match: calls in the form that its model knows, or what the request says. */
static error_code compile_grammar(const backend *b, const request *r, local_prompt *p,
                                  failure *fail)
{
    const model *m = local_model(b);
    const chat_style *style = &p->style.chat;
    if (!has_calls_bound(r, style) && r->grammar.text == NULL)
        return OK;
    if (!has_calls_bound(r, style)) {
        /* A form that has no room for a thought's end is the answer itself. */
        bool ends_thought =
            style->thoughts != NULL && strstr(r->grammar.text, style->thoughts->end) != NULL;
        p->style.is_in_thought = p->style.is_in_thought && ends_thought;
        return grammar_compile(&p->grammar, m, r->grammar.kind, r->grammar.text,
                               strlen(r->grammar.text), fail);
    }
    const tool_demand demand = {
        .tools_json = r->chat.tools_json,
        .name = r->chat.called,
        .is_one = r->chat.calls_once,
        .is_free = !r->chat.must_call,
        .thoughts = style->thoughts,
        .is_in_thought = p->style.is_in_thought,
    };
    buffer text;
    buffer_init(&text, PROMPT_TEXT_LIMIT);
    error_code code = tool_grammar_write(&text, m->tokenizer, style->form, &demand, fail);
    if (code == OK)
        code = grammar_compile(&p->grammar, m, GRAMMAR_CALLS, text.data, text.length, fail);
    buffer_free(&text);
    return code;
}

error_code local_prepare(backend *b, const request *r, prepared_prompt **out, failure *fail)
{
    double start = clock_ms();
    local_prompt *p = calloc(1, sizeof *p);
    if (p == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a prompt");
    p->base.operations = b->operations;
    error_code code = encode_all(b, r, p, fail);
    p->base.template_ms = clock_ms() - start;
    if (code == OK)
        code = compile_grammar(b, r, p, fail);
    if (code != OK) {
        local_destroy_prompt(&p->base);
        return code;
    }
    *out = &p->base;
    return OK;
}

void local_destroy_prompt(prepared_prompt *p)
{
    local_prompt *own = (local_prompt *)p;
    token_list_free(&own->tokens);
    grammar_destroy(own->grammar);
    free(own);
}
