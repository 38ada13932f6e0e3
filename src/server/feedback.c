/* feedback.c: what a request's intent really was, told afterwards. */
#include <string.h>

#include "orchestra/online_limit.h"
#include "server/exchange.h"

#define MAX_BODY 65536

typedef struct feedback {
    const char *id;
    const char *label;
    size_t truth; /* the label's number */
} feedback;

static bool read_text(const json_t *body, const char *name, const char **out, api_error *error)
{
    *out = json_string_value(json_object_get(body, name));
    return *out != NULL ||
           api_error_set(error, 400, NULL, name, "'%s' is needed, and must be a string", name);
}

static bool find_label(const orchestra *o, feedback *f, api_error *error)
{
    char known[256] = "";
    for (size_t i = 0, n = 0; i < orchestra_label_count(o); i++) {
        f->truth = i;
        if (strcmp(orchestra_label_name(o, i), f->label) == 0)
            return true;
        if (n < sizeof known)
            n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", i == 0 ? "" : ", ",
                                  orchestra_label_name(o, i));
    }
    return api_error_set(error, 400, NULL, "label", "'%.64s' is not a label; there are %s",
                         f->label, known);
}

/* The texts stay the body's. */
static bool read_feedback(feedback *f, json_t *body, const orchestra *o, api_error *error)
{
    const char *name;
    json_t *value;
    json_object_foreach(body, name, value)
    {
        if (strcmp(name, "id") != 0 && strcmp(name, "label") != 0)
            return api_error_set(error, 400, NULL, name,
                                 "unknown field '%s': id and label are known", name);
    }
    return read_text(body, "id", &f->id, error) && read_text(body, "label", &f->label, error) &&
           find_label(o, f, error);
}

static bool learn(const feedback *f, online_limit *l, online_limit_lesson *out, api_error *error)
{
    failure fail;
    error_code code = online_limit_tell(l, f->id, f->truth, out, &fail);
    return code == OK ||
           api_error_set(error, code == ERR_NOT_FOUND ? 404 : 409, NULL, "id", "%s", fail.text);
}

bool feedback_begin(exchange *e)
{
    orchestra *o = e->server->orchestra;
    online_limit *l = orchestra_online_limit(o);
    api_error error;
    feedback f = {.id = NULL};
    online_limit_lesson lesson = {.said = 0};
    json_t *answer = NULL;
    if (l == NULL) {
        api_error_set(&error, 409, NULL, "",
                      "nothing learns from feedback here: it needs probe.calibration with a target "
                      "for misroutes, and probe.online (docs/calibration.md)");
        return exchange_answer_error(e, &error);
    }
    if (e->body.length > MAX_BODY) { /* it is read on the thread that all clients share */
        api_error_set(&error, 413, NULL, "", "the body is larger than %d bytes", MAX_BODY);
        return exchange_answer_error(e, &error);
    }
    json_t *body = request_object(e->body.data, e->body.length, &error);
    bool told = body != NULL && read_feedback(&f, body, o, &error) && learn(&f, l, &lesson, &error);
    if (told)
        answer = json_pack("{s:s, s:s, s:s, s:b, s:b, s:f}", "id", f.id, "label", f.label, "said",
                           orchestra_label_name(o, lesson.said), "wrong", (int)lesson.wrong,
                           "misrouted", (int)lesson.misrouted, "entropy_limit", lesson.limit);
    json_decref(body);
    return told ? exchange_answer(e, 200, answer) : exchange_answer_error(e, &error);
}
