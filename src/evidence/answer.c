/* answer.c: finding numbers, letters, code and words in free text. */
#include "evidence/answer.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

#define WORDS_LIMIT ((size_t)1 << 30) /* bytes */

static bool is_space(char c)
{
    return isspace((unsigned char)c) != 0;
}

/* ---- numbers ------------------------------------------------------------------------------ */

/* Reads digits with commas between groups of three, a fraction, and a minus directly before. */
static const char *read_number(const char *at, double *out)
{
    bool negative = *at == '-';
    double value = 0, scale = 1;
    at += negative;
    for (; isdigit((unsigned char)*at) || (*at == ',' && isdigit((unsigned char)at[1])); at++)
        if (*at != ',')
            value = 10 * value + (*at - '0');
    if (*at == '.' && isdigit((unsigned char)at[1]))
        for (at++; isdigit((unsigned char)*at); at++)
            value += (scale /= 10) * (*at - '0');
    *out = negative ? -value : value;
    return at;
}

double answer_number(const char *text)
{
    double last = NAN;
    for (const char *at = text; *at != '\0';) {
        bool begins = isdigit((unsigned char)*at) || (*at == '-' && isdigit((unsigned char)at[1]));
        if (begins)
            at = read_number(at, &last);
        else
            at++;
    }
    return last;
}

bool answer_is_number(const char *text, double value)
{
    return fabs(answer_number(text) - value) <= 1e-6 * fmax(1, fabs(value)); /* false for NAN */
}

/* ---- choices ------------------------------------------------------------------------------ */

static bool is_letter_alone(const char *text, const char *at)
{
    return *at >= 'A' && *at <= 'Z' && !isalnum((unsigned char)at[1]) &&
           (at == text || !isalnum((unsigned char)at[-1]));
}

char answer_letter(const char *text)
{
    while (is_space(*text) || *text == '(' || *text == '*')
        text++;
    bool is_article = text[0] == 'A' && text[1] == ' ' && islower((unsigned char)text[2]);
    if (is_letter_alone(text, text) && !is_article)
        return *text;
    const char *named = strcasestr(text, "answer");
    if (named == NULL)
        named = strstr(text, "答案");
    for (const char *at = named; at != NULL && *at != '\0'; at++)
        if (is_letter_alone(text, at))
            return *at;
    char last = '\0';
    for (const char *at = text; *at != '\0'; at++)
        if (is_letter_alone(text, at))
            last = *at;
    return last;
}

/* ---- code --------------------------------------------------------------------------------- */

static const char fence[] = "```";

static const char *find_block(const char *text, size_t *length)
{
    const char *begin = strstr(text, fence);
    const char *end = begin != NULL ? strstr(begin + sizeof fence - 1, fence) : NULL;
    const char *line = end != NULL ? memchr(begin, '\n', (size_t)(end - begin)) : NULL;
    if (end == NULL)
        return NULL;
    begin = line != NULL ? line + 1 : begin + sizeof fence - 1;
    *length = (size_t)(end - begin);
    return begin;
}

const char *answer_block(const char *text, size_t *length)
{
    const char *block = find_block(text, length);
    if (block != NULL)
        return block;
    *length = strlen(text);
    return text;
}

static bool equals_without_space(const char *one, size_t n_one, const char *other, size_t n_other)
{
    const char *end_one = one + n_one, *end_other = other + n_other;
    for (;; one++, other++) {
        while (one < end_one && is_space(*one))
            one++;
        while (other < end_other && is_space(*other))
            other++;
        if (one == end_one || other == end_other)
            return one == end_one && other == end_other;
        if (*one != *other)
            return false;
    }
}

/* ---- words -------------------------------------------------------------------------------- */

static bool is_article(const char *word, size_t length)
{
    return (length == 1 && word[0] == 'a') || (length == 2 && memcmp(word, "an", 2) == 0) ||
           (length == 3 && memcmp(word, "the", 3) == 0);
}

/* The last word is over: an article goes away again. */
static error_code end_word(buffer *out, size_t begin)
{
    if (out->length == begin)
        return OK;
    if (is_article(out->data + begin, out->length - begin)) {
        out->length = begin;
        out->data[begin] = '\0';
        return OK;
    }
    return buffer_add(out, " ", 1);
}

error_code answer_words(buffer *out, const char *text)
{
    error_code code = buffer_add(out, " ", 1);
    size_t begin = out->length;
    for (; code == OK && *text != '\0'; text++) {
        char small = (char)tolower((unsigned char)*text);
        if (is_space(*text)) {
            code = end_word(out, begin);
            begin = out->length;
        } else if (!ispunct((unsigned char)*text)) {
            code = buffer_add(out, &small, 1);
        }
    }
    return code == OK ? end_word(out, begin) : code;
}

static error_code words_agree(const char *one, const char *other, bool *agree, failure *fail)
{
    buffer a, b;
    buffer_init(&a, WORDS_LIMIT);
    buffer_init(&b, WORDS_LIMIT);
    error_code code = answer_words(&a, one);
    if (code == OK)
        code = answer_words(&b, other);
    *agree = code == OK && strcmp(a.data, b.data) == 0;
    buffer_free(&a);
    buffer_free(&b);
    return code == OK ? OK : failure_set(fail, code, "no memory for an answer's words");
}

error_code answers_agree(const char *one, const char *other, bool *agree, failure *fail)
{
    size_t n_one, n_other;
    const char *code_one = find_block(one, &n_one), *code_other = find_block(other, &n_other);
    if (code_one != NULL && code_other != NULL) {
        *agree = equals_without_space(code_one, n_one, code_other, n_other);
        return OK;
    }
    double number_one = answer_number(one), number_other = answer_number(other);
    if (!isnan(number_one) && !isnan(number_other)) {
        *agree = answer_is_number(one, number_other);
        return OK;
    }
    return words_agree(one, other, agree, fail);
}
