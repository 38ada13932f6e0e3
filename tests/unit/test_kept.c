/* What one start keeps for the next: the files, whoever wrote them; and what steps cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/kept.h"
#include "model/model.h"
#include "backend/kept_steps.h"

static char folder[] = "/tmp/a-io-kept-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) != NULL ? 0 : 1;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

/* The one file in the folder. */
static void find_file(char path[512])
{
    DIR *all = opendir(folder);
    assert_non_null(all);
    size_t n = 0;
    for (const struct dirent *entry; (entry = readdir(all)) != NULL;)
        if (entry->d_name[0] != '.') {
            snprintf(path, 512, "%s/%s", folder, entry->d_name);
            n++;
        }
    closedir(all);
    assert_int_equal(n, 1);
}

static void overwrite(const char *path, const char *text, size_t length)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

static void expect_none(const kept_store *k, const char *key)
{
    assert_null(kept_read(k, "word", key));
}

static void test_read_back(void **state)
{
    (void)state;
    kept_store *k = kept_open(folder, false), *anew = kept_open(folder, true);
    char path[512];
    expect_none(k, "key");
    kept_write(k, "word", "key", json_pack("[f, i]", 0.1, 7));
    json_t *read = kept_read(k, "word", "key");
    assert_true(json_real_value(json_array_get(read, 0)) == 0.1); /* bit for bit */
    assert_int_equal(json_integer_value(json_array_get(read, 1)), 7);
    json_decref(read);
    expect_none(k, "another key");
    expect_none(anew, "key");
    kept_write(anew, "word", "key", json_integer(8)); /* in its place */
    find_file(path);
    read = kept_read(k, "word", "key");
    assert_int_equal(json_integer_value(read), 8);
    json_decref(read);
    kept_write(k, "word", "key", NULL); /* no memory for the value: the old one stays */
    read = kept_read(k, "word", "key");
    assert_int_equal(json_integer_value(read), 8);
    json_decref(read);
    assert_int_equal(unlink(path), 0);
    kept_close(k);
    kept_close(anew);
}

/* A file is anybody's. */
static void test_hostile_files(void **state)
{
    (void)state;
    kept_store *k = kept_open(folder, false);
    char path[512], text[4096], other[512];
    kept_write(k, "word", "key", json_integer(1));
    find_file(path);
    FILE *file = fopen(path, "re");
    size_t length = fread(text, 1, sizeof text, file);
    fclose(file);
    for (size_t cut = 0; cut < length - 1; cut++) { /* the last byte ends the object */
        overwrite(path, text, cut);
        expect_none(k, "key");
    }
    char *key = strstr(text, "\"key\":\"key\"");
    assert_non_null(key);
    key[7] = 'K'; /* of another key */
    overwrite(path, text, length);
    expect_none(k, "key");
    key[7] = 'k';
    char *program = strchr(strstr(text, "\"program\":") + 10, '"') + 1;
    *program = *program == '9' ? '8' : '9'; /* of another build */
    overwrite(path, text, length);
    expect_none(k, "key");
    char *large = malloc((size_t)1 << 20);
    memset(large, '[', (size_t)1 << 20); /* deep, and too long */
    overwrite(path, large, 100000);
    expect_none(k, "key");
    overwrite(path, large, (size_t)1 << 20);
    expect_none(k, "key");
    free(large);
    assert_int_equal(unlink(path), 0);
    snprintf(other, sizeof other, "%s/.other", folder);
    overwrite(other, text, length);
    assert_int_equal(symlink(other, path), 0);
    expect_none(k, "key");
    kept_write(k, "word", "key", json_integer(2)); /* takes the link's place, not its file's */
    struct stat info;
    assert_int_equal(lstat(path, &info), 0);
    assert_true(S_ISREG(info.st_mode));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* nobody writes to it */
    expect_none(k, "key");
    assert_int_equal(unlink(path), 0);
    kept_close(k);
}

