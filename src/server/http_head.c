/* http_head.c: the request line, the headers, and what of them must agree. */
#include "server/http_head.h"

#include <string.h>
#include <strings.h>

static bool fail(http_fault *fault, int status, const char *what)
{
    *fault = (http_fault){status, what};
    return false;
}

/* ---- characters (RFC 9110, 5.5 and 5.6.2) ---------------------------------------------------- */

static bool is_alphanumeric(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_token_character(unsigned char c)
{
    return is_alphanumeric(c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_token(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!is_token_character((unsigned char)text[i]))
            return false;
    return length > 0;
}

static bool is_value_character(unsigned char c)
{
    return c == '\t' || (c >= ' ' && c != 0x7f);
}

static int hex_digit(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* ---- the end of a head ----------------------------------------------------------------------- */

http_progress http_head_find(const char *bytes, size_t length, size_t *scanned, size_t *end,
                             http_fault *fault)
{
    for (size_t i = *scanned; i < length && i < HTTP_HEAD_LIMIT; i++) {
        if (bytes[i] != '\n')
            continue;
        if (i == 0 || bytes[i - 1] != '\r') {
            fail(fault, 400, "a line of the head ends in LF alone: lines end in CRLF");
            return HTTP_BAD;
        }
        if (i >= 3 && bytes[i - 2] == '\n') {
            *end = i + 1;
            return HTTP_DONE;
        }
    }
    *scanned = length;
    if (length < HTTP_HEAD_LIMIT)
        return HTTP_MORE;
    bool has_line = memchr(bytes, '\n', HTTP_HEAD_LIMIT) != NULL;
    fail(fault, has_line ? 431 : 414,
         has_line ? "the head of the request is larger than 16384 bytes"
                  : "the request line is longer than 16384 bytes");
    return HTTP_BAD;
}

/* ---- the request line ------------------------------------------------------------------------ */

/* The text up to the next `end`, which becomes a NUL; NULL: there is none. */
static char *cut(char **rest, const char *end)
{
    char *text = *rest;
    char *at = strstr(text, end);
    if (at == NULL)
        return NULL;
    *at = '\0';
    *rest = at + strlen(end);
    return text;
}

/* %XX to bytes, in place, up to a '?'. */
static bool decode_path(char *path, http_fault *fault)
{
    char *to = path;
    for (const char *from = path; *from != '\0' && *from != '?'; from++) {
        if (*from != '%') {
            *to++ = *from;
            continue;
        }
        int high = hex_digit((unsigned char)from[1]);
        int low = high < 0 ? -1 : hex_digit((unsigned char)from[2]);
        if (low < 0 || (high == 0 && low == 0))
            return fail(fault, 400,
                        "the path has a '%' that two digits of a character do not follow");
        *to++ = (char)(16 * high + low);
        from += 2;
    }
    *to = '\0';
    return true;
}

/* "/path" or "http://authority/path"; the authority of the latter goes before Host. */
static bool read_target(http_head *h, char *target, http_fault *fault)
{
    for (const char *c = target; *c != '\0'; c++)
        if (*c <= ' ' || *c == 0x7f)
            return fail(fault, 400, "the request's target has a character that URIs do not have");
    if (strncasecmp(target, "http://", 7) == 0) {
        char *authority = target + 7;
        size_t n = strcspn(authority, "/?");
        if (n == 0)
            return fail(fault, 400, "the request's target names no host");
        memmove(target, authority, n); /* makes room for a NUL before the path */
        target[n] = '\0';
        h->authority = target;
        target = authority + n;
        if (*target != '/')
            return fail(fault, 400, "the request's target has no path");
    } else if (target[0] != '/' && strcmp(target, "*") != 0) {
        return fail(fault, 400, "the request's target must be a path");
    }
    h->path = target;
    return decode_path(target, fault);
}

static bool read_version(http_head *h, const char *version, http_fault *fault)
{
    bool is_http = strlen(version) == 8 && strncmp(version, "HTTP/", 5) == 0 && version[5] >= '0' &&
                   version[5] <= '9' && version[6] == '.' && version[7] >= '0' && version[7] <= '9';
    if (!is_http)
        return fail(fault, 400, "the request line does not end in HTTP/1.1");
    if (version[5] != '1')
        return fail(fault, 505, "HTTP/1.1 is spoken here");
    h->is_old = version[7] == '0';
    return true;
}

static bool read_request_line(http_head *h, char *line, http_fault *fault)
{
    char *method = cut(&line, " "), *target = method != NULL ? cut(&line, " ") : NULL;
    if (target == NULL || !is_token(method, strlen(method)))
        return fail(fault, 400, "the request line must be METHOD PATH HTTP/1.1");
    h->method = method;
    return read_version(h, line, fault) && read_target(h, target, fault);
}

/* ---- headers --------------------------------------------------------------------------------- */

static bool read_header(http_head *h, char *line, http_fault *fault)
{
    char *value = line;
    const char *name = cut(&value, ":");
    if (name == NULL || !is_token(name, strlen(name)))
        return fail(
            fault, 400,
            "a header must be NAME: VALUE, without a space before the colon and on one line");
    value += strspn(value, " \t");
    size_t n = strlen(value);
    while (n > 0 && (value[n - 1] == ' ' || value[n - 1] == '\t'))
        n--;
    value[n] = '\0';
    for (size_t i = 0; i < n; i++)
        if (!is_value_character((unsigned char)value[i]))
            return fail(fault, 400, "a header's value has a control character");
    if (h->n_headers == HTTP_MAX_HEADERS)
        return fail(fault, 431, "the request has more than 100 headers");
    h->headers[h->n_headers++] = (http_header){name, value};
    return true;
}

const char *http_head_value(const http_head *h, const char *name)
{
    for (size_t i = 0; i < h->n_headers; i++)
        if (strcasecmp(h->headers[i].name, name) == 0)
            return h->headers[i].value;
    return NULL;
}

/* True if the comma-separated list has the word (letters of either case). */
static bool list_has(const char *list, const char *word)
{
    while (list != NULL && *list != '\0') {
        list += strspn(list, " \t,");
        size_t n = strcspn(list, " \t,");
        if (n == strlen(word) && strncasecmp(list, word, n) == 0)
            return true;
        list += n;
    }
    return false;
}

/* NULL, with *twice set: more than one. */
static const char *only_value(const http_head *h, const char *name, bool *twice)
{
    const char *value = NULL;
    for (size_t i = 0; i < h->n_headers; i++) {
        if (strcasecmp(h->headers[i].name, name) != 0)
            continue;
        *twice = *twice || value != NULL;
        value = h->headers[i].value;
    }
    return *twice ? NULL : value;
}

/* ---- what the headers mean ------------------------------------------------------------------- */

static bool read_authority(http_head *h, http_fault *fault)
{
    bool twice = false;
    const char *host = only_value(h, "Host", &twice);
    if (twice)
        return fail(fault, 400, "the header Host was sent twice");
    if (host == NULL && !h->is_old)
        return fail(fault, 400, "HTTP/1.1 needs a header Host");
    for (const char *c = host; c != NULL && *c != '\0'; c++)
        if (!is_alphanumeric((unsigned char)*c) && strchr(":.-_[]~%!$&'()*+,;=", *c) == NULL)
            return fail(fault, 400, "the header Host is not a host");
    if (h->authority == NULL)
        h->authority = host != NULL ? host : "";
    return true;
}

static bool read_length(http_head *h, const char *text, http_fault *fault)
{
    uint64_t length = 0;
    size_t n = strlen(text);
    if (n == 0 || strspn(text, "0123456789") != n)
        return fail(fault, 400, "Content-Length is not a number");
    for (size_t i = 0; i < n; i++) {
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (length > (UINT64_MAX - digit) / 10)
            return fail(fault, 413, "Content-Length is larger than any body here may be");
        length = 10 * length + digit;
    }
    h->length = length;
    h->framing = length > 0 ? HTTP_LENGTH : HTTP_NO_BODY;
    return true;
}

static bool read_framing(http_head *h, http_fault *fault)
{
    bool twice = false, coding_twice = false;
    const char *length = only_value(h, "Content-Length", &twice);
    const char *coding = only_value(h, "Transfer-Encoding", &coding_twice);
    if (twice)
        return fail(fault, 400, "the header Content-Length was sent twice");
    if (coding == NULL && !coding_twice)
        return length == NULL || read_length(h, length, fault);
    if (length != NULL)
        return fail(fault, 400, "Content-Length and Transfer-Encoding were sent together");
    if (h->is_old)
        return fail(fault, 400, "HTTP/1.0 has no Transfer-Encoding");
    if (coding_twice)
        return fail(fault, 400, "the header Transfer-Encoding was sent twice");
    if (strcasecmp(coding, "chunked") != 0)
        return fail(fault, 501, "the one Transfer-Encoding that is known is chunked");
    h->framing = HTTP_CHUNKED;
    return true;
}

static bool read_manners(http_head *h, http_fault *fault)
{
    h->keeps_alive = !h->is_old;
    for (size_t i = 0; i < h->n_headers; i++) {
        const http_header *header = &h->headers[i];
        if (strcasecmp(header->name, "Connection") == 0) {
            if (list_has(header->value, "close"))
                h->keeps_alive = false;
            else if (h->is_old && list_has(header->value, "keep-alive"))
                h->keeps_alive = true;
        }
        if (strcasecmp(header->name, "Expect") != 0 || h->is_old)
            continue;
        if (strcasecmp(header->value, "100-continue") != 0)
            return fail(fault, 417, "the one expectation that is known is 100-continue");
        h->expects_continue = true;
    }
    return true;
}

bool http_head_read(http_head *out, char *bytes, size_t length, http_fault *fault)
{
    *out = (http_head){.n_headers = 0};
    if (memchr(bytes, '\0', length) != NULL)
        return fail(fault, 400, "the head has a NUL");
    bytes[length - 2] = '\0'; /* where the empty line was */
    char *rest = bytes, *line = cut(&rest, "\r\n");
    if (line == NULL)
        return fail(fault, 400, "the request has no request line");
    if (!read_request_line(out, line, fault))
        return false;
    while ((line = cut(&rest, "\r\n")) != NULL)
        if (!read_header(out, line, fault))
            return false;
    return read_authority(out, fault) && read_framing(out, fault) && read_manners(out, fault);
}
