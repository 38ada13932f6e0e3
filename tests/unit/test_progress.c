/* The bar on a terminal: what it says is to go, and that it keeps to its line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/progress.h"

/* Draws on a terminal of 80 columns in the place of standard error; what came there. */
static size_t draw_half(const char *what, char *out, size_t size, double *took_s)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY), kept = dup(STDERR_FILENO);
    assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    const struct winsize columns = {.ws_row = 24, .ws_col = 80};
    assert_true(slave >= 0 && ioctl(slave, TIOCSWINSZ, &columns) == 0);
    assert_true(dup2(slave, STDERR_FILENO) >= 0);
    progress p;
    double start = clock_ms();
    progress_start(&p, what);
    progress_show(&p, 0);
    while (clock_ms() - start < 500) /* past the time in which nothing is drawn */
        usleep(10000);
    progress_show(&p, 0.5);
    *took_s = (clock_ms() - start) / 1e3;
    dup2(kept, STDERR_FILENO);
    ssize_t n = read(master, out, size - 1);
    assert_true(n > 0);
    out[n] = '\0';
    close(kept);
    close(slave);
    close(master);
    return (size_t)n;
}

static void half_takes_as_long_again(void **state)
{
    (void)state;
    char text[1024];
    double took_s, to_go;
    draw_half("reading", text, sizeof text, &took_s);
    assert_non_null(strstr(text, "reading [###############               ]  50 %, "));
    assert_int_equal(sscanf(strstr(text, " %, "), " %%, %lf s to go", &to_go), 1);
    assert_true(to_go <= took_s + 1);
}

static void long_names_are_cut(void **state)
{
    (void)state;
    char text[1024], name[200];
    double took_s;
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    size_t n = draw_half(name, text, sizeof text, &took_s);
    assert_non_null(strstr(text, "s to go\033[K"));
    assert_true(n - strlen("\r\033[K") < 80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_takes_as_long_again),
        cmocka_unit_test(long_names_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
