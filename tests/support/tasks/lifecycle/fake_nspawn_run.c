/* The process that plays nspawn, and PID 1 until it runs what it is to run. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/inside/shared/inside_link.h"
#include "tests/support/tasks/lifecycle/fake_nspawn_private.h"

/* nspawn's own codes. */
#define EXIT_OF_REBOOT  133
#define EXIT_OF_FAILURE 1

#define BINDS_MAX 32

struct bind {
    int tree_fd;
    const char *target;
    bool is_read_only;
};

static void must(bool condition, const char *what)
{
    if (condition)
        return;
    (void)dprintf(STDERR_FILENO, "the fake nspawn: %s: %s\n", what, strerror(errno));
    (_exit)(EXIT_OF_FAILURE);
}

static void keep_fds(const struct fake_service *service, int *leader_fd)
{
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    must(null_fd >= 0 && dup2(null_fd, STDIN_FILENO) == STDIN_FILENO &&
             dup2(service->stdout_fd, STDOUT_FILENO) == STDOUT_FILENO &&
             dup2(service->stderr_fd, STDERR_FILENO) == STDERR_FILENO,
         "standard descriptors");
    if (*leader_fd != 3)
        must(dup3(*leader_fd, 3, O_CLOEXEC) == 3, "descriptors");
    *leader_fd = 3;
    must(close_range(4, ~0U, 0) == 0, "descriptors");
}

