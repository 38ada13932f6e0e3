/* config_texts.h: what the tests of configurations share: beginnings of texts, and reading one. */
#ifndef TESTS_CONFIG_TEXTS_H
#define TESTS_CONFIG_TEXTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/config.h"

#define MODELS                                                                                     \
    "models:\n"                                                                                    \
    "  - {name: s, role: small, path: s.gguf}\n"                                                   \
    "  - {name: l, role: large, path: /m/l.gguf}\n"
#define HEAD "version: 1\n" MODELS
#define THREE "version: 1\nmodels: [{name: a, path: a}, {name: b, path: b}, {name: c, path: c}]\n"
#define RULE HEAD "policy:\n  name: rules\n  rules: [\n    {name: a, model: small, "
#define SUCCESS_RULE                                                                               \
    HEAD "success: {calibration: f}\npolicy:\n  name: rules\n  rules: [\n    {name: a, model: "    \
         "small, "

static inline error_code parse(config **c, const char *text, failure *fail)
{
    return config_parse(c, text, strlen(text), "dir/x.yaml", fail);
}

#endif
