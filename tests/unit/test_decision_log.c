/* The decision log where writing fails: full disks, file size limits, renames that are refused,
 * crashes in the middle of a line, files of other kinds. Whatever happens, a file begins with its
 * head, keeps its size, and a torn line costs only itself; and readers pass over what is torn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/log.h"
#include "evidence/redecide.h"
#include "evidence/trace.h"
#include "orchestra/decision_log.h"

#define MEGABYTE 1000000

static char folder[64];

/* The same text for the same name, for the whole test. */
static const char *in_folder(const char *name)
{
    static char paths[32][128];
    size_t i = 0, skipped = strlen(folder) + 1;
    while (paths[i][0] != '\0' && strcmp(paths[i] + skipped, name) != 0)
        i++;
    assert_true(i + 1 < 32);
    snprintf(paths[i], 128, "%s/%s", folder, name);
    return paths[i];
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/a-io-test-log-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"d",    "d.1",    "d.2",  "d.3", "filler",
                                        "link", "target", "fifo", "dir", "labelled"};
    umount(folder);
    rmdir(in_folder("d.1/inside"));
    rmdir(in_folder("d.1"));
    rmdir(in_folder("dir"));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(in_folder(names[i]));
    return rmdir(folder);
}

/* ---- writing --------------------------------------------------------------------------------- */

static config_decisions settings(const char *file, int keep)
{
    return (config_decisions){.file = (char *)file, .max_mb = 1, .keep = (uint32_t)keep};
}

static const buffer *head_line(void)
{
    static char text[] = "{\"type\": \"policy\", \"padding\": \"abcdefghijklmnopqrstuvwxyz\"}\n";
    static const buffer line = {.data = text, .length = sizeof text - 1};
    return &line;
}

static decision_log *open_log(const config_decisions *c)
{
    failure fail = {0};
    decision_log *l = NULL;
    if (decision_log_open(&l, c, head_line(), &fail) != OK)
        fail_msg("%s", fail.text);
    return l;
}

static void write_number(decision_log *l, int number, size_t bytes)
{
    char *padding = calloc(1, bytes + 1);
    memset(padding, 'x', bytes);
    decision_log_write(
        l, head_line(),
        json_pack("{s:s, s:i, s:s}", "type", "decision", "number", number, "padding", padding));
    free(padding);
}

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct contents {
    size_t bytes, heads, decisions, torn;
    bool begins_with_head;
    int last; /* number */
} contents;

static contents read_log(const char *path)
{
    contents c = {.last = -1};
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    if (file == NULL)
        return c;
    for (size_t n = 0; (length = getline(&line, &capacity, file)) > 0; n++) {
        c.bytes += (size_t)length;
        bool whole = line[length - 1] == '\n';
        json_t *value = whole ? json_loadb(line, (size_t)length, 0, NULL) : NULL;
        const char *type = json_string_value(json_object_get(value, "type"));
        bool head = type != NULL && strcmp(type, "policy") == 0;
        c.begins_with_head = n == 0 ? head : c.begins_with_head;
        c.torn += type == NULL;
        c.heads += head;
        if (type != NULL && !head) {
            c.decisions++;
            c.last = (int)json_integer_value(json_object_get(value, "number"));
        }
        json_decref(value);
    }
    free(line);
    fclose(file);
    return c;
}

/* A file that is there has whole lines only, a head first, and its size. */
static void check_file(const char *path)
{
    contents c = read_log(path);
    if (c.bytes == 0)
        return;
    if (!c.begins_with_head || c.torn > 0 || c.bytes > MEGABYTE)
        fail_msg("%s: %s, %zu torn lines, %zu bytes", path, c.begins_with_head ? "head" : "no head",
                 c.torn, c.bytes);
}

/* ---- torn lines ------------------------------------------------------------------------------ */

static void put_text(const char *path, const char *text, size_t length)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, length, file), length);
    fclose(file);
}

