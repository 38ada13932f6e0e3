/* rules.c: one rule: its conditions, and what it plans. */
#include "config/rules.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/take.h"

#define MAX_MAX_TOKENS (1u << 24)

static error_code refuse(failure *fail, size_t i, const char *key, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static error_code refuse(failure *fail, size_t i, const char *key, const char *format, ...)
{
    char what[400];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return failure_set(fail, ERR_CONFIG, "policy.rules[%zu].%s: %s", i, key, what);
}

/* ---- intents -------------------------------------------------------------------------------- */

static error_code add_intent(config_rule *r, const char *name, const char *key, const config *c,
                             size_t i, failure *fail)
{
    char known[300] = "";
    size_t used = 0;
    for (size_t k = 0; k < c->probe.n_labels; k++) {
        const char *label = c->probe.labels[k].name;
        if (strcmp(label, name) == 0) {
            r->intents |= UINT64_C(1) << k;
            return OK;
        }
        int n = snprintf(known + used, sizeof known - used, "%s%s", k > 0 ? ", " : "", label);
        used += (size_t)n < sizeof known - used ? (size_t)n : 0;
    }
    return refuse(fail, i, key, "\"%.64s\" is not a label of the probe; those are: %s", name,
                  known);
}

static error_code take_intents(config_rule *r, const file_rule *f, const config *c, size_t i,
                               failure *fail)
{
    if (f->intent != NULL && f->n_intents > 0)
        return refuse(fail, i, "intents", "stands beside intent; one of the two is enough");
    r->intents = f->intent == NULL && f->n_intents == 0 ? CONFIG_ANY_INTENT : 0;
    if (f->intent != NULL)
        return add_intent(r, f->intent, "intent", c, i, fail);
    error_code code = OK;
    for (size_t k = 0; k < f->n_intents && code == OK; k++)
        code = add_intent(r, f->intents[k], "intents", c, i, fail);
    return code;
}

/* ---- models --------------------------------------------------------------------------------- */

static error_code find_model(size_t *out, const char *name, const char *key, const config *c,
                             size_t i, failure *fail)
{
    bool is_end = strcmp(name, "small") == 0 || strcmp(name, "large") == 0;
    size_t end = strcmp(name, "large") == 0 ? c->n_models - 1 : 0;
    if (!config_find_model(c, name, out))
        return refuse(fail, i, key,
                      "model \"%.64s\" is unknown; allowed: small, large%s, or the name of one of "
                      "the models",
                      name, strcmp(key, "model") == 0 ? ", next" : "");
    if (is_end && *out != end)
        return refuse(fail, i, key,
                      "\"%s\" is a role and the name of the model with the other role; rename that "
                      "model",
                      name);
    return OK;
}

/* ---- bounds --------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    double lowest; /* that a value can have */
} quantities[CONFIG_LOADS] = {
    [CONFIG_ENTROPY] = {"entropy", 0}, [CONFIG_MARGIN] = {"margin", 0},
    [CONFIG_SUCCESS] = {"success", 0}, [CONFIG_PROMPT_TOKENS] = {"prompt_tokens", 0},
    [CONFIG_TURN] = {"turn", 1},       [CONFIG_COIN] = {"coin", 0},
};

static const char *const loads[CONFIG_LOAD_KINDS] = {
    [CONFIG_RUNNING] = "running",
    [CONFIG_WAITING] = "waiting",
    [CONFIG_DELAY] = "delay_ms",
};

const char *config_quantity_name(config_quantity q)
{
    return q < CONFIG_LOADS ? quantities[q].name : loads[(q - CONFIG_LOADS) % CONFIG_LOAD_KINDS];
}

double config_number_before(double x)
{
    return nextafter(x, -INFINITY);
}

double config_number_after(double x)
{
    return nextafter(x, INFINITY) + 0.0; /* 0, not -0 */
}

/* Written so that a NaN is refused too. */
static error_code check_bound(const config_rule *r, config_quantity q, size_t i, failure *fail)
{
    const config_bound *b = &r->bounds[q];
    const char *name = config_quantity_name(q);
    double lowest = q < CONFIG_LOADS ? quantities[q].lowest : 0;
    char key[64];
    snprintf(key, sizeof key, "%smax_%s", q >= CONFIG_LOADS ? "load." : "", name);
    if (!(b->max >= lowest))
        return refuse(fail, i, key, "must be a number of at least %g", lowest);
    if (!(b->above < b->max))
        return refuse(fail, i, key, "must be larger than above_%s", name);
    return OK;
}

