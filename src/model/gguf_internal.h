/* gguf_internal.h: what the files of the reader share: gguf.c (a file and its header),
 * gguf_reader.c, gguf_read_keys.c and gguf_tensors.c (what stands in it), gguf_parts.c (models of
 * several files) and gguf_keys.c (looking values up). */
#ifndef MODEL_GGUF_INTERNAL_H
#define MODEL_GGUF_INTERNAL_H

#include <time.h>

#include "model/gguf.h"

typedef enum gguf_type {
    GGUF_U8 = 0,
    GGUF_I8 = 1,
    GGUF_U16 = 2,
    GGUF_I16 = 3,
    GGUF_U32 = 4,
    GGUF_I32 = 5,
    GGUF_F32 = 6,
    GGUF_BOOL = 7,
    GGUF_STRING = 8,
    GGUF_ARRAY = 9,
    GGUF_U64 = 10,
    GGUF_I64 = 11,
    GGUF_F64 = 12,
} gguf_type;

typedef struct gguf_key {
    gguf_string name;
    gguf_type type;
    gguf_type element;          /* arrays: the type of each value */
    size_t count;               /* arrays: how many; 1 otherwise */
    const unsigned char *value; /* numbers and bools, little-endian, not aligned */
    gguf_string text;           /* strings */
    gguf_string *items;         /* arrays of strings; owned */
} gguf_key;

struct gguf {
    char *path;
    const unsigned char *data; /* the mapping */
    size_t mapped_bytes;       /* of it, in whole pages; the header's once data is released */
    size_t header_bytes;       /* of these, the header's, which are a copy; 0: not read yet */
    size_t bytes;              /* of the file */
    int fd;                    /* -1: the data is released */
    struct timespec modified;  /* when the file was last written to, as it was opened */
    uint32_t version;
    uint64_t alignment;
    size_t data_begin; /* offset of the data section */
    gguf_key *keys;    /* in file order */
    size_t n_keys;
    gguf_key **keys_sorted; /* by name */
    gguf_tensor *tensors;   /* in file order; of a split model, those of all parts */
    size_t n_tensors;
    gguf_tensor **tensors_sorted; /* by name */
    gguf **others;                /* a split model's parts after this one, the first; owned */
    size_t n_others;
};

#define GGUF_MAX_TENSORS ((size_t)1 << 20) /* of a model; real ones have thousands */

/* ---- reading -------------------------------------------------------------------------------- */

/* The place in the header that is being read. `item` says which key or tensor that is. */
typedef struct gguf_reader {
    const unsigned char *data;
    size_t bytes;
    size_t at;
    size_t n_strings;
    char item[128];
    failure *fail;
} gguf_reader;

/* `what` names the value in the failure: "its offset". ERR_FORMAT where the file ends before. */
error_code reader_need(const gguf_reader *r, size_t bytes, const char *what);
error_code reader_u32(gguf_reader *r, uint32_t *out, const char *what);
error_code reader_u64(gguf_reader *r, uint64_t *out, const char *what);
error_code reader_string(gguf_reader *r, gguf_string *out, const char *what);
error_code reader_name(gguf_reader *r, gguf_string *out);
/* "tensor 'blk.0.attn_q.weight'": from here on messages name the item instead of counting it. */
void reader_name_item(gguf_reader *r, const char *kind, gguf_string name);

error_code gguf_read_key(gguf_reader *r, gguf_key *key, size_t index);
/* Sorts the keys by name, which must differ. */
error_code gguf_index_keys(gguf *file, failure *fail);

/* *offset counts from the data section, whose place is known once all is read. */
error_code gguf_read_tensor(gguf_reader *r, gguf_tensor *tensor, uint64_t *offset, size_t index);
error_code gguf_place_tensor(const gguf *file, gguf_tensor *tensor, uint64_t offset, failure *fail);
error_code gguf_check_overlaps(gguf *file, failure *fail);
/* Sorts the tensors by name, which must differ. */
error_code gguf_index_tensors(gguf *file, failure *fail);

/* One file, be it a whole model or a part. */
error_code gguf_open_part(gguf **out, const char *path, failure *fail);
/* Opens a split model's other parts beside its first one, `file`, and takes their tensors into it.
 * A whole model stays what it is; a part other than the first is refused. */
error_code gguf_join_parts(gguf *file, failure *fail);

/* ---- values --------------------------------------------------------------------------------- */

/* Bytes of one value; 0 for strings and arrays, whose length varies. */
size_t gguf_type_bytes(gguf_type type);
int gguf_string_compare(gguf_string a, gguf_string b);

#endif
