/* Keeps the packet filter's rules as they are to be: by the program nft, run from the loop, one at
 * a time, each time with all of them. Owner: networks. */
#pragma once

#include <systemd/sd-event.h>

#include "reactor/fail.h"
#include "tasks/network/networks_script.h"

struct packet_filter;

/* What the rules are to be now. `is_update`: a table of an earlier script is in force. */
typedef void (*packet_filter_make_fn)(bool is_update, struct networks_script *ret, void *data);

/* The rules have been changed to what was made last. */
typedef void (*packet_filter_changed_fn)(void *data);

struct packet_filter *packet_filter_new(sd_event *event, packet_filter_make_fn make,
                                        packet_filter_changed_fn changed, void *data);
/* The rules stay. */
struct packet_filter *packet_filter_free(struct packet_filter *filter);

/* They are to be others: what changes in one turn of the loop, or while nft runs, is said in one
 * script. */
void packet_filter_change(struct packet_filter *filter);

/* Answers from the loop when they are as they are to be now: an op. What the packet filter knows
 * already is not said again. */
struct packet_filter_op;
typedef void (*packet_filter_done_fn)(const struct fail *fail, void *data);
struct packet_filter_op *packet_filter_await(struct packet_filter *filter,
                                             packet_filter_done_fn done, void *data);
struct packet_filter_op *packet_filter_op_free(struct packet_filter_op *op);
