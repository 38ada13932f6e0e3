/* path.c: home directories, kinds of files, the project's own ones, and the folders above a file.
 */
#include "base/path.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *find_home(void)
{
    const char *home = getenv("HOME");
    if (home != NULL && home[0] != '\0')
        return home;
    const struct passwd *user = getpwuid(getuid());
    return user != NULL ? user->pw_dir : NULL;
}

char *path_expand_home(const char *path)
{
    char *whole = NULL;
    bool is_home = path[0] == '~' && (path[1] == '/' || path[1] == '\0');
    const char *home = is_home ? find_home() : NULL;
    if (home == NULL)
        return strdup(path);
    return asprintf(&whole, "%s%s", home, path + 1) < 0 ? NULL : whole;
}

bool path_find_own(const char *name, char out[PATH_MAX])
{
    static const char *const places[] = {"/", "/../", "/../../", "/../share/a-io/"};
    char program[PATH_MAX];
    int n = snprintf(out, PATH_MAX, "%s", name);
    if (n > 0 && n < PATH_MAX && path_is_file(out))
        return true;
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0)
        return false;
    program[length] = '\0';
    *strrchr(program, '/') = '\0'; /* the link's target is absolute */
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        n = snprintf(out, PATH_MAX, "%s%s%s", program, places[i], name);
        if (n > 0 && n < PATH_MAX && path_is_file(out))
            return true;
    }
    return false;
}

bool path_is_file(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && !S_ISDIR(info.st_mode);
}

bool path_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

error_code path_make_parents(const char *path, failure *fail)
{
    char *folder = strdup(path);
    if (folder == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a path");
    error_code code = OK;
    for (char *slash = strchr(folder + 1, '/'); code == OK && slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(folder, 0777) != 0 && errno != EEXIST)
            code =
                failure_set(fail, ERR_IO, "cannot make the folder %s: %s", folder, strerror(errno));
        *slash = '/';
    }
    free(folder);
    return code;
}