#define BOUND(quantity, above_value, max_value)                                                    \
    do {                                                                                           \
        if ((above_value) != NULL)                                                                 \
            r->bounds[quantity].above = (double)*(above_value);                                    \
        if ((max_value) != NULL)                                                                   \
            r->bounds[quantity].max = (double)*(max_value);                                        \
    } while (0)

static error_code take_load(config_rule *r, const file_rule *f, const config *c, size_t i,
                            failure *fail)
{
    size_t models[CONFIG_MAX_MODELS];
    for (size_t k = 0; k < f->n_load; k++) {
        const file_load *l = &f->load[k];
        error_code code = find_model(&models[k], l->model, "load", c, i, fail);
        if (code != OK)
            return code;
        for (size_t before = 0; before < k; before++)
            if (models[before] == models[k])
                return refuse(fail, i, "load", "%s stands there twice", l->model);
        if (l->above_running == NULL && l->max_running == NULL && l->above_waiting == NULL &&
            l->max_waiting == NULL && l->above_delay_ms == NULL && l->max_delay_ms == NULL)
            return refuse(fail, i, "load",
                          "%s has no bound; known: above_ and max_ running, waiting, delay_ms "
                          "(max_waiting, say)",
                          l->model);
        BOUND(config_load_of(models[k], CONFIG_RUNNING), l->above_running, l->max_running);
        BOUND(config_load_of(models[k], CONFIG_WAITING), l->above_waiting, l->max_waiting);
        BOUND(config_load_of(models[k], CONFIG_DELAY), l->above_delay_ms, l->max_delay_ms);
    }
    return OK;
}

/* Written so that a NaN is refused too. */
static error_code take_success(config_rule *r, const file_rule *f, const config *c, size_t i,
                               failure *fail)
{
    bool likely;
    config_bound *b = &r->bounds[CONFIG_SUCCESS];
    bool is_bounded = f->min_success != NULL || f->below_success != NULL;
    const char *key = f->min_success != NULL ? "min_success"
                      : is_bounded           ? "below_success"
                                             : "likely";
    if (!is_bounded && f->likely == NULL)
        return OK;
    if (is_bounded && f->likely != NULL)
        return refuse(fail, i, "likely",
                      "stands beside a bound of success; it is one itself: at least, or below, the "
                      "calibration's limit");
    if (c->success.calibration == NULL)
        return refuse(fail, i, key,
                      "nobody asks how likely success is: success.calibration names "
                      "no file of a-io calibrate --success");
    if (f->likely != NULL) {
        if (!config_flag_parse(f->likely, &likely))
            return refuse(fail, i, key, "\"%.64s\" is unknown; allowed: true, false", f->likely);
        r->likely = likely ? CONFIG_LIKELY : CONFIG_UNLIKELY;
        return OK;
    }
    if (f->min_success != NULL && !(*f->min_success >= 0 && *f->min_success <= 1))
        return refuse(fail, i, key, "must be a probability, 0 to 1");
    if (f->below_success != NULL && !(*f->below_success > 0 && *f->below_success <= 1))
        return refuse(fail, i, "below_success", "must be a probability above 0, at most 1");
    if (f->min_success != NULL)
        b->above = config_number_before(*f->min_success);
    if (f->below_success != NULL)
        b->max = config_number_before(*f->below_success);
    if (!(b->above < b->max))
        return refuse(fail, i, "below_success", "must be larger than min_success");
    return OK;
}

/* The limit is put in when the calibration has been read. */
static error_code take_certain(config_rule *r, const file_rule *f, const config *c, size_t i,
                               failure *fail)
{
    bool certain;
    if (f->certain == NULL)
        return OK;
    if (!config_flag_parse(f->certain, &certain))
        return refuse(fail, i, "certain", "\"%.64s\" is unknown; allowed: true, false", f->certain);
    if (f->above_entropy != NULL || f->max_entropy != NULL)
        return refuse(fail, i, "certain",
                      "stands beside a bound of the entropy; it is one itself: at most, or above, "
                      "the calibration's limit");
    if (c->probe.calibration == NULL)
        return refuse(fail, i, "certain",
                      "needs the limit of a calibration, and probe.calibration names none: run "
                      "a-io calibrate, or give max_entropy");
    r->certain = certain ? CONFIG_CERTAIN : CONFIG_UNCERTAIN;
    return OK;
}

