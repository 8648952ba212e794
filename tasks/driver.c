/* The table of tasks, and what can be asked of one. What happens to a task then: lifecycle.h. */
#include "tasks/driver.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "reactor/log.h"
#include "tasks/answers.h"
#include "tasks/fingerprint/fingerprint.h"
#include "tasks/kernel/cgroup.h"
#include "tasks/lifecycle/lifecycle.h"
#include "tasks/lifecycle/task_kill.h"
#include "tasks/resources/stats.h"
#include "tasks/spec/plugin_options.h"
#include "tasks/spec/signal_name.h"

struct driver {
    struct bus *bus;
    struct task_host host;
    struct answers *answers;
    struct fingerprint *fingerprint;
    struct plugin_config config;
    double core_mhz;
    LIST_HEAD(, task) tasks;
    struct pairs attributes; /* of the task that was inspected last */
};

/* --- the table ------------------------------------------------------------------------------- */

static struct task *find_task(const struct driver *driver, const char *id)
{
    struct task *task;

    LIST_FOREACH(task, &driver->tasks, entry)
        if (strcmp(task->spec.id, id) == 0)
            return task;
    return NULL;
}

static struct task *find_machine(const struct driver *driver, const char *machine)
{
    struct task *task;

    LIST_FOREACH(task, &driver->tasks, entry)
        if (strcmp(task->names.machine, machine) == 0)
            return task;
    return NULL;
}

static int fail_unknown(const char *id, struct fail *reterr)
{
    return fail_set(reterr, -ENOENT, "task not found for given id: '%s'", id);
}

static struct task *add_task(struct driver *driver, struct task_spec *spec, enum task_state state)
{
    struct task *task = lifecycle_new(&driver->host, spec, state);

    LIST_INSERT_HEAD(&driver->tasks, task, entry);
    return task;
}

static void on_task_gone(struct task *task, void *data)
{
    (void)data;
    LIST_REMOVE(task, entry);
    lifecycle_free(task);
}

/* --- start, recover -------------------------------------------------------------------------- */

static int check_free(const struct driver *driver, const struct task *task, struct fail *reterr)
{
    const struct task *other;

    LIST_FOREACH(other, &driver->tasks, entry) {
        if (other == task)
            continue;
        if (strcmp(other->spec.id, task->spec.id) == 0)
            return fail_set(reterr, -EEXIST, "task '%s' is %s already", task->spec.id,
                            task_state_name(other->state));
        if (strcmp(other->names.machine, task->names.machine) == 0)
            return fail_set_recoverable(reterr, -EEXIST,
                                        "machine '%s' is still that of task '%s', which is %s",
                                        task->names.machine, other->spec.id,
                                        task_state_name(other->state));
    }
    return 0;
}

void driver_start_task(struct driver *driver, struct task_spec *spec, task_started_fn done,
                       void *data)
{
    struct task *task = add_task(driver, spec, TASK_STARTING);
    CLEANUP_FAIL struct fail fail = {};

    int r = check_free(driver, task, &fail);
    if (r >= 0)
        r = lifecycle_start(task, done, data, &fail);
    if (r >= 0)
        return;
    on_task_gone(task, driver);
    answers_add_unstarted(driver->answers, done, data, &fail);
}

void driver_recover_task(struct driver *driver, struct task_spec *spec, const uint8_t *driver_state,
                         size_t n_bytes, task_done_fn done, void *data)
{
    CLEANUP_FAIL struct fail fail = {};
    const struct task *known = find_task(driver, spec->id);

    /* The agent has lost the connection, not us. One that still starts or recovers has an asker. */
    if (known != NULL) {
        if (known->state == TASK_RECOVERING)
            (void)fail_set_recoverable(&fail, -EBUSY, "task '%s' is being recovered", spec->id);
        task_spec_done(spec);
        answers_add(driver->answers, done, data, &fail);
        return;
    }
    struct task *task = add_task(driver, spec, TASK_RECOVERING);
    int r = check_free(driver, task, &fail);
    if (r >= 0)
        r = lifecycle_recover(task, driver_state, n_bytes, done, data, &fail);
    if (r >= 0)
        return;
    on_task_gone(task, driver);
    answers_add(driver->answers, done, data, &fail);
}

/* --- wait, stop, destroy, signal ------------------------------------------------------------- */

int driver_wait_task(struct driver *driver, const char *id, task_exited_fn done, void *data,
                     struct task_waiter **ret, struct fail *reterr)
{
    struct task *task = find_task(driver, id);

    if (task == NULL)
        return fail_unknown(id, reterr);
    *ret = lifecycle_wait(task, done, data);
    return 0;
}

