/* Each state and each event: what is answered, and in which phase the task is then. The table is
 * tests/unit/golden/driver_states.txt. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/nspawn/leader.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/golden.h"
#include "tests/support/tasks/lifecycle/driver_fixture.h"

#define STOP_USEC (20 * UINT64_C(1000000))

/* --- states ---------------------------------------------------------------------------------- */

static bool has_main_pid(void *data)
{
    const struct driver_fixture *f = data;

    return fake_systemd_main_pid(f->systemd, DRIVER_FIXTURE_UNIT) > 0;
}

static void get_starting(struct driver_fixture *f)
{
    fake_nspawn_set(f->nspawn,
                    (struct fake_nspawn_how){ .never_ready = true, .never_starts = true });
    (void)driver_fixture_start(f, NULL);
    assert_true(event_run_until(f->event, has_main_pid, f));
    (void)fake_nspawn_leader(f->nspawn);
    event_run_pending(f->event);
}

static void get_running(struct driver_fixture *f)
{
    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    event_run_pending(f->event);
}

static bool is_held(void *data)
{
    const struct driver_fixture *f = data;

    return fake_bus_n_held(f->fake) > 0;
}

static void get_recovering(struct driver_fixture *f)
{
    get_running(f);
    driver_fixture_end_driver(f);
    driver_fixture_new_driver(f);
    event_run_pending(f->event);
    fake_bus_hold(f->fake);
    (void)driver_fixture_recover(f);
    assert_true(event_run_until(f->event, is_held, f));
}

static void get_stopping(struct driver_fixture *f)
{
    fake_nspawn_set(f->nspawn, (struct fake_nspawn_how){ .plays_init = true, .is_stubborn = true });
    get_running(f);
    (void)driver_fixture_stop(f, STOP_USEC, NULL);
    event_run_pending(f->event);
}

struct expected {
    struct driver_fixture *f;
    unsigned n_stops;
};

static bool is_stop_called(void *data)
{
    const struct expected *expected = data;

    return fake_bus_n_calls(expected->f->fake, "StopUnit") > expected->n_stops;
}

/* The unit that holds the logs does not stop. */
static void get_draining(struct driver_fixture *f)
{
    struct expected expected = { f, 0 };

    get_running(f);
    expected.n_stops = fake_bus_n_calls(f->fake, "StopUnit");
    fake_systemd_hold_jobs(f->systemd, true);
    driver_fixture_let_go(f, "3");
    assert_true(event_run_until(f->event, is_stop_called, &expected));
    event_run_pending(f->event);
}

static void get_exited(struct driver_fixture *f)
{
    get_running(f);
    driver_fixture_let_go(f, "3");
    driver_fixture_await(f, driver_fixture_wait(f));
    event_run_pending(f->event);
}

/* A unit does not stop. */
static void get_removing(struct driver_fixture *f)
{
    get_exited(f);
    fake_systemd_hold_jobs(f->systemd, true);
    (void)driver_fixture_destroy(f, false);
    event_run_pending(f->event);
}

static const struct {
    const char *name;
    void (*get)(struct driver_fixture *f);
} states[] = {
    { "starting", get_starting }, { "recovering", get_recovering }, { "running", get_running },
    { "stopping", get_stopping }, { "draining", get_draining },     { "exited", get_exited },
    { "removing", get_removing },
};

/* What kept it there is over. */
static void release(struct driver_fixture *f)
{
    fake_bus_release(f->fake);
    fake_systemd_hold_jobs(f->systemd, false);
}

/* --- events ---------------------------------------------------------------------------------- */

static const struct asked *stop(struct driver_fixture *f)
{
    return driver_fixture_stop(f, STOP_USEC, NULL);
}

static const struct asked *stop_at_once(struct driver_fixture *f)
{
    return driver_fixture_stop(f, 0, NULL);
}

static const struct asked *stop_by_nonsense(struct driver_fixture *f)
{
    return driver_fixture_stop(f, STOP_USEC, "SIGNONE");
}

static const struct asked *destroy(struct driver_fixture *f)
{
    return driver_fixture_destroy(f, false);
}

static const struct asked *destroy_by_force(struct driver_fixture *f)
{
    return driver_fixture_destroy(f, true);
}

