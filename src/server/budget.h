/*
 * budget.h: what a key's requests may cost in an hour, a day or a month. Inside the server room
 * only; budget_file keeps it over a restart.
 *
 * Windows are the calendar's, in UTC: an hour or a day from its beginning, a month from its first
 * day. A request is let in while something is left; what it costs is known at its end.
 */
#ifndef SERVER_BUDGET_H
#define SERVER_BUDGET_H

#include <stdbool.h>
#include <time.h>

typedef enum budget_window {
    BUDGET_NONE,
    BUDGET_HOUR,
    BUDGET_DAY,
    BUDGET_MONTH,
    N_BUDGET_WINDOWS
} budget_window;

typedef struct budget {
    double amount; /* in the currency of the models' prices */
    budget_window window;
} budget;

/* "AMOUNT/hour", "/day" or "/month", the amount above 0, at most 10^9; false: it is none. */
bool budget_parse(const char *text, budget *out);
const char *budget_window_name(budget_window w); /* "hour" … */
/* When the window that holds `now` began and ends. */
void budget_bounds(budget_window w, time_t now, time_t *begin, time_t *end);

/* What one key has spent; shared by the sets of keys that have it one after another. Any thread. */
typedef struct budget_account budget_account;

budget_account *budget_account_create(void); /* NULL: no memory */
budget_account *budget_account_take(budget_account *a);
void budget_account_release(budget_account *a); /* NULL too */
void budget_account_spend(budget_account *a, double cost);
/* True: something is left in the window that holds `now`. Else *wait_s says for how long nothing
 * is. */
bool budget_account_has(budget_account *a, const budget *b, time_t now, double *wait_s);
/* What was spent in the window that began then. */
void budget_account_read(budget_account *a, time_t *begin, double *spent);
void budget_account_set(budget_account *a, time_t begin, double spent);

#endif
