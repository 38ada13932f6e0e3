/*
 * cors.c: what browsers are told about pages of other origins (Fetch standard, "CORS protocol").
 * Who may come at all is admit.c's.
 */
#include <stdio.h>
#include <string.h>

#include "server/exchange.h"

#define MAX_ASKED 1024 /* bytes of header names that a preflight asks for */

static bool has_origin(const config_texts *list, const char *origin)
{
    for (uint32_t i = 0; i < list->n; i++)
        if (strcmp(list->texts[i], "*") == 0 || strcasecmp(list->texts[i], origin) == 0)
            return true;
    return false;
}

bool cors_allows(exchange *e)
{
    const char *origin = exchange_header(e, "Origin");
    if (origin == NULL || !has_origin(&e->server->options.allowed_origins, origin))
        return false;
    e->cors_origin = origin;
    return true;
}

bool cors_is_preflight(exchange *e)
{
    return strcmp(e->head->method, "OPTIONS") == 0 &&
           exchange_header(e, "Access-Control-Request-Method") != NULL;
}

static bool preflight_begin(exchange *e)
{
    char lines[MAX_ASKED + 256];
    const char *asked = exchange_header(e, "Access-Control-Request-Headers");
    bool fits = asked != NULL && strlen(asked) <= MAX_ASKED;
    snprintf(lines, sizeof lines,
             "Access-Control-Allow-Methods: GET, POST, DELETE, OPTIONS\r\n"
             "Access-Control-Allow-Headers: %s\r\n"
             "Access-Control-Max-Age: 600\r\n",
             fits ? asked : "authorization, content-type");
    buffer nothing;
    buffer_init(&nothing, 1);
    return exchange_answer_with(e, 200, "text/plain", lines, &nothing);
}

const route cors_preflight = {"OPTIONS", "*", .is_open = true, .begin = preflight_begin};
