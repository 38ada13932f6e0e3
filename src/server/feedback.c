/* feedback.c: what a request's intent really was, or whether its answer was right, told
 * afterwards. */
#include <string.h>

#include "orchestra/calibration_file.h"
#include "orchestra/online_limit.h"
#include "server/exchange.h"

#define MAX_BODY 65536

typedef struct feedback {
    const char *id;
    const char *label;    /* NULL: it is about the answer */
    size_t truth;         /* the label's number, or SUCCESS_RIGHT */
    online_limit *learns; /* what it is for */
} feedback;

static bool find_label(const routing *g, feedback *f, api_error *error)
{
    char known[256] = "";
    for (size_t i = 0, n = 0; i < routing_label_count(g); i++) {
        f->truth = i;
        if (strcmp(routing_label_name(g, i), f->label) == 0)
            return true;
        if (n < sizeof known)
            n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", i == 0 ? "" : ", ",
                                  routing_label_name(g, i));
    }
    return api_error_set(error, 400, NULL, "label", "'%.64s' is not a label; there are %s",
                         f->label, known);
}

static bool read_truth(feedback *f, const json_t *label, const json_t *right, const routing *g,
                       api_error *error)
{
    if ((label == NULL) == (right == NULL))
        return api_error_set(error, 400, NULL, label == NULL ? "label" : "right",
                             "exactly one of 'label' (what the intent was) and 'right' (whether "
                             "the answer was) is needed");
    f->label = json_string_value(label);
    if (label != NULL && f->label == NULL)
        return api_error_set(error, 400, NULL, "label", "'label' must be a string");
    if (right != NULL && !json_is_boolean(right))
        return api_error_set(error, 400, NULL, "right", "'right' must be true or false");
    f->truth = json_is_true(right) ? SUCCESS_RIGHT : 1 - SUCCESS_RIGHT;
    f->learns = label != NULL ? routing_online_limit(g) : routing_online_doubt(g);
    if (f->learns == NULL)
        return api_error_set(error, 409, NULL, label != NULL ? "label" : "right",
                             label != NULL
                                 ? "nothing learns from intents here: probe.online is not "
                                   "configured (docs/calibration.md)"
                                 : "nothing learns from answers here: success.online is "
                                   "not configured (docs/calibration.md)");
    return label == NULL || find_label(g, f, error);
}

/* The texts stay the body's. */
static bool read_feedback(feedback *f, json_t *body, const routing *g, api_error *error)
{
    const char *name;
    json_t *value;
    json_object_foreach(body, name, value)
    {
        if (strcmp(name, "id") != 0 && strcmp(name, "label") != 0 && strcmp(name, "right") != 0)
            return api_error_set(error, 400, NULL, name,
                                 "unknown field '%s': id, label and right are known", name);
    }
    f->id = json_string_value(json_object_get(body, "id"));
    if (f->id == NULL)
        return api_error_set(error, 400, NULL, "id", "'id' is needed, and must be a string");
    return read_truth(f, json_object_get(body, "label"), json_object_get(body, "right"), g, error);
}

static bool learn(const feedback *f, online_limit_lesson *out, api_error *error)
{
    failure fail;
    error_code code = online_limit_tell(f->learns, f->id, f->truth, out, &fail);
    return code == OK ||
           api_error_set(error, code == ERR_NOT_FOUND ? 404 : 409, NULL, "id", "%s", fail.text);
}

static json_t *answer_of(const feedback *f, const online_limit_lesson *lesson, const routing *g)
{
    if (f->label == NULL)
        return json_pack("{s:s, s:b, s:b, s:f}", "id", f->id, "right",
                         (int)(f->truth == SUCCESS_RIGHT), "misrouted", (int)lesson->misrouted,
                         "success_limit", 1 - lesson->limit);
    return json_pack("{s:s, s:s, s:s, s:b, s:b, s:f}", "id", f->id, "label", f->label, "said",
                     routing_label_name(g, lesson->said), "wrong", (int)lesson->wrong, "misrouted",
                     (int)lesson->misrouted, "entropy_limit", lesson->limit);
}

static bool answer_feedback(exchange *e, const routing *g)
{
    api_error error;
    feedback f = {.id = NULL};
    online_limit_lesson lesson = {.said = 0};
    json_t *answer = NULL;
    if (routing_online_limit(g) == NULL && routing_online_doubt(g) == NULL) {
        api_error_set(&error, 409, NULL, "",
                      "nothing learns from feedback here: it needs probe.calibration with a target "
                      "for misroutes, and probe.online (or the same of success; "
                      "docs/calibration.md)");
        return exchange_answer_error(e, &error);
    }
    if (e->body.length > MAX_BODY) { /* it is read on the thread that all clients share */
        api_error_set(&error, 413, NULL, "", "the body is larger than %d bytes", MAX_BODY);
        return exchange_answer_error(e, &error);
    }
    json_t *body = request_object(e->body.data, e->body.length, &error);
    bool told = body != NULL && read_feedback(&f, body, g, &error) && learn(&f, &lesson, &error);
    if (told)
        answer = answer_of(&f, &lesson, g);
    json_decref(body);
    return told ? exchange_answer(e, 200, answer) : exchange_answer_error(e, &error);
}

bool feedback_begin(exchange *e)
{
    routing *g = orchestra_hold_routing(e->server->orchestra);
    bool answered = answer_feedback(e, g);
    routing_release(g);
    return answered;
}
