/* json_out.c: members and items, a comma between two. */
#include "base/json_out.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/json_memory.h"
#include "base/json_quick.h"

#define NUMBER_SIZE 40
#define FIXED_BELOW 1e9 /* what so many decimals are written of */
#define FIXED_PARTS 1e6

/* ---- where it goes --------------------------------------------------------------------------- */

/* Room for so many bytes; NULL: something has gone wrong. */
static char *reserve(json_out *o, size_t length)
{
    if (o->code == OK)
        o->code = buffer_reserve(o->to, length);
    return o->code == OK ? o->to->data + o->to->length : NULL;
}

static void end_at(json_out *o, char *end)
{
    *end = '\0';
    o->to->length = (size_t)(end - o->to->data);
}

/* Where the value goes, behind its comma and its name, with room for so many bytes. */
static char *begin(json_out *o, const char *name, size_t length)
{
    static const size_t marks = sizeof ",\"\":" - 1;
    size_t n = name != NULL ? strlen(name) : 0;
    char *at = reserve(o, marks + n + length);
    if (at == NULL)
        return NULL;
    if (o->follows)
        *at++ = ',';
    o->follows = true;
    if (name == NULL)
        return at;
    *at++ = '"';
    at = mempcpy(at, name, n);
    *at++ = '"';
    *at++ = ':';
    return at;
}

void json_out_raw(json_out *o, const char *name, const char *json, size_t length)
{
    char *at = begin(o, name, length);
    if (at != NULL)
        end_at(o, mempcpy(at, json, length));
}

void json_out_open(json_out *o, const char *name, char bracket)
{
    json_out_raw(o, name, &bracket, 1);
    o->follows = false;
}

void json_out_close(json_out *o, char bracket)
{
    char *at = reserve(o, 1);
    if (at == NULL)
        return;
    *at++ = bracket;
    end_at(o, at);
    o->follows = true;
}

/* ---- texts and values ------------------------------------------------------------------------ */

void json_out_word(json_out *o, const char *name, const char *word)
{
    if (word == NULL) {
        json_out_raw(o, name, "null", 4);
        return;
    }
    size_t length = strlen(word);
    char *at = begin(o, name, length + 2);
    if (at == NULL)
        return;
    *at++ = '"';
    at = mempcpy(at, word, length);
    *at++ = '"';
    end_at(o, at);
}

void json_out_text(json_out *o, const char *name, const char *text, size_t length)
{
    json_out_raw(o, name, "", 0);
    if (o->code == OK)
        o->code = json_write_text(o->to, text, length);
}

void json_out_flag(json_out *o, const char *name, bool flag)
{
    json_out_raw(o, name, flag ? "true" : "false", flag ? 4 : 5);
}

void json_out_value(json_out *o, const char *name, json_t *value)
{
    json_out_raw(o, name, "", 0);
    if (o->code == OK)
        o->code = json_write(o->to, value);
    else
        json_decref(value);
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* Its digits, at least `least` of them, before `end`; where they begin. */
static char *put_digits(char *end, uint64_t number, int least)
{
    for (; number > 0 || least > 0; number /= 10, least--)
        *--end = (char)('0' + number % 10);
    return end;
}

void json_out_count(json_out *o, const char *name, int64_t count)
{
    char text[NUMBER_SIZE], *end = text + sizeof text;
    char *at = put_digits(end, count < 0 ? -(uint64_t)count : (uint64_t)count, 1);
    if (count < 0)
        *--at = '-';
    json_out_raw(o, name, at, (size_t)(end - at));
}

/* A whole number, as most are. */
static void put_whole(json_out *o, const char *name, double number)
{
    char text[NUMBER_SIZE], *end = text + sizeof text;
    *--end = '0';
    *--end = '.';
    char *at = put_digits(end, (uint64_t)fabs(number), 1);
    if (number < 0)
        *--at = '-';
    json_out_raw(o, name, at, (size_t)(text + sizeof text - at));
}

void json_out_real(json_out *o, const char *name, double number)
{
    char text[NUMBER_SIZE];
    double finite = json_finite(number);
    if (fabs(finite) < FIXED_BELOW && finite == trunc(finite)) {
        put_whole(o, name, finite);
        return;
    }
    int n = snprintf(text, sizeof text, "%.9g", finite);
    bool is_whole = strcspn(text, ".e") == (size_t)n;
    json_out_raw(o, name, text, (size_t)(is_whole ? stpcpy(text + n, ".0") - text : n));
}

void json_out_number(json_out *o, const char *name, double number)
{
    static const char nothing[] = "0.000000"; /* most of what is measured */
    char text[NUMBER_SIZE], *end = text + sizeof text;
    if (number == 0) {
        json_out_raw(o, name, nothing, sizeof nothing - 1);
        return;
    }
    if (!(fabs(number) < FIXED_BELOW)) {
        json_out_real(o, name, number);
        return;
    }
    uint64_t parts = (uint64_t)llround(fabs(number) * FIXED_PARTS);
    char *at = put_digits(end, parts % (uint64_t)FIXED_PARTS, 6);
    *--at = '.';
    at = put_digits(at, parts / (uint64_t)FIXED_PARTS, 1);
    if (number < 0 && parts > 0)
        *--at = '-';
    json_out_raw(o, name, at, (size_t)(end - at));
}

/* ---- back ------------------------------------------------------------------------------------ */

json_t *json_out_read(json_out *o)
{
    json_t *value = NULL;
    if (o->code == OK)
        value = json_quick_read(o->to->data, o->to->length, 0);
    if (o->code == OK && value == NULL) /* numbers that are jansson's */
        value = json_loadb(o->to->data, o->to->length, 0, NULL);
    if (value == NULL)
        json_memory_note_shortage();
    buffer_free(o->to);
    return value;
}
