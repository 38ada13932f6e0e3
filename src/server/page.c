/* page.c: the page's files, in the program as they are. */
#include "server/page.h"

#include <string.h>

#include "base/embed.h"

EMBED(page_index, "src/server/page/index.html");
EMBED(page_style, "src/server/page/style.css");
EMBED(page_icon, "src/server/page/icon.svg");
EMBED(page_api, "src/server/page/api.js");
EMBED(page_app, "src/server/page/app.js");
EMBED(page_decision, "src/server/page/decision.js");
EMBED(page_dom, "src/server/page/dom.js");
EMBED(page_live, "src/server/page/live.js");
EMBED(page_markdown, "src/server/page/markdown.js");
EMBED(page_store, "src/server/page/store.js");

#define JAVASCRIPT "text/javascript; charset=utf-8"

static const page_file files[] = {
    {"", "text/html; charset=utf-8", page_index_begin, page_index_end},
    {"style.css", "text/css; charset=utf-8", page_style_begin, page_style_end},
    {"icon.svg", "image/svg+xml", page_icon_begin, page_icon_end},
    {"api.js", JAVASCRIPT, page_api_begin, page_api_end},
    {"app.js", JAVASCRIPT, page_app_begin, page_app_end},
    {"decision.js", JAVASCRIPT, page_decision_begin, page_decision_end},
    {"dom.js", JAVASCRIPT, page_dom_begin, page_dom_end},
    {"live.js", JAVASCRIPT, page_live_begin, page_live_end},
    {"markdown.js", JAVASCRIPT, page_markdown_begin, page_markdown_end},
    {"store.js", JAVASCRIPT, page_store_begin, page_store_end},
};

const char page_headers[] =
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cache-Control: no-cache\r\n";

const page_file *page_find(const char *name)
{
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (strcmp(files[i].name, name) == 0)
            return &files[i];
    return NULL;
}
