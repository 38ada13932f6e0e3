/* http_url.h: addresses that are asked again and again, taken apart once. Inside base only. */
#ifndef BASE_HTTP_URL_H
#define BASE_HTTP_URL_H

#include <curl/curl.h>
#include <stddef.h>

#define HTTP_MOST_URLS 64

typedef struct http_urls {
    struct {
        char *text;
        CURLU *parts;
    } known[HTTP_MOST_URLS];
    size_t n;
} http_urls;

/* Lives until http_urls_free. NULL: there is no room for more or no memory, or it is no address. */
CURLU *http_urls_find(http_urls *u, const char *text);
void http_urls_free(http_urls *u);

#endif
