/* remote.c: a model at another server. Its tokens are not known here: what a prompt has of them is
 * told from its bytes, and a reply's tokens are counted by the server. */
#include "backend/remote.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define UNKNOWN_CONTEXT (1u << 24) /* so that the server decides what is too long */
#define KEY_LIMIT 4096

typedef struct remote_reply {
    reply base;
    remote_call *call;
    score_list scores;
} remote_reply;

static const remote_backend *remote_of(const backend *b)
{
    return (const remote_backend *)b;
}

/* ---- the backend ----------------------------------------------------------------------------- */

static error_code read_key_file(char **out, const char *path, failure *fail)
{
    buffer text;
    buffer_init(&text, KEY_LIMIT);
    error_code code = buffer_read_file(&text, path, fail);
    size_t length = code == OK ? strcspn(text.length > 0 ? text.data : "", "\r\n") : 0;
    *out = length > 0 ? strndup(text.data, length) : NULL;
    buffer_free(&text);
    if (code != OK)
        return failure_prefix(fail, "key_file");
    return *out != NULL ? OK : failure_set(fail, ERR_CONFIG, "key_file: %s holds no key", path);
}

static error_code read_key(char **out, const config_remote *r, failure *fail)
{
    *out = NULL;
    if (r->key_file != NULL)
        return read_key_file(out, r->key_file, fail);
    if (r->key_env == NULL)
        return OK;
    const char *key = getenv(r->key_env);
    if (key == NULL || key[0] == '\0')
        return failure_set(fail, ERR_CONFIG, "key_env: the environment has no %s", r->key_env);
    *out = strdup(key);
    return *out != NULL ? OK : failure_set(fail, ERR_MEMORY, "no memory for the key");
}

static error_code check_ca_file(const config_remote *r, failure *fail)
{
    return r->ca_file == NULL || access(r->ca_file, R_OK) == 0
               ? OK
               : failure_set(fail, error_code_of_errno(errno), "ca_file: %s: %s", r->ca_file,
                             strerror(errno));
}

void remote_free(remote_backend *b)
{
    remote_pools_free(b);
    remote_change_free(b->change);
    json_decref(b->fields);
    remote_words_free(&b->words);
    free(b->key);
    free(b);
}

/* The house's thread may still let go of a call of its: it goes with the house. */
static void destroy(backend *b)
{
    (void)b;
}

