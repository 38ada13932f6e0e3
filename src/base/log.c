/* log.c: a line a message, written whole, so that threads do not mix theirs. */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/json_memory.h"

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static atomic_int current_level = LOG_INFO;
static atomic_bool as_json = false;

void log_set_level(log_level level)
{
    atomic_store(&current_level, (int)level);
}

bool log_level_parse(const char *name, log_level *level)
{
    for (int i = LOG_ERROR; i <= LOG_DEBUG; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *level = (log_level)i;
            return true;
        }
    }
    return false;
}

void log_set_json(bool on)
{
    atomic_store(&as_json, on);
}

bool log_format_parse(const char *name, bool *is_json)
{
    *is_json = strcmp(name, "json") == 0;
    return *is_json || strcmp(name, "text") == 0;
}

bool log_is_json(void)
{
    return atomic_load(&as_json);
}

bool log_tells(log_level level)
{
    return (int)level <= atomic_load(&current_level);
}

/* ---- lines ---------------------------------------------------------------------------------- */

#define TIME_SIZE 32
#define MESSAGE_SIZE 1024

static void write_time(char text[TIME_SIZE])
{
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    size_t used = strftime(text, TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + used, TIME_SIZE - used, ".%03ldZ", now.tv_nsec / 1000000);
}

/* NULL: no memory; that there was none for other JSON of this thread is not forgotten. */
static char *json_line(log_level level, const char *time, const char *message, json_t *parts)
{
    bool was_short = json_was_short();
    json_t *line = json_pack("{s:s, s:s, s:o}", "time", time, "level", level_names[level],
                             "message", json_text(message, strlen(message)));
    if (line != NULL && parts != NULL)
        json_object_update(line, parts);
    char *text = line != NULL ? json_print(line, JSON_COMPACT) : NULL;
    json_decref(line);
    if (was_short)
        json_memory_note_shortage();
    return text;
}

static void write_line(log_level level, json_t *parts, const char *message)
{
    char time[TIME_SIZE];
    char line[MESSAGE_SIZE + TIME_SIZE + 16];
    write_time(time);
    char *json = log_is_json() ? json_line(level, time, message, parts) : NULL;
    if (json == NULL)
        snprintf(line, sizeof line, "%s %-5s %s\n", time, level_names[level], message);
    /* One write: lines of two threads never mix. */
    if (json != NULL)
        fprintf(stderr, "%s\n", json);
    else
        fputs(line, stderr);
    free(json);
}

void log_write(log_level level, const char *format, ...)
{
    char message[MESSAGE_SIZE];
    if (!log_tells(level))
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    write_line(level, NULL, message);
}

void log_write_with(log_level level, json_t *parts, const char *format, ...)
{
    char message[MESSAGE_SIZE];
    if (log_tells(level)) {
        va_list args;
        va_start(args, format);
        vsnprintf(message, sizeof message, format, args);
        va_end(args);
        write_line(level, parts, message);
    }
    json_decref(parts);
}
