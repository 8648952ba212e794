#include "tests/support/tasks/lifecycle/fake_nspawn.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/cgroup.h"
#include "tests/support/scratch_dir.h"
#include "tests/support/tasks/lifecycle/fake_nspawn_private.h"

struct fake_nspawn {
    struct fake_nspawn_how how;
    int leader_fd; /* where the newest tells its PID 1 */
    pid_t leader;
    char *notify_path;
    bool makes_cgroups;
    char *cgroup; /* of the newest unit; NULL: it has none */
};

const char *fake_nspawn_value(const struct strv *items, const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < items->n_items; i++)
        if (strncmp(items->items[i], name, n) == 0)
            return items->items[i] + n;
    return NULL;
}

/* --- cgroups --------------------------------------------------------------------------------- */

/* nspawn's own, in that of the unit. */
static const char *const cgroups[] = { "supervisor", "payload" };

static void make_cgroups(struct fake_nspawn *nspawn, const struct fake_service *service)
{
    const char *const parts[] = { "nspawn.slice", service->slice, service->name };
    CLEANUP_FREE char *path = cgroup_path("");

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        char *below = scratch_dir_path(path, parts[i]);
        free(path);
        path = below;
        (void)mkdir(path, 0755);
    }
    for (size_t i = 0; i < sizeof(cgroups) / sizeof(cgroups[0]); i++) {
        CLEANUP_FREE char *below = scratch_dir_path(path, cgroups[i]);
        (void)mkdir(below, 0755);
    }
    free(nspawn->cgroup);
    nspawn->cgroup = TAKE_PTR(path);
}

/* As far as nothing is in them. */
static void remove_cgroups(const struct fake_nspawn *nspawn)
{
    CLEANUP_FREE char *path = alloc_strdup(nspawn->cgroup);

    if (path == NULL)
        return;
    for (size_t i = 0; i < sizeof(cgroups) / sizeof(cgroups[0]); i++) {
        CLEANUP_FREE char *below = scratch_dir_path(path, cgroups[i]);
        (void)rmdir(below);
    }
    for (int depth = 0; depth < 3; depth++) {
        (void)rmdir(path);
        *strrchr(path, '/') = '\0';
    }
}

void fake_nspawn_make_cgroups(struct fake_nspawn *nspawn)
{
    nspawn->makes_cgroups = true;
}

/* --- processes ------------------------------------------------------------------------------- */

static pid_t run(const struct fake_service *service, void *data)
{
    struct fake_nspawn *nspawn = data;
    int fds[2];

    int r = pipe2(fds, O_CLOEXEC);
    assert(r == 0);
    if (nspawn->makes_cgroups)
        make_cgroups(nspawn, service);
    pid_t pid = fork();
    assert(pid >= 0);
    if (pid == 0)
        fake_nspawn_run(service, &nspawn->how, fds[1], nspawn->cgroup);
    (void)close(fds[1]);
    (void)close_fd(nspawn->leader_fd);
    nspawn->leader_fd = fds[0];
    nspawn->leader = 0;
    free(nspawn->notify_path);
    nspawn->notify_path = alloc_strdup(fake_nspawn_value(&service->environment, "NOTIFY_SOCKET="));
    return pid;
}

/* Where nspawn was killed, PID 1 is our child by now. It may have to wait for others of its
 * namespace, which are the plugin's to reap. */
static void end(void *data)
{
    struct fake_nspawn *nspawn = data;
    pid_t leader = fake_nspawn_leader(nspawn);
    siginfo_t info = {};

    if (leader != 0 && waitid(P_PID, (id_t)leader, &info, WEXITED | WNOHANG | WNOWAIT) == 0)
        (void)kill(leader, SIGKILL);
    remove_cgroups(nspawn);
}

struct fake_nspawn *fake_nspawn_new(struct fake_systemd *systemd)
{
    struct fake_nspawn *nspawn = ALLOC_NEW(struct fake_nspawn);

    nspawn->leader_fd = -EBADF;
    /* What a killed nspawn leaves comes to us. */
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    fake_systemd_run(systemd, run, end, nspawn);
    return nspawn;
}

struct fake_nspawn *fake_nspawn_free(struct fake_nspawn *nspawn)
{
    if (nspawn == NULL)
        return NULL;
    while (waitpid(-1, NULL, 0) > 0)
        continue;
    remove_cgroups(nspawn);
    (void)close_fd(nspawn->leader_fd);
    free(nspawn->notify_path);
    free(nspawn->cgroup);
    free(nspawn);
    return NULL;
}

void fake_nspawn_set(struct fake_nspawn *nspawn, struct fake_nspawn_how how)
{
    nspawn->how = how;
}

pid_t fake_nspawn_leader(struct fake_nspawn *nspawn)
{
    pid_t pid = 0;

    if (nspawn->leader_fd >= 0 && nspawn->leader == 0 &&
        read(nspawn->leader_fd, &pid, sizeof(pid)) == sizeof(pid))
        nspawn->leader = pid;
    return nspawn->leader;
}

void fake_nspawn_notify(const struct fake_nspawn *nspawn, const char *text)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    assert(fd >= 0 && nspawn->notify_path != NULL);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", nspawn->notify_path);
    ssize_t n = sendto(fd, text, strlen(text), 0, (const struct sockaddr *)&address,
                       sizeof(address));
    assert(n == (ssize_t)strlen(text));
}

/* --- the image ------------------------------------------------------------------------------- */

static void make_entry(const char *image, const char *name)
{
    CLEANUP_FREE char *host = alloc_printf("/%s", name);
    CLEANUP_FREE char *path = alloc_printf("%s/%s", image, name);
    char target[64] = "";
    struct stat st;
    int r = 0;

    if (lstat(host, &st) < 0)
        return;
    if (S_ISLNK(st.st_mode))
        r = readlink(host, target, sizeof(target) - 1) > 0 ? symlink(target, path) : -1;
    else
        r = mkdir(path, 0755);
    assert(r == 0);
}

void fake_nspawn_make_image(const char *path)
{
    static const char *const programs[] = {
        "usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"
    };
    static const char *const dirs[] = { "dev", "etc", "proc", "root", "run", "sys", "tmp", "var" };
    CLEANUP_FREE char *system = alloc_printf("%s" FAKE_NSPAWN_SYSTEM, path);

    int r = mkdir(path, 0755);
    assert(r == 0);
    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
        make_entry(path, programs[i]);
    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        CLEANUP_FREE char *dir = alloc_printf("%s/%s", path, dirs[i]);
        r = mkdir(dir, 0755);
        assert(r == 0);
    }
    scratch_dir_write(path, "etc/passwd",
                      "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/tmp:/bin/sh\n");
    scratch_dir_write(path, "etc/group", "root:x:0:\napp:x:1000:\n");
    scratch_dir_write(path, &FAKE_NSPAWN_SYSTEM[1],
                      "#!/bin/sh\n"
                      "trap 'exit 0' 37\n" /* SIGRTMIN+3 */
                      "echo the system is up\n"
                      "sleep infinity &\n"
                      "while :; do wait; done\n");
    r = chmod(system, 0755);
    assert(r == 0);
}
