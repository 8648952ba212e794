#include "tests/support/tasks/lifecycle/driver_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/nspawn/settings_file.h"
#include "tasks/persist/runtime_dir.h"
#include "tests/support/event.h"
#include "tests/support/private_run.h"
#include "tests/support/scratch_dir.h"
#include "tests/support/tasks/lifecycle/driver_fixture_services.h"
#include "tests/support/tasks/spec/pack.h"

/* --- life ------------------------------------------------------------------------------------ */

int driver_fixture_enter(void **state)
{
    (void)private_run_or_skip(state);
    (void)mkdir("/var/cache/nomad-driver-nspawn", 0755);
    if (mount("tmpfs", "/var/cache/nomad-driver-nspawn", "tmpfs", MS_NOSUID | MS_NODEV,
              "mode=0755") < 0 ||
        mkdir("/run/systemd", 0755) < 0)
        return -1;
    return 0;
}

static void on_event(const struct task_event *event, void *data)
{
    struct driver_fixture *f = data;

    strv_push(&f->told, event->message);
}

void driver_fixture_new_driver(struct driver_fixture *f)
{
    struct packed config = pack("{'seccomp_cache': false}");

    f->driver = driver_new(f->bus);
    int r = driver_set_config(f->driver, config.bytes, config.n_bytes, NULL);
    assert_true(r >= 0);
    packed_done(&config);
    f->watch = driver_watch_events(f->driver, on_event, f);
}

/* Who waits is gone by then, as with a connection. */
void driver_fixture_end_driver(struct driver_fixture *f)
{
    for (size_t i = 0; i < f->n_asked; i++) {
        f->asked[i]->is_given_up |= f->asked[i]->waiter != NULL;
        f->asked[i]->waiter = task_waiter_free(f->asked[i]->waiter);
    }
    f->watch = event_watch_free(f->watch);
    f->driver = driver_free(f->driver);
}

