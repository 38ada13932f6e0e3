/* Files that are there whole or not at all: the old one stays, and nothing else, whatever fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/whole_file.h"

static char folder[] = "/tmp/a-io-whole-XXXXXX", path[64];

/* ---- the folder ------------------------------------------------------------------------------ */

static int make_folder(void **state)
{
    (void)state;
    strcpy(strrchr(folder, '-') + 1, "XXXXXX");
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(path, sizeof path, "%s/file", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static size_t files_in_folder(void)
{
    DIR *all = opendir(folder);
    assert_non_null(all);
    size_t n = 0;
    for (const struct dirent *entry; (entry = readdir(all)) != NULL;)
        n += entry->d_name[0] != '.';
    closedir(all);
    return n;
}

static void expect_file(const char *text)
{
    buffer found;
    buffer_init(&found, 1 << 20);
    assert_int_equal(buffer_read_file(&found, path, NULL), OK);
    assert_string_equal(found.data, text);
    buffer_free(&found);
}

static void write_old(void)
{
    failure fail = {0};
    if (whole_file_write(path, "old", 3, 0666, WHOLE_FILE_UNSYNCED, &fail) != OK)
        fail_msg("%s", fail.text);
}

static whole_file *begin(const char *where)
{
    failure fail = {0};
    whole_file *f;
    if (whole_file_begin(&f, where, 0666, &fail) != OK)
        fail_msg("%s", fail.text);
    return f;
}

/* ---- what goes well -------------------------------------------------------------------------- */

static void test_replaced_when_committed(void **state)
{
    (void)state;
    for (whole_file_care care = WHOLE_FILE_UNSYNCED; care <= WHOLE_FILE_SYNCED; care++) {
        write_old();
        whole_file *f = begin(path);
        assert_int_equal(whole_file_reserve(f, 8, NULL), OK);
        assert_int_equal(whole_file_add(f, "new", 3, NULL), OK);
        assert_int_equal(whole_file_add(f, NULL, 0, NULL), OK);
        assert_int_equal(whole_file_add(f, " file", 5, NULL), OK);
        expect_file("old");
        assert_int_equal(whole_file_commit(f, care, NULL), OK);
        expect_file("new file");
        assert_int_equal(files_in_folder(), 1);
    }
}

static void test_abandoned(void **state)
{
    (void)state;
    write_old();
    whole_file *f = begin(path);
    assert_int_equal(whole_file_add(f, "new", 3, NULL), OK);
    assert_int_equal(files_in_folder(), 2);
    whole_file_abandon(f);
    whole_file_abandon(NULL);
    expect_file("old");
    assert_int_equal(files_in_folder(), 1);
}

static void test_mode(void **state)
{
    (void)state;
    struct stat info;
    mode_t before = umask(027);
    write_old();
    umask(before);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0640);
    assert_int_equal(whole_file_write(path, "", 0, 0600, WHOLE_FILE_UNSYNCED, NULL), OK);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600); /* the new file's, not the old one's */
}

static void test_name_without_folder(void **state)
{
    (void)state;
    int back = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(chdir(folder), 0);
    error_code code = whole_file_write("file", "here", 4, 0666, WHOLE_FILE_SYNCED, NULL);
    assert_int_equal(fchdir(back), 0);
    close(back);
    assert_int_equal(code, OK);
    expect_file("here");
}

/* Each writes a file of its own; the last one to commit is read. */
static void test_two_at_once(void **state)
{
    (void)state;
    whole_file *first = begin(path), *second = begin(path);
    assert_int_equal(whole_file_add(first, "of the first", 12, NULL), OK);
    assert_int_equal(whole_file_add(second, "of the second", 13, NULL), OK);
    assert_int_equal(whole_file_commit(second, WHOLE_FILE_UNSYNCED, NULL), OK);
    expect_file("of the second");
    assert_int_equal(whole_file_commit(first, WHOLE_FILE_UNSYNCED, NULL), OK);
    expect_file("of the first");
    assert_int_equal(files_in_folder(), 1);
}

static void test_link_is_replaced(void **state)
{
    (void)state;
    char target[80];
    snprintf(target, sizeof target, "%s/target", folder);
    assert_int_equal(whole_file_write(target, "theirs", 6, 0666, WHOLE_FILE_UNSYNCED, NULL), OK);
    assert_int_equal(symlink(target, path), 0);
    write_old();
    expect_file("old");
    struct stat info;
    assert_int_equal(lstat(path, &info), 0);
    assert_true(S_ISREG(info.st_mode));
    assert_int_equal(stat(target, &info), 0);
    assert_int_equal(info.st_size, 6);
}

