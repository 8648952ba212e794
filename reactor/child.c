#include "reactor/child.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

struct child {
    int pidfd;
    sd_event_source *exited;
    child_done_fn done;
    void *data;
};

static _Noreturn void run_child(child_fn run, const void *args, pid_t parent)
{
    sigset_t none;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* it has ended before it was heard of */
        _exit(EXIT_FAILURE);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    _exit(run(args));
}

static int on_exited(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct child *child = data;
    child_done_fn done = child->done;
    void *done_data = child->data;
    siginfo_t info = {};

    (void)source;
    (void)events;
    if (waitid(P_PIDFD, (id_t)fd, &info, WEXITED) < 0)
        info = (siginfo_t){};
    /* First of all: a descriptor that is closed stays in epoll as long as another child has it. */
    child->exited = sd_event_source_disable_unref(child->exited);
    child->pidfd = close_fd(child->pidfd);
    (void)child_free(child);
    done(info.si_code, info.si_status, done_data);
    return 0;
}

struct child *child_new(sd_event *event, const char *description, child_fn run, const void *args,
                        child_done_fn done, void *data)
{
    pid_t parent = getpid(), pid = fork();

    if (pid == 0)
        run_child(run, args, parent);
    if (pid < 0)
        return NULL;
    struct child *child = ALLOC_NEW(struct child);
    *child = (struct child){ .pidfd = pidfd_open(pid, 0), .done = done, .data = data };
    if (child->pidfd < 0) {
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        free(child);
        return NULL;
    }
    int r = sd_event_add_io(event, &child->exited, child->pidfd, EPOLLIN, on_exited, child);
    assert(r >= 0);
    (void)sd_event_source_set_description(child->exited, description);
    return child;
}

void child_kill(struct child *child)
{
    (void)pidfd_send_signal(child->pidfd, SIGKILL, NULL, 0);
}

struct child *child_free(struct child *child)
{
    siginfo_t info;

    if (child == NULL)
        return NULL;
    child->exited = sd_event_source_disable_unref(child->exited);
    if (child->pidfd >= 0) {
        child_kill(child);
        (void)waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED);
        (void)close_fd(child->pidfd);
    }
    free(child);
    return NULL;
}
