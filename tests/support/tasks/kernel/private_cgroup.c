#include "tests/support/tasks/kernel/private_cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/cgroup.h"

static bool join(const char *path)
{
    CLEANUP_FREE char *file = alloc_printf("%s/cgroup.procs", path);
    CLEANUP_CLOSE int fd = open(file, O_WRONLY | O_CLOEXEC);

    return fd >= 0 && write(fd, "0", 1) == 1;
}

static bool make_root(const char *path)
{
    CLEANUP_FREE char *root = cgroup_path("");

    return join(path) && unshare(CLONE_NEWNS) == 0 &&
           mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount(path, root, NULL, MS_BIND, NULL) == 0;
}

static int remove_dir(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)at;
    if (type == FTW_DP)
        (void)rmdir(path);
    return 0;
}

/* Also where the child did not get to its end. */
static void remove_all(const char *path)
{
    CLEANUP_FREE char *file = alloc_printf("%s/cgroup.kill", path);
    CLEANUP_CLOSE int fd = open(file, O_WRONLY | O_CLOEXEC);

    if (fd >= 0 && write(fd, "1", 1) == 1)
        while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
            continue;
    (void)nftw(path, remove_dir, 16, FTW_DEPTH | FTW_PHYS);
}

/* The end of the parent. */
_Noreturn static void await(pid_t child, const char *path)
{
    int status = 0;

    while (waitpid(child, &status, 0) != child)
        continue;
    remove_all(path);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE);
}

bool private_cgroup_enter(void)
{
    CLEANUP_FREE char *name = alloc_printf("/nspawn-test-%d", getpid());
    CLEANUP_FREE char *path = cgroup_path(name);
    int fds[2];
    char made = 0;

    if (path == NULL || mkdir(path, 0755) < 0 || pipe2(fds, O_CLOEXEC) < 0)
        return false;
    /* What the child leaves is ours to wait for. */
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        made = make_root(path);
        (void)!write(fds[1], &made, 1);
        if (!made)
            _exit(EXIT_FAILURE);
        (void)close(fds[0]);
        (void)close(fds[1]);
        return true;
    }
    (void)close(fds[1]);
    if (pid > 0 && read(fds[0], &made, 1) == 1 && made)
        await(pid, path);
    (void)close(fds[0]);
    if (pid > 0)
        (void)waitpid(pid, NULL, 0);
    (void)rmdir(path);
    return false;
}
