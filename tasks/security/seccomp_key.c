#include "tasks/security/seccomp_key.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

/* Libraries that nspawn loads only when it needs them are in nobody's list of mapped files; whoever
 * replaces one by a package renews this. */
#define LINKER_CACHE "/etc/ld.so.cache"

/* Names, files and places: with these nspawn's programs are the same. All else may make a
 * difference, what later versions of this driver pass included. */
static const char *const ignored[] = {
    "--quiet",
    "--keep-unit",
    "--settings=",
    "--kill-signal=",
    "--machine=",
    "--directory=",
    "--bind=",
    "--bind-ro=",
    "--hostname=",
    "--console=",
    "--ephemeral",
    "--read-only",
    "--resolv-conf=",
    "--private-users-ownership=",
    NULL,
};

static bool is_ignored(const char *argument)
{
    for (size_t i = 0; ignored[i] != NULL; i++)
        if (strncmp(argument, ignored[i], strlen(ignored[i])) == 0)
            return true;
    return false;
}

int seccomp_key_identity(const char *path, char **ret)
{
    struct stat file;

    if (stat(path, &file) < 0)
        return -errno;
    *ret = alloc_printf("%u:%u %llu %lld %lld.%09ld %lld.%09ld", major(file.st_dev),
                        minor(file.st_dev), (unsigned long long)file.st_ino,
                        (long long)file.st_size, (long long)file.st_mtim.tv_sec,
                        file.st_mtim.tv_nsec, (long long)file.st_ctim.tv_sec, file.st_ctim.tv_nsec);
    return 0;
}

static int add_file(struct strv *lines, const char *path)
{
    CLEANUP_FREE char *identity = NULL;

    int r = seccomp_key_identity(path, &identity);
    if (r >= 0)
        strv_printf(lines, "%s\t%s", identity, path);
    return r;
}

int seccomp_key(const struct strv *argv, char **ret)
{
    CLEANUP(strv_done) struct strv lines = {};
    struct utsname host;

    int r = add_file(&lines, argv->items[0]);
    if (r < 0)
        return r;
    if (add_file(&lines, LINKER_CACHE) < 0)
        strv_push(&lines, "no " LINKER_CACHE);
    if (uname(&host) < 0)
        return -errno;
    strv_printf(&lines, "%s %s %s", host.machine, host.release, host.version);
    for (size_t i = 1; i < argv->n_items && strcmp(argv->items[i], "--") != 0; i++) {
        if (strncmp(argv->items[i], "--private-users=", 16) == 0)
            strv_push(&lines, "--private-users"); /* which users makes no difference */
        else if (strncmp(argv->items[i], "--network-veth-extra=", 21) == 0)
            strv_push(&lines, "--network-veth-extra"); /* nor does the link's name */
        else if (!is_ignored(argv->items[i]))
            strv_push(&lines, argv->items[i]);
    }
    *ret = strv_join(&lines, "\n");
    return 0;
}

/* --- libraries ------------------------------------------------------------------------------- */

static int compare_program(pid_t pid, const char *program)
{
    CLEANUP_FREE char *path = alloc_printf("/proc/%d/exe", (int)pid);
    struct stat runs, is_there;

    if (stat(path, &runs) < 0 || stat(program, &is_there) < 0)
        return -errno;
    return runs.st_dev == is_there.st_dev && runs.st_ino == is_there.st_ino ? 0 : -ESTALE;
}

/* "address perms offset dev inode   path". */
static int add_mapping(char *line, struct strv *files)
{
    char *path = strchr(line, '/');

    if (path == NULL || strstr(line, " r-xp ") == NULL)
        return 0;
    path[strcspn(path, "\n")] = '\0';
    CLEANUP_FREE char *identity = NULL;
    if (seccomp_key_identity(path, &identity) < 0)
        return -ESTALE; /* "path (deleted)" */
    CLEANUP_FREE char *file = alloc_printf("%s\t%s", identity, path);
    if (!strv_contains(files, file))
        strv_push(files, file);
    return 0;
}

int seccomp_key_mapped(pid_t pid, const char *program, struct strv *ret)
{
    CLEANUP_FREE char *path = alloc_printf("/proc/%d/maps", (int)pid);
    CLEANUP_FREE char *line = NULL;
    size_t size = 0;

    int r = compare_program(pid, program);
    if (r < 0)
        return r;
    FILE *maps = fopen(path, "re");
    if (maps == NULL)
        return -errno;
    while (r >= 0 && getline(&line, &size, maps) >= 0)
        r = add_mapping(line, ret);
    (void)fclose(maps);
    return r < 0 ? r : (ret->n_items > 0 ? 0 : -ESTALE);
}

bool seccomp_key_is_current(const char *text, size_t n)
{
    CLEANUP_FREE char *lines = alloc_zero(n + 1, 1);
    char *rest = NULL;

    memcpy(lines, text, n);
    for (char *line = strtok_r(lines, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        CLEANUP_FREE char *identity = NULL;
        char *path = strchr(line, '\t');
        if (path == NULL || seccomp_key_identity(path + 1, &identity) < 0)
            return false;
        *path = '\0';
        if (strcmp(line, identity) != 0)
            return false;
    }
    return n > 0;
}