static const struct asked *send_signal(struct driver_fixture *f)
{
    return driver_fixture_signal(f, "SIGWINCH");
}

static const struct asked *freeze(struct driver_fixture *f)
{
    return driver_fixture_signal(f, "SIGSTOP");
}

static const struct asked *thaw(struct driver_fixture *f)
{
    return driver_fixture_signal(f, "SIGCONT");
}

static const struct asked *wait_for_end(struct driver_fixture *f)
{
    return driver_fixture_wait(f);
}

static const struct asked *start_again(struct driver_fixture *f)
{
    return driver_fixture_start(f, NULL);
}

static const struct asked *recover_again(struct driver_fixture *f)
{
    free(f->driver_state);
    f->driver_state = NULL;
    f->n_state_bytes = 0;
    return driver_fixture_recover(f);
}

/* Something happens, and who waits is told of the end, if it was one. */
static const struct asked *end_unit(struct driver_fixture *f)
{
    pid_t pid = fake_systemd_main_pid(f->systemd, DRIVER_FIXTURE_UNIT);
    const struct asked *wait = driver_fixture_wait(f);

    if (pid > 0)
        (void)kill(pid, SIGKILL);
    return wait;
}

static const struct asked *forget_unit(struct driver_fixture *f)
{
    const struct asked *wait = driver_fixture_wait(f);

    fake_systemd_forget(f->systemd, DRIVER_FIXTURE_UNIT);
    fake_bus_name(f->fake, "org.freedesktop.systemd1", ":1.1", ":1.2");
    return wait;
}

static const struct asked *lose_bus(struct driver_fixture *f)
{
    const struct asked *wait = driver_fixture_wait(f);

    fake_bus_vanish(f->fake);
    event_run_pending(f->event);
    fake_bus_appear(f->fake);
    return wait;
}

/* Whatever was asked before is answered, and the next plugin starts the task over. */
static const struct asked *end_plugin(struct driver_fixture *f)
{
    const struct asked *last = f->asked[f->n_asked - 1];

    driver_fixture_end_driver(f);
    release(f);
    driver_fixture_new_driver(f);
    fake_nspawn_set(f->nspawn, (struct fake_nspawn_how){ .plays_init = true });
    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    return last;
}

static const struct {
    const char *name;
    const struct asked *(*raise)(struct driver_fixture *f);
    bool goes_on; /* a task that runs does so afterwards */
} events[] = {
    { "stop", stop, false },
    { "stop, no timeout", stop_at_once, false },
    { "stop by SIGNONE", stop_by_nonsense, false },
    { "destroy", destroy, false },
    { "destroy, force", destroy_by_force, false },
    { "SIGWINCH", send_signal, false },
    { "SIGSTOP", freeze, false },
    { "SIGCONT", thaw, false },
    { "wait", wait_for_end, true },
    { "start", start_again, false },
    { "recover", recover_again, false },
    { "nspawn killed", end_unit, false },
    { "unit gone", forget_unit, false },
    { "bus lost", lose_bus, true },
    { "end of the plugin", end_plugin, false },
};

/* --- what is answered at once ---------------------------------------------------------------- */

static const char *inspect(struct driver_fixture *f)
{
    static const char *const names[] = { "unknown", "running", "exited" };

    return names[driver_fixture_phase(f)];
}

static void on_output(enum exec_stream stream, const uint8_t *bytes, size_t n, void *data)
{
    (void)stream, (void)bytes, (void)n, (void)data;
}

static void on_drained(void *data)
{
    (void)data;
}

static void on_ended(const struct task_exit *exit, const struct fail *fail, void *data)
{
    (void)exit, (void)fail, (void)data;
}

/* Where the task runs it depends on the host's cgroups what becomes of it. */
static const char *execute(struct driver_fixture *f)
{
    static const struct exec_events nothing = { on_output, on_drained, on_ended };
    CLEANUP(strv_done) struct strv argv = {};
    struct exec *exec = NULL;

    strv_push(&argv, "/bin/true");
    int r = driver_exec_start(f->driver, DRIVER_FIXTURE_ID,
                              &(const struct exec_args){ .argv = &argv }, &nothing, NULL, &exec,
                              NULL);
    if (r >= 0)
        exec_free(exec);
    return r == -ESRCH ? "ESRCH" : "tried";
}