/* Nothing is kept, and nothing fails. */
static void test_no_place(void **state)
{
    (void)state;
    kept_store *k = kept_open("/proc/self/nowhere", false);
    kept_write(k, "word", "key", json_integer(1));
    expect_none(k, "key");
    kept_close(k);
    assert_null(kept_open("relative", false));
    kept_write(NULL, "word", "key", json_integer(1));
    expect_none(NULL, "key");
    kept_close(NULL);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static engine_options read_steps(const kept_store *k, const model *m, int threads, kv_type kv)
{
    engine_options o = engine_defaults();
    o.kv = kv;
    kept_steps_read(k, m, threads, &o);
    return o;
}

static void test_steps(void **state)
{
    (void)state;
    const model m = {.fingerprint = 0x1234}, other = {.fingerprint = 0x1235};
    kept_store *k = kept_open(folder, false);
    engine_costs costs = {.prefill_row_ms = 0.25, .prefill_rows = 16};
    kept_steps_write(k, &m, 2, KV_F16, &costs); /* nothing was measured */
    assert_true(read_steps(k, &m, 2, KV_F16).step_ms[1] == 0);
    costs.step_ms[1] = 10;
    costs.step_ms[17] = 40.125;
    kept_steps_write(k, &m, 2, KV_F16, &costs);
    engine_options o = read_steps(k, &m, 2, KV_F16);
    assert_true(o.step_ms[1] == 10 && o.step_ms[2] == 0 && o.step_ms[17] == 40.125);
    assert_true(o.prefill_row_ms == 0.25 && o.prefill_rows == 16);
    assert_true(read_steps(k, &m, 1, KV_F16).step_ms[1] == 0);
    assert_true(read_steps(k, &m, 2, KV_Q8_0).step_ms[1] == 0);
    assert_true(read_steps(k, &other, 2, KV_F16).step_ms[1] == 0);
    kept_close(k);
}

/* Numbers that no start can have measured. */
static void test_hostile_steps(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"\"1\":10.0", "\"1\":-10.0"}, {"\"1\":10.0", "\"1\":1e300"}, {"\"1\":10.0", "\"0\":10.0"},
        {"\"1\":10.0", "\"65\":10.0"}, {"\"1\":10.0", "\"1x\":10.0"}, {"\"1\":10.0", "\"1\":\"x\""},
        {"\"1\":10.0", "\"2\":10.0"},  {"s\":16", "s\":0"},           {"s\":16", "s\":129"},
        {"_ms\":0.25", "_ms\":0"},     {"_ms\":0.25", "_ms\":[]"},    {"\"step_ms\":", "\"step\":"},
    };
    const model m = {.fingerprint = 0x1234};
    kept_store *k = kept_open(folder, true);
    const engine_costs costs = {.step_ms = {[1] = 10}, .prefill_row_ms = 0.25, .prefill_rows = 16};
    char path[512], text[4096] = "", changed[4096];
    kept_steps_write(k, &m, 2, KV_F16, &costs);
    kept_close(k);
    k = kept_open(folder, false);
    find_file(path);
    FILE *file = fopen(path, "re");
    assert_true(fread(text, 1, sizeof text - 1, file) > 0);
    fclose(file);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char *at = strstr(text, bad[i][0]);
        assert_non_null(at);
        snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, bad[i][1],
                 at + strlen(bad[i][0]));
        overwrite(path, changed, strlen(changed));
        if (read_steps(k, &m, 2, KV_F16).step_ms[1] != 0)
            fail_msg("taken: %s", bad[i][1]);
    }
    overwrite(path, text, strlen(text));
    assert_true(read_steps(k, &m, 2, KV_F16).step_ms[1] == 10);
    assert_int_equal(unlink(path), 0);
    kept_close(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_back),     cmocka_unit_test(test_hostile_files),
        cmocka_unit_test(test_no_place),      cmocka_unit_test(test_steps),
        cmocka_unit_test(test_hostile_steps),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