error_code remote_create(remote_backend **out, remote_house *h, const config_model *m,
                         failure *fail)
{
    remote_backend *b = calloc(1, sizeof *b);
    if (b == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a backend");
    b->base = (backend){.operations = &remote_operations, .name = m->name};
    b->house = h;
    b->config = m;
    error_code code = remote_words_init(&b->words);
    if (code != OK)
        failure_set(fail, code, "no memory for a backend");
    else
        code = read_key(&b->key, &m->remote, fail);
    if (code == OK)
        code = check_ca_file(&m->remote, fail);
    b->fields = m->remote.fields != NULL ? json_loads(m->remote.fields, 0, NULL) : NULL;
    if (code == OK && m->remote.fields != NULL && b->fields == NULL)
        code = failure_set(fail, ERR_MEMORY, "no memory for the fields of model '%s'", m->name);
    if (code == OK)
        code = remote_pools_create(b, fail);
    if (code != OK) {
        remote_free(b);
        return code;
    }
    *out = b;
    return OK;
}

static error_code renew(backend *base, const config_model *m, failure *fail)
{
    remote_backend *b = (remote_backend *)base;
    if (m->remote.replicas.n == 0)
        return OK;
    remote_change *change = remote_change_make(&m->remote);
    if (change == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the servers of model '%s'", m->name);
    remote_house_change(b->house, b, change);
    return OK;
}

static size_t read_replicas(backend *base, backend_replica *out, size_t most)
{
    remote_backend *b = (remote_backend *)base;
    remote_house_lock(b->house);
    size_t n = remote_pools_read(b, out, most);
    remote_house_unlock(b->house);
    return n;
}

static size_t context(const backend *b)
{
    size_t said = remote_of(b)->config->context;
    return said > 0 ? said : UNKNOWN_CONTEXT;
}

static bool has_template(const backend *b)
{
    (void)b;
    return true;
}

static void read_load(backend *base, backend_load *out)
{
    const remote_backend *b = remote_of(base);
    size_t waiting = atomic_load(&b->n_waiting), all = atomic_load(&b->in_flight);
    *out = (backend_load){.running = all > waiting ? all - waiting : 0,
                          .waiting = waiting,
                          .reply_ms = atomic_load(&b->reply_ms),
                          .reply_tokens = atomic_load(&b->reply_tokens)};
}

/* ---- prompts --------------------------------------------------------------------------------- */

static error_code check_length(const backend *b, const request *r, failure *fail)
{
    (void)b, (void)r, (void)fail;
    return OK; /* its server knows */
}

static error_code prepare(backend *b, const request *r, prepared_prompt **out, failure *fail)
{
    (void)b;
    prepared_prompt *p = malloc(sizeof *p);
    if (p == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a prompt");
    *p = (prepared_prompt){.operations = &remote_operations, .n_tokens = remote_prompt_estimate(r)};
    *out = p;
    return OK;
}

static void destroy_prompt(prepared_prompt *p)
{
    free(p);
}

/* ---- replies --------------------------------------------------------------------------------- */

static reply_style style_of(const request *r, const prepared_prompt *p)
{
    bool is_chat = r->prompt == NULL && r->prompt_ids == NULL;
    return (reply_style){.prompt_tokens = p->n_tokens,
                         .first_token = -1,
                         .chat = {.form = is_chat ? &remote_form : NULL,
                                  .thoughts = is_chat ? &remote_thoughts : NULL,
                                  .takes_tools = is_chat}};
}

/* What a lookup changes is the servers' business: no API says it, but some may have it on. */
static error_code submit(backend *base, const request *r, const prepared_prompt *p,
                         const lookup_wish *lookup, wakeup wake, reply **out, failure *fail)
{
    remote_backend *b = (remote_backend *)base;
    remote_reply *handle = calloc(1, sizeof *handle);
    remote_call *c = remote_call_make(b, r, wake);
    error_code code = handle == NULL || c == NULL
                          ? failure_set(fail, ERR_MEMORY, "no memory for a request")
                          : remote_request_write(b, r, c->scores.n_top, &c->body, fail);
    if (code != OK) {
        free(handle);
        if (c != NULL)
            remote_call_unreference(c);
        return code;
    }
    handle->base = (reply){.operations = &remote_operations, .style = style_of(r, p)};
    handle->call = c;
    c->wants_lookup = lookup != NULL && lookup->mode != WISH_OFF;
    remote_house_send(b->house, c, r->lane);
    *out = &handle->base;
    return OK;
}

static error_code poll_reply(reply *r, reply_status *status, buffer *text, token_list *tokens)
{
    remote_reply *handle = (remote_reply *)r;
    remote_call *c = handle->call;
    (void)tokens; /* not known */
    score_list_clear(&handle->scores);
    pthread_mutex_lock(&c->lock);
    error_code code = text != NULL ? buffer_add(text, c->text.data, c->text.length) : OK;
    if (code == OK)
        code = score_list_append(&handle->scores, &c->scores);
    if (code == OK) {
        c->was_read = c->was_read || c->text.length > 0 || c->scores.length > 0;
        buffer_clear(&c->text);
        score_list_clear(&c->scores);
    }
    *status = c->status;
    pthread_mutex_unlock(&c->lock);
    return code;
}

static const score_list *scores_of(const reply *r)
{
    return &((const remote_reply *)r)->scores;
}

static void cancel_reply(reply *r)
{
    remote_call_cancel(((remote_reply *)r)->call);
}

static void release_reply(reply *r)
{
    remote_call_leave(((remote_reply *)r)->call);
    score_list_free(&((remote_reply *)r)->scores);
    free(r);
}

const backend_operations remote_operations = {
    .destroy = destroy,
    .context = context,
    .read_load = read_load,
    .read_replicas = read_replicas,
    .renew = renew,
    .has_template = has_template,
    .check_length = check_length,
    .prepare = prepare,
    .destroy_prompt = destroy_prompt,
    .submit = submit,
    .poll_reply = poll_reply,
    .reply_scores = scores_of,
    .cancel_reply = cancel_reply,
    .release_reply = release_reply,
    .token_text = remote_token_text,
    .check_labels = remote_check_labels,
    .classify = remote_classify,
    .poll_classification = remote_poll_classification,
    .release_classification = remote_release_classification,
};
