/* policy_reason.c: why a plan is what it is, for a person, with the numbers. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "orchestra/policy_internal.h"

static void say(char reason[PLAN_REASON_SIZE], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(char reason[PLAN_REASON_SIZE], const char *format, ...)
{
    size_t used = strlen(reason);
    if (used > 0 && used + 2 < PLAN_REASON_SIZE) {
        strcpy(reason + used, ", ");
        used += 2;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(reason + used, PLAN_REASON_SIZE - used, format, args);
    va_end(args);
    reason[utf8_valid_prefix(reason, strlen(reason))] = '\0'; /* a cut may be within a character */
}

/* So many decimals that two close numbers do not read as equal. */
static int decimals_apart(int decimals, double value, double near)
{
    while (decimals > 0 && decimals < 9 && value != near &&
           fabs(value - near) < 0.5 * pow(10.0, -decimals))
        decimals++;
    return decimals;
}

/* In the words of its keys. */
static void say_success(char reason[PLAN_REASON_SIZE], const config_bound *b, double value)
{
    double least = config_number_after(b->above), below = config_number_after(b->max);
    int d = decimals_apart(2, value, b->above > -INFINITY ? least : below);
    if (b->above > -INFINITY)
        say(reason, "success %.*f ≥ %.*f", d, value, d, least);
    if (b->max < INFINITY)
        say(reason, "success %.*f < %.*f", d, value, d, below);
}

static void say_bound(char reason[PLAN_REASON_SIZE], config_quantity q, const config_bound *b,
                      double value)
{
    static const struct {
        const char *before, *between, *after;
        int decimals;
    } words[CONFIG_LOADS] = {
        [CONFIG_ENTROPY] = {"entropy ", "", " nats", 2},
        [CONFIG_MARGIN] = {"margin ", "", "", 2},
        [CONFIG_PROMPT_TOKENS] = {"", " prompt tokens", "", 0},
        [CONFIG_TURN] = {"turn ", "", "", 0},
        [CONFIG_COIN] = {"coin ", "", "", 2},
    };
    int d = decimals_apart(words[q].decimals, value, b->above > -INFINITY ? b->above : b->max);
    if (b->above > -INFINITY)
        say(reason, "%s%.*f%s > %.*f%s", words[q].before, d, value, words[q].between, d, b->above,
            words[q].after);
    if (b->max < INFINITY)
        say(reason, "%s%.*f%s ≤ %.*f%s", words[q].before, d, value, words[q].between, d, b->max,
            words[q].after);
}

static void say_load(char reason[PLAN_REASON_SIZE], const policy *p, config_quantity q,
                     const config_bound *b, double value)
{
    const char *word = p->models[(q - CONFIG_LOADS) / CONFIG_LOAD_KINDS].word;
    bool is_delay = (q - CONFIG_LOADS) % CONFIG_LOAD_KINDS == CONFIG_DELAY;
    const char *what = is_delay ? "ms expected" : config_quantity_name(q);
    int d = decimals_apart(0, value, b->above > -INFINITY ? b->above : b->max);
    if (b->above > -INFINITY)
        say(reason, "%s model: %.*f %s > %.*f", word, d, value, what, d, b->above);
    if (b->max < INFINITY)
        say(reason, "%s model: %.*f %s ≤ %.*f", word, d, value, what, d, b->max);
}

void policy_explain(const policy *p, const config_rule *r, bool is_first, const policy_facts *f,
                    char reason[PLAN_REASON_SIZE])
{
    reason[0] = '\0';
    if (r->intents != CONFIG_ANY_INTENT)
        say(reason, "intent %s", f->intent->labels[f->intent->best]);
    for (config_quantity q = 0; q < policy_quantities(p); q++) {
        const config_bound b = policy_bound(r, q, f);
        if (!bound_exists(&b))
            continue;
        if (q == CONFIG_SUCCESS)
            say_success(reason, &b, *f->success);
        else if (q >= CONFIG_LOADS)
            say_load(reason, p, q, &b, policy_value(q, f));
        else
            say_bound(reason, q, &b, policy_value(q, f));
    }
    if (r->session != CONFIG_SESSION_ANY)
        say(reason,
            r->session == CONFIG_SESSION_NAMED ? "a session is named" : "no session is named");
    for (size_t k = 0; k < r->n_headers; k++)
        say(reason, r->headers[k].value != NULL ? "header %s: %s" : "header %s", r->headers[k].name,
            r->headers[k].value);
    if (r->choice == CONFIG_MODEL_CHEAPEST)
        say(reason, "the cheapest within %u ms: %.0f ms expected", r->within_ms,
            f->load[policy_level_of(p, r, f)].delay_ms);
    if (reason[0] == '\0')
        say(reason, is_first ? "policy %s takes every request" : "no earlier rule held (%s)",
            r->name);
}
