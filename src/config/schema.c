/* schema.c: the tables that libcyaml reads by, and its errors in words. */
#include "config/schema.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "config/config.h"
#include "config/yaml_reader.h"

/* ---- the schema --------------------------------------------------------------------------- */

#define REQUIRED CYAML_FLAG_POINTER
#define OPTIONAL (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)
#define MAX_TEXT 4096 /* bytes of any one string */

#define TEXT(key, flags, type) CYAML_FIELD_STRING_PTR(#key, flags, type, key, 0, MAX_TEXT)
#define UINT(key, type) CYAML_FIELD_UINT_PTR(#key, OPTIONAL, type, key)
#define FLAG(key, type) CYAML_FIELD_BOOL_PTR(#key, OPTIONAL, type, key)
#define REAL(key, type) CYAML_FIELD_FLOAT_PTR(#key, OPTIONAL, type, key)

static const cyaml_schema_value_t text_value = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, MAX_TEXT)};

static const cyaml_schema_field_t pool_fields[] = {
    UINT(limit, file_pool),
    UINT(queue, file_pool),
    UINT(wait_ms, file_pool),
    UINT(retries, file_pool),
    UINT(health_ms, file_pool),
    TEXT(health_path, OPTIONAL, file_pool),
    UINT(slow_start_ms, file_pool),
    UINT(hedge_tokens, file_pool),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t price_fields[] = {
    REAL(input, file_price),
    REAL(output, file_price),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t model_fields[] = {
    TEXT(name, REQUIRED, file_model),
    CYAML_FIELD_MAPPING_PTR("price", OPTIONAL, file_model, price, price_fields),
    TEXT(role, OPTIONAL, file_model),
    TEXT(path, OPTIONAL, file_model),
    TEXT(url, OPTIONAL, file_model),
    TEXT(model, OPTIONAL, file_model),
    TEXT(key_env, OPTIONAL, file_model),
    TEXT(key_file, OPTIONAL, file_model),
    TEXT(ca_file, OPTIONAL, file_model),
    TEXT(fields, OPTIONAL, file_model),
    UINT(connect_ms, file_model),
    UINT(first_byte_ms, file_model),
    UINT(idle_ms, file_model),
    CYAML_FIELD_SEQUENCE_COUNT("replicas", OPTIONAL, file_model, replicas, n_replicas, &text_value,
                               1, CONFIG_MAX_REPLICAS),
    CYAML_FIELD_SEQUENCE_COUNT("lookup_replicas", OPTIONAL, file_model, lookup_replicas,
                               n_lookup_replicas, &text_value, 1, CONFIG_MAX_REPLICAS),
    CYAML_FIELD_MAPPING_PTR("pool", OPTIONAL, file_model, pool, pool_fields),
    TEXT(chat_template, OPTIONAL, file_model),
    UINT(context, file_model),
    UINT(slots, file_model),
    UINT(parked, file_model),
    TEXT(kv, OPTIONAL, file_model),
    TEXT(requant, OPTIONAL, file_model),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t model_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, file_model, model_fields)};

static const cyaml_schema_field_t label_fields[] = {
    TEXT(name, REQUIRED, file_label),
    TEXT(token, OPTIONAL, file_label),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t label_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, file_label, label_fields)};

static const cyaml_schema_field_t online_fields[] = {
    CYAML_FIELD_FLOAT_PTR("step", REQUIRED, file_online, step),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t probe_fields[] = {
    TEXT(kind, OPTIONAL, file_probe),
    TEXT(model, OPTIONAL, file_probe),
    TEXT(template, OPTIONAL, file_probe),
    UINT(window_head, file_probe),
    UINT(window_tail, file_probe),
    UINT(timeout_ms, file_probe),
    UINT(cache, file_probe),
    FLAG(reuse, file_probe),
    CYAML_FIELD_SEQUENCE_COUNT("labels", OPTIONAL, file_probe, labels, n_labels, &label_value, 2,
                               CONFIG_MAX_LABELS),
    TEXT(calibration, OPTIONAL, file_probe),
    CYAML_FIELD_MAPPING_PTR("online", OPTIONAL, file_probe, online, online_fields),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t success_fields[] = {
    TEXT(calibration, REQUIRED, file_success),
    CYAML_FIELD_MAPPING_PTR("online", OPTIONAL, file_success, online, online_fields),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t header_fields[] = {
    TEXT(name, REQUIRED, file_header),
    TEXT(value, OPTIONAL, file_header),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t header_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, file_header, header_fields)};

static const cyaml_schema_field_t load_fields[] = {
    TEXT(model, REQUIRED, file_load), UINT(above_running, file_load),
    UINT(max_running, file_load),     UINT(above_waiting, file_load),
    UINT(max_waiting, file_load),     UINT(above_delay_ms, file_load),
    UINT(max_delay_ms, file_load),    CYAML_FIELD_END,
};
static const cyaml_schema_value_t load_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, file_load, load_fields)};

