/*
 * keys.h: who may ask: the server's keys, and what each of them may take. Inside the server room
 * only.
 *
 * A set is read-only but for its counters, which have a lock. It is replaced as a whole when its
 * file is read again; requests hold the one that they were admitted by. Any thread.
 */
#ifndef SERVER_KEYS_H
#define SERVER_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/failure.h"
#include "server/budget.h"

typedef struct keys keys;
typedef struct key_holder key_holder;

#define KEY_NAME_SIZE 64

/* `text`: one key without limits, named "default"; `file`: a key a line,
 *   NAME KEY [requests_per_minute=N] [at_once=N] [budget=AMOUNT/hour|day|month]
 * with # before comments, the name in UTF-8. Either may be NULL; both NULL: *out is NULL, no key is
 * asked for. ERR_CONFIG names the line that is wrong and says nothing of the key. `before`: the set
 * that this one replaces, or NULL; who has a name in both has spent the same. */
error_code keys_create(keys **out, const char *text, const char *file, const keys *before,
                       failure *fail);
keys *keys_take(keys *k); /* one more holds it; NULL too */
void keys_release(keys *k);

/* Whose key it is, NULL: nobody's. Takes as long whatever is wrong with it. ERR_MEMORY. */
error_code keys_find(keys *k, const char *key, key_holder **out, failure *fail);

const char *key_holder_name(const key_holder *h);
bool keys_have_budgets(const keys *k); /* NULL too */
/* For who keeps what was spent: how many there are (NULL: none), and the account of each with its
 * holder's name; NULL: it has no budget. */
size_t keys_count(const keys *k);
budget_account *keys_account(const keys *k, size_t i, const char **name);
/* Its requests have cost so much more. */
void key_holder_spend(key_holder *h, double cost);
const budget *key_holder_budget(const key_holder *h);

typedef enum key_verdict {
    KEY_TAKEN,
    KEY_TOO_MANY_AT_ONCE,
    KEY_TOO_FAST,
    KEY_SPENT, /* nothing is left of its budget */
} key_verdict;

/* TAKEN: the request counts until key_holder_leave. Else *retry_after_s says when to come again; 0:
 * nobody knows. */
key_verdict key_holder_enter(key_holder *h, double now_ms, double *retry_after_s);
void key_holder_leave(key_holder *h);

#endif
