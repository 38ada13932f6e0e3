/* progress.c: a bar that is drawn on a terminal only, and not more often than people see. */
#include "cli/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"

#define PATIENCE_MS 300 /* nobody needs a bar for less */

static const char full_bar[] = "##############################";
#define BAR_WIDTH ((int)sizeof full_bar - 1)
#define REST_WIDTH (sizeof full_bar + sizeof " [] 100 %, 9999 s to go")

static size_t terminal_width(void)
{
    struct winsize size = {0};
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* How many of its bytes fit, whole characters each. */
static int bytes_within(const char *text, size_t width)
{
    size_t length = strlen(text);
    if (length <= width)
        return (int)length;
    while (width > 0 && ((unsigned char)text[width] & 0xc0) == 0x80)
        width--; /* not within a character */
    return (int)width;
}

void progress_start(progress *p, const char *what)
{
    *p = (progress){.what = what, .on_terminal = isatty(STDERR_FILENO), .start = -1, .percent = -1};
}

/* What is done is cut where the line would wrap: a line that wraps cannot be written over. */
static void draw(const progress *p, double fraction, double seconds_left)
{
    int filled = (int)(fraction * BAR_WIDTH);
    size_t width = terminal_width();
    char rest[32] = "";
    if (seconds_left >= 0)
        snprintf(rest, sizeof rest, ", %.0f s to go", seconds_left);
    fprintf(stderr, "\r%.*s [%.*s%*s] %3d %%%s\033[K",
            bytes_within(p->what, width > REST_WIDTH ? width - REST_WIDTH : 0), p->what, filled,
            full_bar, BAR_WIDTH - filled, "", p->percent, rest);
    fflush(stderr);
}

void progress_show(progress *p, double fraction)
{
    int percent = (int)(100 * fraction);
    if (p->start < 0) {
        p->start = fraction;
        p->start_ms = clock_ms();
    }
    double ms = clock_ms() - p->start_ms;
    if (!p->on_terminal || ms < PATIENCE_MS || percent == p->percent)
        return;
    p->percent = percent;
    double done = fraction - p->start; /* 0: nothing is known yet of what is to go */
    draw(p, fraction, done > 0 ? ms / 1e3 * (1 - fraction) / done : -1);
}

void progress_end(progress *p)
{
    if (p->percent >= 0)
        fputs("\r\033[K", stderr);
    p->percent = -1;
}

void progress_line(const char *text)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K%.*s", bytes_within(text, terminal_width() - 1), text);
}