static const cyaml_schema_field_t sampling_fields[] = {
    REAL(temperature, file_sampling),
    REAL(top_p, file_sampling),
    REAL(min_p, file_sampling),
    UINT(top_k, file_sampling),
    REAL(repetition_penalty, file_sampling),
    REAL(presence_penalty, file_sampling),
    REAL(frequency_penalty, file_sampling),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t rule_fields[] = {
    TEXT(name, REQUIRED, file_rule),
    TEXT(intent, OPTIONAL, file_rule),
    CYAML_FIELD_SEQUENCE_COUNT("intents", OPTIONAL, file_rule, intents, n_intents, &text_value, 1,
                               CONFIG_MAX_LABELS),
    REAL(above_entropy, file_rule),
    REAL(max_entropy, file_rule),
    TEXT(certain, OPTIONAL, file_rule),
    REAL(above_margin, file_rule),
    REAL(max_margin, file_rule),
    REAL(min_success, file_rule),
    REAL(below_success, file_rule),
    TEXT(likely, OPTIONAL, file_rule),
    UINT(above_prompt_tokens, file_rule),
    UINT(max_prompt_tokens, file_rule),
    UINT(above_turn, file_rule),
    UINT(max_turn, file_rule),
    REAL(above_coin, file_rule),
    REAL(max_coin, file_rule),
    TEXT(session, OPTIONAL, file_rule),
    CYAML_FIELD_SEQUENCE_COUNT("headers", OPTIONAL, file_rule, headers, n_headers, &header_value, 1,
                               CONFIG_MAX_HEADERS),
    CYAML_FIELD_SEQUENCE_COUNT("load", OPTIONAL, file_rule, load, n_load, &load_value, 1,
                               CONFIG_MAX_MODELS),
    TEXT(model, OPTIONAL, file_rule),
    UINT(cheapest_within_ms, file_rule),
    TEXT(lookup, OPTIONAL, file_rule),
    TEXT(kv, OPTIONAL, file_rule),
    CYAML_FIELD_MAPPING_PTR("sampling", OPTIONAL, file_rule, sampling, sampling_fields),
    UINT(max_tokens, file_rule),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t rule_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, file_rule, rule_fields)};

static const cyaml_schema_field_t policy_fields[] = {
    TEXT(name, OPTIONAL, file_policy),
    REAL(entropy_limit, file_policy),
    UINT(prompt_limit, file_policy),
    UINT(seed, file_policy),
    TEXT(sticky, OPTIONAL, file_policy),
    CYAML_FIELD_SEQUENCE_COUNT("rules", OPTIONAL, file_policy, rules, n_rules, &rule_value, 1,
                               CONFIG_MAX_RULES),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t engine_fields[] = {
    UINT(threads, file_engine),           UINT(prefill_chunk, file_engine),
    UINT(queue_limit, file_engine),       UINT(step_budget_ms, file_engine),
    UINT(memory_limit_mb, file_engine),   FLAG(prefix_cache, file_engine),
    TEXT(machine, OPTIONAL, file_engine), CYAML_FIELD_END,
};

static const cyaml_schema_field_t alias_fields[] = {
    TEXT(name, REQUIRED, file_alias),
    TEXT(model, REQUIRED, file_alias),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t alias_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, file_alias, alias_fields)};

