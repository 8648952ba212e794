/* The op that asks systemd what the fingerprint wants to know: its version and whether machined
 * could be started. It asks by properties of units, which wakes nobody up. */
#pragma once

#include <stdbool.h>

#include "reactor/bus.h"

struct fingerprint_answers {
    char *version;       /* Manager.Version, "252.39-1~deb12u2" */
    char *machined_load; /* LoadState of systemd-machined.service */
    char *trouble;       /* the first thing that went wrong; NULL: both are known */
};

void fingerprint_answers_done(struct fingerprint_answers *answers);

struct fingerprint_query;
/* May take the strings out of `answers`. */
typedef void (*fingerprint_query_fn)(struct fingerprint_answers *answers, void *data);

/* Subscribes to systemd's signals first. Never calls `done` from inside; a bus that is gone is a
 * trouble like others. */
struct fingerprint_query *fingerprint_query_start(struct bus *bus, fingerprint_query_fn done,
                                                  void *data);
struct fingerprint_query *fingerprint_query_free(struct fingerprint_query *query);
