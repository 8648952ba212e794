/* The networks of all tasks: who has which address of the pool, and what is published. Owner: the
 * driver. What it knows lies in the tasks' runtime directories too, and is read from there when it
 * is first asked: so nothing is given twice, and no rule is lost, also before the tasks are
 * recovered. */
#pragma once

#include <systemd/sd-event.h>

#include "reactor/fail.h"
#include "tasks/network/network_record.h"
#include "tasks/network/packet_filter.h"
#include "tasks/spec/plugin_options.h"

struct networks;

/* `config` is looked at when something is asked for. `root`: where the runtime directories are. */
struct networks *networks_new(sd_event *event, const struct plugin_config *config,
                              const char *root);
/* What is published stays so. */
struct networks *networks_free(struct networks *networks);

/* An address of the pool that nobody has; `share` as in the record. Nobody gets it as long as the
 * record that is set next for the machine holds it. -ENOSPC. */
int networks_lease(struct networks *networks, const char *share, struct address *ret,
                   struct fail *reterr);
/* Whether the record's ports are free: of other tasks and of the host's programs. -EADDRINUSE. */
int networks_check_ports(struct networks *networks, const struct network_record *record,
                         struct fail *reterr);

/* Takes the content of `record`, which replaces the machine's older one, and writes it to the
 * machine's runtime directory. */
int networks_set(struct networks *networks, struct network_record *record, struct fail *reterr);
/* NULL: none is known. Borrowed until the next change. */
const struct network_record *networks_find(struct networks *networks, const char *machine);
/* The machine has no network any more. Fine for one that is not known. */
void networks_remove(struct networks *networks, const char *machine);
/* The host's addresses in the block of the record's lease; none without one. */
void networks_hosts(const struct networks *networks, const struct network_record *record,
                    struct address ret[NETWORK_RECORD_FAMILIES]);
/* Zones whose bridges are ours: none but us gives them addresses. */
bool networks_owns_zone(struct networks *networks, const char *share);
void networks_list_zones(struct networks *networks, struct strv *ret);
/* Whether another machine than this has a lease in the zone or bridge. */
bool networks_share_is_used(struct networks *networks, const char *share, const char *machine);

/* Answers when the packet filter is as all records say now. */
struct packet_filter_op *networks_publish(struct networks *networks, packet_filter_done_fn done,
                                          void *data);

#define NETWORKS_RECORD_FILE "network"
