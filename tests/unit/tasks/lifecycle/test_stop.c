/* Stops, with real processes for the container and systemd on a fake bus: what is sent, to whom,
 * and who is answered when. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/lifecycle/lifecycle.h"
#include "tasks/lifecycle/stop.h"
#include "tasks/lifecycle/task_events.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/reactor/fake_bus.h"
#include "tests/support/tasks/systemd/fake_systemd.h"

#define ALLOC "8a1f9c0e-0000-4000-8000-000000000001"
#define ID    ALLOC "/web/0a1b2c3d"

struct scene {
    sd_event *event;
    struct fake_bus *fake;
    struct fake_systemd *systemd;
    struct task_host host;
    struct event_watch *watch;
    struct task *task;
    pid_t leader;
    bool is_answered, is_gone;
    struct strv told, answers;
};

static void on_gone(struct task *task, void *data)
{
    struct scene *scene = data;

    scene->is_gone = true;
    scene->task = lifecycle_free(task);
}

static void on_event(const struct task_event *event, void *data)
{
    struct scene *scene = data;

    strv_push(&scene->told, event->message);
}

static void on_done(const struct fail *fail, void *data)
{
    struct scene *scene = data;

    scene->is_answered = true;
    strv_push(&scene->answers, fail != NULL ? fail_text(fail) : "done");
}

/* A leader that ignores SIGTERM, as PID 1 of a process without a handler does. */
static pid_t start_leader(void)
{
    int ready[2];
    char byte;

    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)signal(SIGTERM, SIG_IGN);
        (void)close(ready[0]);
        if (write(ready[1], "", 1) != 1)
            _exit(1);
        (void)close(ready[1]);
        for (;;)
            (void)pause();
    }
    (void)close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    (void)close(ready[0]);
    return pid;
}

static struct scene *scene_new(enum task_state state)
{
    struct scene *scene = ALLOC_NEW(struct scene);
    struct task_spec spec = { .id = alloc_strdup(ID),
                              .name = alloc_strdup("web"),
                              .alloc_id = alloc_strdup(ALLOC) };

    assert_true(sd_event_new(&scene->event) >= 0);
    scene->fake = fake_bus_new(scene->event);
    scene->systemd = fake_systemd_new(scene->fake, scene->event);
    scene->host.bus = bus_new(scene->event, fake_bus_address(scene->fake));
    scene->host.units = units_new(scene->host.bus);
    scene->host.events = task_events_new(scene->event);
    scene->host.raise = lifecycle_handle;
    scene->host.gone = on_gone;
    scene->host.data = scene;
    scene->watch = task_events_watch(scene->host.events, on_event, scene);
    scene->task = lifecycle_new(&scene->host, &spec, state);
    scene->task->unit.main_pid = getpid(); /* we are nspawn */
    scene->leader = start_leader();
    task_note_leader(scene->task, scene->leader);
    assert_true(scene->task->leader_fd >= 0);
    return scene;
}

/* The signal that ended the leader. */
static int reap(struct scene *scene)
{
    int status;

    assert_int_equal(waitpid(scene->leader, &status, 0), scene->leader);
    scene->leader = 0;
    assert_true(WIFSIGNALED(status));
    return WTERMSIG(status);
}

static void scene_free(struct scene *scene)
{
    if (scene->leader > 0) {
        assert_int_equal(kill(scene->leader, SIGKILL), 0);
        (void)reap(scene);
    }
    if (scene->task != NULL)
        lifecycle_abandon(scene->task);
    lifecycle_free(scene->task);
    event_watch_free(scene->watch);
    task_events_free(scene->host.events);
    units_free(scene->host.units);
    bus_free(scene->host.bus);
    fake_systemd_free(scene->systemd);
    fake_bus_free(scene->fake);
    sd_event_unref(scene->event);
    strv_done(&scene->told);
    strv_done(&scene->answers);
    free(scene);
}

static void ask(struct scene *scene, int signal, uint64_t timeout_usec)
{
    lifecycle_handle(scene->task, LIFECYCLE_STOP,
                     &(const struct lifecycle_args){ .signal = signal, .usec = timeout_usec });
}

static void stop(struct scene *scene, int signal, uint64_t timeout_usec)
{
    task_requests_add(&scene->task->stops, on_done, scene);
    ask(scene, signal, timeout_usec);
}

static void expect_told(struct scene *scene, const char *expected)
{
    event_run_pending(scene->event);
    CLEANUP_FREE char *told = strv_join(&scene->told, "; ");
    assert_string_equal(told, expected);
}

