/* Start, stop, recovery and removal, disturbed at every step by all that can come in between. */
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

#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/lifecycle/every_step.h"

/* --- flows ----------------------------------------------------------------------------------- */

static struct asked *begin_start(struct driver_fixture *f)
{
    return driver_fixture_start(f, NULL);
}

/* All that is made for a network is asked of the host, too. */
static struct asked *begin_boot(struct driver_fixture *f)
{
    return driver_fixture_start(f, "'boot': true, 'console': 'pipe', 'private_network': true");
}

static struct asked *begin_recover(struct driver_fixture *f)
{
    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    driver_fixture_end_driver(f);
    driver_fixture_new_driver(f);
    return driver_fixture_recover(f);
}

/* It ends at once. */
static struct asked *begin_stop(struct driver_fixture *f)
{
    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    (void)driver_fixture_wait(f);
    return driver_fixture_stop(f, 20000000, NULL);
}

/* It has to be killed. */
static struct asked *begin_kill(struct driver_fixture *f)
{
    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    (void)driver_fixture_wait(f);
    return driver_fixture_stop(f, 0, NULL);
}

static struct asked *begin_end(struct driver_fixture *f)
{
    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    driver_fixture_let_go(f, "3");
    return driver_fixture_wait(f);
}

static struct asked *begin_remove(struct driver_fixture *f)
{
    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    driver_fixture_let_go(f, "3");
    driver_fixture_await(f, driver_fixture_wait(f));
    return driver_fixture_destroy(f, false);
}

/* Of a task that no plugin knows. */
static struct asked *begin_remove_lost(struct driver_fixture *f)
{
    driver_fixture_expect(f, driver_fixture_start(f, NULL));
    driver_fixture_end_driver(f);
    driver_fixture_new_driver(f);
    return driver_fixture_destroy(f, false);
}

/* --- what comes in between ------------------------------------------------------------------- */

static void stop(struct driver_fixture *f)
{
    (void)driver_fixture_stop(f, 20000000, NULL);
}

static void kill_it(struct driver_fixture *f)
{
    (void)driver_fixture_stop(f, 0, NULL);
}

static void destroy(struct driver_fixture *f)
{
    (void)driver_fixture_destroy(f, true);
}

static void destroy_politely(struct driver_fixture *f)
{
    (void)driver_fixture_destroy(f, false);
}

static void stop_and_destroy(struct driver_fixture *f)
{
    (void)driver_fixture_stop(f, 20000000, NULL);
    (void)driver_fixture_destroy(f, true);
}

static void freeze(struct driver_fixture *f)
{
    (void)driver_fixture_signal(f, "SIGSTOP");
    (void)driver_fixture_signal(f, "SIGCONT");
}

static void lose_bus(struct driver_fixture *f)
{
    fake_bus_vanish(f->fake);
    event_run_pending(f->event);
    fake_bus_appear(f->fake);
}

static void restart_systemd(struct driver_fixture *f)
{
    fake_bus_name(f->fake, "org.freedesktop.systemd1", ":1.1", "");
    fake_bus_name(f->fake, "org.freedesktop.systemd1", "", ":1.2");
}

static void kill_nspawn(struct driver_fixture *f)
{
    pid_t pid = fake_systemd_main_pid(f->systemd, DRIVER_FIXTURE_UNIT);

    if (pid > 0)
        (void)kill(pid, SIGKILL);
}

static void start_again(struct driver_fixture *f)
{
    (void)driver_fixture_start(f, NULL);
}

/* Another one is there at once, as after an upgrade. */
static void end_plugin(struct driver_fixture *f)
{
    driver_fixture_end_driver(f);
    driver_fixture_new_driver(f);
    /* What a plugin that died in the middle left is cleared away by the next start. */
    driver_fixture_expect(f, driver_fixture_start(f, NULL));
}

#define ROW(flow, name, disturb)           \
    {                                      \
#flow, begin_##flow, name, disturb \
    }

/* What is about other things than the flow's own steps is tried once, with a start. */
#define ONCE(flow)                                 \
    ROW(flow, "polite destroy", destroy_politely), \
        ROW(flow, "stop and destroy", stop_and_destroy), ROW(flow, "second start", start_again)

#define ALL(flow)                                                                       \
    ROW(flow, "stop", stop), ROW(flow, "kill", kill_it), ROW(flow, "destroy", destroy), \
        ROW(flow, "freeze and thaw", freeze), ROW(flow, "lost bus", lose_bus),          \
        ROW(flow, "systemd restarts", restart_systemd),                                 \
        ROW(flow, "nspawn is killed", kill_nspawn), ROW(flow, "end of the plugin", end_plugin)

static const struct {
    const char *flow;
    struct asked *(*begin)(struct driver_fixture *f);
    const char *disturbance;
    void (*disturb)(struct driver_fixture *f);
} pairs[] = {
    ALL(start),
    ONCE(start),
    ROW(boot, "stop", stop),
    ROW(boot, "lost bus", lose_bus),
    ALL(recover),
    ALL(stop),
    ALL(kill),
    ALL(end),
    ALL(remove),
    ALL(remove_lost),
};

static void test_every_step(void **state)
{
    const char *only = getenv("EVERY_STEP_ONLY"); /* for people: "start/stop" */

    (void)state;
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        char name[64];
        (void)snprintf(name, sizeof(name), "%s/%s", pairs[i].flow, pairs[i].disturbance);
        if (only != NULL && strcmp(only, name) != 0)
            continue;
        print_message("%s", name);
        unsigned n = every_step(&(const struct every_step){ pairs[i].begin, pairs[i].disturb });
        print_message(": %u times\n", n);
        assert_true(n > 0 || only != NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EVERY_STEP_TEST(test_every_step),
    };

    return cmocka_run_group_tests(tests, driver_fixture_enter, NULL);
}
