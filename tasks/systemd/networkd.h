/* The host's systemd-networkd: whether it serves the host's ends of containers' links (by files of
 * its own for ve-* and vz-*), and keeping it off the links that are ours. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "reactor/bus.h"
#include "reactor/strv.h"

struct networkd_op;

/* Ops: exactly one of `done` and networkd_op_free ends one. `runs` is false also when the bus can't
 * say. */
typedef void (*networkd_done_fn)(bool runs, void *data);
struct networkd_op *networkd_ask(struct bus *bus, networkd_done_fn done, void *data);
/* Makes it read its files again, if it runs. */
struct networkd_op *networkd_reload(struct bus *bus, networkd_done_fn done, void *data);
struct networkd_op *networkd_op_free(struct networkd_op *op);

/* Writes the file that takes the links of these names (patterns of systemd.network(5), [Match]
 * Name=) from it, to be read by networkd_reload. Answers 1 when the file was another one before,
 * else 0; negative errno. */
int networkd_disown(const struct strv *names);

#define NETWORKD_DIR  "/run/systemd/network"
#define NETWORKD_FILE NETWORKD_DIR "/10-nomad-nspawn.network"
