/* keys.c: keys as digests, compared in constant time, and what their holders have taken. */
#include "server/keys.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/log.h"
#include "base/utf8.h"

#define MAX_KEYS 4096
#define LINE_SIZE 1024

struct key_holder {
    keys *set;
    char name[KEY_NAME_SIZE];
    uint8_t digest[DIGEST_SIZE]; /* of the key, so that all keys are equally long to compare */
    unsigned long per_minute, at_once; /* 0: no limit */
    budget budget;
    budget_account *account; /* NULL: it has no budget */

    /* Under the set's lock. */
    size_t running;
    double allowance; /* requests that it may send at once: a bucket that fills with time */
    double filled_ms; /* when it was last filled */
};

struct keys {
    atomic_size_t references;
    pthread_mutex_t lock; /* of holders' counters */
    key_holder *holders;
    size_t n;
};

/* ---- making --------------------------------------------------------------------------------- */

static error_code digest_key(const char *key, uint8_t out[DIGEST_SIZE], failure *fail)
{
    digest *d;
    error_code code = digest_create(&d, DIGEST_SHA256, fail);
    if (code != OK)
        return code;
    digest_add(d, key, strlen(key));
    code = digest_read(d, out, fail);
    digest_destroy(d);
    return code;
}

/* Who of the first n has that name and an account; or NULL. */
static key_holder *find_account(key_holder *holders, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (holders[i].account != NULL && strcmp(holders[i].name, name) == 0)
            return &holders[i];
    return NULL;
}

