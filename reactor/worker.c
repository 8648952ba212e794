#include "reactor/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/child.h"

struct worker {
    struct child *child;
    worker_done_fn done;
    void *data;
};

struct job {
    worker_fn work;
    const void *args;
    unsigned seconds;
};

/* In the process. */
static int run_job(const void *args)
{
    const struct job *job = args;

    /* Whoever reads from one of ours would get no end of file, and a lock would be held. */
    (void)close_range(STDERR_FILENO + 1, ~0U, 0);
    (void)alarm(job->seconds);
    return -job->work(job->args);
}

static int result_of(int code, int status)
{
    if (code == CLD_EXITED)
        return -status;
    if (code == 0)
        return -ECHILD;
    return status == SIGALRM ? -ETIMEDOUT : -EINTR;
}

static void on_exited(int code, int status, void *data)
{
    struct worker *worker = data;
    worker_done_fn done = worker->done;
    void *done_data = worker->data;

    worker->child = NULL;
    (void)worker_free(worker);
    done(result_of(code, status), done_data);
}

struct worker *worker_new(sd_event *event, worker_fn work, const void *args, unsigned seconds,
                          worker_done_fn done, void *data)
{
    struct job job = { .work = work, .args = args, .seconds = seconds };
    struct worker *worker = ALLOC_NEW(struct worker);

    *worker = (struct worker){ .done = done, .data = data };
    worker->child = child_new(event, "worker", run_job, &job, on_exited, worker);
    return worker->child != NULL ? worker : worker_free(worker);
}

struct worker *worker_free(struct worker *worker)
{
    if (worker == NULL)
        return NULL;
    worker->child = child_free(worker->child);
    free(worker);
    return NULL;
}
