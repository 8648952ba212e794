#include "tests/support/tasks/lifecycle/every_step.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/event.h"
#include "tests/support/fd_leak.h"

/* A flow that takes more never ends. */
#define EVENTS_MAX 2000

#define STOP_USEC (20 * UINT64_C(1000000))

struct disturbance {
    const char *name;
    void (*happen)(struct driver_fixture *f);
};

static struct {
    const char *name; /* NULL: nothing is under way */
    unsigned n;
} at;

int every_step_teardown(void **state)
{
    if (at.name != NULL)
        print_error("there was %s after event %u\n", at.name, at.n);
    at.name = NULL;
    return fd_leak_teardown(state);
}

/* --- what comes in between ------------------------------------------------------------------- */

static void stop(struct driver_fixture *f)
{
    (void)driver_fixture_stop(f, STOP_USEC, NULL);
}

static void stop_at_once(struct driver_fixture *f)
{
    (void)driver_fixture_stop(f, 0, NULL);
}

static void destroy(struct driver_fixture *f)
{
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

/* Another one is there at once, as after an upgrade; what the first left in the middle of things is
 * cleared away by the next start. */
static void end_plugin(struct driver_fixture *f)
{
    driver_fixture_end_driver(f);
    driver_fixture_new_driver(f);
    driver_fixture_expect(f, driver_fixture_start(f, NULL));
}

static const struct disturbance disturbances[] = {
    { "a stop", stop },
    { "a stop without time", stop_at_once },
    { "a destroy by force", destroy },
    { "a freeze and a thaw", freeze },
    { "a lost bus", lose_bus },
    { "a restart of systemd", restart_systemd },
    { "an nspawn that is killed", kill_nspawn },
    { "an end of the plugin", end_plugin },
    {},
};

static void destroy_politely(struct driver_fixture *f)
{
    (void)driver_fixture_destroy(f, false);
}

static void stop_and_destroy(struct driver_fixture *f)
{
    (void)driver_fixture_stop(f, STOP_USEC, NULL);
    (void)driver_fixture_destroy(f, true);
}

static void start_again(struct driver_fixture *f)
{
    (void)driver_fixture_start(f, NULL);
}

static const struct disturbance refused[] = {
    { "a destroy without force", destroy_politely },
    { "a stop and a destroy", stop_and_destroy },
    { "another start", start_again },
    {},
};

/* --- runs ------------------------------------------------------------------------------------ */

/* Answers whether it is still not answered after n events. */
static bool run(struct driver_fixture *f, const struct asked *asked, unsigned n)
{
    for (unsigned i = 0; i < n && asked->n_answers == 0; i++) {
        int r = sd_event_run(f->event, EVENT_DEADLINE_USEC);
        assert_true(r > 0);
    }
    return asked->n_answers == 0;
}

static bool are_all_answered(void *data)
{
    const struct driver_fixture *f = data;

    for (size_t i = 0; i < f->n_asked; i++)
        if (f->asked[i]->n_answers == 0 && !f->asked[i]->is_given_up)
            return false;
    return true;
}

static void finish(struct driver_fixture *f, const struct asked *asked)
{
    if (!asked->is_given_up)
        driver_fixture_await(f, asked);
    driver_fixture_expect(f, driver_fixture_destroy(f, true));
    if (!event_run_until(f->event, are_all_answered, f))
        for (size_t i = 0; i < f->n_asked; i++)
            if (f->asked[i]->n_answers == 0)
                fail_msg("%s was not answered", f->asked[i]->what);
    event_run_pending(f->event);
    driver_fixture_free(f);
}

static bool disturb(struct asked *(*begin)(struct driver_fixture *f),
                    const struct disturbance *disturbance, unsigned n)
{
    struct driver_fixture *f = driver_fixture_new();

    fake_nspawn_set(f->nspawn, (struct fake_nspawn_how){ .plays_init = true });
    event_run_pending(f->event);
    struct asked *asked = begin(f);
    bool is_under_way = run(f, asked, n);
    if (is_under_way)
        disturbance->happen(f);
    finish(f, asked);
    return is_under_way;
}

static void run_all(struct asked *(*begin)(struct driver_fixture *f), const struct disturbance *all)
{
    const char *only = getenv("EVERY_STEP_ONLY"), *first = getenv("EVERY_STEP_FROM"); /* people's */

    for (const struct disturbance *disturbance = all; disturbance->name != NULL; disturbance++) {
        if (only != NULL && strcmp(disturbance->name, only) != 0)
            continue;
        at.name = disturbance->name;
        at.n = first != NULL ? (unsigned)atoi(first) : 1;
        while (at.n < EVENTS_MAX && disturb(begin, disturbance, at.n))
            at.n++;
        assert_true(at.n < EVENTS_MAX);
        assert_true(at.n > 1); /* it was under way at least once */
    }
    at.name = NULL;
}

void every_step(struct asked *(*begin)(struct driver_fixture *f))
{
    run_all(begin, disturbances);
}

void every_step_refused(struct asked *(*begin)(struct driver_fixture *f))
{
    run_all(begin, refused);
}
