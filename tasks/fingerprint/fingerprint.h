/* Whether this host can run tasks, and if not, which part is missing and what to do. Owner: the
 * driver. Follows changes by signals only (bus up and down, owners of names, unit files, reloads),
 * so an idle host stays idle. It never activates machined: machined ends by itself when no machine
 * runs and D-Bus starts it again, so its absence from the bus means nothing; whether systemd could
 * start it does. */
#pragma once

#include <stdbool.h>

#include "reactor/bus.h"
#include "tasks/fingerprint/fingerprint_report.h"
#include "tasks/fingerprint/probe.h"

struct fingerprint;

/* Times are parameters so that tests need not wait. */
struct fingerprint_times {
    uint64_t first_usec; /* so long the first report waits for the bus before it says "down" */
    uint64_t retry_usec; /* a question that systemd did not answer is asked again after this */
};

#define FINGERPRINT_TIMES \
    (&(const struct fingerprint_times){.first_usec = 1000000, .retry_usec = 30000000})

/* `probe` is probe_host() but in tests. The bus must outlive the fingerprint. */
struct fingerprint *fingerprint_new(struct bus *bus, probe_host_fn probe,
                                    const struct fingerprint_times *times);
/* Watches that are still there stay valid and silent until they are freed. */
struct fingerprint *fingerprint_free(struct fingerprint *fp);

/* The plugin option `enabled`; true until told otherwise. */
void fingerprint_set_enabled(struct fingerprint *fp, bool enabled);

struct fingerprint_watch;
typedef void (*driver_fingerprint_fn)(const struct driver_fingerprint *fingerprint, void *data);

/* The report as soon as there is one, at once from the loop, and each that differs after it. The
 * callback may free its watch and add others. */
struct fingerprint_watch *fingerprint_watch(struct fingerprint *fp, driver_fingerprint_fn changed,
                                            void *data);
struct fingerprint_watch *fingerprint_watch_free(struct fingerprint_watch *watch);