static error_code take_bounds(config_rule *r, const file_rule *f, const config *c, size_t i,
                              failure *fail)
{
    for (size_t q = 0; q < CONFIG_QUANTITIES; q++)
        r->bounds[q] = (config_bound){.above = -INFINITY, .max = INFINITY};
    BOUND(CONFIG_ENTROPY, f->above_entropy, f->max_entropy);
    BOUND(CONFIG_MARGIN, f->above_margin, f->max_margin);
    BOUND(CONFIG_COIN, f->above_coin, f->max_coin);
    BOUND(CONFIG_PROMPT_TOKENS, f->above_prompt_tokens, f->max_prompt_tokens);
    BOUND(CONFIG_TURN, f->above_turn, f->max_turn);
    error_code code = take_load(r, f, c, i, fail);
    for (config_quantity q = 0; q < CONFIG_QUANTITIES && code == OK; q++)
        if (q != CONFIG_SUCCESS) /* take_success */
            code = check_bound(r, q, i, fail);
    return code;
}

/* ---- headers -------------------------------------------------------------------------------- */

static bool is_header_name(const char *name)
{
    size_t length = strlen(name);
    return length >= 1 && length <= 64 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") ==
               length;
}

/* What a rule looks at stands in the decision log, where secrets have no place. */
static bool is_secret(const char *name)
{
    return strcasecmp(name, "authorization") == 0 || strcasecmp(name, "cookie") == 0 ||
           strcasecmp(name, "proxy-authorization") == 0;
}

static error_code take_headers(config_rule *r, const file_rule *f, size_t i, failure *fail)
{
    if (f->n_headers == 0)
        return OK;
    r->headers = calloc(f->n_headers, sizeof *r->headers);
    if (r->headers == NULL)
        return config_no_memory(fail);
    r->n_headers = f->n_headers;
    for (size_t k = 0; k < f->n_headers; k++) {
        const file_header *from = &f->headers[k];
        if (!is_header_name(from->name))
            return refuse(fail, i, "headers",
                          "\"%.64s\" is no header's name: 1 to 64 letters, digits, - or _",
                          from->name);
        if (is_secret(from->name))
            return refuse(fail, i, "headers",
                          "%s holds secrets, and what a rule looks at is written to the decision "
                          "log; use another header",
                          from->name);
        for (size_t j = 0; j < k; j++)
            if (strcasecmp(f->headers[j].name, from->name) == 0)
                return refuse(fail, i, "headers", "\"%s\" stands there twice", from->name);
        r->headers[k].name = strdup(from->name);
        if (from->value != NULL)
            r->headers[k].value = strdup(from->value);
        if (r->headers[k].name == NULL || (from->value != NULL && r->headers[k].value == NULL))
            return config_no_memory(fail);
    }
    return OK;
}

/* ---- the plan ------------------------------------------------------------------------------- */

/* NEXT has no number: whose it is, is seen when it is decided. */
static error_code take_model(config_rule *r, const file_rule *f, const config *c, size_t i,
                             failure *fail)
{
    if ((f->model == NULL) == (f->cheapest_within_ms == NULL))
        return refuse(fail, i, "model",
                      "each rule says one of model and cheapest_within_ms, who answers");
    if (f->cheapest_within_ms != NULL) {
        r->choice = CONFIG_MODEL_CHEAPEST;
        r->within_ms = *f->cheapest_within_ms;
        return config_has_prices(c) ? OK
                                    : refuse(fail, i, "cheapest_within_ms", "no model has a price");
    }
    bool is_next = strcmp(f->model, "next") == 0;
    r->choice = is_next ? CONFIG_MODEL_NEXT : CONFIG_MODEL_NAMED;
    return is_next ? OK : find_model(&r->model, f->model, "model", c, i, fail);
}

static error_code take_number(config_sampling *s, const double *from, config_sampling_bits bit,
                              float *to, double low, double high, const char *name, size_t i,
                              failure *fail)
{
    if (from == NULL)
        return OK;
    if (!(*from >= low && *from <= high)) {
        char key[64];
        snprintf(key, sizeof key, "sampling.%s", name);
        return refuse(fail, i, key, "must be a number of at least %g and at most %g", low, high);
    }
    *to = (float)*from;
    s->set |= bit;
    return OK;
}

