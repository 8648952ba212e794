#include "tasks/exec/exec_child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/fail.h"
#include "tasks/inside/shared/inside_execute.h"
#include "tasks/inside/shared/inside_filters.h"
#include "tasks/inside/shared/inside_spec.h"
#include "tasks/inside/shared/inside_user.h"
#include "tasks/kernel/file.h"
#include "tasks/persist/runtime_dir.h"
#include "tasks/security/seccomp_read.h"

/* PID 1 of the container, as the child sees it in there. */
#define LEADER_INSIDE 1

/* As execve(2) takes at most by default; the leader's was given to it so. */
#define ENVIRONMENT_BYTES_MAX ((size_t)2 << 20)

/* "-1000\n" */
#define OOM_SCORE_BYTES_MAX ((size_t)16)

/* What the child has to know of the world that it leaves. */
struct origin {
    struct inside_spec spec;
    struct strv environment;
    uint8_t *filters;
    size_t n_filters;
    uint64_t bounding, no_new_privs;
    bool other_user_ns;
};

/* --- what it brings -------------------------------------------------------------------------- */

/* Everything else that the plugin has open is closed at once: an end of another exec's pipe here
 * would keep that from its end of file. */
static void keep_fds(struct exec_child *child)
{
    int *const kept[] = { &child->report_fd, &child->leader_fd, &child->dir_fd,
                          &child->fds[0],    &child->fds[1],    &child->fds[2] };
    const int n = (int)(sizeof(kept) / sizeof(kept[0]));

    for (int i = 0; i < n; i++)
        if (*kept[i] >= 0)
            *kept[i] = fcntl(*kept[i], F_DUPFD_CLOEXEC, 3 + n);
    for (int i = 0; i < n; i++)
        if (*kept[i] >= 0)
            *kept[i] = dup3(*kept[i], 3 + i, O_CLOEXEC);
    (void)close_range((unsigned)(3 + n), ~0U, 0);
}

