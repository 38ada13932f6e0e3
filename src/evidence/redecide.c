/* redecide.c: reading tables and decisions, and comparing plans word for word. */
#include "evidence/redecide.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/lines.h"
#include "base/utf8.h"
#include "orchestra/describe.h"
#include "orchestra/record.h"

/* The table in effect, made from the log alone. */
typedef struct table {
    config *config;
    policy *policy; /* NULL: no policy line yet */
} table;

static void table_free(table *t)
{
    policy_destroy(t->policy);
    config_free(t->config);
    *t = (table){.config = NULL};
}

static void add_word(buffer *out, const char *before, const json_t *word)
{
    json_t *text = json_is_string(word) ? json_incref((json_t *)word) : json_string("");
    buffer_add_text(out, before);
    json_write(out, text); /* releases it */
}

static void add_model(buffer *out, const json_t *logged)
{
    json_t *price = json_object_get(logged, "price");
    add_word(out, "  - {path: log, name: ", json_object_get(logged, "name"));
    if (price != NULL)
        buffer_add_text(out, ", price: ");
    if (price != NULL)
        json_write_exact(out, json_incref(price)); /* releases it */
    buffer_add_text(out, "}\n");
}

static void add_asked(buffer *out, const json_t *name)
{
    add_word(out, "  model: ", name);
    buffer_add_text(out, "\n");
}

/* JSON is YAML: the log's rules are put into a configuration as they stand. What they look at was
 * found then, so the files that it came from are only named. */
static error_code write_config(buffer *out, const json_t *logged)
{
    const json_t *labels = json_object_get(logged, "labels");
    const json_t *models = json_object_get(logged, "models");
    const json_t *asked = json_object_get(logged, "asked");
    bool is_learned = json_object_get(logged, "probe") != NULL;
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(labels); i++)
        json_array_append_new(list, json_pack("{s:O}", "name", json_array_get(labels, i)));
    buffer_add_text(out, "version: 1\nmodels:\n");
    for (size_t i = 0; i < json_array_size(models); i++)
        add_model(out, json_array_get(models, i));
    if (models == NULL) /* earlier versions had pairs only */
        buffer_add_text(out, "  - {name: small, path: small}\n  - {name: large, path: large}\n");
    buffer_add_text(out, "success: {calibration: log}\nprobe:\n");
    if (asked != NULL)
        add_asked(out, asked);
    if (is_learned)
        buffer_add_text(out, "  kind: learned\n  calibration: log\n");
    buffer_add_text(out, "  labels: ");
    error_code code = json_write(out, list);
    json_t *section = json_pack(
        "{s:s, s:O, s:O, s:O}", "name", "rules", "seed", json_object_get(logged, "seed"), "sticky",
        json_object_get(logged, "sticky"), "rules", json_object_get(logged, "rules"));
    buffer_add_text(out, "\npolicy: ");
    return code == OK ? json_write_exact(out, section) : code;
}

static void mark_rule(config_rule *r, bool is_success)
{
    if (is_success)
        r->likely = r->bounds[CONFIG_SUCCESS].max < INFINITY ? CONFIG_UNLIKELY : CONFIG_LIKELY;
    else
        r->certain = r->bounds[CONFIG_ENTROPY].max < INFINITY ? CONFIG_CERTAIN : CONFIG_UNCERTAIN;
}

/* Marks the rules whose limit moved: every decision has its own. */
static error_code follow_limit(config *c, const json_t *logged, const char *key, failure *fail)
{
    const json_t *online = json_object_get(logged, key);
    config_policy *p = &c->policy;
    bool is_success = strcmp(key, "success_online") == 0;
    const json_t *rules = json_object_get(online, "rules"),
                 *start = json_object_get(online, "start");
    if (online == NULL)
        return OK;
    bool right = json_is_number(start) && json_is_array(rules);
    *(is_success ? &p->likely : &p->certain) =
        (config_limits){.at = {json_number_value(start)}, .n = 1};
    for (size_t i = 0; right && i < json_array_size(rules); i++) {
        const json_t *number = json_array_get(rules, i);
        size_t at = (size_t)json_integer_value(number);
        right = json_is_integer(number) && at < p->n_rules;
        if (right)
            mark_rule(&p->rules[at], is_success);
    }
    return right ? OK
                 : failure_set(fail, ERR_FORMAT, "\"%s\" needs start and the numbers of its rules",
                               key);
}

/* False: the log says it wrongly. */
static bool read_contexts(const json_t *logged, size_t contexts[CONFIG_MAX_MODELS])
{
    const json_t *models = json_object_get(logged, "models");
    const json_t *small = json_object_get(logged, "small_context"); /* of earlier versions */
    size_t n = json_array_size(models);
    bool right = models == NULL ? json_is_integer(small) : n > 0 && n <= CONFIG_MAX_MODELS;
    for (size_t i = 0; i < CONFIG_MAX_MODELS; i++)
        contexts[i] = i == 0 ? (size_t)json_integer_value(small) : SIZE_MAX;
    for (size_t i = 0; right && i < n; i++) {
        const json_t *context = json_object_get(json_array_get(models, i), "context");
        right = json_is_integer(context);
        contexts[i] = (size_t)json_integer_value(context);
    }
    return right;
}