void driver_stop_task(struct driver *driver, const char *id, uint64_t timeout_usec,
                      const char *signal, task_done_fn done, void *data)
{
    struct task *task = find_task(driver, id);
    CLEANUP_FAIL struct fail fail = {};
    int number = 0;

    if (signal != NULL && signal[0] != '\0')
        number = signal_name_parse(signal, &fail);
    if (number < 0)
        fail_prefix(&fail, "kill_signal");
    if (number < 0 || task == NULL || task->state >= TASK_EXITED) {
        answers_add(driver->answers, done, data, &fail);
        return;
    }
    if (task->state == TASK_RUNNING || task->state == TASK_RECOVERING)
        task_requests_add(&task->stops, done, data);
    else
        answers_add(driver->answers, done, data, NULL);
    task_raise(task, LIFECYCLE_STOP,
               &(const struct lifecycle_args){ .signal = number, .usec = timeout_usec });
}

/* "<alloc id>/<task name>/<hex>", Nomad's form. Strings of *ret_name are heap. */
static int split_id(const char *id, char **ret_alloc, char **ret_name)
{
    const char *slash = strchr(id, '/'), *last = strrchr(id, '/');

    if (slash == NULL || slash == last)
        return -EINVAL;
    *ret_alloc = alloc_strndup(id, (size_t)(slash - id));
    *ret_name = alloc_strndup(slash + 1, (size_t)(last - slash - 1));
    return 0;
}

/* A task that could not be recovered, or ended while no plugin ran, may have left things. */
static void destroy_unknown(struct driver *driver, const char *id, task_done_fn done, void *data)
{
    struct task_spec spec = {};

    if (split_id(id, &spec.alloc_id, &spec.name) < 0) {
        answers_add(driver->answers, done, data, NULL);
        return;
    }
    spec.id = alloc_strdup(id);
    struct task *task = lifecycle_new(&driver->host, &spec, TASK_REMOVING);
    if (find_machine(driver, task->names.machine) != NULL) { /* a later start of the same task */
        lifecycle_free(task);
        answers_add(driver->answers, done, data, NULL);
        return;
    }
    LIST_INSERT_HEAD(&driver->tasks, task, entry);
    task_requests_add(&task->destroys, done, data);
    lifecycle_remove_lost(task);
}

void driver_destroy_task(struct driver *driver, const char *id, bool force, task_done_fn done,
                         void *data)
{
    struct task *task = find_task(driver, id);
    CLEANUP_FAIL struct fail fail = {};

    if (task == NULL) {
        destroy_unknown(driver, id, done, data);
        return;
    }
    if (!force && task_is_alive(task)) {
        (void)fail_set(&fail, -EBUSY, "task '%s' is %s: stop it first, or force", id,
                       task_state_name(task->state));
        answers_add(driver->answers, done, data, &fail);
        return;
    }
    task_requests_add(&task->destroys, done, data);
    task_raise(task, LIFECYCLE_DESTROY, NULL);
}

void driver_signal_task(struct driver *driver, const char *id, const char *signal,
                        task_done_fn done, void *data)
{
    struct task *task = find_task(driver, id);
    CLEANUP_FAIL struct fail fail = {};

    if (task == NULL) {
        (void)fail_unknown(id, &fail);
    } else {
        int number = signal_name_parse(signal != NULL ? signal : "", &fail);
        if (number == SIGSTOP || number == SIGCONT) {
            if (lifecycle_freeze(task, number, done, data, &fail) >= 0)
                return;
        } else if (number >= 0) {
            (void)task_kill_signal(task, number, &fail);
        }
    }
    answers_add(driver->answers, done, data, &fail);
}

/* --- inspect, statistics, events ------------------------------------------------------------- */

static void describe_network(struct driver *driver, const struct task *task)
{
    const struct network_record *record = networks_find(driver->host.networks, task->names.machine);
    static const char *const keys[NETWORK_RECORD_FAMILIES] = { "address", "address6" };

    for (size_t i = 0; record != NULL && i < NETWORK_RECORD_FAMILIES; i++) {
        if (!address_is_set(&record->addresses[i]))
            continue;
        CLEANUP_FREE char *text = address_text(&record->addresses[i]);
        pairs_set(&driver->attributes, keys[i], text);
    }
}

static void describe(struct driver *driver, const struct task *task)
{
    pairs_done(&driver->attributes);
    pairs_set(&driver->attributes, "machine", task->names.machine);
    pairs_set(&driver->attributes, "unit", task->names.unit);
    pairs_set(&driver->attributes, "slice", task->names.slice);
    pairs_set(&driver->attributes, "mode", task->is_booted ? "boot" : "process");
    if (task->image != NULL)
        pairs_set(&driver->attributes, "image", task->image);
    describe_network(driver, task);
    if (task->leader > 0) {
        CLEANUP_FREE char *leader = alloc_printf("%d", (int)task->leader);
        pairs_set(&driver->attributes, "leader", leader);
    }
}