static const cyaml_schema_field_t server_fields[] = {
    TEXT(host, OPTIONAL, file_server),
    UINT(port, file_server),
    TEXT(socket, OPTIONAL, file_server),
    TEXT(keys_file, OPTIONAL, file_server),
    TEXT(budget_file, OPTIONAL, file_server),
    FLAG(allow_without_key, file_server),
    TEXT(tls_certificate, OPTIONAL, file_server),
    TEXT(tls_key, OPTIONAL, file_server),
    UINT(loops, file_server),
    UINT(max_connections, file_server),
    UINT(max_connections_per_address, file_server),
    CYAML_FIELD_SEQUENCE_COUNT("allowed_hosts", OPTIONAL, file_server, allowed_hosts,
                               n_allowed_hosts, &text_value, 0, CONFIG_MAX_ALLOWED),
    CYAML_FIELD_SEQUENCE_COUNT("allowed_origins", OPTIONAL, file_server, allowed_origins,
                               n_allowed_origins, &text_value, 0, CONFIG_MAX_ALLOWED),
    CYAML_FIELD_SEQUENCE_COUNT("aliases", OPTIONAL, file_server, aliases, n_aliases, &alias_value,
                               0, CONFIG_MAX_ALIASES),
    TEXT(unknown_model, OPTIONAL, file_server),
    UINT(max_body_bytes, file_server),
    UINT(max_tokens_default, file_server),
    UINT(seed_default, file_server),
    TEXT(priority_default, OPTIONAL, file_server),
    UINT(deadline_ms_default, file_server),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t decisions_fields[] = {
    TEXT(file, REQUIRED, file_decisions),
    TEXT(prompts, OPTIONAL, file_decisions),
    UINT(max_mb, file_decisions),
    UINT(keep, file_decisions),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t top_fields[] = {
    CYAML_FIELD_UINT("version", CYAML_FLAG_DEFAULT, file_config, version),
    CYAML_FIELD_SEQUENCE_COUNT("models", REQUIRED, file_config, models, n_models, &model_value, 1,
                               CONFIG_MAX_MODELS),
    CYAML_FIELD_MAPPING_PTR("probe", OPTIONAL, file_config, probe, probe_fields),
    CYAML_FIELD_MAPPING_PTR("success", OPTIONAL, file_config, success, success_fields),
    CYAML_FIELD_MAPPING_PTR("policy", OPTIONAL, file_config, policy, policy_fields),
    CYAML_FIELD_MAPPING_PTR("engine", OPTIONAL, file_config, engine, engine_fields),
    CYAML_FIELD_MAPPING_PTR("server", OPTIONAL, file_config, server, server_fields),
    CYAML_FIELD_MAPPING_PTR("decisions", OPTIONAL, file_config, decisions, decisions_fields),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t top_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, file_config, top_fields)};

/* ---- what libcyaml says about a file it refuses --------------------------------------------- */

/* libcyaml logs what is wrong first, then a backtrace from the innermost place outwards. */
typedef struct complaint {
    char what[256];
    char field[64];   /* the innermost mapping field, "" at the top */
    int line, column; /* of the innermost place; 0: none */
} complaint;

static void hear(cyaml_log_t level, void *context, const char *format, va_list args)
{
    (void)level;
    complaint *c = context;
    char text[YAML_LINE_SIZE];
    const char *line = yaml_reader_line(text, format, args);
    const char *place = strstr(line, "(line: ");
    if (place == NULL) {
        if (c->what[0] == '\0' && strcmp(line, "Backtrace:") != 0)
            snprintf(c->what, sizeof c->what, "%s", line);
        return;
    }
    if (c->line == 0)
        sscanf(place, "(line: %d, column: %d", &c->line, &c->column);
    if (c->field[0] == '\0')
        sscanf(line, " in mapping field '%63[^']", c->field);
}

static const cyaml_schema_field_t *fields_of(const char *name)
{
    static const struct {
        const char *name;
        const cyaml_schema_field_t *fields;
    } sections[] = {
        {"models", model_fields},    {"labels", label_fields},        {"probe", probe_fields},
        {"headers", header_fields},  {"load", load_fields},           {"sampling", sampling_fields},
        {"rules", rule_fields},      {"policy", policy_fields},       {"engine", engine_fields},
        {"server", server_fields},   {"decisions", decisions_fields}, {"online", online_fields},
        {"success", success_fields}, {"price", price_fields},         {"pool", pool_fields},
        {"aliases", alias_fields},
    };
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++)
        if (strcmp(name, sections[i].name) == 0)
            return sections[i].fields;
    return top_fields;
}