/* The ranges are those of a request's own fields. */
static error_code take_sampling(config_sampling *s, const file_sampling *f, size_t i, failure *fail)
{
    if (f == NULL)
        return OK;
    const struct {
        const double *from;
        config_sampling_bits bit;
        float *to;
        double low, high;
        const char *name;
    } numbers[] = {
        {f->temperature, CONFIG_TEMPERATURE, &s->temperature, 0, 100, "temperature"},
        {f->top_p, CONFIG_TOP_P, &s->top_p, 1e-6, 1, "top_p"},
        {f->min_p, CONFIG_MIN_P, &s->min_p, 0, 1, "min_p"},
        {f->repetition_penalty, CONFIG_REPETITION_PENALTY, &s->repetition_penalty, 0.01, 100,
         "repetition_penalty"},
        {f->presence_penalty, CONFIG_PRESENCE_PENALTY, &s->presence_penalty, -2, 2,
         "presence_penalty"},
        {f->frequency_penalty, CONFIG_FREQUENCY_PENALTY, &s->frequency_penalty, -2, 2,
         "frequency_penalty"},
    };
    error_code code = OK;
    for (size_t k = 0; k < sizeof numbers / sizeof numbers[0] && code == OK; k++)
        code = take_number(s, numbers[k].from, numbers[k].bit, numbers[k].to, numbers[k].low,
                           numbers[k].high, numbers[k].name, i, fail);
    if (f->top_k != NULL) {
        s->top_k = *f->top_k;
        s->set |= CONFIG_TOP_K;
    }
    if (code == OK && s->set == 0)
        return refuse(fail, i, "sampling", "is empty");
    return code;
}

static error_code take_plan(config_rule *r, const file_rule *f, const config *c, size_t i,
                            failure *fail)
{
    error_code code = take_model(r, f, c, i, fail);
    if (code != OK)
        return code;
    r->lookup = (config_lookup){.mode = CONFIG_LOOKUP_AUTO};
    if (f->lookup != NULL && !config_lookup_parse(f->lookup, &r->lookup))
        return refuse(fail, i, "lookup", "\"%.64s\" is unknown; allowed: off, auto, draft, 1 to %d",
                      f->lookup, CONFIG_MAX_DRAFT);
    if (r->lookup.mode == CONFIG_LOOKUP_DRAFT && r->choice != CONFIG_MODEL_NAMED)
        return refuse(fail, i, "lookup", "draft needs a model that is named");
    if (r->lookup.mode == CONFIG_LOOKUP_DRAFT && r->model == 0)
        return refuse(fail, i, "lookup",
                      "draft is for the large model: the small one drafts for it");
    if (f->kv != NULL)
        return refuse(fail, i, "kv",
                      "a model keeps one type of KV for all its requests: it stands with the model "
                      "(models: kv), a rule cannot choose it");
    if (f->max_tokens != NULL && (*f->max_tokens == 0 || *f->max_tokens > MAX_MAX_TOKENS))
        return refuse(fail, i, "max_tokens", "must be a number from 1 to %u", MAX_MAX_TOKENS);
    if (f->max_tokens != NULL)
        r->max_tokens = *f->max_tokens;
    return take_sampling(&r->sampling, f->sampling, i, fail);
}

/* ---- all of it ------------------------------------------------------------------------------ */

error_code config_rule_take(config_rule *r, const file_rule *f, const config *c, size_t i,
                            failure *fail)
{
    r->name = strdup(f->name);
    if (r->name == NULL)
        return config_no_memory(fail);
    bool is_named = false;
    if (f->session != NULL && !config_flag_parse(f->session, &is_named))
        return refuse(fail, i, "session", "\"%.64s\" is unknown; allowed: true, false", f->session);
    if (f->session != NULL)
        r->session = is_named ? CONFIG_SESSION_NAMED : CONFIG_SESSION_UNNAMED;
    error_code code = take_intents(r, f, c, i, fail);
    if (code == OK)
        code = take_bounds(r, f, c, i, fail);
    if (code == OK)
        code = take_certain(r, f, c, i, fail);
    if (code == OK)
        code = take_success(r, f, c, i, fail);
    if (code == OK)
        code = take_headers(r, f, i, fail);
    return code == OK ? take_plan(r, f, c, i, fail) : code;
}

void config_rule_free(config_rule *r)
{
    for (size_t k = 0; k < r->n_headers; k++) {
        free(r->headers[k].name);
        free(r->headers[k].value);
    }
    free(r->headers);
    free(r->name);
    *r = (config_rule){.name = NULL};
}
