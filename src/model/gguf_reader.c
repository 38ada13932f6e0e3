/* gguf_reader.c: numbers and texts of a header, in order, never past the file's end. */
#include "model/gguf_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

#define MAX_NAME_BYTES ((size_t)65535)

error_code reader_need(const gguf_reader *r, size_t bytes, const char *what)
{
    if (bytes <= r->bytes - r->at)
        return OK;
    return failure_set(r->fail, ERR_FORMAT,
                       "%s: %s needs bytes %zu..%zu but the file ends at %zu (truncated download?)",
                       r->item, what, r->at, r->at + (bytes - 1), r->bytes);
}

error_code reader_u32(gguf_reader *r, uint32_t *out, const char *what)
{
    if (reader_need(r, sizeof *out, what) != OK)
        return ERR_FORMAT;
    memcpy(out, r->data + r->at, sizeof *out);
    r->at += sizeof *out;
    return OK;
}

error_code reader_u64(gguf_reader *r, uint64_t *out, const char *what)
{
    if (reader_need(r, sizeof *out, what) != OK)
        return ERR_FORMAT;
    memcpy(out, r->data + r->at, sizeof *out);
    r->at += sizeof *out;
    return OK;
}

error_code reader_string(gguf_reader *r, gguf_string *out, const char *what)
{
    size_t begin = r->at;
    uint64_t length;
    if (reader_u64(r, &length, what) != OK)
        return ERR_FORMAT;
    if (length > r->bytes - r->at)
        return failure_set(r->fail, ERR_FORMAT,
                           "%s: %s at byte %zu says it is %" PRIu64
                           " bytes long but the file ends at %zu (truncated download?)",
                           r->item, what, begin, length, r->bytes);
    out->data = (const char *)r->data + r->at;
    out->length = (size_t)length;
    r->at += out->length;
    return OK;
}

error_code reader_name(gguf_reader *r, gguf_string *out)
{
    size_t begin = r->at;
    if (reader_string(r, out, "its name") != OK)
        return ERR_FORMAT;
    if (out->length == 0 || out->length > MAX_NAME_BYTES)
        return failure_set(r->fail, ERR_FORMAT,
                           "%s: its name at byte %zu is %zu bytes long; 1 to %zu are allowed",
                           r->item, begin, out->length, MAX_NAME_BYTES);
    return OK;
}

void reader_name_item(gguf_reader *r, const char *kind, gguf_string name)
{
    char text[96];
    utf8_printable(name.data, name.length, text, sizeof text);
    snprintf(r->item, sizeof r->item, "%s '%s'", kind, text);
}