static void test_process_gets_the_signal_that_was_asked_for(void **state)
{
    struct scene *scene = scene_new(TASK_RUNNING);

    (void)state;
    stop(scene, SIGUSR1, 60000000);
    assert_int_equal(reap(scene), SIGUSR1);
    assert_int_equal(scene->task->state, TASK_STOPPING);
    expect_told(scene, "Sent SIGUSR1 to the task's process");
    assert_false(scene->is_answered); /* the unit's end tells */
    scene_free(scene);
}

static void test_booted_system_is_told_to_halt(void **state)
{
    struct scene *scene = scene_new(TASK_RUNNING);

    (void)state;
    scene->task->is_booted = true;
    stop(scene, 0, 60000000);
    assert_int_equal(reap(scene), SIGRTMIN + 3);
    expect_told(scene, "Sent SIGRTMIN+3 to the system's init, to shut down in order");
    scene_free(scene);
}

static void test_who_ignores_it_is_killed_and_the_stop_answered_without_systemd(void **state)
{
    struct scene *scene = scene_new(TASK_RUNNING);

    (void)state;
    fake_bus_vanish(scene->fake);
    stop(scene, SIGTERM, 20000);
    assert_true(event_run_until_set(scene->event, &scene->is_answered));
    assert_int_equal(reap(scene), SIGKILL);
    assert_string_equal(scene->answers.items[0], "done");
    assert_true(stop_has_killed(scene->task->stop));
    expect_told(scene, "Sent SIGTERM to the task's process; "
                       "Did not end within 0.02 s, killed by SIGKILL");
    scene_free(scene);
}

static void test_stop_of_what_can_t_be_killed_says_so(void **state)
{
    struct scene *scene = scene_new(TASK_RUNNING);

    (void)state;
    assert_int_equal(kill(scene->leader, SIGKILL), 0);
    (void)reap(scene);
    scene->task->leader_fd = close_fd(scene->task->leader_fd); /* nobody knows of its end */
    stop(scene, SIGTERM, 0);
    assert_true(event_run_until_set(scene->event, &scene->is_answered));
    assert_non_null(strstr(scene->answers.items[0], "killing it goes on"));
    expect_told(scene, "");
    scene_free(scene);
}

static void test_timeout_of_0_kills_at_once_and_overtakes_a_patient_stop(void **state)
{
    struct scene *scene = scene_new(TASK_RUNNING);

    (void)state;
    stop(scene, SIGTERM, 60000000);
    ask(scene, SIGTERM, 60000000); /* changes nothing */
    assert_false(stop_has_killed(scene->task->stop));
    ask(scene, SIGTERM, 0);
    assert_int_equal(reap(scene), SIGKILL);
    expect_told(scene, "Sent SIGTERM to the task's process");
    scene_free(scene);
}

static void test_stop_thaws_first(void **state)
{
    struct scene *scene = scene_new(TASK_RUNNING);

    (void)state;
    assert_int_equal(lifecycle_freeze(scene->task, SIGSTOP, on_done, scene, NULL), 0);
    assert_int_equal(lifecycle_freeze(scene->task, SIGCONT, on_done, scene, NULL), -EBUSY);
    assert_true(event_run_until_set(scene->event, &scene->is_answered));
    assert_int_equal(fake_bus_n_calls(scene->fake, "FreezeUnit"), 1);
    assert_int_equal(lifecycle_freeze(scene->task, SIGSTOP, on_done, scene, NULL), 0);
    ask(scene, SIGUSR1, 60000000);
    assert_string_equal(scene->answers.items[1], "the task is being stopped");
    assert_int_equal(lifecycle_freeze(scene->task, SIGSTOP, on_done, scene, NULL), -EBUSY);
    assert_true(fake_bus_await_calls(scene->fake, "ThawUnit", 1));
    assert_int_equal(reap(scene), SIGUSR1);
    scene_free(scene);
}

static void test_frozen_only_while_it_runs(void **state)
{
    struct scene *scene = scene_new(TASK_STARTING);

    (void)state;
    assert_int_equal(lifecycle_freeze(scene->task, SIGSTOP, on_done, scene, NULL), -ESRCH);
    assert_false(scene->is_answered);
    scene_free(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_process_gets_the_signal_that_was_asked_for),
        FD_LEAK_TEST(test_booted_system_is_told_to_halt),
        FD_LEAK_TEST(test_who_ignores_it_is_killed_and_the_stop_answered_without_systemd),
        FD_LEAK_TEST(test_stop_of_what_can_t_be_killed_says_so),
        FD_LEAK_TEST(test_timeout_of_0_kills_at_once_and_overtakes_a_patient_stop),
        FD_LEAK_TEST(test_stop_thaws_first),
        FD_LEAK_TEST(test_frozen_only_while_it_runs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
