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
#include "reactor/worker.h"
#include "tasks/inside/init_link.h"
#include "tasks/inside/init_program.h"
#include "tasks/inside/shared/inside_spec.h"
#include "tasks/nspawn/nspawn_settings.h"
#include "tasks/nspawn/settings_file.h"
#include "tasks/security/seccomp_fill.h"
#include "tasks/security/seccomp_key.h"

struct start_payload {
    struct start_payload_args args;
    int spec_fd;            /* until the init has it; negative: not open */
    struct init_link *init; /* NULL: none, or it has said how it went */
    char *seccomp_key;      /* NULL: the cache has nothing to do with this start */
    bool has_filters;
    struct worker *worker; /* keeps the programs; the init waits for it */
    bool is_executed;      /* the init has said how it went */
    int execute_error;     /* negative errno: the command could not be executed */
};

/* --- the spec -------------------------------------------------------------------------------- */

static void make_spec(const struct start_payload *payload, const struct pairs *environment,
                      struct inside_spec *spec)
{
    const struct task_options *config = payload->args.options;
    const struct task *task = payload->args.task;

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

static int save_spec(const struct start_payload *payload, const struct pairs *environment,
                     struct fail *fail)
{
    const struct task *task = payload->args.task;
    CLEANUP(inside_spec_done) struct inside_spec spec = {};

    make_spec(payload, environment, &spec);
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
    return r < 0 ? r : settings_file_write(task->names.machine, text, fail);
}

/* --- the init -------------------------------------------------------------------------------- */

/* Else the next start would fail, too. */
static void forget_programs(const struct start_payload *payload)
{
    int r = payload->seccomp_key != NULL
                ? seccomp_cache_remove(SECCOMP_CACHE_DIR, payload->seccomp_key)
                : 0;
    if (r < 0)
        log_task_warn(payload->args.task->spec.id,
                      "cannot remove the seccomp programs from '%s': %s, ignoring",
                      SECCOMP_CACHE_DIR, strerror(-r));
}

static void set_failure(const struct start_payload *payload,
                        const struct inside_link_report *report, struct fail *fail)
{
    const struct task_options *options = payload->args.options;
    const char *user = options->user != NULL ? options->user : "root";
    const char *directory = options->working_directory, *reason = strerror(-report->error);

    switch (report->stage) {
    case INSIDE_LINK_STAGE_USER:
        if (report->error == -ESRCH)
            (void)fail_set(fail, -EINVAL,
                           "user '%s': the image knows no such user (/etc/passwd); name one that "
                           "it knows, or write a number",
                           user);
        else
            (void)fail_set(fail, report->error, "user '%s': cannot become it inside: %s", user,
                           reason);
        return;
    case INSIDE_LINK_STAGE_DIRECTORY:
        (void)fail_set(fail, -EINVAL,
                       "the directory '%s' (working_directory) cannot be entered inside as user "
                       "'%s': %s",
                       directory != NULL ? directory : "/", user, reason);
        return;
    case INSIDE_LINK_STAGE_SPEC:
        (void)fail_set(fail, -EIO, "the init cannot read what it is to run: %s", reason);
        return;
    case INSIDE_LINK_STAGE_FILTERS:
        (void)fail_set_recoverable(fail, -EIO,
                                   "the init cannot install the seccomp filters that nspawn made "
                                   "for an earlier container, which are forgotten: %s",
                                   reason);
        forget_programs(payload);
        return;
    case INSIDE_LINK_STAGE_NOTIFY:
        (void)fail_set(fail, -EIO, "the init cannot make its socket in /run: %s", reason);
        return;
    default:
        (void)fail_set_recoverable(fail, -EAGAIN,
                                   "the init cannot make a process for the command: %s", reason);
    }
}

/* --- the seccomp programs -------------------------------------------------------------------- */

/* A descriptor of the programs that nspawn made earlier; negative: it makes them. */
static int find_programs(struct start_payload *payload, const struct strv *argv)
{
    const struct task *task = payload->args.task;

    if (!task->host->config->seccomp_cache || seccomp_key(argv, &payload->seccomp_key) < 0)
        return -EBADF;
    int fd = seccomp_cache_find(SECCOMP_CACHE_DIR, payload->seccomp_key);
    if (fd < 0 && fd != -ENOENT)
        log_task_info(task->spec.id, "the kept seccomp programs are not used, and made anew: %s",
                      strerror(-fd));
    payload->has_filters = fd >= 0;
    return fd;
}

/* Whatever came of it; the next start tries again. */
static void on_filled(int error, void *data)
{
    struct start_payload *payload = data;

    payload->worker = NULL;
    if (error < 0)
        log_task_info(payload->args.task->spec.id, "the seccomp programs are not kept: %s",
                      strerror(-error));
    if (payload->init != NULL)
        init_link_go(payload->init);
}

/* Nothing has run in there yet that could have added programs of its own. */
static bool on_init_arrived(pid_t pid, void *data)
{
    struct start_payload *payload = data;

    if (pid > 0 && !payload->args.arrived(pid, payload->args.data))
        return false;
    if (payload->seccomp_key == NULL || payload->has_filters || pid <= 0)
        return true;
    payload->worker = seccomp_fill(task_event_loop(payload->args.task), pid, payload->seccomp_key,
                                   on_filled, payload);
    return payload->worker == NULL;
}

/* --- the link -------------------------------------------------------------------------------- */

/* An init that was to become the command says nothing when it has done so. */
static void on_init(pid_t pid, const struct inside_link_report *report, void *data)
{
    struct start_payload *payload = data;
    CLEANUP_FAIL struct fail fail = {};

    payload->init = NULL;
    if (pid > 0)
        task_note_leader(payload->args.task, pid);
    if (report == NULL && payload->args.task->is_under_init)
        return; /* it has ended: nspawn's end tells */
    payload->is_executed = true;
    if (report != NULL && report->stage == INSIDE_LINK_STAGE_EXECUTE)
        payload->execute_error = report->error;
    else if (report != NULL && report->stage != INSIDE_LINK_STAGE_DONE)
        set_failure(payload, report, &fail);
    if (fail.error < 0)
        payload->args.failed(&fail, payload->args.data);
    else
        payload->args.changed(payload->args.data);
}

/* The init lies below the directory of its link. */
static int bind_init(const struct task *task, const char *program, struct binds *binds,
                     struct fail *fail)
{
    CLEANUP_FREE char *dir = alloc_printf("%s/" INIT_LINK_DIR, runtime_dir_path(task->dir));
    struct bind_how how = { .read_only = true };

