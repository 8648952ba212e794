/* Units that are processes, and what systemd says of them. */
#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tests/support/tasks/systemd/fake_systemd_private.h"

#define UNITS      "/org/freedesktop/systemd1/unit"
#define PROPERTIES "org.freedesktop.DBus.Properties"

static uint64_t now_usec(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* --- what is said ---------------------------------------------------------------------------- */

static const char *active_state(const struct unit *unit)
{
    return unit->has_failed ? "failed" : unit->is_stopping ? "deactivating" : "active";
}

static void tell_changed(const struct unit *unit)
{
    char *path = NULL;

    int r = sd_bus_path_encode(UNITS, unit->name, &path);
    assert(r >= 0);
    fake_bus_signal(unit->systemd->fake, ":1.1", path, PROPERTIES, "PropertiesChanged", "sa{sv}as",
                    SYSTEMD ".Service", 6, "MainPID", "u", (uint32_t)unit->pid, "ExecMainCode", "i",
                    unit->exit_code, "ExecMainStatus", "i", unit->exit_status,
                    "ExecMainStartTimestamp", "t", unit->started_usec, "ExecMainExitTimestamp", "t",
                    unit->exited_usec, "Result", "s", unit->result, 0);
    fake_bus_signal(unit->systemd->fake, ":1.1", path, PROPERTIES, "PropertiesChanged", "sa{sv}as",
                    SYSTEMD ".Unit", 1, "ActiveState", "s", active_state(unit), 0);
    free(path);
}

static int append_unit(const struct unit *unit, sd_bus_message *reply)
{
    int r = sd_bus_message_append(reply, "{sv}{sv}", "LoadState", "s",
                                  unit != NULL ? "loaded" : "not-found", "ActiveState", "s",
                                  unit != NULL ? active_state(unit) : "inactive");
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'e', "sv");
    if (r >= 0)
        r = sd_bus_message_append(reply, "s", "InvocationID");
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'v', "ay");
    if (r >= 0)
        r = sd_bus_message_append_array(reply, 'y', unit != NULL ? unit->invocation_id : NULL,
                                        unit != NULL ? sizeof(unit->invocation_id) : 0);
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int append_service(const struct unit *unit, sd_bus_message *reply)
{
    static const struct unit none = { .result = "success" };

    if (unit == NULL)
        unit = &none;
    return sd_bus_message_append(reply, "{sv}{sv}{sv}{sv}{sv}{sv}", "MainPID", "u",
                                 (uint32_t)unit->pid, "ExecMainCode", "i", unit->exit_code,
                                 "ExecMainStatus", "i", unit->exit_status, "ExecMainStartTimestamp",
                                 "t", unit->started_usec, "ExecMainExitTimestamp", "t",
                                 unit->exited_usec, "Result", "s", unit->result);
}

static int on_get_all(struct fake_bus *fake, sd_bus_message *call, sd_bus_message *reply,
                      sd_bus_error *error, void *data)
{
    char *name = NULL;
    const char *interface;

    (void)fake;
    (void)error;
    int r = sd_bus_message_read(call, "s", &interface);
    if (r >= 0)
        r = sd_bus_path_decode(sd_bus_message_get_path(call), UNITS, &name);
    if (r <= 0)
        return r < 0 ? r : -EINVAL;
    const struct unit *unit = fake_systemd_find(data, name);
    free(name);
    r = sd_bus_message_open_container(reply, 'a', "{sv}");
    if (r >= 0)
        r = strcmp(interface, SYSTEMD ".Unit") == 0 ? append_unit(unit, reply)
                                                    : append_service(unit, reply);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* --- the process ----------------------------------------------------------------------------- */

static const char *result_of(const struct unit *unit)
{
    if (unit->systemd->exit_result != NULL)
        return unit->systemd->exit_result;
    if (unit->exit_code == CLD_EXITED)
        return "success"; /* all codes are (SuccessExitStatus) */
    return unit->exit_code == CLD_DUMPED ? "core-dump" : "signal";
}

static void reap(struct unit *unit)
{
    siginfo_t info = {};

    int r = waitid(P_PID, (id_t)unit->pid, &info, WEXITED);
    assert(r == 0);
    unit->systemd->ended(unit->systemd->data);
    unit->exited = sd_event_source_disable_unref(unit->exited);
    unit->pidfd = close_fd(unit->pidfd);
    unit->pid = 0;
    unit->exit_code = info.si_code;
    unit->exit_status = info.si_status;
    unit->exited_usec = now_usec();
    unit->result = result_of(unit);
    unit->has_failed = strcmp(unit->result, "success") != 0;
}

static int on_exited(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct unit *unit = data;

    (void)source;
    (void)fd;
    (void)events;
    reap(unit);
    tell_changed(unit);
    if (!unit->is_stopping)
        return 0;
    fake_systemd_release_job(unit->systemd, unit->stop_job);
    unit->is_stopping = false;
    if (!unit->has_failed)
        fake_systemd_drop(unit);
    return 0;
}

void fake_systemd_run_unit(struct unit *unit)
{
    ssize_t n = getrandom(unit->invocation_id, sizeof(unit->invocation_id), 0);

    assert(n == sizeof(unit->invocation_id));
    unit->result = "success";
    unit->started_usec = now_usec();
    unit->pid = unit->systemd->run(&unit->service, unit->systemd->data);
    assert(unit->pid > 0);
    unit->pidfd = pidfd_open(unit->pid, 0);
    assert(unit->pidfd >= 0);
    int r = sd_event_add_io(unit->systemd->event, &unit->exited, unit->pidfd, EPOLLIN, on_exited,
                            unit);
    assert(r >= 0);
    /* By its pid others know whose child PID 1 of a container is. */
    tell_changed(unit);
}

void fake_systemd_kill_process(struct unit *unit)
{
    if (unit->pid == 0)
        return;
    (void)kill(unit->pid, SIGKILL);
    reap(unit);
}

void fake_systemd_run(struct fake_systemd *systemd, fake_systemd_run_fn run,
                      fake_systemd_ended_fn ended, void *data)
{
    systemd->run = run;
    systemd->ended = ended;
    systemd->data = data;
    fake_bus_method(systemd->fake, "GetAll", on_get_all, systemd);
}

void fake_systemd_set_result(struct fake_systemd *systemd, const char *result)
{
    systemd->exit_result = result;
}

pid_t fake_systemd_main_pid(const struct fake_systemd *systemd, const char *name)
{
    const struct unit *unit = fake_systemd_find(systemd, name);

    return unit != NULL ? unit->pid : 0;
}

void fake_systemd_forget(struct fake_systemd *systemd, const char *name)
{
    struct unit *unit = fake_systemd_find(systemd, name);

    if (unit != NULL)
        fake_systemd_drop(unit);
}