/* The backtrace knows where the key before an unknown one stands, not the unknown one itself. */
static int line_of_key(const char *text, size_t length, const char *key, const complaint *after)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return after->line;
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
    int line = after->line;
    bool done = false;
    while (!done) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event))
            break;
        int at_line = (int)event.start_mark.line + 1;
        int at_column = (int)event.start_mark.column + 1;
        bool is_after =
            at_line > after->line || (at_line == after->line && at_column >= after->column);
        if (event.type == YAML_SCALAR_EVENT && is_after &&
            strcmp((const char *)event.data.scalar.value, key) == 0) {
            line = at_line;
            done = true;
        }
        done = done || event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return line;
}

static error_code refuse_unknown_key(const char *text, size_t length, const char *file,
                                     const complaint *c, failure *fail)
{
    const char *key = strrchr(c->what, ':');
    key = key != NULL && key[1] == ' ' ? key + 2 : c->what;
    char known[512] = "";
    size_t used = 0;
    for (const cyaml_schema_field_t *f = fields_of(c->field); f->key != NULL; f++) {
        int n = snprintf(known + used, sizeof known - used, "%s%s", used > 0 ? ", " : "", f->key);
        used += n > 0 && (size_t)n < sizeof known - used ? (size_t)n : 0;
    }
    return failure_set(fail, ERR_CONFIG, "%s:%d: unknown key \"%s\" in %s (known: %s)", file,
                       line_of_key(text, length, key, c), key,
                       c->field[0] != '\0' ? c->field : "the file", known);
}

/* libyaml has no text for a lack of memory: libcyaml prints none. */
static bool was_memory(cyaml_err_t error, const complaint *c)
{
    return error == CYAML_ERR_OOM || error == CYAML_ERR_LIBYAML_PARSER_INIT ||
           (error == CYAML_ERR_LIBYAML_PARSER && strstr(c->what, "(null)") != NULL);
}

static error_code refuse(cyaml_err_t error, const char *text, size_t length, const char *file,
                         const complaint *c, failure *fail)
{
    if (was_memory(error, c))
        return failure_set(fail, ERR_MEMORY, "no memory for %s", file);
    if (error == CYAML_ERR_INVALID_KEY && c->what[0] != '\0')
        return refuse_unknown_key(text, length, file, c, fail);
    const char *what = c->what[0] != '\0' ? c->what : cyaml_strerror(error);
    if (error == CYAML_ERR_MAPPING_FIELD_MISSING || c->field[0] == '\0')
        return failure_set(fail, ERR_CONFIG, "%s:%d: %s", file, c->line, what);
    return failure_set(fail, ERR_CONFIG, "%s:%d: %s: %s", file, c->line, c->field, what);
}

/* ---- reading ------------------------------------------------------------------------------ */

error_code file_config_read(file_config **out, const char *text, size_t length, const char *file,
                            failure *fail)
{
    complaint c = {.line = 0};
    cyaml_config_t reader = yaml_reader(hear, &c);
    file_config *f = NULL;
    *out = NULL;
    cyaml_err_t error = cyaml_load_data((const uint8_t *)text, length, &reader, &top_value,
                                        (cyaml_data_t **)&f, NULL);
    if (error != CYAML_OK)
        return refuse(error, text, length, file, &c, fail);
    if (f == NULL)
        return failure_set(fail, ERR_CONFIG,
                           "%s: the file is empty; it needs version: %d and models", file,
                           CONFIG_VERSION);
    if (c.what[0] != '\0') { /* a warning: more than one document */
        file_config_free(f);
        return failure_set(fail, ERR_CONFIG, "%s: %s", file, c.what);
    }
    *out = f;
    return OK;
}

void file_config_free(file_config *f)
{
    complaint c = {.line = 0};
    cyaml_config_t reader = yaml_reader(hear, &c);
    cyaml_free(&reader, &top_value, f, 0);
}
