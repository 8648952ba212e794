/* PID 1 of single processes: a static program that is bound into the container. It sets up what
 * the task's command is to find (tasks/inside/shared/inside_spec.h), executes it, as a child or as
 * itself, passes signals and sd_notify messages on, reaps, and leaves how the command ended in the
 * status file.
 *
 * The image may hold one static binary and nothing else: what is needed is in here or in /proc. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/inside/init/link.h"
#include "tasks/inside/init/relay.h"
#include "tasks/inside/shared/inside_execute.h"
#include "tasks/inside/shared/inside_filters.h"
#include "tasks/inside/shared/inside_spec.h"
#include "tasks/inside/shared/inside_user.h"

/* systemd counts from glibc's SIGRTMIN; musl's is one more. */
#define RTMIN 34

struct init {
    struct link link;
    struct inside_spec spec;
    struct inside_user user;
    struct strv environment;
    int signal_fd, relay_fd;
    const char *notify_path; /* of nspawn's socket; NULL: there is none */
    pid_t child;
};

/* A failure, and where: what travels from the child to the init and on to the plugin. */
struct outcome {
    enum inside_link_stage stage;
    int error;
};

static struct outcome failed(enum inside_link_stage stage, int error)
{
    return (struct outcome){ stage, error };
}

/* --- signals --------------------------------------------------------------------------------- */

/* Not sigfillset(3): musl keeps a few for itself, which glibc's programs use. */
static sigset_t all_signals(void)
{
    sigset_t set;

    memset(&set, 0xff, sizeof(set));
    return set;
}

static void reset_signals(void)
{
    sigset_t none;

    for (int i = 1; i < _NSIG; i++)
        (void)signal(i, SIG_DFL);
    memset(&none, 0, sizeof(none));
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* From here on signals are kept, for the command once it is there. A terminal is to be that of the
 * command's session; giving it up sends SIGHUP to us, which a blocked signal would keep. */
static void hold_signals(void)
{
    sigset_t signals = all_signals();

    (void)signal(SIGHUP, SIG_IGN);
    (void)ioctl(STDIN_FILENO, TIOCNOTTY);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    (void)signal(SIGHUP, SIG_DFL);
}

static void take_terminal(void)
{
    (void)setsid();
    if (isatty(STDIN_FILENO))
        (void)ioctl(STDIN_FILENO, TIOCSCTTY, 0);
}

/* What systemd sends its own kind to be shut down: `machinectl poweroff` and `reboot`. */
static int translate(int number)
{
    switch (number) {
    case RTMIN + 3:
    case RTMIN + 4:
    case RTMIN + 13:
    case RTMIN + 14:
        return SIGTERM;
    default:
        return number;
    }
}

/* --- before the command ---------------------------------------------------------------------- */

static int install_filters(int fd)
{
    struct stat stat;

    if (fd < 0)
        return 0;
    if (fstat(fd, &stat) < 0)
        return -errno;
    if (stat.st_size < 0 || (size_t)stat.st_size > INSIDE_FILTERS_BYTES_MAX)
        return -EFBIG;
    size_t n_bytes = (size_t)stat.st_size;
    CLEANUP_FREE uint8_t *bytes = alloc_zero(n_bytes, 1);
    ssize_t n = pread(fd, bytes, n_bytes, 0);
    if (n < 0)
        return -errno;
    return (size_t)n == n_bytes ? inside_filters_install(bytes, n_bytes) : -EBADMSG;
}

static bool names_variable(const struct strv *environment, const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < environment->n_items; i++)
        if (strncmp(environment->items[i], name, n) == 0 && environment->items[i][n] == '=')
            return true;
    return false;
}

static void make_environment(struct init *init)
{
    const char *path = init->relay_fd >= 0 ? RELAY_SOCKET : init->notify_path;

    inside_environment(environ, &init->user, &init->spec.environment, &init->environment);
    if (path != NULL && !names_variable(&init->spec.environment, "NOTIFY_SOCKET"))
        strv_printf(&init->environment, "NOTIFY_SOCKET=%s", path);
}

static struct outcome prepare(struct init *init)
{
    init->notify_path = getenv("NOTIFY_SOCKET");
    int r = inside_spec_read(&init->spec, init->link.fds[INSIDE_LINK_FD_SPEC]);
    if (r >= 0 && init->spec.argv.n_items == 0)
        r = -EBADMSG;
    if (r < 0)
        return failed(INSIDE_LINK_STAGE_SPEC, r);
    /* While we are root: the user has no right to. */
    r = install_filters(init->link.fds[INSIDE_LINK_FD_FILTERS]);
    init->link.fds[INSIDE_LINK_FD_FILTERS] = close_fd(init->link.fds[INSIDE_LINK_FD_FILTERS]);
    if (r < 0)
        return failed(INSIDE_LINK_STAGE_FILTERS, r);
    if (!init->spec.is_pid1 && init->notify_path != NULL) {
        init->relay_fd = relay_open();
        if (init->relay_fd < 0)
            return failed(INSIDE_LINK_STAGE_NOTIFY, init->relay_fd);
    }
    r = inside_user_find(init->spec.user, &init->user);
    if (r < 0)
        return failed(INSIDE_LINK_STAGE_USER, r);
    make_environment(init);
    return (struct outcome){};
}

