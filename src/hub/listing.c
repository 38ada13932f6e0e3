/* listing.c: the hub's list of a repository's files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "hub/internal.h"

#define MAX_LISTING ((size_t)16 << 20) /* bytes of JSON: about 50,000 files */

static bool keep_text(void *context, const http_call *call, const char *data, size_t length)
{
    (void)call;
    return buffer_add(context, data, length) == OK;
}

static void forget_text(void *context)
{
    buffer_clear(context);
}

/* {"sha": COMMIT, "siblings": [{"rfilename": NAME, "size": N, …}, …]}. Names that could lead out of
 * the folder are left out: nobody can mean them. */
static error_code read_listing(const json_t *answer, hub_listing *out, failure *fail)
{
    const char *commit = json_string_value(json_object_get(answer, "sha"));
    const json_t *siblings = json_object_get(answer, "siblings");
    if (commit == NULL || !hub_commit_is_valid(commit) || !json_is_array(siblings))
        return failure_set(fail, ERR_FORMAT, "the answer has no commit or no list of files");
    strcpy(out->commit, commit);
    size_t i;
    const json_t *item;
    error_code code = OK;
    json_array_foreach(siblings, i, item)
    {
        const char *name = json_string_value(json_object_get(item, "rfilename"));
        json_int_t size = json_integer_value(json_object_get(item, "size"));
        if (code == OK && name != NULL && hub_file_is_valid(name))
            code = hub_listing_add(out, name, size > 0 ? (uint64_t)size : 0, fail);
    }
    if (code == OK)
        hub_listing_sort(out);
    return code;
}

error_code hub_listing_parse(const buffer *text, const char *url, hub_listing *out, failure *fail)
{
    json_error_t error;
    error_code code;
    json_t *answer = json_read(text->data != NULL ? text->data : "", text->length,
                               JSON_REJECT_DUPLICATES, &error, &code);
    char shown[160]; /* jansson quotes what it cannot read */
    utf8_printable(error.text, answer == NULL ? strlen(error.text) : 0, shown, sizeof shown);
    if (code == ERR_MEMORY)
        return failure_set(fail, code, "no memory for the list of %s", url);
    code = answer != NULL ? read_listing(answer, out, fail)
                          : failure_set(fail, ERR_FORMAT, "the answer is not JSON: %s", shown);
    json_decref(answer);
    if (code != OK) {
        hub_listing_free(out);
        failure_prefix(fail, "%s is no hub", url);
    }
    return code;
}

error_code hub_ask_listing(hub_session *s, unsigned tries, hub_listing *out, failure *fail)
{
    char url[2048];
    char *revision = http_escape(hub_revision(s->name), false);
    *out = (hub_listing){.n = 0};
    if (revision == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for an address");
    snprintf(url, sizeof url, "%s/api/models/%s/revision/%s?blobs=true", s->settings->endpoint,
             s->name->repository, revision);
    free(revision);
    buffer text;
    buffer_init(&text, MAX_LISTING);
    const hub_query q = {.url = url,
                         .limit = MAX_LISTING,
                         .silence_ms = s->settings->answer_ms,
                         .data = keep_text,
                         .restart = forget_text,
                         .context = &text};
    http_call *call;
    error_code code = hub_ask_again(s, &q, tries, &call, fail);
    if (code == OK)
        code = hub_listing_parse(&text, url, out, fail);
    http_call_release(call);
    buffer_free(&text);
    return code;
}
