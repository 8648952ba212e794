/* systemd-nspawn for tests: real processes in namespaces of their own, as far as a task notices.
 * What systemd is asked to run by the name of nspawn is played by a child process. It mounts what
 * the arguments bind and runs our init (or with --boot the image's FAKE_NSPAWN_SYSTEM) as PID 1 of
 * a pid namespace. It tells its notify socket who that is and that it is ready, passes SIGTERM on,
 * and ends with the exit code that nspawn makes of PID 1's end.
 *
 * The image is a directory of fake_nspawn_make_image: this system's programs are mounted into it.
 * Needs root, and a mount namespace of the test's own (tests/support/private_run.h). */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "tests/support/tasks/systemd/fake_systemd.h"

struct fake_nspawn;

/* What runs with --boot: a script, which ends at SIGRTMIN+3 with code 0. */
#define FAKE_NSPAWN_SYSTEM "/system"

/* Every process of `systemd` from now on. */
struct fake_nspawn *fake_nspawn_new(struct fake_systemd *systemd);
/* After the units of the systemd have been dropped. */
struct fake_nspawn *fake_nspawn_free(struct fake_nspawn *nspawn);

/* Users of its own: root, and app (1000). */
void fake_nspawn_make_image(const char *path);

/* How those behave that are started from now on; empty: as they should. */
struct fake_nspawn_how {
    const char *says;  /* a line on standard error, first of all */
    int fails;         /* ends with this code instead of starting anything; 0: it does not */
    bool never_ready;  /* says nothing on the notify socket */
    bool never_starts; /* PID 1 is there, but does not run the init */
    bool reboots;      /* PID 1 reboots instead of running anything */
    /* PID 1 is played, too, without namespaces, and so is the command: it reads its exit code from
     * the image's go/fifo. Much quicker. */
    bool plays_init;
    bool is_stubborn; /* with it: the command hears no signal but SIGKILL */
};
void fake_nspawn_set(struct fake_nspawn *nspawn, struct fake_nspawn_how how);

/* Containers that are started from now on have the cgroups that systemd and nspawn would make, in
 * which commands can be executed. Of a tree of the test's own (private_cgroup.h). */
void fake_nspawn_make_cgroups(struct fake_nspawn *nspawn);

/* PID 1 of the newest container; 0: there was none. */
pid_t fake_nspawn_leader(struct fake_nspawn *nspawn);
/* A message to the notify socket of the newest, as if from inside. */
void fake_nspawn_notify(const struct fake_nspawn *nspawn, const char *text);