static error_code read_table(table *t, const json_t *line, failure *fail)
{
    const json_t *logged = json_object_get(line, "policy");
    size_t contexts[CONFIG_MAX_MODELS];
    buffer text;
    if (!json_is_array(json_object_get(logged, "rules")) || !read_contexts(logged, contexts))
        return failure_set(fail, ERR_FORMAT, "a policy line needs \"policy\" with its rules");
    if (json_object_get(logged, "labels") == NULL || json_object_get(logged, "seed") == NULL ||
        json_object_get(logged, "sticky") == NULL)
        return failure_set(fail, ERR_FORMAT, "the policy line lacks labels, seed or sticky");
    table_free(t);
    buffer_init(&text, (size_t)4 << 20);
    error_code code = write_config(&text, logged);
    if (code != OK)
        code = failure_set(fail, code, "no memory for the policy");
    if (code == OK)
        code = config_parse(&t->config, text.data, text.length, "the logged policy", fail);
    if (code == OK)
        code = follow_limit(t->config, logged, "online", fail);
    if (code == OK)
        code = follow_limit(t->config, logged, "success_online", fail);
    if (code == OK)
        code = policy_create(&t->policy, t->config, contexts, fail);
    buffer_free(&text);
    return code;
}

/* ---- one decision ------------------------------------------------------------------------- */

/* Of a text, so many bytes as are shown: whole characters, for it may be told as JSON. */
static int shown(const char *text)
{
    size_t length = strlen(text);
    return (int)utf8_valid_prefix(text, length < 90 ? length : 90);
}

static void differ(char *first, const char *what, const char *then, const char *again)
{
    const char *was = then != NULL ? then : "(none)", *is = again != NULL ? again : "(none)";
    snprintf(first, 256, "%s was \"%.*s\", is \"%.*s\"", what, shown(was), was, shown(is), is);
}

static bool is_same_text(const json_t *then, const char *key, const char *again, char *first)
{
    const char *text = json_string_value(json_object_get(then, key));
    bool same = text == NULL || again == NULL ? text == again : strcmp(text, again) == 0;
    if (!same)
        differ(first, key, text, again);
    return same;
}

static bool is_same_number(const json_t *then, const char *key, size_t again, char *first)
{
    const json_t *value = json_object_get(then, key);
    size_t number = json_is_null(value) ? PLAN_NO_RULE : (size_t)json_integer_value(value);
    if (number != again)
        snprintf(first, 256, "%s was %zu, is %zu", key, number, again);
    return number == again;
}

static bool is_same_lookup(const json_t *then, const plan *again, char *first)
{
    if (json_is_true(json_object_get(then, "client_lookup")))
        return true; /* the client's, not the policy's */
    json_t *lookup = lookup_json(&again->lookup);
    bool same = json_equal(lookup, json_object_get(then, "lookup"));
    json_decref(lookup);
    if (!same)
        snprintf(first, 256, "lookup is another");
    return same;
}

static bool is_same_plan(const table *t, const json_t *then, const plan *again, char *first)
{
    return is_same_text(then, "role", policy_model(t->policy, again->level), first) &&
           is_same_text(then, "rule", again->rule, first) &&
           is_same_text(then, "fallback", fallback_name(again->fallback), first) &&
           is_same_text(then, "reason", again->reason, first) &&
           is_same_number(then, "number", again->number, first) &&
           is_same_number(then, "prior", again->lookup.prior, first) &&
           is_same_lookup(then, again, first);
}

static error_code decide_again(const table *t, const json_t *line, redecided *out, failure *fail)
{
    const json_t *facts = json_object_get(line, "facts"), *then = json_object_get(line, "plan");
    recorded_facts recorded;
    plan again;
    char first[256] = "";
    if (!json_is_object(then))
        return failure_set(fail, ERR_FORMAT, "a decision without \"plan\"");
    if (json_is_null(facts)) {
        out->pinned++;
        return OK;
    }
    if (t->policy == NULL) {
        out->orphans++;
        return OK;
    }
    error_code code = record_read(&recorded, facts, t->policy, fail);
    if (code != OK)
        return code;
    out->decisions++;
    bool decided = policy_decide(t->policy, &recorded.facts, &again);
    if (!decided)
        snprintf(first, sizeof first, "the facts do not decide it");
    bool same = decided && is_same_plan(t, then, &again, first);
    if (json_was_short())
        return failure_set(fail, ERR_MEMORY, "no memory for the plan");
    if (same)
        out->same++;
    else if (out->first[0] == '\0')
        memcpy(out->first, first, sizeof first);
    return OK;
}

/* ---- the file ----------------------------------------------------------------------------- */

static error_code read_line(table *t, const char *text, size_t length, redecided *out,
                            failure *fail)
{
    json_error_t error;
    error_code code;
    json_t *line = json_read(text, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error, &code);
    const char *type = json_string_value(json_object_get(line, "type"));
    if (code == ERR_MEMORY) {
        failure_set(fail, code, "no memory for the line");
    } else if (line == NULL) {
        out->torn++;
        code = OK;
    } else if (type != NULL && strcmp(type, "policy") == 0) {
        code = read_table(t, line, fail);
        out->policies++;
    } else if (type != NULL && strcmp(type, "decision") == 0) {
        code = decide_again(t, line, out, fail);
    } else {
        code = failure_set(fail, ERR_FORMAT, "neither a policy nor a decision");
    }
    json_decref(line);
    return code;
}

error_code redecide_log(const char *path, redecided *out, failure *fail)
{
    FILE *file = fopen(path, "r");
    *out = (redecided){.policies = 0};
    if (file == NULL)
        return failure_set(fail, error_code_of_errno(errno), "%s: %s", path, strerror(errno));
    table t = {.config = NULL};
    char *line = NULL;
    size_t capacity = 0;
    error_code code = OK;
    ssize_t length;
    for (size_t number = 1; code == OK && (length = getline(&line, &capacity, file)) > 0;
         number++) {
        code = read_line(&t, line, (size_t)length, out, fail);
        if (code != OK)
            failure_prefix(fail, "%s:%zu", path, number);
    }
    if (code == OK)
        code = lines_ended(file, path, fail);
    free(line);
    fclose(file);
    table_free(&t);
    return code;
}