static int make_fifo(const char *dir, const char *name, int flags)
{
    CLEANUP_FREE char *path = scratch_dir_path(dir, name);

    assert_int_equal(mkfifo(path, 0666), 0);
    int fd = open(path, flags | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

struct driver_fixture *driver_fixture_new(void)
{
    struct driver_fixture *f = ALLOC_NEW(struct driver_fixture);

    f->dir = scratch_dir_new();
    f->image = scratch_dir_path(f->dir, "image");
    fake_nspawn_make_image(f->image);
    CLEANUP_FREE char *go = scratch_dir_path(f->image, "go");
    assert_int_equal(mkdir(go, 0755), 0);
    f->go_fd = make_fifo(go, "fifo", O_RDWR); /* what is written waits for who reads */
    f->stdout_fd = make_fifo(f->dir, "stdout", O_RDONLY);
    f->stderr_fd = make_fifo(f->dir, "stderr", O_RDONLY);
    for (int i = 0; i < EXEC_STREAM_MAX; i++)
        f->output[i] = alloc_zero(1, 1);
    f->networkd_state = "inactive";
    assert_true(sd_event_new(&f->event) >= 0);
    f->fake = fake_bus_new(f->event);
    f->systemd = fake_systemd_new(f->fake, f->event);
    f->nspawn = fake_nspawn_new(f->systemd);
    driver_fixture_answer(f);
    f->bus = bus_new(f->event, fake_bus_address(f->fake));
    driver_fixture_new_driver(f);
    return f;
}

static void check_nothing_left(const struct driver_fixture *f)
{
    for (size_t i = 0; i < f->n_asked; i++)
        if (f->asked[i]->n_answers != !f->asked[i]->is_given_up)
            fail_msg("%s was answered %u times", f->asked[i]->what, f->asked[i]->n_answers);
    assert_int_equal(fake_systemd_n_units(f->systemd), 0);
    assert_int_equal(fake_systemd_n_slices(f->systemd), 0);
    if (access(RUNTIME_DIR_ROOT, F_OK) == 0)
        assert_int_equal(scratch_dir_count(RUNTIME_DIR_ROOT), 0);
    if (access(SETTINGS_FILE_DIR, F_OK) == 0)
        assert_int_equal(scratch_dir_count(SETTINGS_FILE_DIR), 0);
}

void driver_fixture_free(struct driver_fixture *f)
{
    driver_fixture_end_driver(f);
    bus_free(f->bus);
    check_nothing_left(f);
    fake_systemd_free(f->systemd);
    fake_nspawn_free(f->nspawn);
    fake_bus_free(f->fake);
    sd_event_unref(f->event);
    (void)close_fd(f->go_fd);
    (void)close_fd(f->stdout_fd);
    (void)close_fd(f->stderr_fd);
    scratch_dir_free(f->dir);
    for (size_t i = 0; i < f->n_asked; i++) {
        free(f->asked[i]->text);
        free(f->asked[i]);
    }
    free((void *)f->asked);
    for (int i = 0; i < EXEC_STREAM_MAX; i++)
        free(f->output[i]);
    strv_done(&f->told);
    free(f->driver_state);
    free(f->address);
    free(f->image);
    free(f);
}

/* --- answers --------------------------------------------------------------------------------- */

static struct asked *asked_new(struct driver_fixture *f, const char *what)
{
    struct asked *asked = ALLOC_NEW(struct asked);

    asked->f = f;
    asked->what = what;
    f->asked = (struct asked **)alloc_grow((void *)f->asked, f->n_asked + 1, sizeof(asked));
    f->asked[f->n_asked++] = asked;
    return asked;
}

static void note_answer(struct asked *asked)
{
    struct task_status status;

    asked->n_answers++;
    if (driver_inspect_task(asked->f->driver, DRIVER_FIXTURE_ID, &status, NULL) >= 0)
        asked->phase = status.phase;
}

static void on_done(const struct fail *fail, void *data)
{
    struct asked *asked = data;

    note_answer(asked);
    if (fail == NULL)
        return;
    asked->error = fail->error;
    asked->is_recoverable = fail->recoverable;
    free(asked->text);
    asked->text = alloc_strdup(fail_text(fail));
}

static void on_started(const struct task_started *started, const struct fail *fail, void *data)
{
    struct asked *asked = data;
    struct driver_fixture *f = asked->f;

    assert_true((started == NULL) == (fail != NULL));
    on_done(fail, asked);
    if (started == NULL)
        return;
    free(f->driver_state);
    f->driver_state = alloc_memdup(started->driver_state, started->n_bytes);
    f->n_state_bytes = started->n_bytes;
    f->network = started->network;
    free(f->address);
    f->address = alloc_strdup(started->network.address);
}

static void on_exited(const struct task_exit *exit, void *data)
{
    struct asked *asked = data;

    note_answer(asked);
    asked->waiter = NULL;
    asked->exit = *exit;
    asked->exit.error = NULL;
    free(asked->text);
    asked->text = alloc_strdup(exit->error);
}

/* --- requests -------------------------------------------------------------------------------- */

static struct task_spec make_spec(struct driver_fixture *f)
{
    return (struct task_spec){
        .id = alloc_strdup(DRIVER_FIXTURE_ID),
        .name = alloc_strdup("web"),
        .alloc_id = alloc_strdup(DRIVER_FIXTURE_ALLOC),
        .alloc_dir = alloc_strdup(f->dir),
        .stdout_path = scratch_dir_path(f->dir, "stdout"),
        .stderr_path = scratch_dir_path(f->dir, "stderr"),
    };
}

struct asked *driver_fixture_start_config(struct driver_fixture *f, const char *config)
{
    struct task_spec spec = make_spec(f);
    struct packed packed = pack(config); /* its bytes become the spec's */
    struct asked *asked = asked_new(f, "start");

    spec.config = packed.bytes;
    spec.config_bytes = packed.n_bytes;
    if (f->prepare != NULL)
        f->prepare(&spec, f);
    driver_start_task(f->driver, &spec, on_started, asked);
    return asked;
}

struct asked *driver_fixture_start(struct driver_fixture *f, const char *options)
{
    CLEANUP_FREE char *config = alloc_printf("{'image': '%s', 'user_namespacing': false, "
                                             "'network_veth': false, %s}",
                                             f->image,
                                             options != NULL ? options : DRIVER_FIXTURE_WAITS);

    return driver_fixture_start_config(f, config);
}

struct asked *driver_fixture_recover(struct driver_fixture *f)
{
    struct task_spec spec = make_spec(f);
    struct asked *asked = asked_new(f, "recover");

    driver_recover_task(f->driver, &spec, f->driver_state, f->n_state_bytes, on_done, asked);
    return asked;
}

struct asked *driver_fixture_wait(struct driver_fixture *f)
{
    struct asked *asked = asked_new(f, "wait");
    CLEANUP_FAIL struct fail fail = {};

    if (driver_wait_task(f->driver, DRIVER_FIXTURE_ID, on_exited, asked, &asked->waiter, &fail) < 0)
        on_done(&fail, asked);
    return asked;
}

struct asked *driver_fixture_stop(struct driver_fixture *f, uint64_t timeout_usec,
                                  const char *signal)
{
    struct asked *asked = asked_new(f, "stop");

    driver_stop_task(f->driver, DRIVER_FIXTURE_ID, timeout_usec, signal, on_done, asked);
    return asked;
}

struct asked *driver_fixture_destroy(struct driver_fixture *f, bool force)
{
    struct asked *asked = asked_new(f, "destroy");

    driver_destroy_task(f->driver, DRIVER_FIXTURE_ID, force, on_done, asked);
    return asked;
}

struct asked *driver_fixture_signal(struct driver_fixture *f, const char *signal)
{
    struct asked *asked = asked_new(f, "signal");

    driver_signal_task(f->driver, DRIVER_FIXTURE_ID, signal, on_done, asked);
    return asked;
}

static bool is_answered(void *data)
{
    const struct asked *asked = data;

    return asked->n_answers > 0;
}

void driver_fixture_await(struct driver_fixture *f, const struct asked *asked)
{
    if (!event_run_until(f->event, is_answered, (void *)(uintptr_t)asked))
        fail_msg("%s was not answered", asked->what);
    assert_int_equal(asked->n_answers, 1);
}

void driver_fixture_expect(struct driver_fixture *f, const struct asked *asked)
{
    driver_fixture_await(f, asked);
    if (asked->error < 0)
        fail_msg("%s failed: %s", asked->what, asked->text);
}

void driver_fixture_let_go(struct driver_fixture *f, const char *code)
{
    CLEANUP_FREE char *line = alloc_printf("%s\n", code);

    assert_int_equal(write(f->go_fd, line, strlen(line)), strlen(line));
}

/* --- looking --------------------------------------------------------------------------------- */

enum task_phase driver_fixture_phase(struct driver_fixture *f)
{
    struct task_status status;

    int r = driver_inspect_task(f->driver, DRIVER_FIXTURE_ID, &status, NULL);
    assert_true(r >= 0);
    return status.phase;
}

bool driver_fixture_was_told(const struct driver_fixture *f, const char *part)
{
    for (size_t i = 0; i < f->told.n_items; i++)
        if (strstr(f->told.items[i], part) != NULL)
            return true;
    return false;
}

struct expected {
    const struct driver_fixture *f;
    const char *part;
};

static bool is_told(void *data)
{
    const struct expected *expected = data;

    return driver_fixture_was_told(expected->f, expected->part);
}

bool driver_fixture_await_told(struct driver_fixture *f, const char *part)
{
    struct expected expected = { f, part };

    return event_run_until(f->event, is_told, &expected);
}

const char *driver_fixture_output(struct driver_fixture *f, enum exec_stream stream)
{
    int fd = stream == EXEC_STDOUT ? f->stdout_fd : f->stderr_fd;
    char **text = &f->output[stream], piece[4096];
    size_t n = strlen(*text);
    ssize_t got;

    while ((got = read(fd, piece, sizeof(piece))) > 0) {
        *text = alloc_grow(*text, n + (size_t)got + 1, 1);
        memcpy(*text + n, piece, (size_t)got);
        n += (size_t)got;
        (*text)[n] = '\0';
    }
    return *text;
}

struct expected_output {
    struct driver_fixture *f;
    enum exec_stream stream;
    const char *part;
};

static bool is_output(void *data)
{
    const struct expected_output *expected = data;

    return strstr(driver_fixture_output(expected->f, expected->stream), expected->part) != NULL;
}

bool driver_fixture_await_output(struct driver_fixture *f, enum exec_stream stream,
                                 const char *part)
{
    struct expected_output expected = { f, stream, part };

    return event_run_until(f->event, is_output, &expected);
}
