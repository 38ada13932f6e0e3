/* request_priority.c: priority and deadline of a chat request, as fields and as headers. */
#include "server/request_parser.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PRIORITY_HEADER "x-a-io-priority"
#define DEADLINE_HEADER "x-a-io-deadline-ms"

static bool set_priority(parser *p, const char *name, request_priority priority)
{
    request *r = &p->out->request;
    if (p->priority != NULL && r->priority != priority)
        return parser_refuse_difference(p, name, p->priority);
    p->priority = name;
    r->priority = priority;
    return true;
}

static bool set_priority_text(parser *p, const char *name, const char *text)
{
    request_priority priority;
    if (text == NULL || !priority_parse(text, &priority))
        return parser_refuse(p, name, "must be 'interactive' or 'batch'");
    return set_priority(p, name, priority);
}

/* vLLM's is a number of which the lower goes first: two classes can honour two of them. */
bool read_priority(parser *p, const char *name, json_t *value)
{
    double number = json_number_value(value);
    if (!json_is_number(value))
        return set_priority_text(p, name, json_string_value(value));
    if (number != 0 && number != 1)
        return parser_refuse(p, name,
                             "has two classes: 'interactive' (or 0) goes before 'batch' (or 1)");
    return set_priority(p, name, number == 0 ? PRIORITY_INTERACTIVE : PRIORITY_BATCH);
}

bool read_service_tier(parser *p, const char *name, json_t *value)
{
    const char *tier = json_is_string(value) ? json_string_value(value) : "";
    p->tier = value;
    if (strcmp(tier, "auto") == 0 || strcmp(tier, "default") == 0)
        return true; /* whatever is done without it */
    if (strcmp(tier, "priority") == 0)
        return set_priority(p, name, PRIORITY_INTERACTIVE);
    if (strcmp(tier, "flex") == 0)
        return set_priority(p, name, PRIORITY_BATCH);
    return parser_refuse(p, name,
                         "must be 'auto', 'default', 'priority' (interactive) or 'flex' (batch)");
}

const char *priority_tier(const parser *p)
{
    if (p->tier == NULL)
        return NULL;
    if (p->out->request.priority == PRIORITY_BATCH)
        return "flex";
    return strcmp(json_string_value(p->tier), "priority") == 0 ? "priority" : "default";
}

static bool set_deadline(parser *p, const char *name, double deadline_ms)
{
    request *r = &p->out->request;
    if (p->deadline != NULL && r->deadline_ms != deadline_ms)
        return parser_refuse_difference(p, name, p->deadline);
    p->deadline = name;
    r->deadline_ms = deadline_ms;
    return true;
}

bool read_deadline(parser *p, const char *name, json_t *value)
{
    int64_t number = 0;
    return parser_read_integer(p, name, value, 0, INT32_MAX, &number) &&
           set_deadline(p, name, (double)number);
}

static bool read_deadline_header(parser *p, const char *text)
{
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0 || number > INT32_MAX)
        return api_error_set(p->error, 400, NULL, DEADLINE_HEADER,
                             "'%s' must be an integer from 0 to %d", DEADLINE_HEADER, INT32_MAX);
    return set_deadline(p, DEADLINE_HEADER, (double)number);
}

bool read_priority_headers(parser *p, const request_text *text)
{
    return (text->priority == NULL || set_priority_text(p, PRIORITY_HEADER, text->priority)) &&
           (text->deadline_ms == NULL || read_deadline_header(p, text->deadline_ms));
}
