#include "reactor/worker.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"

struct worker {
    int pidfd;
    sd_event_source *exited;
    worker_done_fn done;
    void *data;
};

static _Noreturn void run(worker_fn work, const void *args, unsigned seconds)
{
    sigset_t none;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* Whoever reads from one of ours would get no end of file, and a lock would be held. */
    (void)close_range(STDERR_FILENO + 1, ~0U, 0);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)alarm(seconds);
    _exit(-work(args));
}

static int result_of(const siginfo_t *info)
{
    if (info->si_code == CLD_EXITED)
        return -info->si_status;
    return info->si_status == SIGALRM ? -ETIMEDOUT : -EINTR;
}

static int on_exited(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct worker *worker = data;
    worker_done_fn done = worker->done;
    void *done_data = worker->data;
    siginfo_t info = {};

    (void)source;
    (void)events;
    int r = waitid(P_PIDFD, (id_t)fd, &info, WEXITED) < 0 ? -errno : result_of(&info);
    /* First of all: a descriptor that is closed stays in epoll as long as another worker has it. */
    worker->exited = sd_event_source_disable_unref(worker->exited);
    worker->pidfd = close_fd(worker->pidfd);
    (void)worker_free(worker);
    done(r, done_data);
    return 0;
}

struct worker *worker_new(sd_event *event, worker_fn work, const void *args, unsigned seconds,
                          worker_done_fn done, void *data)
{
    pid_t pid = fork();

    if (pid == 0)
        run(work, args, seconds);
    if (pid < 0)
        return NULL;
    struct worker *worker = ALLOC_NEW(struct worker);
    *worker = (struct worker){ .pidfd = pidfd_open(pid, 0), .done = done, .data = data };
    if (worker->pidfd < 0) {
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        free(worker);
        return NULL;
    }
    int r = sd_event_add_io(event, &worker->exited, worker->pidfd, EPOLLIN, on_exited, worker);
    assert(r >= 0);
    (void)sd_event_source_set_description(worker->exited, "worker");
    return worker;
}

struct worker *worker_free(struct worker *worker)
{
    siginfo_t info;

    if (worker == NULL)
        return NULL;
    worker->exited = sd_event_source_disable_unref(worker->exited);
    if (worker->pidfd >= 0) {
        (void)pidfd_send_signal(worker->pidfd, SIGKILL, NULL, 0);
        (void)waitid(P_PIDFD, (id_t)worker->pidfd, &info, WEXITED);
        (void)close_fd(worker->pidfd);
    }
    free(worker);
    return NULL;
}
