/* gguf_internal.h: what gguf.c (reading and checking) leaves to gguf_keys.c (looking values up). */
#ifndef MODEL_GGUF_INTERNAL_H
#define MODEL_GGUF_INTERNAL_H

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
    size_t bytes;
    uint32_t version;
    uint64_t alignment;
    size_t data_begin; /* offset of the data section */
    gguf_key *keys;    /* in file order */
    size_t n_keys;
    gguf_key **keys_sorted; /* by name */
    gguf_tensor *tensors;   /* in file order */
    size_t n_tensors;
    gguf_tensor **tensors_sorted; /* by name */
};

/* Bytes of one value; 0 for strings and arrays, whose length varies. */
size_t gguf_type_bytes(gguf_type type);
int gguf_string_compare(gguf_string a, gguf_string b);

#endif
