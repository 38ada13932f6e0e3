/* budget.c: windows of time, and accounts that begin anew with each. */
#include "server/budget.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define HOUR_S 3600
#define DAY_S 86400
#define MOST 1e9

struct budget_account {
    atomic_size_t references;
    pthread_mutex_t lock; /* of the others */
    double spent;
    time_t begin; /* of the window that it was spent in */
};

static const char *const names[N_BUDGET_WINDOWS] = {
    [BUDGET_HOUR] = "hour", [BUDGET_DAY] = "day", [BUDGET_MONTH] = "month"};

const char *budget_window_name(budget_window w)
{
    return names[w];
}

bool budget_parse(const char *text, budget *out)
{
    size_t n = strspn(text, "0123456789.");
    char *end;
    *out = (budget){.window = BUDGET_NONE};
    if (n == 0 || text[n] != '/')
        return false;
    out->amount = strtod(text, &end);
    for (int w = BUDGET_HOUR; w < N_BUDGET_WINDOWS; w++)
        if (strcmp(text + n + 1, names[w]) == 0)
            out->window = (budget_window)w;
    return end == text + n && out->window != BUDGET_NONE && out->amount > 0 && out->amount <= MOST;
}

void budget_bounds(budget_window w, time_t now, time_t *begin, time_t *end)
{
    struct tm utc;
    if (w != BUDGET_MONTH) {
        time_t length = w == BUDGET_HOUR ? HOUR_S : DAY_S;
        *begin = now - now % length;
        *end = *begin + length;
        return;
    }
    gmtime_r(&now, &utc);
    struct tm first = {.tm_year = utc.tm_year, .tm_mon = utc.tm_mon, .tm_mday = 1};
    struct tm next = first;
    next.tm_mon++; /* timegm knows what a 13th month is */
    *begin = timegm(&first);
    *end = timegm(&next);
}

budget_account *budget_account_create(void)
{
    budget_account *a = calloc(1, sizeof *a);
    if (a == NULL)
        return NULL;
    atomic_store(&a->references, 1);
    pthread_mutex_init(&a->lock, NULL);
    return a;
}

budget_account *budget_account_take(budget_account *a)
{
    atomic_fetch_add(&a->references, 1);
    return a;
}

void budget_account_release(budget_account *a)
{
    if (a == NULL || atomic_fetch_sub(&a->references, 1) > 1)
        return;
    pthread_mutex_destroy(&a->lock);
    free(a);
}

void budget_account_spend(budget_account *a, double cost)
{
    pthread_mutex_lock(&a->lock);
    a->spent += cost;
    pthread_mutex_unlock(&a->lock);
}

bool budget_account_has(budget_account *a, const budget *b, time_t now, double *wait_s)
{
    time_t begin, end;
    budget_bounds(b->window, now, &begin, &end);
    *wait_s = (double)(end - now);
    pthread_mutex_lock(&a->lock);
    if (begin != a->begin) {
        a->spent = 0;
        a->begin = begin;
    }
    bool has = a->spent < b->amount;
    pthread_mutex_unlock(&a->lock);
    return has;
}

void budget_account_read(budget_account *a, time_t *begin, double *spent)
{
    pthread_mutex_lock(&a->lock);
    *begin = a->begin;
    *spent = a->spent;
    pthread_mutex_unlock(&a->lock);
}

void budget_account_set(budget_account *a, time_t begin, double spent)
{
    pthread_mutex_lock(&a->lock);
    a->begin = begin;
    a->spent = spent;
    pthread_mutex_unlock(&a->lock);
}
