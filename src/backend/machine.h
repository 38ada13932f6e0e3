/*
 * machine.h: what steps of models cost, as it was measured on a machine before.
 *
 * `a-io calibrate` measures it; the file is the orchestra's (calibration_file.h).
 */
#ifndef BACKEND_MACHINE_H
#define BACKEND_MACHINE_H

#include <stdbool.h>
#include <stddef.h>

#include "backend/backend.h"

#define MACHINE_MAX_MODELS CONFIG_MAX_MODELS
#define MACHINE_MAX_PROBES 8

typedef struct machine_model {
    char fingerprint[17]; /* sixteen hexadecimal digits */
    char name[256];       /* of its file */
    kv_type kv;
    /* T(n) by n, medians: all of 1 … WISH_MAX_DRAFT + 1, and some beyond; 0: not measured. */
    double step_ms[LOAD_STEP_ROWS + 1];
    double prefill_row_ms; /* a row's part of a prefill (ENGINE_KNOWN_PREFILL) */
    size_t n_probes;
    size_t probe_tokens[MACHINE_MAX_PROBES];
    double probe_ms[MACHINE_MAX_PROBES]; /* of a query of so many tokens */
} machine_model;

typedef struct machine_record {
    char cpu[128];
    char kernel[32];
    size_t threads;
    double read_peak_gb_s;
    size_t n_models;
    machine_model models[MACHINE_MAX_MODELS];
} machine_record;

/* "AMD EPYC …" as the system names it, or "unknown". */
void machine_cpu_name(char text[128]);
/* Whether the record is of this machine, its kernel and so many threads; what it is of where it is
 * of another is logged, with the file's name. */
bool machine_is_this(const machine_record *r, size_t threads, const char *file);
/* Of the record, by the model's fingerprint and KV type; NULL: it has none for it. */
const machine_model *machine_find(const machine_record *r, const model *m, kv_type kv);

#endif