    int r = binds_add(binds, BIND_OWNER_INIT, dir, INSIDE_LINK_DIR, how, fail);
    if (r >= 0)
        r = binds_add(binds, BIND_OWNER_INIT, program, INSIDE_LINK_INIT, how, fail);
    return r < 0 ? r : 0;
}

int start_payload_listen(struct start_payload *payload, const struct strv *argv,
                         struct fail *reterr)
{
    const struct task *task = payload->args.task;

    if (task->is_booted)
        return 0;
    int spec_fd = TAKE_FD(payload->spec_fd);
    const int fds[INSIDE_LINK_FD_MAX] = {
        [INSIDE_LINK_FD_SPEC] = spec_fd,
        [INSIDE_LINK_FD_STATUS] = init_link_create_status(runtime_dir_fd(task->dir)),
        [INSIDE_LINK_FD_FILTERS] = find_programs(payload, argv),
    };

    payload->init = init_link_new(task_event_loop(task), runtime_dir_path(task->dir), fds,
                                  on_init_arrived, on_init, payload, reterr);
    return payload->init != NULL ? 0 : reterr->error;
}

/* --- life ------------------------------------------------------------------------------------ */

static int prepare_init(struct start_payload *payload, const struct pairs *environment,
                        struct binds *binds, struct fail *fail)
{
    CLEANUP_FREE char *program = NULL;

    int r = nspawn_settings_check(environment, fail);
    if (r >= 0)
        r = init_program_file(&program, fail);
    if (r >= 0)
        r = save_spec(payload, environment, fail);
    if (r < 0)
        return r;
    payload->spec_fd = r;
    return bind_init(payload->args.task, program, binds, fail);
}

static int prepare_boot(struct start_payload *payload, const struct pairs *environment,
                        struct fail *fail)
{
    int r = save_settings(payload->args.task, environment, fail);
    if (r < 0)
        return r;
    CLEANUP_CLOSE int fd = save_spec(payload, environment, fail);
    return fd < 0 ? fd : 0;
}

int start_payload_new(const struct start_payload_args *args, struct binds *binds,
                      struct start_payload **ret, struct fail *reterr)
{
    CLEANUP(pairs_done) struct pairs environment = {};
    struct start_payload *payload = ALLOC_NEW(struct start_payload);

    payload->args = *args;
    payload->spec_fd = -EBADF;
    nspawn_settings_merge(&args->options->environment, &args->task->spec.env, &environment);
    int r = args->task->is_booted ? prepare_boot(payload, &environment, reterr)
                                  : prepare_init(payload, &environment, binds, reterr);
    if (r < 0)
        start_payload_free(payload);
    else
        *ret = payload;
    return r;
}

struct start_payload *start_payload_free(struct start_payload *payload)
{
    if (payload == NULL)
        return NULL;
    payload->worker = worker_free(payload->worker);
    payload->init = init_link_free(payload->init);
    payload->spec_fd = close_fd(payload->spec_fd);
    free(payload->seccomp_key);
    free(payload);
    return NULL;
}

bool start_payload_has_filters(const struct start_payload *payload)
{
    return payload->has_filters;
}

void start_payload_receive(struct start_payload *payload)
{
    if (payload->init != NULL)
        init_link_receive(payload->init);
}

bool start_payload_is_up(const struct start_payload *payload)
{
    return payload->args.task->is_booted || payload->is_executed;
}

void start_payload_tell(const struct start_payload *payload)
{
    if (payload->execute_error < 0)
        task_tell_not_executed(payload->args.task, payload->args.options->command.items[0],
                               strerror(-payload->execute_error));
}
