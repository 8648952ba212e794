#include "tests/support/tasks/systemd/fake_systemd.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/strv.h"

#define SYSTEMD "org.freedesktop.systemd1"

struct unit {
    char *name; /* NULL: stopped */
    int stdout_fd, stderr_fd;
};

struct fake_systemd {
    struct fake_bus *fake;
    struct unit *units;
    size_t n_units;
    struct strv jobs; /* the units of those that have not ended */
    uint32_t first_job; /* number of the first of them */
    char *result;
    bool holds_jobs;
    sd_event_source *work;
};

static struct unit *find_unit(const struct fake_systemd *systemd, const char *name)
{
    for (size_t i = 0; i < systemd->n_units; i++)
        if (systemd->units[i].name != NULL && strcmp(systemd->units[i].name, name) == 0)
            return &systemd->units[i];
    return NULL;
}

static void unit_stop_now(struct unit *unit)
{
    free(unit->name);
    unit->name = NULL;
    unit->stdout_fd = close_fd(unit->stdout_fd);
    unit->stderr_fd = close_fd(unit->stderr_fd);
}

static void schedule(struct fake_systemd *systemd)
{
    int r = sd_event_source_set_enabled(systemd->work, SD_EVENT_ON);
    assert(r >= 0);
}

/* As in systemd the signal comes after the reply that names the job. */
static int add_job(struct fake_systemd *systemd, const char *unit, sd_bus_message *reply)
{
    CLEANUP_FREE char *path = alloc_printf("/org/freedesktop/systemd1/job/%u",
                                           (unsigned)(systemd->first_job + systemd->jobs.n_items));

    strv_push(&systemd->jobs, unit);
    if (!systemd->holds_jobs)
        schedule(systemd);
    return sd_bus_message_append(reply, "o", path);
}

static int on_work(sd_event_source *source, void *data)
{
    struct fake_systemd *systemd = data;
    struct strv jobs = systemd->jobs;

    (void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
    systemd->jobs = (struct strv){};
    for (size_t i = 0; i < jobs.n_items; i++) {
        uint32_t id = systemd->first_job++;
        CLEANUP_FREE char *path = alloc_printf("/org/freedesktop/systemd1/job/%u", (unsigned)id);
        fake_bus_signal(systemd->fake, ":1.1", "/org/freedesktop/systemd1", SYSTEMD ".Manager",
                        "JobRemoved", "uoss", id, path, jobs.items[i], systemd->result);
    }
    strv_done(&jobs);
    return 0;
}

/* --- methods --------------------------------------------------------------------------------- */

static int read_fd(sd_bus_message *call, int *ret)
{
    int fd;
    int r = sd_bus_message_read(call, "v", "h", &fd);

    if (r >= 0)
        *ret = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return r;
}

static int read_property(sd_bus_message *call, struct unit *unit)
{
    const char *name;
    int r = sd_bus_message_read(call, "s", &name);

    if (r < 0)
        return r;
    if (strcmp(name, "StandardOutputFileDescriptor") == 0)
        return read_fd(call, &unit->stdout_fd);
    if (strcmp(name, "StandardErrorFileDescriptor") == 0)
        return read_fd(call, &unit->stderr_fd);
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

static int on_start(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                    sd_bus_error *error, void *data)
{
    struct fake_systemd *systemd = data;
    struct unit unit = { .stdout_fd = -EBADF, .stderr_fd = -EBADF };
    const char *name;

    (void)fake;
    int r = sd_bus_message_read(call, "ss", &name, NULL);
    if (r < 0)
        return r;
    if (find_unit(systemd, name) != NULL)
        return sd_bus_error_set(error, SYSTEMD ".UnitExists", "the unit exists");
    r = read_unit(call, &unit);
    assert(r >= 0);
    unit.name = alloc_strdup(name);
    if (strcmp(systemd->result, "done") == 0) {
        systemd->units = alloc_grow(systemd->units, systemd->n_units + 1, sizeof(unit));
        systemd->units[systemd->n_units++] = unit;
    } else {
        unit_stop_now(&unit);
    }
    return add_job(systemd, name, reply);
}

static struct unit *unit_of_call(const struct fake_systemd *systemd, sd_bus_message *call,
                                 const char **ret_name)
{
    int r = sd_bus_message_read(call, "s", ret_name);

    return r >= 0 ? find_unit(systemd, *ret_name) : NULL;
}

static int on_stop(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                   sd_bus_error *error, void *data)
{
    struct fake_systemd *systemd = data;
    const char *name = NULL;
    struct unit *unit = unit_of_call(systemd, call, &name);

    (void)fake;
    if (unit == NULL)
        return sd_bus_error_set(error, SYSTEMD ".NoSuchUnit", "the unit is not loaded");
    unit_stop_now(unit);
    return add_job(systemd, name, reply);
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
    systemd->first_job = 1;
    systemd->result = alloc_strdup("done");
    int r = sd_event_add_defer(event, &systemd->work, on_work, systemd);
    assert(r >= 0);
    (void)sd_event_source_set_enabled(systemd->work, SD_EVENT_OFF);
    fake_bus_method(fake, "Subscribe", on_subscribe, systemd);
    fake_bus_method(fake, "StartTransientUnit", on_start, systemd);
    fake_bus_method(fake, "StopUnit", on_stop, systemd);
    fake_bus_method(fake, "ResetFailedUnit", on_named, systemd);
    fake_bus_method(fake, "FreezeUnit", on_named, systemd);
    fake_bus_method(fake, "ThawUnit", on_named, systemd);
    fake_bus_method(fake, "KillUnit", on_named, systemd);
    return systemd;
}

struct fake_systemd *fake_systemd_free(struct fake_systemd *systemd)
{
    if (systemd == NULL)
        return NULL;
    for (size_t i = 0; i < systemd->n_units; i++)
        unit_stop_now(&systemd->units[i]);
    sd_event_source_disable_unref(systemd->work);
    strv_done(&systemd->jobs);
    free(systemd->units);
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
    if (!holds)
        schedule(systemd);
}

size_t fake_systemd_n_units(const struct fake_systemd *systemd)
{
    size_t n = 0;

    for (size_t i = 0; i < systemd->n_units; i++)
        n += systemd->units[i].name != NULL;
    return n;
}

bool fake_systemd_has_unit(const struct fake_systemd *systemd, const char *name)
{
    return find_unit(systemd, name) != NULL;
}

int fake_systemd_stdout(const struct fake_systemd *systemd, const char *name)
{
    const struct unit *unit = find_unit(systemd, name);

    return unit != NULL ? unit->stdout_fd : -EBADF;
}

int fake_systemd_stderr(const struct fake_systemd *systemd, const char *name)
{
    const struct unit *unit = find_unit(systemd, name);

    return unit != NULL ? unit->stderr_fd : -EBADF;
}
