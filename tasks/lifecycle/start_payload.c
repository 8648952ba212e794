#include "tasks/lifecycle/start_payload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/inside/init_program.h"
#include "tasks/inside/shared/inside_spec.h"
#include "tasks/lifecycle/start_argv.h"
#include "tasks/network/task_network.h"
#include "tasks/nspawn/nspawn_settings.h"
#include "tasks/nspawn/settings_file.h"
#include "tasks/security/seccomp_fill.h"
#include "tasks/security/seccomp_key.h"

/* --- the spec -------------------------------------------------------------------------------- */

static void make_spec(const struct task *task, const struct pairs *environment,
                      struct inside_spec *spec)
{
    const struct task_options *config = &task->config;

    *spec = (struct inside_spec){
        .is_pid1 = !task->is_booted && !task->is_under_init,
        .user = alloc_strdup(config->user),
        .directory = alloc_strdup(config->working_directory),
    };
    if (!task->is_booted)
        strv_copy(&spec->argv, &config->command);
    for (size_t i = 0; i < environment->n_items; i++)
        strv_printf(&spec->environment, "%s=%s", environment->items[i].key,
                    environment->items[i].value);
}

/* Answers a descriptor of the file, for reading and writing. */
static int write_spec(const struct task *task, const struct inside_spec *spec)
{
    CLEANUP_FREE uint8_t *bytes = NULL;
    size_t n_bytes;

    inside_spec_encode(spec, &bytes, &n_bytes);
    CLEANUP_CLOSE int fd = openat(runtime_dir_fd(task->dir), RUNTIME_DIR_SPEC,
                                  O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    ssize_t n = fd >= 0 ? write(fd, bytes, n_bytes) : -1;
    explicit_bzero(bytes, n_bytes);
    if (n < 0)
        return -errno;
    return n == (ssize_t)n_bytes ? TAKE_FD(fd) : -ENOSPC;
}

static int save_spec(const struct task *task, const struct pairs *environment, struct fail *fail)
{
    CLEANUP(inside_spec_done) struct inside_spec spec = {};

    make_spec(task, environment, &spec);
    int fd = write_spec(task, &spec);
    if (fd < 0)
        return fail_set_recoverable(fail, fd, "cannot write '%s/" RUNTIME_DIR_SPEC "': %s",
                                    runtime_dir_path(task->dir), strerror(-fd));
    return fd;
}

static int save_settings(const struct task *task, const struct pairs *environment,
                         struct fail *fail)
{
    CLEANUP_FREE char *text = NULL;

    int r = nspawn_settings_format(environment, &text, fail);
    return r < 0 ? r : settings_file_write(task->machine, text, fail);
}

/* --- the init -------------------------------------------------------------------------------- */

/* Else the next start would fail, too. */
static void forget_programs(const struct task *task)
{
    int r = task->seccomp_key != NULL ? seccomp_cache_remove(SECCOMP_CACHE_DIR, task->seccomp_key)
                                      : 0;
    if (r < 0)
        log_task_warn(task->spec.id, "cannot remove the seccomp programs from '%s': %s, ignoring",
                      SECCOMP_CACHE_DIR, strerror(-r));
}

static void set_failure(struct task *task, const struct inside_link_report *report)
{
    const char *user = task->config.user != NULL ? task->config.user : "root";
    const char *directory = task->config.working_directory, *reason = strerror(-report->error);

    switch (report->stage) {
    case INSIDE_LINK_STAGE_USER:
        if (report->error == -ESRCH)
            (void)fail_set(&task->fail, -EINVAL,
                           "user '%s': the image knows no such user (/etc/passwd); name one that "
                           "it knows, or write a number",
                           user);
        else
            (void)fail_set(&task->fail, report->error, "user '%s': cannot become it inside: %s",
                           user, reason);
        return;
    case INSIDE_LINK_STAGE_DIRECTORY:
        (void)fail_set(&task->fail, -EINVAL,
                       "the directory '%s' (working_directory) cannot be entered inside as user "
                       "'%s': %s",
                       directory != NULL ? directory : "/", user, reason);
        return;
    case INSIDE_LINK_STAGE_SPEC:
        (void)fail_set(&task->fail, -EIO, "the init cannot read what it is to run: %s", reason);
        return;
    case INSIDE_LINK_STAGE_FILTERS:
        forget_programs(task);
        (void)fail_set_recoverable(&task->fail, -EIO,
                                   "the init cannot install the seccomp filters that nspawn made "
                                   "for an earlier container, which are forgotten: %s",
                                   reason);
        return;
    case INSIDE_LINK_STAGE_NOTIFY:
        (void)fail_set(&task->fail, -EIO, "the init cannot make its socket in /run: %s", reason);
        return;
    default:
        (void)fail_set_recoverable(&task->fail, -EAGAIN,
                                   "the init cannot make a process for the command: %s", reason);
    }
}

/* --- the seccomp programs -------------------------------------------------------------------- */

/* A descriptor of the programs that nspawn made earlier; negative: it makes them. */
static int find_programs(struct task *task)
{
    CLEANUP(strv_done) struct strv argv = {};

    if (!task->host->config->seccomp_cache)
        return -EBADF;
    start_argv_make(task, &argv);
    if (seccomp_key(&argv, &task->seccomp_key) < 0)
        return -EBADF;
    int fd = seccomp_cache_find(SECCOMP_CACHE_DIR, task->seccomp_key);
    if (fd < 0 && fd != -ENOENT)
        log_task_info(task->spec.id, "the kept seccomp programs are not used, and made anew: %s",
                      strerror(-fd));
    task->seccomp_cached = fd >= 0;
    return fd;
}

/* Whatever came of it; the next start tries again. */
static void on_filled(int error, void *data)
{
    struct task *task = data;

    task->worker = NULL;
    if (error < 0)
        log_task_info(task->spec.id, "the seccomp programs are not kept: %s", strerror(-error));
    if (task->init != NULL)
        init_link_go(task->init);
}

/* Nothing has run in there yet that could have added programs of its own. */
static bool on_init_arrived(pid_t pid, void *data)
{
    struct task *task = data;

    if (pid > 0 && !task_network_attach(task, pid))
        return false;
    if (task->seccomp_key == NULL || task->seccomp_cached || pid <= 0)
        return true;
    task->worker = seccomp_fill(bus_event(task->host->bus), pid, task->seccomp_key, on_filled,
                                task);
    return task->worker == NULL;
}

/* --- the link -------------------------------------------------------------------------------- */

/* An init that was to become the command says nothing when it has done so. */
static void on_init(pid_t pid, const struct inside_link_report *report, void *data)
{
    struct task *task = data;

    task->init = NULL;
    if (pid > 0)
        task_note_leader(task, pid);
    if (report == NULL && task->is_under_init)
        return; /* it has ended: nspawn's end tells */
    task->is_executed = true;
    if (report != NULL && report->stage == INSIDE_LINK_STAGE_EXECUTE)
        task->execute_error = report->error;
    else if (report != NULL && report->stage != INSIDE_LINK_STAGE_DONE)
        set_failure(task, report);
    task_start_progress(task);
}

/* The init lies below the directory that is bound first: nspawn goes by the length of the path. */
static void bind_init(struct task *task, const char *program)
{
    CLEANUP_FREE char *dir = alloc_printf("%s/" INIT_LINK_DIR, runtime_dir_path(task->dir));
    struct nspawn_bind_how how = { .read_only = true };

    nspawn_binds_add(&task->dirs.binds, dir, INSIDE_LINK_DIR, how);
    nspawn_binds_add(&task->dirs.binds, program, INSIDE_LINK_INIT, how);
}

static int await_init(struct task *task, int spec_fd, struct fail *fail)
{
    int fds[INSIDE_LINK_FD_MAX] = {
        [INSIDE_LINK_FD_SPEC] = spec_fd,
        [INSIDE_LINK_FD_STATUS] = init_link_create_status(runtime_dir_fd(task->dir)),
        [INSIDE_LINK_FD_FILTERS] = find_programs(task),
    };

    task->init = init_link_new(bus_event(task->host->bus), runtime_dir_path(task->dir), fds,
                               on_init_arrived, on_init, task, fail);
    return task->init != NULL ? 0 : fail->error;
}

static int prepare_init(struct task *task, const struct pairs *environment, struct fail *fail)
{
    CLEANUP_FREE char *program = NULL;

    int r = nspawn_settings_check(environment, fail);
    if (r >= 0)
        r = init_program_file(&program, fail);
    if (r >= 0)
        r = save_spec(task, environment, fail);
    if (r < 0)
        return r;
    bind_init(task, program);
    return await_init(task, r, fail);
}

static int prepare_boot(struct task *task, const struct pairs *environment, struct fail *fail)
{
    int r = save_settings(task, environment, fail);
    if (r < 0)
        return r;
    CLEANUP_CLOSE int fd = save_spec(task, environment, fail);
    return fd < 0 ? fd : 0;
}

int start_payload_prepare(void *data, struct fail *fail)
{
    struct task *task = data;
    CLEANUP(pairs_done) struct pairs environment = {};

    nspawn_settings_merge(&task->config.environment, &task->spec.env, &environment);
    return task->is_booted ? prepare_boot(task, &environment, fail)
                           : prepare_init(task, &environment, fail);
}

void start_payload_receive(struct task *task)
{
    if (task->init != NULL)
        init_link_receive(task->init);
}

bool start_payload_is_up(const struct task *task)
{
    return task->is_booted || task->is_executed;
}

void start_payload_tell(const struct task *task)
{
    if (task->execute_error < 0)
        task_tell_not_executed(task, task->config.command.items[0], strerror(-task->execute_error));
}