static void reset_signals(void)
{
    sigset_t none;

    for (int i = 1; i < NSIG; i++)
        (void)signal(i, SIG_DFL); /* some can't be set */
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static int read_spec(const struct exec_child *child, struct inside_spec *spec, struct fail *fail)
{
    const int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC;
    CLEANUP_CLOSE int fd = openat(child->dir_fd, RUNTIME_DIR_SPEC, flags);

    if (fd < 0 && errno == ENOENT) /* started by a version that did not write it */
        return 0;
    int r = fd < 0 ? -errno : inside_spec_read(spec, fd);
    if (r < 0)
        return fail_set(fail, r, "cannot read the task's environment: %s", strerror(-r));
    return 0;
}

static int read_environment(pid_t leader, struct strv *ret, struct fail *fail)
{
    CLEANUP_FREE char *path = alloc_printf("/proc/%d/environ", (int)leader), *text = NULL;
    size_t n;

    int r = file_read_begin(AT_FDCWD, path, 0, ENVIRONMENT_BYTES_MAX, &text, &n);
    if (r < 0)
        return fail_set(fail, r, "cannot read '%s': %s", path, strerror(-r));
    for (size_t i = 0; i < n; i += strlen(text + i) + 1)
        strv_push(ret, text + i);
    return 0;
}

/* One after the other: a process has one tracer. */
static int read_filters(const struct exec_child *child, struct origin *origin, struct fail *fail)
{
    CLEANUP_CLOSE int lock = openat(child->dir_fd, "exec-lock",
                                    O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (lock < 0 || flock(lock, LOCK_EX) < 0)
        return fail_set(fail, -errno, "cannot lock the task's process: %s", strerror(errno));
    return seccomp_read(child->leader, LEADER_INSIDE, &origin->filters, &origin->n_filters, fail);
}

static int compare_user_ns(pid_t leader, bool *ret_other, struct fail *fail)
{
    CLEANUP_FREE char *path = alloc_printf("/proc/%d/ns/user", (int)leader);
    struct stat ours, theirs;

    if (stat("/proc/self/ns/user", &ours) < 0 || stat(path, &theirs) < 0)
        return fail_set(fail, -errno, "cannot read '%s': %s", path, strerror(errno));
    *ret_other = ours.st_ino != theirs.st_ino;
    return 0;
}

static int read_origin(const struct exec_child *child, struct origin *origin, struct fail *fail)
{
    int r = read_spec(child, &origin->spec, fail);
    if (r >= 0)
        r = read_environment(child->leader, &origin->environment, fail);
    if (r >= 0)
        r = read_filters(child, origin, fail);
    if (r >= 0)
        r = compare_user_ns(child->leader, &origin->other_user_ns, fail);
    if (r < 0)
        return r;
    r = seccomp_read_status(child->leader, "CapBnd", 16, &origin->bounding);
    if (r >= 0)
        r = seccomp_read_status(child->leader, "NoNewPrivs", 10, &origin->no_new_privs);
    if (r < 0)
        return fail_set(fail, r, "cannot read the capabilities of the task: %s", strerror(-r));
    return 0;
}

/* As the container's processes have them. What can't be read or set stays as it is. */
static void copy_limits(const struct exec_child *child)
{
    CLEANUP_FREE char *path = alloc_printf("/proc/%d/oom_score_adj", (int)child->leader);
    CLEANUP_FREE char *text = NULL;

    if (file_read(AT_FDCWD, path, 0, OOM_SCORE_BYTES_MAX, &text, NULL) >= 0)
        (void)file_set(AT_FDCWD, "/proc/thread-self/oom_score_adj", text);
    for (int i = 0; i < RLIMIT_NLIMITS; i++) {
        struct rlimit limit;
        if (prlimit(LEADER_INSIDE, (enum __rlimit_resource)i, NULL, &limit) == 0)
            (void)setrlimit((enum __rlimit_resource)i, &limit);
    }
}

/* --- in the container ------------------------------------------------------------------------ */

static int enter(const struct exec_child *child, const struct origin *origin, struct fail *fail)
{
    int spaces = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP;

    if (origin->other_user_ns)
        spaces |= CLONE_NEWUSER;
    if (setns(child->leader_fd, spaces) < 0)
        return fail_set(fail, -errno, "cannot enter the container: %s", strerror(errno));
    if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
        return fail_set(fail, -errno, "cannot become the container's root: %s", strerror(errno));
    (void)umask(022);
    (void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
    return 0;
}

static int send_report(int fd, struct exec_child_report *report, int passed_fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {};
    struct iovec piece = { .iov_base = report, .iov_len = sizeof(*report) };
    struct msghdr message = { .msg_iov = &piece, .msg_iovlen = 1 };

    if (passed_fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &passed_fd, sizeof(int));
    }
    return sendmsg(fd, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int set_standard(const int fds[static 3])
{
    for (int i = 0; i < 3; i++)
        if (dup2(fds[i], i) < 0)
            return -errno;
    return 0;
}

/* A terminal of the container's own, so that it has a name in there. */
static int open_tty(const struct exec_child *child, const struct inside_user *user)
{
    struct exec_child_report report = { .kind = EXEC_CHILD_TTY };
    CLEANUP_CLOSE int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    int unlocked = 0;

    if (master < 0 || ioctl(master, TIOCSPTLCK, &unlocked) < 0)
        return -errno;
    CLEANUP_CLOSE int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0)
        return -errno;
    /* Its user is to open it by name. */
    if (fchown(slave, user->uid, (gid_t)-1) < 0 || ioctl(slave, TIOCSCTTY, 0) < 0)
        return -errno;
    int r = send_report(child->report_fd, &report, master);
    return r < 0 ? r : set_standard((const int[]){ slave, slave, slave });
}

static int set_input_output(const struct exec_child *child, const struct inside_user *user,
                            struct fail *fail)
{
    (void)setsid();
    int r = child->tty ? open_tty(child, user) : set_standard(child->fds);
    if (r < 0)
        return fail_set(fail, r, "cannot open a terminal in the container: %s", strerror(-r));
    return 0;
}

static int drop_capabilities(uint64_t bounding)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

    for (int cap = 0; cap < 64; cap++)
        if (!(bounding >> cap & 1) && prctl(PR_CAPBSET_READ, cap) == 1 &&
            prctl(PR_CAPBSET_DROP, cap) < 0)
            return -errno;
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (syscall(SYS_capget, &header, data) < 0)
        return -errno;
    for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
        data[i].inheritable = 0;
    return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

/* The user last: the rest takes the container's root. */
static int confine(const struct origin *origin, const struct inside_user *user, struct fail *fail)
{
    int r = drop_capabilities(origin->bounding);
    if (r >= 0 && origin->no_new_privs != 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        r = -errno;
    if (r >= 0)
        r = inside_filters_install(origin->filters, origin->n_filters);
    if (r < 0)
        return fail_set(fail, r, "cannot confine the command as the task is: %s", strerror(-r));
    r = inside_user_switch(user);
    if (r < 0)
        return fail_set(fail, r, "cannot become user '%s': %s", user->name, strerror(-r));
    /* A change of the user has cleared it. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    return 0;
}

static void complete_environment(struct strv *environment)
{
    for (size_t i = 0; i < environment->n_items; i++)
        if (strncmp(environment->items[i], "TERM=", 5) == 0)
            return;
    strv_push(environment, "TERM=xterm");
}

/* Answers only when the command can't be executed: what to exit with. */
static int execute(const struct exec_child *child, const struct strv *environment)
{
    int r = inside_execute(child->argv, environment);

    (void)dprintf(STDERR_FILENO, "%s: %s\n", child->argv->items[0],
                  r == -ENOENT ? "not found" : strerror(-r));
    return inside_exit_code(r);
}

static int become_command(const struct exec_child *child, struct fail *fail)
{
    struct origin origin = {};
    struct inside_user user = {};
    struct strv environment = {};

    int r = read_origin(child, &origin, fail);
    if (r < 0)
        return r;
    copy_limits(child);
    r = enter(child, &origin, fail);
    if (r < 0)
        return r;
    r = inside_user_find(origin.spec.user, &user);
    if (r < 0)
        return fail_set(fail, r, "there is no user '%s' in the container",
                        origin.spec.user != NULL ? origin.spec.user : "root");
    const char *directory = origin.spec.directory != NULL ? origin.spec.directory : "/";
    if (chdir(directory) < 0)
        return fail_set(fail, -errno, "cannot change to '%s' in the container: %s", directory,
                        strerror(errno));
    inside_environment(origin.environment.items, &user, &origin.spec.environment, &environment);
    if (child->tty)
        complete_environment(&environment);
    r = set_input_output(child, &user, fail);
    if (r >= 0)
        r = confine(&origin, &user, fail);
    return r < 0 ? r : execute(child, &environment);
}

void exec_child_run(const struct exec_child *child)
{
    struct exec_child own = *child;
    struct fail fail = {};

    /* Its memory is the plugin's, and the container's root could look into it. */
    (void)prctl(PR_SET_DUMPABLE, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    keep_fds(&own);
    reset_signals();
    int r = become_command(&own, &fail);
    if (r < 0) {
        struct exec_child_report report = { .kind = EXEC_CHILD_FAILED, .error = r };
        (void)snprintf(report.text, sizeof(report.text), "%s", fail_text(&fail));
        (void)send_report(own.report_fd, &report, -EBADF);
        r = 1;
    }
    _exit(r);
}
