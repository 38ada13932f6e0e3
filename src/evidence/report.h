/*
 * report.h: results of replays as pages: one self-contained HTML file, Markdown, and the one
 * picture that says most (accuracy against speed) as SVG of its own.
 *
 * `runs` is a JSON list of runs (summary.h); items are not needed. Text is appended to `out`.
 */
#ifndef EVIDENCE_REPORT_H
#define EVIDENCE_REPORT_H

#include <jansson.h>

#include "base/buffer.h"

error_code report_html(buffer *out, const json_t *runs, failure *fail);
error_code report_markdown(buffer *out, const json_t *runs, failure *fail);
error_code report_svg(buffer *out, const json_t *runs, failure *fail);

#endif
