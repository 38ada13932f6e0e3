/* request_parser.c: what every reader of a field needs: refusals, memory that lives as long as the
 * request, values of the usual kinds, and the walk over a body by its form's tables. */
#include "server/request_parser.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

/* ---- refusals and memory --------------------------------------------------------------------- */

bool parser_refuse(parser *p, const char *param, const char *what)
{
    return api_error_set(p->error, 400, NULL, param, "'%s' %s", param, what);
}

bool parser_refuse_difference(parser *p, const char *name, const char *other)
{
    return api_error_set(p->error, 400, NULL, name, "'%s' and '%s' differ; send one of them", name,
                         other);
}

bool parser_no_memory(parser *p, const char *name)
{
    return api_error_set(p->error, 503, "out_of_memory", name, "no memory for '%s'", name);
}

void *parser_keep(parser *p, const char *name, void *made)
{
    chat_request *out = p->out;
    char **more = made != NULL ? reallocarray(out->kept, out->n_kept + 1, sizeof *more) : NULL;
    if (more == NULL) {
        free(made);
        parser_no_memory(p, name);
        return NULL;
    }
    out->kept = more;
    out->kept[out->n_kept++] = made;
    return made;
}

json_t *parser_own(parser *p, json_t *made)
{
    if (p->out->converted == NULL)
        p->out->converted = json_array();
    return json_array_append_new(p->out->converted, made) == 0 ? made : NULL;
}

#define KEPT_LIMIT ((size_t)256 << 20) /* above what a body can become */

char *parser_write_json(json_t *value)
{
    buffer text;
    buffer_init(&text, KEPT_LIMIT);
    if (json_write_exact(&text, json_incref(value)) != OK)
        buffer_free(&text);
    return text.data;
}

const char *parser_keep_json(parser *p, const char *name, json_t *value)
{
    return parser_keep(p, name, parser_write_json(value));
}

/* ---- values ---------------------------------------------------------------------------------- */

bool parser_read_float(parser *p, const char *name, json_t *value, double low, double high,
                       float *out)
{
    double number = json_number_value(value);
    if (!json_is_number(value) || !(number >= low && number <= high))
        return api_error_set(p->error, 400, NULL, name,
                             "'%s' must be a number of at least %g and at most %g", name, low,
                             high);
    *out = (float)number;
    return true;
}

/* True: a number that is whole, and that a double holds exactly. */
static bool whole_number(json_t *value, int64_t *out)
{
    *out = json_integer_value(value);
    if (json_is_integer(value))
        return true;
    double real = json_real_value(value);
    const double exact = 9007199254740992.0; /* 2^53 */
    if (!json_is_real(value) || real != floor(real) || fabs(real) > exact)
        return false;
    *out = (int64_t)real;
    return true;
}

bool parser_read_integer(parser *p, const char *name, json_t *value, int64_t low, int64_t high,
                         int64_t *out)
{
    if (!whole_number(value, out) || *out < low || *out > high)
        return api_error_set(p->error, 400, NULL, name, "'%s' must be an integer from %lld to %lld",
                             name, (long long)low, (long long)high);
    return true;
}

bool parser_read_flag(parser *p, const char *name, json_t *value, bool *out)
{
    *out = json_is_true(value);
    return json_is_boolean(value) || parser_refuse(p, name, "must be true or false");
}

/* What a hint must look like: a client that is mistaken should hear of it. */
bool field_is_text(const json_t *value)
{
    return json_is_string(value);
}

bool field_is_flag(const json_t *value)
{
    return json_is_boolean(value);
}

bool field_is_object(const json_t *value)
{
    return json_is_object(value);
}

bool field_is_list(const json_t *value)
{
    return json_is_array(value);
}

bool field_is_number(const json_t *value)
{
    return json_is_number(value);
}

bool field_is_anything(const json_t *value)
{
    (void)value;
    return true;
}

/* ---- a body by its form ---------------------------------------------------------------------- */

/* NULL: there are no more. */
static const request_field *field_at(const request_form *form, size_t index)
{
    for (size_t t = 0; t < FORM_MAX_TABLES && form->tables[t] != NULL; t++)
        for (const request_field *f = form->tables[t]; f->name != NULL; f++)
            if (index-- == 0)
                return f;
    return NULL;
}

size_t request_field_count(const request_form *form)
{
    size_t n = 0;
    while (field_at(form, n) != NULL)
        n++;
    return n;
}

const char *request_field_name(const request_form *form, size_t index)
{
    return field_at(form, index)->name;
}

/* 1 and 1.0 are one number. */
static bool is_same(const json_t *value, const char *text)
{
    json_t *wanted = json_loads(text, JSON_DECODE_ANY, NULL);
    bool same = json_is_number(wanted)
                    ? json_is_number(value) && json_number_value(wanted) == json_number_value(value)
                    : json_equal(wanted, value) == 1;
    json_decref(wanted);
    return same;
}

static bool read_only(parser *p, const request_field *f, const json_t *value)
{
    for (size_t i = 0; f->only[i] != NULL; i++)
        if (is_same(value, f->only[i]))
            return true;
    if (json_was_short())
        return api_error_set(p->error, 503, "out_of_memory", f->name, "no memory for '%s'",
                             f->name);
    bool is_one = f->only[1] == NULL;
    return api_error_set(
        p->error, 400, NULL, f->name, "'%s' is only supported with the value%s %s%s%s", f->name,
        is_one ? "" : "s", f->only[0], is_one ? "" : " and ", is_one ? "" : f->only[1]);
}

static bool read_known(parser *p, const request_field *f, json_t *value)
{
    if (f->read != NULL)
        return f->read(p, f->name, value);
    if (f->hint == NULL)
        return read_only(p, f, value);
    return f->hint(value) ||
           api_error_set(p->error, 400, NULL, f->name, "'%s' must be %s", f->name, f->type);
}

static bool read_field(parser *p, const request_form *form, const char *name, json_t *value)
{
    if (json_is_null(value))
        return true;
    for (size_t t = 0; t < FORM_MAX_TABLES && form->tables[t] != NULL; t++)
        for (const request_field *f = form->tables[t]; f->name != NULL; f++)
            if (name[0] == f->name[0] && strcmp(name, f->name) == 0)
                return read_known(p, f, value);
    return api_error_set(p->error, 400, NULL, name,
                         "unknown field '%s': nothing is accepted and ignored", name);
}

bool read_fields(parser *p, const request_form *form, json_t *body)
{
    const char *key;
    json_t *value;
    json_object_foreach(body, key, value)
    {
        if (!read_field(p, form, key, value))
            return false;
    }
    return true;
}
