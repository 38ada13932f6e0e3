/* progress.c: a bar that is drawn on a terminal only, and not more often than people see. */
#include "cli/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"

#define PATIENCE_MS 300 /* nobody needs a bar for less */

void progress_start(progress *p, const char *what)
{
    *p = (progress){what, isatty(STDERR_FILENO), clock_ms(), -1, -1};
}

void progress_show(progress *p, double fraction)
{
    static const char full[] = "##############################";
    int width = (int)sizeof full - 1, filled = (int)(fraction * width);
    int percent = (int)(100 * fraction);
    double ms = clock_ms() - p->start_ms;
    if (p->start < 0)
        p->start = fraction;
    if (!p->on_terminal || ms < PATIENCE_MS || percent == p->percent)
        return;
    p->percent = percent;
    double done = fraction - p->start;
    fprintf(stderr, "\r%s [%.*s%*s] %3d %%, %.0f s to go\033[K", p->what, filled, full,
            width - filled, "", percent, done > 0 ? ms / 1e3 * (1 - fraction) / done : 0);
    fflush(stderr);
}

void progress_end(progress *p)
{
    if (p->percent >= 0)
        fputs("\r\033[K", stderr);
    p->percent = -1;
}

void progress_line(const char *text)
{
    if (!isatty(STDERR_FILENO))
        return;
    struct winsize size = {0};
    size_t width = 80, length = strlen(text);
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        width = size.ws_col;
    if (length >= width)
        for (length = width - 1; length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80;)
            length--; /* not within a character */
    fprintf(stderr, "\r\033[K%.*s", (int)length, text);
}