/* ---- what fails ------------------------------------------------------------------------------ */

static void expect_failure(error_code code, error_code wanted, const failure *fail,
                           const char *said)
{
    assert_int_equal(code, wanted);
    assert_int_equal(fail->code, wanted);
    if (strstr(fail->text, said) == NULL)
        fail_msg("\"%s\" is not in: %s", said, fail->text);
}

static void test_no_folder(void **state)
{
    (void)state;
    failure fail = {0};
    snprintf(path, sizeof path, "%s/none/file", folder);
    error_code code = whole_file_write(path, "new", 3, 0666, WHOLE_FILE_SYNCED, &fail);
    expect_failure(code, ERR_IO, &fail, "No such file or directory");
    assert_non_null(strstr(fail.text, path));
    assert_int_equal(files_in_folder(), 0);
}

static void test_no_regular_file(void **state)
{
    (void)state;
    failure fail = {0};
    error_code code = whole_file_write("/dev/null", "new", 3, 0666, WHOLE_FILE_SYNCED, &fail);
    expect_failure(code, ERR_INVALID, &fail, "not a regular file");
    struct stat info;
    assert_int_equal(stat("/dev/null", &info), 0);
    assert_true(S_ISCHR(info.st_mode));
    code = whole_file_write(folder, "new", 3, 0666, WHOLE_FILE_SYNCED, &fail);
    expect_failure(code, ERR_INVALID, &fail, "not a regular file");
}

/* A folder that came into its place meanwhile. */
static void test_renamed_onto_a_folder(void **state)
{
    (void)state;
    failure fail = {0};
    whole_file *f = begin(path);
    assert_int_equal(whole_file_add(f, "new", 3, NULL), OK);
    assert_int_equal(mkdir(path, 0700), 0);
    expect_failure(whole_file_commit(f, WHOLE_FILE_UNSYNCED, &fail), ERR_IO, &fail,
                   "Is a directory");
    assert_int_equal(files_in_folder(), 1);
}

static void test_too_long_a_name(void **state)
{
    (void)state;
    failure fail = {0};
    char name[300];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    memcpy(name, "/tmp/", 5);
    error_code code = whole_file_write(name, "new", 3, 0666, WHOLE_FILE_UNSYNCED, &fail);
    expect_failure(code, ERR_IO, &fail, "File name too long");
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* The first 4096 of 6000 bytes can be written, what comes then cannot. */
static void test_size_limit(void **state)
{
    (void)state;
    static const char zeros[6000];
    failure fail = {0}, said = {0};
    write_old();
    signal(SIGXFSZ, SIG_IGN);
    limit_files(4096);
    error_code code = whole_file_write(path, zeros, sizeof zeros, 0666, WHOLE_FILE_SYNCED, &fail);
    whole_file *f = begin(path);
    error_code reserved = whole_file_reserve(f, sizeof zeros, &said);
    limit_files(RLIM_INFINITY);
    signal(SIGXFSZ, SIG_DFL);
    expect_failure(code, ERR_IO, &fail, "File too large");
    expect_failure(reserved, ERR_IO, &said, "its 6000 bytes: File too large");
    whole_file_abandon(f);
    expect_file("old");
    assert_int_equal(files_in_folder(), 1);
}

/* A disk of 64 KB, where this process may mount one. */
static void test_full_disk(void **state)
{
    (void)state;
    static const char zeros[1 << 17];
    failure fail = {0}, said = {0};
    if (mount("none", folder, "tmpfs", 0, "size=64k") != 0)
        skip();
    write_old();
    error_code code = whole_file_write(path, zeros, sizeof zeros, 0666, WHOLE_FILE_SYNCED, &fail);
    whole_file *f = begin(path);
    error_code reserved = whole_file_reserve(f, sizeof zeros, &said);
    whole_file_abandon(f);
    size_t left = files_in_folder();
    struct stat info = {0};
    bool is_old = stat(path, &info) == 0 && info.st_size == 3;
    assert_int_equal(umount(folder), 0);
    expect_failure(code, ERR_IO, &fail, "No space left on device");
    expect_failure(reserved, ERR_IO, &said, "its 131072 bytes: No space left on device");
    assert_true(is_old);
    assert_int_equal(left, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_replaced_when_committed),
        TEST(test_abandoned),
        TEST(test_mode),
        TEST(test_name_without_folder),
        TEST(test_two_at_once),
        TEST(test_link_is_replaced),
        TEST(test_no_folder),
        TEST(test_no_regular_file),
        TEST(test_renamed_onto_a_folder),
        TEST(test_too_long_a_name),
        TEST(test_size_limit),
        TEST(test_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
