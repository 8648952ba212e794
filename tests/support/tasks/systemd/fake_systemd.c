#include "tests/support/tasks/systemd/fake_systemd.h"

#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/strv.h"
#include "tests/support/tasks/systemd/fake_systemd_private.h"

/* --- units ----------------------------------------------------------------------------------- */

struct unit *fake_systemd_find(const struct fake_systemd *systemd, const char *name)
{
    for (size_t i = 0; i < systemd->n_units; i++)
        if (systemd->units[i]->name != NULL && strcmp(systemd->units[i]->name, name) == 0)
            return systemd->units[i];
    return NULL;
}

void fake_systemd_drop(struct unit *unit)
{
    fake_systemd_kill_process(unit);
    free(unit->name);
    unit->name = NULL;
    unit->service.stdout_fd = close_fd(unit->service.stdout_fd);
    unit->service.stderr_fd = close_fd(unit->service.stderr_fd);
}

static struct unit *unit_new(struct fake_systemd *systemd)
{
    struct unit *unit = ALLOC_NEW(struct unit);

    unit->systemd = systemd;
    unit->service.stdout_fd = unit->service.stderr_fd = unit->pidfd = -EBADF;
    systemd->units = (struct unit **)alloc_grow((void *)systemd->units, systemd->n_units + 1,
                                                sizeof(unit));
    systemd->units[systemd->n_units++] = unit;
    return unit;
}

static void unit_free(struct unit *unit)
{
    fake_systemd_drop(unit);
    strv_done(&unit->service.argv);
    strv_done(&unit->service.environment);
    free(unit->slice);
    free(unit->network_namespace);
    free(unit);
}

/* --- jobs ------------------------------------------------------------------------------------ */

static void schedule(struct fake_systemd *systemd)
{
    if (systemd->holds_jobs)
        return;
    int r = sd_event_source_set_enabled(systemd->work, SD_EVENT_ON);
    assert(r >= 0);
}

/* As in systemd the signal comes after the reply that names the job. */
static int add_job(struct fake_systemd *systemd, const char *unit, bool waits,
                   sd_bus_message *reply)
{
    uint32_t id = ++systemd->last_job;
    CLEANUP_FREE char *path = alloc_printf("/org/freedesktop/systemd1/job/%u", (unsigned)id);

    systemd->jobs = alloc_grow(systemd->jobs, systemd->n_jobs + 1, sizeof(struct job));
    systemd->jobs[systemd->n_jobs++] = (struct job){ .id = id,
                                                     .unit = alloc_strdup(unit),
                                                     .waits = waits };
    schedule(systemd);
    return sd_bus_message_append(reply, "o", path);
}

void fake_systemd_release_job(struct fake_systemd *systemd, uint32_t id)
{
    for (size_t i = 0; i < systemd->n_jobs; i++)
        if (systemd->jobs[i].id == id)
            systemd->jobs[i].waits = false;
    schedule(systemd);
}

static void end_job(struct fake_systemd *systemd, const struct job *job)
{
    CLEANUP_FREE char *path = alloc_printf("/org/freedesktop/systemd1/job/%u", (unsigned)job->id);

    fake_bus_signal(systemd->fake, ":1.1", "/org/freedesktop/systemd1", SYSTEMD ".Manager",
                    "JobRemoved", "uoss", job->id, path, job->unit, systemd->result);
}