int driver_inspect_task(struct driver *driver, const char *id, struct task_status *ret,
                        struct fail *reterr)
{
    const struct task *task = find_task(driver, id);

    if (task == NULL)
        return fail_unknown(id, reterr);
    describe(driver, task);
    *ret = (struct task_status){
        .id = task->spec.id,
        .name = task->spec.name,
        .phase = task->state >= TASK_EXITED ? TASK_PHASE_EXITED
                 : task->state >= TASK_RUNNING ? TASK_PHASE_RUNNING
                                               : TASK_PHASE_UNKNOWN,
        .started_usec = task->started_usec,
        .completed_usec = task->completed_usec,
        .exit = task->exit,
        .attributes = &driver->attributes,
    };
    return 0;
}

int driver_open_stats(struct driver *driver, const char *id, uint64_t interval_usec,
                      task_stats_fn sample, void *data, struct stats_stream **ret,
                      struct fail *reterr)
{
    const struct task *task = find_task(driver, id);

    if (task == NULL)
        return fail_unknown(id, reterr);
    CLEANUP_FREE char *path = task_cgroup_path(task);
    if (path == NULL)
        return fail_set(reterr, -EOPNOTSUPP,
                        "no statistics: this host has no cgroup v2 hierarchy mounted");
    int r = stats_open(bus_event(driver->bus), path, driver->core_mhz, interval_usec, sample, data,
                       ret);
    if (r < 0)
        return fail_set(reterr, r, "no statistics of task '%s': cannot read '%s': %s", id, path,
                        strerror(-r));
    return 0;
}

int driver_exec_start(struct driver *driver, const char *id, const struct exec_args *args,
                      const struct exec_events *events, void *data, struct exec **ret,
                      struct fail *reterr)
{
    struct task *task = find_task(driver, id);

    if (task == NULL)
        return fail_unknown(id, reterr);
    return lifecycle_exec(task, args, events, data, ret, reterr);
}

struct event_watch *driver_watch_events(struct driver *driver, task_event_fn event, void *data)
{
    return task_events_watch(driver->host.events, event, data);
}

/* --- configuration, fingerprint -------------------------------------------------------------- */

int driver_set_config(struct driver *driver, const uint8_t *msgpack, size_t n_bytes,
                      struct fail *reterr)
{
    struct plugin_config config = {};

    int r = plugin_options_decode(&config, msgpack, n_bytes, reterr);
    if (r < 0) {
        plugin_options_done(&config);
        return r;
    }
    plugin_options_done(&driver->config);
    driver->config = config;
    fingerprint_set_enabled(driver->fingerprint, config.enabled);
    return 0;
}

void driver_set_core_mhz(struct driver *driver, double mhz)
{
    driver->core_mhz = mhz;
}

struct fingerprint_watch *driver_watch_fingerprint(struct driver *driver,
                                                   driver_fingerprint_fn changed, void *data)
{
    return fingerprint_watch(driver->fingerprint, changed, data);
}

/* --- life ------------------------------------------------------------------------------------ */

struct driver *driver_new(struct bus *bus)
{
    struct driver *driver = ALLOC_NEW(struct driver);

    driver->bus = bus;
    driver->answers = answers_new(bus_event(bus));
    driver->host = (struct task_host){
        .bus = bus,
        .units = units_new(bus),
        .events = task_events_new(bus_event(bus)),
        .networks = networks_new(bus_event(bus), &driver->config, RUNTIME_DIR_ROOT),
        .config = &driver->config,
        .raise = lifecycle_handle,
        .gone = on_task_gone,
        .data = driver,
    };
    driver->fingerprint = fingerprint_new(bus, probe_host, FINGERPRINT_TIMES);
    int r = plugin_options_decode(&driver->config, NULL, 0, NULL);
    assert(r >= 0);
    LIST_INIT(&driver->tasks);
    return driver;
}

sd_event *driver_event(const struct driver *driver)
{
    return bus_event(driver->bus);
}

struct driver *driver_free(struct driver *driver)
{
    if (driver == NULL)
        return NULL;
    while (!LIST_EMPTY(&driver->tasks)) {
        struct task *task = LIST_FIRST(&driver->tasks);

        lifecycle_abandon(task);
        on_task_gone(task, driver);
    }
    driver->answers = answers_free(driver->answers);
    driver->fingerprint = fingerprint_free(driver->fingerprint);
    driver->host.events = task_events_free(driver->host.events);
    driver->host.networks = networks_free(driver->host.networks);
    driver->host.units = units_free(driver->host.units);
    plugin_options_done(&driver->config);
    pairs_done(&driver->attributes);
    free(driver);
    return NULL;
}
