#include "tasks/seccomp_fill.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/seccomp_key.h"
#include "tasks/seccomp_read.h"

struct seccomp_fill {
    int pidfd;
    sd_event_source *exited;
    seccomp_fill_done_fn done;
    void *data;
};

/* --- the process ----------------------------------------------------------------------------- */

/* Its exit code is the errno. */
static int fill(pid_t leader, const char *key)
{
    CLEANUP(strv_done) struct strv libraries = {};
    CLEANUP_FREE uint8_t *programs = NULL;
    CLEANUP_FAIL struct fail fail = {};
    uint64_t nspawn = 0;
    size_t n = 0;

    int r = seccomp_read_status(leader, "PPid", 10, &nspawn);
    if (r >= 0)
        r = seccomp_key_mapped((pid_t)nspawn, &libraries);
    if (r >= 0)
        r = seccomp_read(leader, leader, &programs, &n, &fail);
    if (r >= 0)
        r = n > 0 ? seccomp_cache_store(SECCOMP_CACHE_DIR, key, &libraries, programs, n) : -ENODATA;
    return -r;
}

static _Noreturn void run(pid_t leader, const char *key)
{
    sigset_t none;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)alarm(SECCOMP_FILL_SEC);
    _exit(fill(leader, key));
}

/* --- the op ---------------------------------------------------------------------------------- */

static void log_end(const siginfo_t *info)
{
    if (info->si_code != CLD_EXITED)
        log_debug("reading the seccomp programs of a container was ended by signal %d",
                  info->si_status);
    else if (info->si_status != 0)
        log_debug("the seccomp programs of a container are not kept: %s",
                  strerror(info->si_status));
}

static int on_exited(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct seccomp_fill *fill = data;
    seccomp_fill_done_fn done = fill->done;
    void *done_data = fill->data;
    siginfo_t info = {};

    (void)source;
    (void)events;
    if (waitid(P_PIDFD, (id_t)fd, &info, WEXITED) == 0)
        log_end(&info);
    fill->pidfd = close_fd(fill->pidfd);
    (void)seccomp_fill_free(fill);
    done(done_data);
    return 0;
}

struct seccomp_fill *seccomp_fill_new(sd_event *event, pid_t leader, const char *key,
                                      seccomp_fill_done_fn done, void *data)
{
    pid_t pid = fork();

    if (pid == 0)
        run(leader, key);
    if (pid < 0)
        return NULL;
    struct seccomp_fill *fill = ALLOC_NEW(struct seccomp_fill);
    *fill = (struct seccomp_fill){ .pidfd = pidfd_open(pid, 0), .done = done, .data = data };
    if (fill->pidfd < 0) {
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        free(fill);
        return NULL;
    }
    int r = sd_event_add_io(event, &fill->exited, fill->pidfd, EPOLLIN, on_exited, fill);
    assert(r >= 0);
    (void)sd_event_source_set_description(fill->exited, "seccomp-fill");
    return fill;
}

struct seccomp_fill *seccomp_fill_free(struct seccomp_fill *fill)
{
    siginfo_t info;

    if (fill == NULL)
        return NULL;
    fill->exited = sd_event_source_disable_unref(fill->exited);
    if (fill->pidfd >= 0) {
        (void)pidfd_send_signal(fill->pidfd, SIGKILL, NULL, 0);
        (void)waitid(P_PIDFD, (id_t)fill->pidfd, &info, WEXITED);
    }
    (void)close_fd(fill->pidfd);
    free(fill);
    return NULL;
}