static int on_work(sd_event_source *source, void *data)
{
    struct fake_systemd *systemd = data;
    size_t n_kept = 0;

    (void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
    for (size_t i = 0; i < systemd->n_jobs; i++) {
        if (systemd->jobs[i].waits) {
            systemd->jobs[n_kept++] = systemd->jobs[i];
            continue;
        }
        end_job(systemd, &systemd->jobs[i]);
        free(systemd->jobs[i].unit);
    }
    systemd->n_jobs = n_kept;
    return 0;
}

/* --- properties ------------------------------------------------------------------------------ */

static int read_fd(sd_bus_message *call, int *ret)
{
    int fd;
    int r = sd_bus_message_read(call, "v", "h", &fd);

    if (r >= 0)
        *ret = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return r;
}

static int read_text(sd_bus_message *call, char **ret)
{
    const char *text;
    int r = sd_bus_message_read(call, "v", "s", &text);

    if (r >= 0)
        *ret = alloc_strdup(text);
    return r;
}

static int read_type(sd_bus_message *call, struct unit *unit)
{
    const char *type;
    int r = sd_bus_message_read(call, "v", "s", &type);

    unit->is_oneshot = r >= 0 && strcmp(type, "oneshot") == 0;
    return r;
}

static int read_list(sd_bus_message *call, struct strv *ret)
{
    const char *item;
    int r = sd_bus_message_enter_container(call, 'a', "s");

    while (r >= 0 && (r = sd_bus_message_read(call, "s", &item)) > 0)
        strv_push(ret, item);
    return r < 0 ? r : sd_bus_message_exit_container(call);
}

static int read_environment(sd_bus_message *call, struct unit *unit)
{
    int r = sd_bus_message_enter_container(call, 'v', "as");

    if (r >= 0)
        r = read_list(call, &unit->service.environment);
    return r < 0 ? r : sd_bus_message_exit_container(call);
}

/* One command, with options that are skipped. */
static int read_exec_start(sd_bus_message *call, struct unit *unit)
{
    int r = sd_bus_message_enter_container(call, 'v', "a(sasas)");

    if (r >= 0)
        r = sd_bus_message_enter_container(call, 'a', "(sasas)");
    if (r >= 0)
        r = sd_bus_message_enter_container(call, 'r', "sasas");
    if (r >= 0)
        r = sd_bus_message_skip(call, "s");
    if (r >= 0)
        r = read_list(call, &unit->service.argv);
    if (r >= 0)
        r = sd_bus_message_skip(call, "as");
    for (int depth = 0; r >= 0 && depth < 3; depth++)
        r = sd_bus_message_exit_container(call);
    return r;
}

static int read_property(sd_bus_message *call, struct unit *unit)
{
    const char *name;
    int r = sd_bus_message_read(call, "s", &name);

    if (r < 0)
        return r;
    if (strcmp(name, "StandardOutputFileDescriptor") == 0)
        return read_fd(call, &unit->service.stdout_fd);
    if (strcmp(name, "StandardErrorFileDescriptor") == 0)
        return read_fd(call, &unit->service.stderr_fd);
    if (strcmp(name, "Slice") == 0)
        return read_text(call, &unit->slice);
    if (strcmp(name, "NetworkNamespacePath") == 0)
        return read_text(call, &unit->network_namespace);
    if (strcmp(name, "Type") == 0)
        return read_type(call, unit);
    if (strcmp(name, "Environment") == 0)
        return read_environment(call, unit);
    if (strcmp(name, "ExecStartEx") == 0)
        return read_exec_start(call, unit);
    return sd_bus_message_skip(call, "v");
}

static int read_unit(sd_bus_message *call, struct unit *unit)
{
    int r = sd_bus_message_enter_container(call, 'a', "(sv)");

    while (r >= 0 && (r = sd_bus_message_enter_container(call, 'r', "sv")) > 0) {
        r = read_property(call, unit);
        if (r >= 0)
            r = sd_bus_message_exit_container(call);
    }
    return r;
}

/* --- methods --------------------------------------------------------------------------------- */

static void take_up(struct fake_systemd *systemd, struct unit *unit)
{
    unit->service.name = unit->name;
    unit->service.slice = unit->slice;
    unit->service.network_namespace = unit->network_namespace;
    if (unit->slice != NULL && !strv_contains(&systemd->slices, unit->slice))
        strv_push(&systemd->slices, unit->slice);
    if (systemd->run != NULL && !unit->is_oneshot && unit->service.argv.n_items > 0)
        fake_systemd_run_unit(unit);
}

static int on_start(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                    sd_bus_error *error, void *data)
{
    struct fake_systemd *systemd = data;
    const char *name;

    (void)fake;
    int r = sd_bus_message_read(call, "ss", &name, NULL);
    if (r < 0)
        return r;
    if (fake_systemd_find(systemd, name) != NULL)
        return sd_bus_error_set(error, SYSTEMD ".UnitExists", "the unit exists");
    struct unit *unit = unit_new(systemd);
    r = read_unit(call, unit);
    assert(r >= 0);
    unit->name = alloc_strdup(name);
    if (strcmp(systemd->result, "done") == 0)
        take_up(systemd, unit);
    else
        fake_systemd_drop(unit);
    return add_job(systemd, name, false, reply);
}

static struct unit *unit_of_call(const struct fake_systemd *systemd, sd_bus_message *call,
                                 const char **ret_name)
{
    int r = sd_bus_message_read(call, "s", ret_name);

    return r >= 0 ? fake_systemd_find(systemd, *ret_name) : NULL;
}

/* With all that is in it. Answers whether there was one. */
static bool stop_slice(struct fake_systemd *systemd, const char *name)
{
    struct strv kept = {};
    bool found = strv_contains(&systemd->slices, name);

    for (size_t i = 0; i < systemd->slices.n_items; i++)
        if (strcmp(systemd->slices.items[i], name) != 0)
            strv_push(&kept, systemd->slices.items[i]);
    strv_done(&systemd->slices);
    systemd->slices = kept;
    for (size_t i = 0; i < systemd->n_units; i++)
        if (systemd->units[i]->slice != NULL && strcmp(systemd->units[i]->slice, name) == 0)
            fake_systemd_drop(systemd->units[i]);
    return found;
}

static int on_stop(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                   sd_bus_error *error, void *data)
{
    struct fake_systemd *systemd = data;
    const char *name = NULL;
    struct unit *unit = unit_of_call(systemd, call, &name);

    (void)fake;
    if (unit == NULL && name != NULL && stop_slice(systemd, name))
        return add_job(systemd, name, false, reply);
    if (unit == NULL)
        return sd_bus_error_set(error, SYSTEMD ".NoSuchUnit", "the unit is not loaded");
    int r = add_job(systemd, name, unit->pid > 0, reply);
    if (unit->pid > 0) {
        unit->is_stopping = true;
        unit->stop_job = systemd->last_job;
        (void)kill(unit->pid, SIGTERM);
    } else if (!unit->has_failed) {
        fake_systemd_drop(unit);
    }
    return r;
}

static int on_reset(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                    sd_bus_error *error, void *data)
{
    const char *name;
    struct unit *unit = unit_of_call(data, call, &name);

    (void)fake;
    (void)reply;
    if (unit == NULL)
        return sd_bus_error_set(error, SYSTEMD ".NoSuchUnit", "the unit is not loaded");
    if (unit->has_failed)
        fake_systemd_drop(unit);
    return 0;
}

static int on_kill(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                   sd_bus_error *error, void *data)
{
    const char *name;
    int32_t signal = 0;
    const struct unit *unit = unit_of_call(data, call, &name);

    (void)fake;
    (void)reply;
    int r = sd_bus_message_read(call, "si", NULL, &signal);
    if (unit == NULL)
        return sd_bus_error_set(error, SYSTEMD ".NoSuchUnit", "the unit is not loaded");
    if (r >= 0 && unit->pid > 0)
        (void)kill(unit->pid, signal);
    return r < 0 ? r : 0;
}

static int on_named(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                    sd_bus_error *error, void *data)
{
    const char *name;

    (void)fake;
    (void)reply;
    if (unit_of_call(data, call, &name) == NULL)
        return sd_bus_error_set(error, SYSTEMD ".NoSuchUnit", "the unit is not loaded");
    return 0;
}

static int on_subscribe(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                        sd_bus_error *error, void *data)
{
    (void)fake, (void)call, (void)reply, (void)error, (void)data;
    return 0;
}

/* --- life ------------------------------------------------------------------------------------ */

struct fake_systemd *fake_systemd_new(struct fake_bus *fake, sd_event *event)
{
    struct fake_systemd *systemd = ALLOC_NEW(struct fake_systemd);

    systemd->fake = fake;
    systemd->event = event;
    systemd->result = alloc_strdup("done");
    int r = sd_event_add_defer(event, &systemd->work, on_work, systemd);
    assert(r >= 0);
    (void)sd_event_source_set_enabled(systemd->work, SD_EVENT_OFF);
    fake_bus_method(fake, "Subscribe", on_subscribe, systemd);
    fake_bus_method(fake, "StartTransientUnit", on_start, systemd);
    fake_bus_method(fake, "StopUnit", on_stop, systemd);
    fake_bus_method(fake, "ResetFailedUnit", on_reset, systemd);
    fake_bus_method(fake, "FreezeUnit", on_named, systemd);
    fake_bus_method(fake, "ThawUnit", on_named, systemd);
    fake_bus_method(fake, "KillUnit", on_kill, systemd);
    return systemd;
}

struct fake_systemd *fake_systemd_free(struct fake_systemd *systemd)
{
    if (systemd == NULL)
        return NULL;
    for (size_t i = 0; i < systemd->n_units; i++)
        unit_free(systemd->units[i]);
    for (size_t i = 0; i < systemd->n_jobs; i++)
        free(systemd->jobs[i].unit);
    sd_event_source_disable_unref(systemd->work);
    strv_done(&systemd->slices);
    free(systemd->jobs);
    free((void *)systemd->units);
    free(systemd->result);
    free(systemd);
    return NULL;
}

void fake_systemd_end_jobs(struct fake_systemd *systemd, const char *result)
{
    free(systemd->result);
    systemd->result = alloc_strdup(result);
}

void fake_systemd_hold_jobs(struct fake_systemd *systemd, bool holds)
{
    systemd->holds_jobs = holds;
    if (holds)
        (void)sd_event_source_set_enabled(systemd->work, SD_EVENT_OFF);
    schedule(systemd);
}

size_t fake_systemd_n_units(const struct fake_systemd *systemd)
{
    size_t n = 0;

    for (size_t i = 0; i < systemd->n_units; i++)
        n += systemd->units[i]->name != NULL;
    return n;
}

bool fake_systemd_has_unit(const struct fake_systemd *systemd, const char *name)
{
    return fake_systemd_find(systemd, name) != NULL;
}

size_t fake_systemd_n_slices(const struct fake_systemd *systemd)
{
    return systemd->slices.n_items;
}

int fake_systemd_stdout(const struct fake_systemd *systemd, const char *name)
{
    const struct unit *unit = fake_systemd_find(systemd, name);

    return unit != NULL ? unit->service.stdout_fd : -EBADF;
}

int fake_systemd_stderr(const struct fake_systemd *systemd, const char *name)
{
    const struct unit *unit = fake_systemd_find(systemd, name);

    return unit != NULL ? unit->service.stderr_fd : -EBADF;
}