/* Answers only when it failed. */
static struct outcome become_command(const struct init *init)
{
    const char *directory = init->spec.directory != NULL ? init->spec.directory : "/";

    take_terminal();
    reset_signals();
    int r = inside_user_switch(&init->user);
    if (r < 0)
        return failed(INSIDE_LINK_STAGE_USER, r);
    if (chdir(directory) < 0)
        return failed(INSIDE_LINK_STAGE_DIRECTORY, -errno);
    return failed(INSIDE_LINK_STAGE_EXECUTE,
                  inside_execute(&init->spec.argv, &init->environment));
}

/* The end of an init whose command never ran. */
_Noreturn static void give_up(struct init *init, struct outcome outcome)
{
    int code = INSIDE_LINK_LOST;

    if (outcome.stage == INSIDE_LINK_STAGE_EXECUTE) {
        code = inside_exit_code(outcome.error);
        link_put_status(&init->link, code << 8);
    }
    link_report(&init->link, outcome.stage, outcome.error);
    _exit(code);
}

/* --- the command as a child ------------------------------------------------------------------ */

_Noreturn static void run_child(const struct init *init, int pipe_fd)
{
    struct outcome outcome = become_command(init);

    (void)!write(pipe_fd, &outcome, sizeof(outcome));
    _exit(INSIDE_LINK_LOST);
}

/* The pipe is closed by a successful execve(2). */
static struct outcome fork_command(struct init *init)
{
    int fds[2];
    struct outcome outcome = {};

    if (pipe2(fds, O_CLOEXEC) < 0)
        return failed(INSIDE_LINK_STAGE_FORK, -errno);
    init->child = fork();
    if (init->child < 0)
        return failed(INSIDE_LINK_STAGE_FORK, -errno);
    if (init->child == 0)
        run_child(init, fds[1]);
    (void)close(fds[1]);
    (void)!read(fds[0], &outcome, sizeof(outcome));
    (void)close(fds[0]);
    return outcome;
}

/* Whether the command is among those that ended. */
static bool reap(const struct init *init, int *ret_wait_status)
{
    bool found = false;
    int wait_status;

    for (pid_t pid; (pid = waitpid(-1, &wait_status, WNOHANG)) > 0;) {
        if (pid != init->child)
            continue;
        *ret_wait_status = wait_status;
        found = true;
    }
    return found;
}

static bool handle_signal(const struct init *init, int *ret_wait_status)
{
    struct signalfd_siginfo info;

    if (read(init->signal_fd, &info, sizeof(info)) != sizeof(info))
        return false;
    if (info.ssi_signo == SIGCHLD)
        return reap(init, ret_wait_status);
    (void)kill(init->child, translate((int)info.ssi_signo));
    return false;
}

static int await_end(const struct init *init)
{
    int wait_status = 0;
    struct pollfd fds[] = {
        { .fd = init->signal_fd, .events = POLLIN },
        { .fd = init->relay_fd, .events = POLLIN }, /* negative: poll(2) passes it over */
    };

    for (bool ended = false; !ended;) {
        if (poll(fds, sizeof(fds) / sizeof(fds[0]), -1) < 0)
            continue;
        if (fds[0].revents != 0)
            ended = handle_signal(init, &wait_status);
        if (init->relay_fd >= 0 && (ended || fds[1].revents != 0))
            relay_pass(init->relay_fd, init->notify_path);
    }
    return wait_status;
}

/* What a running task does not need takes no memory; the environment holds secrets. */
static void forget(struct init *init)
{
    for (size_t i = 0; i < init->environment.n_items; i++)
        explicit_bzero(init->environment.items[i], strlen(init->environment.items[i]));
    strv_done(&init->environment);
    inside_spec_done(&init->spec);
    inside_user_done(&init->user);
}

static int run_as_parent(struct init *init)
{
    sigset_t signals = all_signals();

    /* Nobody inside has any business in here. */
    (void)prctl(PR_SET_DUMPABLE, 0);
    init->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (init->signal_fd < 0)
        give_up(init, failed(INSIDE_LINK_STAGE_FORK, -errno));
    struct outcome outcome = fork_command(init);
    if (outcome.stage != INSIDE_LINK_STAGE_DONE)
        give_up(init, outcome);
    link_report(&init->link, INSIDE_LINK_STAGE_DONE, 0);
    forget(init);

    int wait_status = await_end(init);
    link_put_status(&init->link, wait_status);
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

int main(void)
{
    struct init init = { .signal_fd = -EBADF, .relay_fd = -EBADF };

    hold_signals();
    int r = link_open(&init.link);
    if (r < 0) {
        (void)dprintf(STDERR_FILENO, "nomad-driver-nspawn: the plugin is gone: %s\n", strerror(-r));
        return INSIDE_LINK_LOST;
    }
    struct outcome outcome = prepare(&init);
    if (outcome.stage != INSIDE_LINK_STAGE_DONE)
        give_up(&init, outcome);
    if (init.spec.is_pid1)
        give_up(&init, become_command(&init));
    return run_as_parent(&init);
}