static void test_restart_begins_a_line(void **state)
{
    (void)state;
    const char *path = in_folder("d");
    config_decisions c = settings(path, 2);
    decision_log *l = open_log(&c);
    write_number(l, 1, 10);
    write_number(l, 2, 10);
    decision_log_close(l);
    struct stat s;
    assert_int_equal(stat(path, &s), 0);
    for (off_t cut = 1; cut < 30; cut++) { /* as a crash leaves it */
        assert_int_equal(truncate(path, s.st_size - cut), 0);
        l = open_log(&c);
        write_number(l, 3, 10);
        decision_log_close(l);
        contents got = read_log(path);
        assert_true(got.begins_with_head);
        assert_int_equal(got.heads, 2);
        assert_int_equal(got.torn, cut == 1 ? 0 : 1); /* 1: only the newline was missing */
        assert_int_equal(got.decisions, cut == 1 ? 3 : 2);
        assert_int_equal(got.last, 3);
        unlink(path);
        l = open_log(&c);
        write_number(l, 1, 10);
        write_number(l, 2, 10);
        decision_log_close(l);
    }
    unlink(path);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void limit_files(rlim_t bytes)
{
    const struct rlimit limit = {bytes, RLIM_INFINITY};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* At every place of a line: what was begun is taken back, and what follows is whole. */
static void test_file_size_limit(void **state)
{
    (void)state;
    const char *path = in_folder("d");
    config_decisions c = settings(path, 2);
    decision_log *l = open_log(&c);
    int written = 0;
    for (int i = 0; i < 2000; i++) {
        size_t before = read_log(path).bytes;
        limit_files(before + (rlim_t)(i * 7 % 120));
        write_number(l, i, 20);
        limit_files(RLIM_INFINITY);
        contents got = read_log(path);
        assert_int_equal(got.torn, 0);
        written += got.last == i ? 1 : 0;
        if (i % 50 == 49)
            check_file(path);
    }
    assert_true(written > 500 && written < 1900);
    decision_log_close(l);
    unlink(path);
}

/* No head, no decisions: not even when it is a new file's head that there is no room for. */
static void test_no_room_for_the_head(void **state)
{
    (void)state;
    const char *path = in_folder("d");
    config_decisions c = settings(path, 1);
    decision_log *l = open_log(&c);
    for (int i = 0; i < 9; i++)
        write_number(l, i, 100000);
    limit_files(10);
    for (int i = 9; i < 20; i++)
        write_number(l, i, 100000); /* the file is full: a new one is begun */
    limit_files(RLIM_INFINITY);
    write_number(l, 20, 100000);
    contents got = read_log(path);
    assert_true(got.begins_with_head);
    assert_int_equal(got.torn, 0);
    assert_int_equal(got.last, 20);
    got = read_log(in_folder("d.1"));
    assert_true(got.begins_with_head);
    assert_int_equal(got.decisions, 9);
    decision_log_close(l);
    unlink(path);
    unlink(in_folder("d.1"));
}

/* Where starting again and again adds heads, or a line is larger than a file may be. */
static void test_size_is_kept(void **state)
{
    (void)state;
    const char *path = in_folder("d");
    config_decisions c = settings(path, 1);
    decision_log *l = open_log(&c);
    for (int i = 0; i < 9; i++)
        write_number(l, i, 110000);
    decision_log_close(l);
    for (int i = 0; i < 200; i++) {
        l = open_log(&c);
        write_number(l, i, 2 * MEGABYTE); /* costs nothing but itself */
        write_number(l, i, 10);
        decision_log_close(l);
        check_file(path);
        check_file(in_folder("d.1"));
    }
    assert_int_equal(read_log(in_folder("d.1")).decisions >= 9, 1);
    unlink(path);
    unlink(in_folder("d.1"));
}

/* ---- renames --------------------------------------------------------------------------------- */

static void test_rename_fails(void **state)
{
    (void)state;
    const char *path = in_folder("d");
    config_decisions c = settings(path, 1);
    assert_int_equal(mkdir(in_folder("d.1"), 0700), 0);
    assert_int_equal(mkdir(in_folder("d.1/inside"), 0700), 0);
    decision_log *l = open_log(&c);
    for (int i = 0; i < 30; i++)
        write_number(l, i, 100000);
    contents got = read_log(path);
    assert_int_equal(got.decisions, 9); /* what the file had room for; the others are lost */
    check_file(path);
    assert_int_equal(rmdir(in_folder("d.1/inside")), 0);
    assert_int_equal(rmdir(in_folder("d.1")), 0);
    write_number(l, 30, 100000);
    got = read_log(path);
    assert_int_equal(got.last, 30);
    assert_int_equal(got.decisions, 1);
    check_file(path);
    assert_int_equal(read_log(in_folder("d.1")).decisions, 9);
    decision_log_close(l);
    unlink(path);
    unlink(in_folder("d.1"));
}

/* ---- other kinds of files -------------------------------------------------------------------- */

static void expect_refusal(const char *path)
{
    failure fail = {0};
    decision_log *l = NULL;
    config_decisions c = settings(path, 1);
    if (decision_log_open(&l, &c, head_line(), &fail) != ERR_IO)
        fail_msg("%s: opened", path);
    assert_non_null(strstr(fail.text, path));
}

static void test_kinds_of_files(void **state)
{
    (void)state;
    alarm(20); /* a FIFO would wait for its reader for ever */
    assert_int_equal(mkfifo(in_folder("fifo"), 0600), 0);
    assert_int_equal(mkdir(in_folder("dir"), 0700), 0);
    expect_refusal(in_folder("fifo"));
    expect_refusal(in_folder("dir"));
    expect_refusal("/dev/null");
    expect_refusal(in_folder("none/d"));
    put_text(in_folder("target"), "", 0);
    assert_int_equal(symlink("target", in_folder("link")), 0);
    config_decisions c = settings(in_folder("link"), 1);
    decision_log *l = open_log(&c);
    write_number(l, 1, 10);
    decision_log_close(l);
    assert_int_equal(read_log(in_folder("target")).decisions, 1);
    alarm(0);
}

/* ---- a full disk ----------------------------------------------------------------------------- */

/* Leaves so many bytes, in whole pages. */
static void fill_disk(size_t left)
{
    static const char page[4096] = {1};
    int fd = open(in_folder("filler"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    off_t end = 0;
    while (write(fd, page, sizeof page) == (ssize_t)sizeof page)
        end += (off_t)sizeof page;
    assert_int_equal(ftruncate(fd, end > (off_t)left ? end - (off_t)left : 0), 0);
    close(fd);
}

static void test_full_disk(void **state)
{
    (void)state;
    if (mount("a-io", folder, "tmpfs", 0, "size=4m") != 0) {
        printf("  skipped: cannot mount a small disk: %s\n", strerror(errno));
        skip();
    }
    const char *path = in_folder("d");
    config_decisions c = settings(path, 2);
    decision_log *l = open_log(&c);
    for (int round = 0; round < 60; round++) {
        fill_disk((size_t)(round * 37 % 300) * 1024);
        for (int i = 0; i < 15; i++)
            write_number(l, 100 * round + i, (size_t)(round * 1021 + i * 4099) % 60000);
        if (round % 7 == 3) { /* and a restart on the full disk, which may fail */
            failure fail;
            decision_log *again = NULL;
            decision_log_close(l);
            if (decision_log_open(&again, &c, head_line(), &fail) != OK) {
                unlink(in_folder("filler"));
                again = open_log(&c);
            }
            l = again;
        }
        check_file(path);
        check_file(in_folder("d.1"));
        check_file(in_folder("d.2"));
        unlink(in_folder("filler"));
        write_number(l, 100 * round + 99, 10);
        assert_int_equal(read_log(path).last, 100 * round + 99);
    }
    decision_log_close(l);
    assert_int_equal(umount(folder), 0);
}

/* ---- readers --------------------------------------------------------------------------------- */

#define FIELD "../shared/field/decisions-"

static void test_readers_pass_over_what_is_torn(void **state)
{
    (void)state;
    redecided r;
    failure fail = {0};
    if (access(FIELD "diskfull-then-space.jsonl", R_OK) != 0) {
        printf("  skipped: no files from the field\n");
        skip();
    }
    assert_int_equal(redecide_log(FIELD "diskfull-then-space.jsonl", &r, &fail), OK);
    assert_int_equal(r.torn, 1);
    assert_int_equal(r.decisions, 27);
    assert_int_equal(r.same, 27);
    assert_int_equal(redecide_log(FIELD "rotated-on-full-disk-no-head.jsonl", &r, &fail), OK);
    assert_int_equal(r.orphans, 20);
    assert_int_equal(r.decisions + r.torn, 0);
}

static size_t count_tasks(const char *path, failure *fail, error_code *code)
{
    task_list list = {0};
    *code = trace_read(&list, path, fail);
    size_t n = list.length;
    task_list_free(&list);
    return n;
}

static void test_traces(void **state)
{
    (void)state;
    static const char whole[] = "{\"type\": \"policy\"}\n"
                                "{\"type\": \"decision\", \"id\": \"a\", \"prompt\": {\"text\": "
                                "[{\"role\": \"user\", \"content\": \"x\"}]}}\n";
    static const char labelled[] = "{\"domain\": \"qa\", \"messages\": [{\"role\": \"user\", "
                                   "\"content\": \"x\"}]}\n";
    char text[1024];
    failure fail = {0};
    error_code code;
    const char *path = in_folder("labelled");
    int n = snprintf(text, sizeof text, "{\"type\": \"deci%s{\"type\": \"decisi\n%s", whole, whole);
    put_text(path, text, (size_t)n);
    assert_int_equal(count_tasks(path, &fail, &code), 2);
    assert_int_equal(code, OK);
    /* Of other traces a line that is no JSON is a mistake, wherever it stands. */
    n = snprintf(text, sizeof text, "{\"id\": \n%s", labelled);
    put_text(path, text, (size_t)n);
    count_tasks(path, &fail, &code);
    assert_int_equal(code, ERR_FORMAT);
    assert_non_null(strstr(fail.text, "labelled:1: not JSON"));
    n = snprintf(text, sizeof text, "%s\n%s{\"id\": \n", labelled, labelled);
    put_text(path, text, (size_t)n);
    count_tasks(path, &fail, &code);
    assert_int_equal(code, ERR_FORMAT);
    if (strstr(fail.text, "labelled:4: not JSON") == NULL)
        fail_msg("%s", fail.text);
}

/* ---- two policies at once -------------------------------------------------------------------- */

/* After a reload: what was decided before it ends among what was decided after it. */
static void test_each_under_its_own_head(void **state)
{
    (void)state;
    static char text[] = "{\"type\": \"policy\", \"which\": \"second\"}\n";
    const buffer second = {.data = text, .length = sizeof text - 1};
    static const bool by_second[] = {false, true, true, false, true};
    const char *path = in_folder("d");
    unlink(path);
    config_decisions c = settings(path, 2);
    decision_log *l = open_log(&c);
    for (size_t i = 0; i < sizeof by_second; i++)
        decision_log_write(l, by_second[i] ? &second : head_line(),
                           json_pack("{s:s, s:b}", "type", "decision", "second", by_second[i]));
    decision_log_close(l);
    char line[256];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    bool is_second = true;
    size_t n = 0, heads = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        bool is_head = strstr(line, "\"policy\"") != NULL;
        heads += is_head;
        if (is_head)
            is_second = strcmp(line, text) == 0;
        else
            assert_true(n < sizeof by_second && is_second == by_second[n++]);
    }
    fclose(file);
    assert_int_equal(n, sizeof by_second);
    assert_int_equal(heads, 4);
}

int main(void)
{
    signal(SIGXFSZ, SIG_IGN); /* as the program does */
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restart_begins_a_line),
        cmocka_unit_test(test_file_size_limit),
        cmocka_unit_test(test_no_room_for_the_head),
        cmocka_unit_test(test_size_is_kept),
        cmocka_unit_test(test_rename_fails),
        cmocka_unit_test(test_kinds_of_files),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_readers_pass_over_what_is_torn),
        cmocka_unit_test(test_traces),
        cmocka_unit_test(test_each_under_its_own_head),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
