/* A registry of networks for tests, with runtime directories in a scratch directory, and a program
 * `nft` first in PATH that keeps what it is told instead of doing it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "tasks/network/networks.h"

struct networks_fixture {
    char *dir; /* bin/nft, said/1 and so on, run/<machine>/network */
    char *root; /* <dir>/run */
    sd_event *event;
    struct plugin_config config; /* pools 10.187.0.0/16 and fd00:187::/96 */
    struct networks *networks;
};

void networks_fixture_init(struct networks_fixture *f);
/* All ops must have ended. */
void networks_fixture_done(struct networks_fixture *f);
/* Another plugin takes over: all it knows is in files. */
void networks_fixture_restart(struct networks_fixture *f);

/* A record for `machine`, whose runtime directory is made; `share`: a zone, NULL for none. */
struct network_record networks_fixture_record(const struct networks_fixture *f,
                                              const char *machine, const char *share);
/* `host` NULL: all that it has. */
void networks_fixture_port(struct network_record *record, const char *host, uint16_t host_port,
                           uint16_t port);
/* Sets it; fails the test when that fails. */
void networks_fixture_set(struct networks_fixture *f, struct network_record *record);
/* A record with an address of the pool, which is the container's. */
void networks_fixture_lease(struct networks_fixture *f, const char *machine, const char *share,
                            struct address *ret);

/* How often nft has been run, and what it was told the nth time (1: first; heap). */
size_t networks_fixture_n_said(const struct networks_fixture *f);
char *networks_fixture_said(const struct networks_fixture *f, size_t n);
/* nft fails and says this, the next times that it is run. */
void networks_fixture_fail(const struct networks_fixture *f, const char *text, unsigned n_times);
/* From now on nft, once it has heard, waits to be released; each release lets one go on. */
void networks_fixture_hold(const struct networks_fixture *f);
void networks_fixture_release(const struct networks_fixture *f);
/* Runs the loop until nft has been run so often. */
void networks_fixture_await_said(struct networks_fixture *f, size_t n);
