/* budget_file.c: what keys have spent, kept and read. */
#include "server/budget_file.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/json.h"
#include "base/log.h"
#include "base/whole_file.h"

#define FILE_LIMIT ((size_t)4 << 20) /* 4,096 keys of 63 bytes, and their numbers */

struct budget_file {
    char *path;
    char *written;  /* what stands in it; NULL: nothing of ours */
    bool is_broken; /* it could not be written: said already */
};

/* ---- reading --------------------------------------------------------------------------------- */

static bool is_spent(const json_t *one)
{
    const json_t *since = json_object_get(one, "since"), *amount = json_object_get(one, "amount");
    double value = json_number_value(amount);
    return json_is_integer(since) && json_integer_value(since) >= 0 && json_is_number(amount) &&
           isfinite(value) && value >= 0;
}

static bool is_whole(const json_t *spent)
{
    const char *name;
    json_t *one;
    bool whole = json_is_object(spent);
    json_object_foreach((json_t *)(uintptr_t)spent, name, one) whole = whole && is_spent(one);
    return whole;
}

static void give(keys *k, const json_t *spent)
{
    const char *name;
    for (size_t i = 0; i < keys_count(k); i++) {
        budget_account *a = keys_account(k, i, &name);
        const json_t *one = a != NULL ? json_object_get(spent, name) : NULL;
        if (one != NULL)
            budget_account_set(a, (time_t)json_integer_value(json_object_get(one, "since")),
                               json_number_value(json_object_get(one, "amount")));
    }
}

static error_code read_file(const budget_file *f, keys *k, failure *fail)
{
    buffer text;
    json_error_t error;
    if (access(f->path, F_OK) != 0 && errno == ENOENT)
        return OK;
    buffer_init(&text, FILE_LIMIT);
    error_code code = buffer_read_file(&text, f->path, fail);
    if (code == OK && text.length == 0) /* the power failed while a server ran */
        log_warn("server.budget_file: %s is empty: what keys had spent is not known", f->path);
    else if (code == OK) {
        json_t *root = json_read(text.data, text.length, 0, &error, &code);
        const json_t *spent = json_object_get(root, "spent");
        if (code != ERR_MEMORY && !is_whole(spent))
            code =
                failure_set(fail, ERR_CONFIG, "%s: it does not say what keys have spent", f->path);
        else if (code != OK)
            failure_set(fail, code, "no memory for %s", f->path);
        else
            give(k, spent);
        json_decref(root);
    }
    buffer_free(&text);
    return code == OK ? OK : failure_prefix(fail, "server.budget_file");
}

/* ---- writing --------------------------------------------------------------------------------- */

/* NULL: no memory: a file that lacks a key would forget what it has spent. */
static char *write_text(const keys *k)
{
    json_t *spent = json_object();
    const char *name;
    bool whole = spent != NULL;
    for (size_t i = 0; whole && i < keys_count(k); i++) {
        time_t since;
        double amount;
        budget_account *a = keys_account(k, i, &name);
        if (a == NULL)
            continue;
        budget_account_read(a, &since, &amount);
        json_t *one = json_pack("{s:I, s:f}", "since", (json_int_t)since, "amount", amount);
        whole = json_object_set_new(spent, name, one) == 0;
    }
    json_t *root = json_pack("{s:o}", "spent", spent);
    if (!whole)
        json_was_short(); /* it is told here, not to who writes next */
    char *text = whole ? json_print(root, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(root);
    return text;
}

static error_code keep(budget_file *f, const keys *k, whole_file_care care, failure *fail)
{
    char *text = write_text(k);
    if (text == NULL)
        return failure_set(fail, ERR_MEMORY, "server.budget_file: no memory");
    if (care == WHOLE_FILE_UNSYNCED && f->written != NULL && strcmp(text, f->written) == 0) {
        free(text);
        return OK;
    }
    error_code code = whole_file_write(f->path, text, strlen(text), 0600, care, fail);
    free(code == OK ? f->written : text);
    if (code != OK)
        return failure_prefix(fail, "server.budget_file");
    f->written = text;
    return OK;
}

static void keep_or_warn(budget_file *f, const keys *k, whole_file_care care)
{
    failure why;
    bool was_broken = f->is_broken;
    f->is_broken = keep(f, k, care, &why) != OK;
    if (f->is_broken && !was_broken)
        log_warn("%s", why.text);
}

/* The loop's thread does not wait for the disk. */
void budget_file_keep(budget_file *f, const keys *k)
{
    keep_or_warn(f, k, WHOLE_FILE_UNSYNCED);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void let_go(budget_file *f)
{
    if (f == NULL)
        return;
    free(f->path);
    free(f->written);
    free(f);
}

error_code budget_file_open(budget_file **out, const char *path, keys *k, failure *fail)
{
    budget_file *f = calloc(1, sizeof *f);
    if (f == NULL || (f->path = strdup(path)) == NULL) {
        let_go(f);
        return failure_set(fail, ERR_MEMORY, "no memory for %s", path);
    }
    error_code code = read_file(f, k, fail);
    if (code == OK)
        code = keep(f, k, WHOLE_FILE_SYNCED, fail);
    if (code != OK) {
        let_go(f);
        return code;
    }
    *out = f;
    return OK;
}

void budget_file_close(budget_file *f, const keys *k)
{
    if (f == NULL)
        return;
    keep_or_warn(f, k, WHOLE_FILE_SYNCED);
    let_go(f);
}
