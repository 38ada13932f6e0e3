/*
 * decision_log.h: one JSON object a line for every decision, with all that it was made of: see
 * docs/decision-log.md. Inside the room only.
 *
 * A line is one write(2) to a file opened for appending; a part of one (a full disk) is taken back,
 * and one that a crash left is ended before the next begins. When the file has its size it becomes
 * FILE.1 (and that one FILE.2 …), so the disk holds keep + 1 files at most; where that fails, the
 * full one stays. A line that cannot be written is lost and counted, and the first and the number
 * of a row are logged; requests go on. Any thread.
 */
#ifndef ORCHESTRA_DECISION_LOG_H
#define ORCHESTRA_DECISION_LOG_H

#include <jansson.h>

#include "base/buffer.h"
#include "config/config.h"

typedef struct decision_log decision_log;

/* `head` is a whole line, the first of the file for now. The config must outlive the log. ERR_IO
 * for what is no regular file, or cannot be written to. */
error_code decision_log_open(decision_log **out, const config_decisions *c, const buffer *head,
                             failure *fail);
void decision_log_close(decision_log *l); /* NULL too */

/* `head`: that of the policy by which it was decided. It goes before the line where the one before
 * in this file was of another, so that a file can be read from its beginning on. The value is
 * taken over; NULL (no memory for it) counts as lost. */
void decision_log_write(decision_log *l, const buffer *head, json_t *value);
bool decision_log_keeps_text(const decision_log *l);

#endif
