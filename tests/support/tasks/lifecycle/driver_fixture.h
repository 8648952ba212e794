/* A whole driver for tests, with systemd, machined and networkd on a fake bus and containers by the
 * fake nspawn; and Nomad's part: the FIFOs of a task's logs, and requests whose answers are
 * counted. Below a /run of the test's own. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "reactor/strv.h"
#include "tasks/driver.h"
#include "tests/support/reactor/fake_bus.h"
#include "tests/support/tasks/lifecycle/fake_nspawn.h"
#include "tests/support/tasks/systemd/fake_systemd.h"

#define DRIVER_FIXTURE_ALLOC   "8a1f9c0e-0000-4000-8000-000000000001"
#define DRIVER_FIXTURE_ID      DRIVER_FIXTURE_ALLOC "/web/0a1b2c3d"
#define DRIVER_FIXTURE_MACHINE "web-" DRIVER_FIXTURE_ALLOC
#define DRIVER_FIXTURE_UNIT    "nspawn-" DRIVER_FIXTURE_MACHINE ".service"

/* Something that was asked, and what came of it. Of the fixture. */
struct asked {
    struct driver_fixture *f;
    const char *what; /* "start", "stop", ... */
    unsigned n_answers;
    bool is_given_up;      /* a wait that was freed: no answer is to come */
    int error;             /* 0: success */
    enum task_phase phase; /* of the task when it was answered; UNKNOWN also where there is none */
    bool is_recoverable;
    char *text;                 /* of a failure; or of the exit's error */
    struct task_exit exit;      /* of a wait; `error` is NULL */
    struct task_waiter *waiter; /* of a wait that was not answered */
};

struct driver_fixture {
    char *dir, *image;
    sd_event *event;
    struct fake_bus *fake;
    struct fake_systemd *systemd;
    struct fake_nspawn *nspawn;
    struct bus *bus;
    struct driver *driver;
    struct event_watch *watch;
    struct strv told; /* messages of the task's events */
    struct asked **asked;
    size_t n_asked;
    const char *networkd_state; /* "inactive" */
    int stdout_fd, stderr_fd;   /* what Nomad reads */
    int go_fd;                  /* what a task waits for */
    char *output[EXEC_STREAM_MAX];
    uint8_t *driver_state; /* of the newest start */
    size_t n_state_bytes;
    /* Of the newest start: the address and ports are not kept. */
    struct task_network_address network;
    char *address;
    void (*prepare)(struct task_spec *spec, struct driver_fixture *f); /* may be NULL */
};

/* A set-up of a group: a /run of its own, and the folders of caches, too. Skips like
 * private_run_or_skip. */
int driver_fixture_enter(void **state);

struct driver_fixture *driver_fixture_new(void);
/* Fails the running test unless each request was answered once, and nothing is left: no unit, no
 * slice, no file. `f` has no task any more. */
void driver_fixture_free(struct driver_fixture *f);
/* The plugin ends and another takes its place; tasks run on. */
void driver_fixture_end_driver(struct driver_fixture *f);
void driver_fixture_new_driver(struct driver_fixture *f);

/* --- requests -------------------------------------------------------------------------------- */

/* A task of the fixture's image with options as in JSON with single quotes, behind others: without
 * user namespace and in the host's network. NULL: what DRIVER_FIXTURE_WAITS says. */
struct asked *driver_fixture_start(struct driver_fixture *f, const char *options);
/* All of the config. */
struct asked *driver_fixture_start_config(struct driver_fixture *f, const char *config);
/* By what the newest start has answered. */
struct asked *driver_fixture_recover(struct driver_fixture *f);
struct asked *driver_fixture_wait(struct driver_fixture *f);
struct asked *driver_fixture_stop(struct driver_fixture *f, uint64_t timeout_usec,
                                  const char *signal);
struct asked *driver_fixture_destroy(struct driver_fixture *f, bool force);
struct asked *driver_fixture_signal(struct driver_fixture *f, const char *signal);

/* Runs the loop until it is answered; fails the running test when it is not, or more than once. */
void driver_fixture_await(struct driver_fixture *f, const struct asked *asked);
/* The same, and it must have been answered with success. */
void driver_fixture_expect(struct driver_fixture *f, const struct asked *asked);

/* Runs until driver_fixture_let_go, and ends with the code that it is given. */
#define DRIVER_FIXTURE_WAITS                                                                 \
    "'boot': false, 'command': ['/bin/sh', '-c', 'echo started; read code < /go/fifo; exit " \
    "$code']"
/* To a task that waits. */
void driver_fixture_let_go(struct driver_fixture *f, const char *code);

/* --- looking --------------------------------------------------------------------------------- */

enum task_phase driver_fixture_phase(struct driver_fixture *f);
/* Whether an event of the task had this in it. */
bool driver_fixture_was_told(const struct driver_fixture *f, const char *part);
bool driver_fixture_await_told(struct driver_fixture *f, const char *part);
/* All that Nomad has got of a stream so far; of the fixture, until it is asked again. */
const char *driver_fixture_output(struct driver_fixture *f, enum exec_stream stream);
bool driver_fixture_await_output(struct driver_fixture *f, enum exec_stream stream,
                                 const char *part);
