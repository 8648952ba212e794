/* The `config` block of a job's task: names, types and defaults are those of the driver written in
 * Go that jobs come from, and stay for ever. A new option is a field here and a row in the table;
 * a rule between options belongs to task_options_check. */
#pragma once

#include <stdint.h>

#include "reactor/fail.h"
#include "reactor/strv.h"
#include "tasks/spec/option.h"

struct task_image_download {
    char *url;
    char *type;
    bool force;
    char *verify;
};

/* In memory of the caller; zero-filled is empty. What the author wrote, until task_options_check
 * has put the defaults in: afterwards no enum tristate is TRISTATE_UNSET. */
struct task_options {
    char *image;
    enum tristate boot;
    enum tristate process_two;
    enum tristate ephemeral;
    enum tristate read_only;
    enum tristate user_namespacing;
    char *private_users;
    char *private_users_ownership;
    struct strv command;
    char *console;
    struct task_image_download *image_download;
    char *pivot_root;
    char *resolv_conf;
    char *user;
    char *volatile_mode; /* the option `volatile` */
    char *working_directory;
    char *hostname;
    struct pairs bind;           /* host path to path inside */
    struct pairs bind_read_only; /* the same */
    struct pairs environment;
    struct pairs port_map;
    struct strv ports;
    struct strv capability;
    enum tristate network_veth;
    char *network_zone;
    char *network_bridge;
    char *network_macvlan;
    char *network_ipvlan;
    char *network_interface;
    enum tristate private_network;
    char *network_address; /* "dhcp", "auto" or an address with its prefix's length */
    char *network_gateway;
    char *network_timeout; /* "10s" */
};

extern const struct option_row task_option_rows[];

/* From the msgpack that Nomad sends. Types and names are checked, values and combinations are not
 * (task_options_check). On error `config` is empty. */
int task_options_decode(struct task_options *config, const uint8_t *bytes, size_t n_bytes,
                        struct fail *reterr);
void task_options_done(struct task_options *config);
