/* http_url.c: addresses: known ones, their origins, and texts as parts of them. */
#include "base/http_url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/http_client.h"

CURLU *http_urls_find(http_urls *u, const char *text)
{
    for (size_t i = 0; i < u->n; i++)
        if (strcmp(u->known[i].text, text) == 0)
            return u->known[i].parts;
    if (u->n == HTTP_MOST_URLS)
        return NULL;
    char *copy = strdup(text);
    CURLU *parts = curl_url();
    if (copy == NULL || parts == NULL || curl_url_set(parts, CURLUPART_URL, text, 0) != CURLUE_OK) {
        free(copy);
        curl_url_cleanup(parts);
        return NULL;
    }
    u->known[u->n].text = copy;
    u->known[u->n++].parts = parts;
    return parts;
}

void http_urls_free(http_urls *u)
{
    while (u->n > 0) {
        u->n--;
        free(u->known[u->n].text);
        curl_url_cleanup(u->known[u->n].parts);
    }
}

/* "https://host:443/"; to be freed with curl_free. NULL: no address. */
static char *origin(const char *url)
{
    CURLU *parts = curl_url();
    char *whole = NULL;
    static const CURLUPart others[] = {CURLUPART_PATH,     CURLUPART_QUERY,   CURLUPART_FRAGMENT,
                                       CURLUPART_PASSWORD, CURLUPART_OPTIONS, CURLUPART_USER};
    bool sound = parts != NULL && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK;
    for (size_t i = 0; sound && i < sizeof others / sizeof others[0]; i++)
        sound = curl_url_set(parts, others[i], NULL, 0) == CURLUE_OK;
    if (sound)
        curl_url_get(parts, CURLUPART_URL, &whole, CURLU_DEFAULT_PORT);
    curl_url_cleanup(parts);
    return whole;
}

bool http_same_origin(const char *url, const char *other)
{
    char *a = origin(url), *b = origin(other);
    bool same = a != NULL && b != NULL && strcasecmp(a, b) == 0;
    curl_free(a);
    curl_free(b);
    return same;
}

char *http_escape(const char *text, bool keep_slashes)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    char *escaped = malloc(3 * strlen(text) + 1), *end = escaped;
    for (; escaped != NULL && *text != '\0'; text++) {
        if (strchr(plain, *text) != NULL || (keep_slashes && *text == '/'))
            *end++ = *text;
        else
            end += sprintf(end, "%%%02X", (unsigned)(unsigned char)*text);
    }
    if (escaped != NULL)
        *end = '\0';
    return escaped;
}
