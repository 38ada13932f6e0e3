/* difference.h: what two configurations do not have in common of what is read at start-up only. */
#ifndef CONFIG_DIFFERENCE_H
#define CONFIG_DIFFERENCE_H

#include "config/config.h"

#define CONFIG_SECTIONS_SIZE 64

/* The sections, of models, engine, server and decisions, that are not the same in both: "models,
 * server"; empty: none. Where a model's file was found is not looked at, but its path as it is
 * written. */
void config_changed_sections(const config *a, const config *b, char out[CONFIG_SECTIONS_SIZE]);

#endif
