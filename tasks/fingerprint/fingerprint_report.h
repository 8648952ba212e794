/* From what is known of the host to what Nomad is told. Pure: values in, values out. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "tasks/fingerprint/fingerprint_query.h"
#include "tasks/fingerprint/probe.h"

enum driver_health { DRIVER_UNDETECTED, DRIVER_UNHEALTHY, DRIVER_HEALTHY, DRIVER_HEALTH_MAX };

struct driver_attribute {
    const char *key; /* "driver.nspawn.version" */
    const char *string; /* NULL: `boolean` counts */
    bool boolean;
};

struct driver_fingerprint {
    enum driver_health health;
    const char *description; /* "Healthy", or what is missing and what to do */
    const struct driver_attribute *attributes;
    size_t n_attributes;
};

struct fingerprint_facts {
    bool enabled;
    struct probe_host host;
    bool bus_up;
    struct fingerprint_answers answers; /* all NULL: not known yet */
};

#define FINGERPRINT_ATTRIBUTES_MAX 6

/* In memory of the caller; zero-filled is "nothing was told yet", which equals no report. */
struct fingerprint_report {
    struct driver_fingerprint fingerprint; /* points below; valid where the report lies */
    struct driver_attribute attributes[FINGERPRINT_ATTRIBUTES_MAX];
    char *description, *version;
};

/* False, and `ret` untouched: the facts are not complete yet. */
bool fingerprint_report_make(const struct fingerprint_facts *facts, struct fingerprint_report *ret);
/* `to` is replaced; true: they differed. `from` is empty afterwards. */
bool fingerprint_report_replace(struct fingerprint_report *to, struct fingerprint_report *from);
void fingerprint_report_done(struct fingerprint_report *report);