static error_code add_holder(keys *k, const key_holder *limits, const char *key, failure *fail)
{
    if (k->n == MAX_KEYS)
        return failure_set(fail, ERR_CONFIG, "there are more than %d keys", MAX_KEYS);
    key_holder *more = reallocarray(k->holders, k->n + 1, sizeof *more);
    if (more == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the keys");
    k->holders = more;
    more[k->n] = *limits;
    more[k->n].set = k;
    more[k->n].allowance = (double)limits->per_minute;
    error_code code = digest_key(key, more[k->n].digest, fail);
    if (code != OK)
        return code;
    k->n++;
    return OK;
}

/* With the last holder, what it has spent so far: several keys of one name spend together. */
static error_code open_account(keys *k, const keys *before, failure *fail)
{
    key_holder *last = k->n > 0 ? &k->holders[k->n - 1] : NULL;
    if (last == NULL || last->budget.window == BUDGET_NONE || last->account != NULL)
        return OK;
    const key_holder *same = find_account(k->holders, k->n - 1, last->name);
    if (same != NULL && same->budget.window != last->budget.window)
        return failure_set(fail, ERR_CONFIG, "'%s' has a budget of another window above",
                           last->name);
    if (same == NULL && before != NULL)
        same = find_account(before->holders, before->n, last->name);
    last->account = same != NULL ? budget_account_take(same->account) : budget_account_create();
    return last->account != NULL ? OK : failure_set(fail, ERR_MEMORY, "no memory for the keys");
}

static bool read_budget(const char *word, budget *out)
{
    static const char name[] = "budget=";
    return strncmp(word, name, sizeof name - 1) == 0 && budget_parse(word + sizeof name - 1, out);
}

static bool read_limit(const char *word, const char *name, unsigned long *out)
{
    size_t n = strlen(name);
    char *end;
    if (strncmp(word, name, n) != 0 || word[n] != '=' || word[n + 1] < '1' || word[n + 1] > '9')
        return false;
    errno = 0;
    *out = strtoul(word + n + 1, &end, 10);
    return *end == '\0' && errno == 0 && *out <= 1000000;
}

/* It begins where a word could: a key may have a # within it. */
static void cut_comment(char *line)
{
    for (char *c = strchr(line, '#'); c != NULL; c = strchr(c + 1, '#'))
        if (c == line || c[-1] == ' ' || c[-1] == '\t') {
            *c = '\0';
            return;
        }
}

static error_code read_line(keys *k, char *line, failure *fail)
{
    static const char blank[] = " \t\r\n";
    char *rest = NULL;
    cut_comment(line);
    const char *name = strtok_r(line, blank, &rest), *key = strtok_r(NULL, blank, &rest);
    if (name == NULL)
        return OK;
    key_holder h = {.running = 0};
    if (key == NULL || strlen(name) >= sizeof h.name)
        return failure_set(fail, ERR_CONFIG,
                           "a line is NAME KEY [requests_per_minute=N] [at_once=N] "
                           "[budget=AMOUNT/day], the name up to 63 characters");
    if (utf8_valid_prefix(name, strlen(name)) < strlen(name)) /* errors and budget_file name it */
        return failure_set(fail, ERR_CONFIG, "the name is not UTF-8");
    snprintf(h.name, sizeof h.name, "%s", name);
    for (const char *word; (word = strtok_r(NULL, blank, &rest)) != NULL;)
        if (!read_limit(word, "requests_per_minute", &h.per_minute) &&
            !read_limit(word, "at_once", &h.at_once) && !read_budget(word, &h.budget))
            return failure_set(fail, ERR_CONFIG,
                               "after the key come requests_per_minute=N and at_once=N, N from 1 "
                               "to 1000000, and budget=AMOUNT/hour, /day or /month");
    return add_holder(k, &h, key, fail);
}

static void warn_of_readers(FILE *file, const char *path)
{
    struct stat status;
    if (fstat(fileno(file), &status) == 0 && (status.st_mode & (S_IRGRP | S_IROTH)) != 0)
        log_warn("%s holds keys and can be read by others: chmod 600", path);
}

static error_code read_file(keys *k, const char *path, const keys *before, failure *fail)
{
    char line[LINE_SIZE];
    error_code code = OK;
    size_t number = 0;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return failure_set(fail, error_code_of_errno(errno), "%s: %s", path, strerror(errno));
    warn_of_readers(file, path);
    while (code == OK && fgets(line, sizeof line, file) != NULL) {
        number++;
        if (strchr(line, '\n') == NULL && !feof(file))
            code = failure_set(fail, ERR_CONFIG, "it is longer than %d bytes", LINE_SIZE - 2);
        else
            code = read_line(k, line, fail);
        if (code == OK)
            code = open_account(k, before, fail);
    }
    if (code == OK && ferror(file))
        code = failure_set(fail, ERR_IO, "%s", strerror(errno));
    fclose(file);
    OPENSSL_cleanse(line, sizeof line);
    if (code == OK && k->n == 0)
        code = failure_set(fail, ERR_CONFIG, "there is no key in it");
    return code == OK ? OK : failure_prefix(fail, "%s, line %zu", path, number);
}

error_code keys_create(keys **out, const char *text, const char *file, const keys *before,
                       failure *fail)
{
    *out = NULL;
    if (text == NULL && file == NULL)
        return OK;
    keys *k = calloc(1, sizeof *k);
    if (k == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the keys");
    atomic_store(&k->references, 1);
    pthread_mutex_init(&k->lock, NULL);
    error_code code = file != NULL ? read_file(k, file, before, fail) : OK;
    if (code == OK && text != NULL)
        code = add_holder(k, &(key_holder){.name = "default"}, text, fail);
    if (code != OK) {
        keys_release(k);
        return code;
    }
    *out = k;
    return OK;
}

keys *keys_take(keys *k)
{
    if (k != NULL)
        atomic_fetch_add(&k->references, 1);
    return k;
}

void keys_release(keys *k)
{
    if (k == NULL || atomic_fetch_sub(&k->references, 1) != 1)
        return;
    for (size_t i = 0; i < k->n; i++)
        budget_account_release(k->holders[i].account);
    pthread_mutex_destroy(&k->lock);
    free(k->holders);
    free(k);
}

/* ---- asking --------------------------------------------------------------------------------- */

error_code keys_find(keys *k, const char *key, key_holder **out, failure *fail)
{
    uint8_t asked[DIGEST_SIZE];
    *out = NULL;
    error_code code = digest_key(key, asked, fail);
    for (size_t i = 0; code == OK && i < k->n; i++)
        if (CRYPTO_memcmp(k->holders[i].digest, asked, sizeof asked) == 0)
            *out = &k->holders[i];
    return code;
}

const char *key_holder_name(const key_holder *h)
{
    return h->name;
}

bool keys_have_budgets(const keys *k)
{
    bool found = false;
    for (size_t i = 0; k != NULL && i < k->n; i++)
        found = found || k->holders[i].account != NULL;
    return found;
}

size_t keys_count(const keys *k)
{
    return k != NULL ? k->n : 0;
}

budget_account *keys_account(const keys *k, size_t i, const char **name)
{
    *name = k->holders[i].name;
    return k->holders[i].account;
}

void key_holder_spend(key_holder *h, double cost)
{
    if (h->account != NULL)
        budget_account_spend(h->account, cost);
}

const budget *key_holder_budget(const key_holder *h)
{
    return &h->budget;
}

static void fill(key_holder *h, double now_ms)
{
    double most = (double)h->per_minute;
    if (h->filled_ms > 0)
        h->allowance += (now_ms - h->filled_ms) / 60e3 * most;
    if (h->allowance > most)
        h->allowance = most;
    h->filled_ms = now_ms;
}

/* Under the set's lock. */
static key_verdict enter(key_holder *h, double now_ms, double *retry_after_s)
{
    *retry_after_s = 0;
    if (h->at_once > 0 && h->running >= h->at_once)
        return KEY_TOO_MANY_AT_ONCE;
    if (h->account != NULL &&
        !budget_account_has(h->account, &h->budget, time(NULL), retry_after_s))
        return KEY_SPENT;
    *retry_after_s = 0;
    if (h->per_minute > 0) {
        fill(h, now_ms);
        if (h->allowance < 1) {
            *retry_after_s = (1 - h->allowance) * 60 / (double)h->per_minute;
            return KEY_TOO_FAST;
        }
        h->allowance -= 1;
    }
    h->running++;
    return KEY_TAKEN;
}

key_verdict key_holder_enter(key_holder *h, double now_ms, double *retry_after_s)
{
    pthread_mutex_lock(&h->set->lock);
    key_verdict verdict = enter(h, now_ms, retry_after_s);
    pthread_mutex_unlock(&h->set->lock);
    return verdict;
}

void key_holder_leave(key_holder *h)
{
    pthread_mutex_lock(&h->set->lock);
    h->running--;
    pthread_mutex_unlock(&h->set->lock);
}
