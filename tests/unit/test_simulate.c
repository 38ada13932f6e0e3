/* The published tables from the published measurements, and profiles that are refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "evidence/simulate.h"

static simulation simulate(const profile *p, const char *mix, const char *name)
{
    failure fail;
    simulation s;
    const profile_mix *m = p->scenarios;
    while (strcmp(m->name, mix) != 0)
        m++;
    if (simulate_run(p, m, arm_find(name), &s, &fail) != OK)
        fail_msg("%s", fail.text);
    return s;
}

#define NEAR(a, b) assert_true(fabs((a) - (b)) < 0.006)

static void the_paper(void **state)
{
    (void)state;
    failure fail;
    profile *p;
    if (profile_load(&p, "config/paper-910b.yaml", &fail) != OK)
        fail_msg("%s", fail.text);
    simulation s = simulate(p, "A", "small");
    NEAR(s.told.accuracy, 67.41);
    NEAR(s.told.mean_rate, 21.286);
    assert_true(s.paid_rate == s.probed.mean_rate); /* nothing is decided */
    NEAR(simulate(p, "B", "large").told.accuracy, 75.30);
    NEAR(simulate(p, "B", "random").told.accuracy, 71.53);
    s = simulate(p, "A", "paper");
    NEAR(s.told.accuracy, 71.892);
    NEAR(s.told.mean_rate, 20.625);
    NEAR(s.paid_rate, s.probed.mean_rate * (1 - 17.4 / 1200));
    /* By hand, 70 % code: 96 of 100 as code or not, and so on down Table 2. */
    double code = (94 * 67.68 + 6 * 41.46) / 100, qa = (8 * 63.20 + 92 * 80.92) / 100;
    double math = (1 * 73.92 + 99 * 83.32) / 100;
    NEAR(s.probed.accuracy, 0.7 * code + 0.2 * qa + 0.1 * math);
    s = simulate(p, "A", "without-routing");
    NEAR(s.told.accuracy, 68.48);
    NEAR(s.told.mean_rate, 17.454);
    s = simulate(p, "A", "without-lookup-switch");
    NEAR(s.told.accuracy, 71.456);
    NEAR(s.told.mean_rate, 19.927);
    s = simulate(p, "A", "oracle");
    assert_true(s.told.accuracy == s.probed.accuracy);
    /* At 32K accuracies are known, speeds are not: neither guessed nor dropped. */
    s = simulate(p, "C", "paper");
    NEAR(s.told.accuracy, (95.73 + 80.92) / 2);
    assert_true(isnan(s.told.mean_rate));
    assert_true(isnan(s.probed.accuracy)); /* code taken for qa: with lookup at 32K */
    assert_int_equal(simulate_run(p, p->scenarios, arm_find("best-single"), &s, &fail),
                     ERR_INVALID);
    profile_free(p);
}

static void tokens_over_time(void **state)
{
    (void)state;
    failure fail;
    profile *p;
    assert_int_equal(profile_load(&p, "config/paper-910b.yaml", &fail), OK);
    simulation s = simulate(p, "A", "small");
    NEAR(s.told.tokens_per_s, 1 / (0.7 / 21.18 + 0.2 / 21.58 + 0.1 / 21.44));
    profile_free(p);
}

static void bad_profiles(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "empty"},
        {"version: 2\n", "Missing"},
        {"version: 1\nspeed: 3\n", "speed"},
        {"version: 1\nsmall_context: 1\nlabels: [a, b]\ntasks:\n  - {name: t, intent: c, "
         "prompt_tokens: 1}\nfigures: []\nscenarios: []\n",
         "\"c\" is none of the labels"},
        {"version: 1\nsmall_context: 1\nlabels: [a, b]\ntasks:\n  - {name: t, intent: a, "
         "prompt_tokens: 1}\nfigures:\n  - {model: huge, lookup: false, task: t}\nscenarios: []\n",
         "huge"},
        {"version: 1\nsmall_context: 1\nlabels: [a, b]\ntasks:\n  - {name: t, intent: a, "
         "prompt_tokens: 1}\nfigures: []\nscenarios:\n  - name: A\n    parts: [{task: t, percent: "
         "90}]\n",
         "add up to 90"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[] = "/tmp/a-io-profile-XXXXXX";
        failure fail = {.code = OK};
        profile *p;
        int fd = mkstemp(path);
        assert_int_equal(write(fd, cases[i].text, strlen(cases[i].text)), strlen(cases[i].text));
        close(fd);
        assert_int_equal(profile_load(&p, path, &fail), ERR_CONFIG);
        if (strstr(fail.text, cases[i].message) == NULL)
            fail_msg("%s", fail.text);
        unlink(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_paper),
        cmocka_unit_test(tokens_over_time),
        cmocka_unit_test(bad_profiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
