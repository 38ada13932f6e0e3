/* tokenizer_split.c: a text into words by PCRE2's expressions. */
#include "model/tokenizer_internal.h"

#include "base/utf8.h"

error_code splitter_init(splitter *s, const split_rule *rule, failure *fail)
{
    s->threes = rule->threes;
    s->context = pcre2_match_context_create(NULL);
    if (s->context == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the tokenizer");
    /* The limits guard against patterns that explode; these take steps in proportion to the text,
     * and a long enough run of spaces would reach the default of ten million. */
    pcre2_set_match_limit(s->context, UINT32_MAX);
    pcre2_set_depth_limit(s->context, UINT32_MAX);
    for (size_t i = 0; i < MAX_PATTERNS && rule->patterns[i] != NULL; i++) {
        int error;
        PCRE2_SIZE offset;
        pcre2_code *code = pcre2_compile((PCRE2_SPTR)rule->patterns[i], PCRE2_ZERO_TERMINATED,
                                         PCRE2_UTF | PCRE2_UCP, &error, &offset, NULL);
        if (code == NULL)
            return failure_set(fail, error == PCRE2_ERROR_HEAP_FAILED ? ERR_MEMORY : ERR_INTERNAL,
                               "splitting pattern %zu: PCRE2 error %d at %zu", i, error, offset);
        /* Where no executable memory is to be had, the interpreter gives the same matches. */
        s->patterns[s->n_patterns].jit = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0;
        s->patterns[s->n_patterns++].code = code;
    }
    return OK;
}

void splitter_free(splitter *s)
{
    for (size_t i = 0; i < s->n_patterns; i++)
        pcre2_code_free(s->patterns[i].code);
    pcre2_match_context_free(s->context);
    *s = (splitter){0};
}

/* One text being split. */
typedef struct splitting {
    const splitter *splitter;
    pcre2_match_data *match;
    split_handler *handler;
    void *context;
    failure *fail;
} splitting;

static int match_at(const splitting *s, size_t level, const char *text, size_t length, size_t from)
{
    const splitter *by = s->splitter;
    if (by->patterns[level].jit) {
        int found = pcre2_jit_match(by->patterns[level].code, (PCRE2_SPTR)text, length, from, 0,
                                    s->match, by->context);
        if (found != PCRE2_ERROR_JIT_STACKLIMIT)
            return found;
    }
    return pcre2_match(by->patterns[level].code, (PCRE2_SPTR)text, length, from, PCRE2_NO_UTF_CHECK,
                       s->match, by->context);
}

static error_code split_from(splitting *s, size_t level, const char *text, size_t length);

/* Groups of three characters, counted from the end; the first may be shorter. */
static error_code split_threes(splitting *s, size_t level, const char *text, size_t length)
{
    size_t n = 0;
    for (size_t at = 0; at < length; n++) {
        size_t bytes;
        utf8_next(text + at, length - at, &bytes);
        at += bytes;
    }
    error_code code = OK;
    size_t begin = 0;
    for (size_t at = 0; code == OK && at < length;) {
        size_t bytes;
        utf8_next(text + at, length - at, &bytes);
        at += bytes;
        if (--n % 3 == 0) {
            code = split_from(s, level, text + begin, at - begin);
            begin = at;
        }
    }
    return code;
}

/* Cuts the text with pattern `level`, and each part (matches, and what lies between them) with the
 * next one; what comes out at the end is a word. */
static error_code split_from(splitting *s, size_t level, const char *text, size_t length)
{
    if (level == s->splitter->n_patterns)
        return s->handler(s->context, text, length);
    bool threes = (s->splitter->threes >> level & 1) != 0;
    error_code code = OK;
    size_t at = 0;
    while (code == OK && at < length) {
        int found = match_at(s, level, text, length, at);
        if (found < 0 && found != PCRE2_ERROR_NOMATCH)
            return failure_set(s->fail, found == PCRE2_ERROR_NOMEMORY ? ERR_MEMORY : ERR_INTERNAL,
                               "splitting a text: PCRE2 error %d", found);
        size_t begin = length, end = length;
        if (found >= 0) {
            begin = pcre2_get_ovector_pointer(s->match)[0];
            end = pcre2_get_ovector_pointer(s->match)[1];
        }
        if (begin > at)
            code = split_from(s, level + 1, text + at, begin - at);
        if (code == OK && end > begin)
            code = (threes ? split_threes : split_from)(s, level + 1, text + begin, end - begin);
        at = end;
    }
    return code;
}

error_code splitter_run(const splitter *s, pcre2_match_data *match, const char *text, size_t length,
                        split_handler *handler, void *context, failure *fail)
{
    splitting run = {s, match, handler, context, fail};
    return split_from(&run, 0, text, length);
}
