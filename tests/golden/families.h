/*
 * families.h: the models that tools/golden/families.py makes, of every architecture, and their
 * manifest.
 */
#ifndef TESTS_GOLDEN_FAMILIES_H
#define TESTS_GOLDEN_FAMILIES_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define FAMILIES_FOLDER "build/golden"

/* An array of entries, which the caller releases; exits where the manifest cannot be read. */
static json_t *families_read(void)
{
    json_error_t error;
    json_t *whole = json_load_file("tests/golden/families.json", 0, &error);
    json_t *models = json_incref(json_object_get(whole, "models"));
    json_decref(whole);
    if (!json_is_array(models)) {
        fprintf(stderr, "tests/golden/families.json: %s\n", error.text);
        exit(1);
    }
    return models;
}

#endif
