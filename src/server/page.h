/* page.h: the files of the page at "/", which the program carries with it. Any thread. */
#ifndef SERVER_PAGE_H
#define SERVER_PAGE_H

#include <stddef.h>

typedef struct page_file {
    const char *name; /* "app.js" */
    const char *type; /* the Content-Type */
    const char *begin, *end;
} page_file;

/* "" is index.html; NULL: there is none of this name. */
const page_file *page_find(const char *name);

/* Header lines that every file of the page comes with: no resource and no frame of another origin,
 * no script but its own. */
extern const char page_headers[];

#endif