static const struct {
    const char *name;
    const char *(*ask)(struct driver_fixture *f);
} questions[] = {
    { "inspect", inspect },
    { "exec", execute },
};

/* --- the table ------------------------------------------------------------------------------- */

static struct driver_fixture *get(size_t state)
{
    struct driver_fixture *f = driver_fixture_new();

    fake_nspawn_set(f->nspawn, (struct fake_nspawn_how){ .plays_init = true });
    event_run_pending(f->event);
    states[state].get(f);
    return f;
}

static bool are_all_answered(void *data)
{
    const struct driver_fixture *f = data;

    for (size_t i = 0; i < f->n_asked; i++)
        if (f->asked[i]->n_answers == 0 && !f->asked[i]->is_given_up)
            return false;
    return true;
}

static void finish(struct driver_fixture *f)
{
    release(f);
    driver_fixture_expect(f, driver_fixture_destroy(f, true));
    assert_true(event_run_until(f->event, are_all_answered, f));
    event_run_pending(f->event);
    driver_fixture_free(f);
}

/* "EBUSY running": what was answered, and when. */
static char *describe(const struct asked *asked)
{
    static const char *const phases[] = { "early", "running", "ended" };
    const char *result = asked->is_given_up    ? "nothing"
                         : asked->error < 0    ? strerrorname_np(-asked->error)
                         : asked->text != NULL ? "failure"
                                               : "done";

    if (strcmp(asked->what, "wait") == 0 && asked->error == 0 && asked->text == NULL &&
        !asked->is_given_up)
        return alloc_printf("%d %s", asked->exit.exit_code, phases[asked->phase]);
    return alloc_printf("%s %s", result, phases[asked->phase]);
}

static char *try_event(size_t state, size_t event)
{
    struct driver_fixture *f = get(state);
    const struct asked *asked = events[event].raise(f);

    release(f);
    if (!events[event].goes_on && asked->n_answers == 0)
        driver_fixture_await(f, asked);
    /* The answer is looked at when all is over, and is still there: the fixture is freed last. */
    driver_fixture_expect(f, driver_fixture_destroy(f, true));
    assert_true(event_run_until(f->event, are_all_answered, f));
    char *cell = describe(asked);
    finish(f);
    return cell;
}

static void append(char **table, const char *cell, int width)
{
    char *longer = alloc_printf("%s%-*s", *table != NULL ? *table : "", width, cell);

    free(*table);
    *table = longer;
}

/* Without blanks at the end of a line. */
static void end_line(char **table)
{
    size_t n = strlen(*table);

    while (n > 0 && (*table)[n - 1] == ' ')
        (*table)[--n] = '\0';
    append(table, "\n", 1);
}

static const char *under_way; /* the pair, for who reads why a test failed */

static int teardown(void **state)
{
    if (under_way != NULL)
        print_error("it was about '%s'\n", under_way);
    under_way = NULL;
    return fd_leak_teardown(state);
}

static void add_row(char **table, const char *name, size_t row, bool is_question)
{
    append(table, name, 20);
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        CLEANUP_FREE char *pair = alloc_printf("%s: %s", states[i].name, name);
        CLEANUP_FREE char *cell = NULL;
        under_way = pair;
        if (is_question) {
            struct driver_fixture *f = get(i);
            cell = alloc_strdup(questions[row].ask(f));
            finish(f);
        } else {
            cell = try_event(i, row);
        }
        append(table, cell, 18);
        under_way = NULL;
    }
    end_line(table);
}

static void test_each_event_in_each_state(void **state)
{
    CLEANUP_FREE char *table = NULL;

    (void)state;
    append(&table, "", 20);
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        append(&table, states[i].name, 18);
    end_line(&table);
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        add_row(&table, events[i].name, i, false);
    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++)
        add_row(&table, questions[i].name, i, true);
    golden_compare("driver_states.txt", table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_event_in_each_state, fd_leak_setup, teardown),
    };

    /* As on kernels before 6.15; others know more. */
    (void)setenv(LEADER_NO_STATUS_ENV, "1", 1);
    return cmocka_run_group_tests(tests, driver_fixture_enter, NULL);
}