static void reset_signals(void)
{
    sigset_t none;

    for (int i = 1; i < NSIG; i++)
        (void)signal(i, SIG_DFL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* --- PID 1 ----------------------------------------------------------------------------------- */

static void make_path(const char *path, bool is_dir)
{
    CLEANUP_FREE char *copy = alloc_strdup(path);

    for (char *slash = strchr(copy + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(copy, 0755);
        *slash = '/';
    }
    if (is_dir)
        (void)mkdir(copy, 0755);
    else
        (void)close_fd(open(copy, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
}

/* Taken before anything is mounted, "--bind=SOURCE:TARGET:OPTIONS". */
static bool take_bind(const char *argument, struct bind *ret)
{
    const char *read_only = "--bind-ro=", *writable = "--bind=";
    bool is_read_only = strncmp(argument, read_only, strlen(read_only)) == 0;

    if (!is_read_only && strncmp(argument, writable, strlen(writable)) != 0)
        return false;
    const char *value = strchr(argument, '=') + 1, *colon = strchr(value, ':');
    CLEANUP_FREE char *source = alloc_strndup(value, (size_t)(colon - value));
    ret->target = alloc_strndup(colon + 1, strcspn(colon + 1, ":"));
    ret->is_read_only = is_read_only;
    ret->tree_fd = (int)syscall(SYS_open_tree, AT_FDCWD, source,
                                OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    must(ret->tree_fd >= 0, source);
    return true;
}

static void put_bind(const struct bind *bind, const char *image)
{
    CLEANUP_FREE char *target = alloc_printf("%s%s", image, bind->target);
    struct stat st;

    must(fstat(bind->tree_fd, &st) == 0, target);
    make_path(target, S_ISDIR(st.st_mode));
    must(syscall(SYS_move_mount, bind->tree_fd, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) == 0,
         target);
    if (bind->is_read_only)
        must(mount(NULL, target, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0, target);
}

static void bind_host(const char *image, const char *name)
{
    CLEANUP_FREE char *host = alloc_printf("/%s", name);
    CLEANUP_FREE char *target = alloc_printf("%s/%s", image, name);
    struct stat st;

    if (lstat(target, &st) == 0 && S_ISDIR(st.st_mode))
        must(mount(host, target, NULL, MS_BIND | MS_REC, NULL) == 0, target);
}

/* So that whoever joins the mount namespace is in the image, too. */
static void change_root(const char *image)
{
    must(chdir(image) == 0 && syscall(SYS_pivot_root, ".", ".") == 0 &&
             umount2(".", MNT_DETACH) == 0 && chdir("/") == 0,
         image);
}

/* Where counts of lines that are run go to; see tests/coverage. */
static size_t take_counts(struct bind *ret)
{
    const char *path = getenv("FAKE_NSPAWN_COUNTS");

    if (path == NULL)
        return 0;
    CLEANUP_FREE char *argument = alloc_printf("--bind=%s:%s", path, path);
    return take_bind(argument, ret);
}

static void enter_image(const struct strv *argv)
{
    static const char *const programs[] = { "usr",   "bin",   "sbin",   "lib",
                                            "lib32", "lib64", "libx32", "dev" };
    const char *image = fake_nspawn_value(argv, "--directory=");
    CLEANUP_FREE char *run = alloc_printf("%s/run", image), *proc = alloc_printf("%s/proc", image);
    struct bind binds[BINDS_MAX];

    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "private mounts");
    size_t n = take_counts(binds);
    for (size_t i = 0; i < argv->n_items && n < BINDS_MAX; i++)
        n += take_bind(argv->items[i], &binds[n]);
    must(mount(image, image, NULL, MS_BIND | MS_REC, NULL) == 0, image);
    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
        bind_host(image, programs[i]);
    must(mount("tmpfs", run, "tmpfs", 0, "mode=0755") == 0, run);
    must(mount("proc", proc, "proc", 0, NULL) == 0, proc);
    for (size_t i = 0; i < n; i++)
        put_bind(&binds[i], image);
    change_root(image);
}

_Noreturn static void run_inside(const struct fake_service *service,
                                 const struct fake_nspawn_how *how, int go_fd)
{
    char *environment[] = { (char[]){ "PATH=/usr/local/bin:/usr/bin:/bin" },
                            (char[]){ "container=systemd-nspawn" }, NULL };
    bool boots = strv_contains(&service->argv, "--boot");
    char *argv[] = { alloc_strdup(boots ? FAKE_NSPAWN_SYSTEM : INSIDE_LINK_INIT), NULL };
    char byte;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    must(read(go_fd, &byte, 1) == 1, "go");
    while (how->never_starts)
        (void)pause();
    if (how->plays_init)
        fake_nspawn_play_init(&service->argv, how->is_stubborn);
    /* Only of a namespace of its own. */
    if (how->reboots && getpid() == 1)
        (void)reboot(RB_AUTOBOOT);
    enter_image(&service->argv);
    reset_signals();
    (void)execve(argv[0], argv, environment);
    must(false, argv[0]);
    (_exit)(EXIT_OF_FAILURE);
}

/* --- nspawn ---------------------------------------------------------------------------------- */

static void send_notify(const struct fake_service *service, pid_t leader)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const char *path = fake_nspawn_value(&service->environment, "NOTIFY_SOCKET=");
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CLEANUP_FREE char *text = alloc_printf("READY=1\nSTATUS=Container running.\n"
                                           "X_NSPAWN_LEADER_PID=%d",
                                           leader);

    must(fd >= 0 && path != NULL, "NOTIFY_SOCKET");
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    (void)sendto(fd, text, strlen(text), 0, (const struct sockaddr *)&address, sizeof(address));
    (void)close(fd);
}

static bool has_own_network(const struct strv *argv)
{
    return strv_contains(argv, "--private-network") ||
           fake_nspawn_value(argv, "--network-") != NULL;
}

/* Answers its exit code. */
static int run_ip(const char *const *arguments)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        (void)execvp("ip", (char *const *)(uintptr_t)arguments);
        (_exit)(127);
    }
    must(pid > 0 && waitpid(pid, &status, 0) == pid, "ip");
    return WEXITSTATUS(status);
}

#define IP(...) run_ip((const char *[]){ "ip", "link", __VA_ARGS__, NULL })

/* The host's end, and the bridge it is in; heap. Both may be NULL. */
struct links {
    char *host, *bridge;
    bool is_zone;
};

static struct links find_links(const struct strv *argv, pid_t leader)
{
    const char *extra = fake_nspawn_value(argv, "--network-veth-extra=");
    const char *zone = fake_nspawn_value(argv, "--network-zone=");
    struct links links = { .is_zone = zone != NULL };

    links.bridge = zone != NULL ? alloc_printf("vz-%s", zone)
                                : alloc_strdup(fake_nspawn_value(argv, "--network-bridge="));
    if (extra != NULL)
        links.host = alloc_strndup(extra, strcspn(extra, ":"));
    else if (links.bridge != NULL || strv_contains(argv, "--network-veth"))
        links.host = alloc_printf("%s-%d", links.bridge != NULL ? "vb" : "ve", leader);
    return links;
}

static void make_links(const struct links *links, pid_t leader)
{
    CLEANUP_FREE char *pid = alloc_printf("%d", leader);

    if (links->is_zone) {
        (void)IP("add", links->bridge, "type", "bridge"); /* it may be there */
        must(IP("set", links->bridge, "up") == 0, links->bridge);
    }
    if (links->host == NULL)
        return;
    must(IP("add", links->host, "type", "veth", "peer", "name", "host0", "netns", pid) == 0,
         links->host);
    if (links->bridge != NULL)
        must(IP("set", links->host, "up", "master", links->bridge) == 0, links->host);
}

/* No other container is in the zone. */
static void remove_links(const struct links *links)
{
    if (links->host != NULL)
        (void)IP("del", links->host);
    if (links->is_zone)
        (void)IP("del", links->bridge);
}

static void move_to(const char *cgroup, const char *name, pid_t pid)
{
    CLEANUP_FREE char *path = alloc_printf("%s/%s/cgroup.procs", cgroup, name);
    CLEANUP_FREE char *text = alloc_printf("%d", pid);
    CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);

    must(fd >= 0 && write(fd, text, strlen(text)) > 0, path);
}

/* It is known before it goes on. */
static pid_t start_leader(const struct fake_service *service, const struct fake_nspawn_how *how,
                          int leader_fd, const char *cgroup, struct links *ret_links)
{
    unsigned long flags = SIGCHLD | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS;
    int go[2];

    if (how->plays_init)
        flags = SIGCHLD;
    else if (has_own_network(&service->argv))
        flags |= CLONE_NEWNET;
    must(pipe2(go, O_CLOEXEC) == 0, "pipe");
    pid_t pid = (pid_t)syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
    must(pid >= 0, "namespaces");
    if (pid == 0) {
        (void)close(go[1]);
        run_inside(service, how, go[0]);
    }
    must(write(leader_fd, &pid, sizeof(pid)) == sizeof(pid), "leader");
    if (cgroup != NULL) {
        move_to(cgroup, "supervisor", 0);
        move_to(cgroup, "payload", pid);
    }
    *ret_links = find_links(&service->argv, pid);
    make_links(ret_links, pid);
    must(write(go[1], "", 1) == 1, "go");
    (void)close(go[0]);
    (void)close(go[1]);
    return pid;
}

/* What nspawn makes of it. */
static int exit_code(int status)
{
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    if (WTERMSIG(status) == SIGHUP)
        return EXIT_OF_REBOOT;
    return WTERMSIG(status) == SIGINT ? 0 : EXIT_OF_FAILURE;
}

static int await_end(pid_t leader, int stop_signal, const sigset_t *signals)
{
    siginfo_t info;
    int status;

    for (;;) {
        if (sigwaitinfo(signals, &info) == SIGTERM)
            (void)kill(leader, stop_signal);
        if (waitpid(leader, &status, WNOHANG) == leader)
            return exit_code(status);
    }
}

_Noreturn void fake_nspawn_run(const struct fake_service *service,
                               const struct fake_nspawn_how *how, int leader_fd, const char *cgroup)
{
    int stop_signal = strv_contains(&service->argv, "--boot") ? SIGRTMIN + 3 : SIGTERM;
    sigset_t signals;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    keep_fds(service, &leader_fd);
    reset_signals();
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGCHLD);
    if (how->says != NULL)
        (void)dprintf(STDERR_FILENO, "%s\n", how->says);
    if (how->fails != 0)
        (_exit)(how->fails);
    if (service->network_namespace != NULL) {
        int fd = open(service->network_namespace, O_RDONLY | O_CLOEXEC);
        must(fd >= 0 && setns(fd, CLONE_NEWNET) == 0, service->network_namespace);
    }
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    struct links links;
    pid_t leader = start_leader(service, how, leader_fd, cgroup, &links);
    if (!how->never_ready)
        send_notify(service, leader);
    int code = await_end(leader, stop_signal, &signals);
    remove_links(&links);
    (_exit)(code);
}
