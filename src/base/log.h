/*
 * log.h: one line a message on standard error, from any thread. Levels: error, warn, info, debug.
 * The default is info; A_IO_LOG=debug|info|warn|error sets it for the process. A line is text, or
 * with A_IO_LOG_FORMAT=json a JSON object: time, level, message.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <jansson.h>
#include <stdbool.h>

typedef enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG } log_level;

void log_set_level(log_level level);
/* "error", "warn", "info" or "debug"; false when the name is none of these. */
bool log_level_parse(const char *name, log_level *level);
void log_set_json(bool on);
/* "text" or "json"; false when the name is neither. */
bool log_format_parse(const char *name, bool *is_json);
bool log_is_json(void);
bool log_tells(log_level level); /* false: such a line is not written */

void log_write(log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same with parts for programs, an object, which stand beside the message where lines are JSON
 * (taken over; NULL: none). */
void log_write_with(log_level level, json_t *parts, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)

#endif
