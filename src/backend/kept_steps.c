/* kept_steps.c: what steps cost, as JSON under all that it depends on. */
#include "backend/kept_steps.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backend/machine.h"

#define KIND "steps"
#define KEY_SIZE 256
#define LONGEST_MS 1e6 /* a step that takes longer was not measured at a start */

static void name_key(char key[KEY_SIZE], const model *m, int threads, kv_type kv)
{
    char cpu[128];
    machine_cpu_name(cpu);
    snprintf(key, KEY_SIZE, "%s, %s, %d threads, %016" PRIx64 ", %s", cpu, kernel_name(), threads,
             m->fingerprint, kv_type_name(kv));
}

static bool read_ms(const json_t *value, double *out)
{
    *out = json_number_value(value); /* 0 of what is no number */
    return isfinite(*out) && *out > 0 && *out < LONGEST_MS;
}

/* {"1": ms, "2": ms …}: T(n) by n. */
static bool read_steps(json_t *steps, double ms[ENGINE_STEP_ROWS + 1])
{
    const char *name;
    json_t *value;
    json_object_foreach(steps, name, value)
    {
        unsigned n;
        char again[16];
        if (sscanf(name, "%3u", &n) != 1 || n == 0 || n > ENGINE_STEP_ROWS)
            return false;
        snprintf(again, sizeof again, "%u", n);
        if (strcmp(again, name) != 0 || !read_ms(value, &ms[n]))
            return false;
    }
    return ms[1] > 0;
}

void kept_steps_read(const kept_store *k, const model *m, int threads, engine_options *o)
{
    char key[KEY_SIZE];
    name_key(key, m, threads, o->kv);
    json_t *value = kept_read(k, KIND, key);
    double ms[ENGINE_STEP_ROWS + 1] = {0}, row_ms;
    json_int_t rows = json_integer_value(json_object_get(value, "prefill_rows"));
    if (rows > 0 && rows <= ENGINE_KNOWN_PREFILL &&
        read_ms(json_object_get(value, "prefill_row_ms"), &row_ms) &&
        read_steps(json_object_get(value, "step_ms"), ms)) {
        memcpy(o->step_ms, ms, sizeof ms);
        o->prefill_row_ms = row_ms;
        o->prefill_rows = (size_t)rows;
    }
    json_decref(value);
}

void kept_steps_write(const kept_store *k, const model *m, int threads, kv_type kv,
                      const engine_costs *measured)
{
    char key[KEY_SIZE];
    if (k == NULL || measured->step_ms[1] == 0)
        return;
    name_key(key, m, threads, kv);
    json_t *steps = json_object();
    for (unsigned n = 1; n <= ENGINE_STEP_ROWS; n++) {
        char name[16];
        snprintf(name, sizeof name, "%u", n);
        if (measured->step_ms[n] > 0)
            json_object_set_new(steps, name, json_real(measured->step_ms[n]));
    }
    kept_write(k, KIND, key,
               json_pack("{s:f, s:I, s:o}", "prefill_row_ms", measured->prefill_row_ms,
                         "prefill_rows", (json_int_t)measured->prefill_rows, "step_ms", steps));
}
