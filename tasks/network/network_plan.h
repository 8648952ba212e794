/* Which network a task gets, and what is published of it: decided once, from the options and from
 * what Nomad sent. Pure. In memory of the caller; zero-filled is empty. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "reactor/fail.h"
#include "tasks/kernel/address.h"
#include "tasks/spec/network_kind.h"
#include "tasks/spec/task_options.h"
#include "tasks/spec/task_spec.h"

enum network_mode {
    NETWORK_MODE_UNSET, /* the host decides: auto, or DHCP where it serves that */
    NETWORK_MODE_DHCP,  /* the container's own business */
    NETWORK_MODE_AUTO,  /* of the pool */
    NETWORK_MODE_FIXED, /* as the job says */
    NETWORK_MODE_MAX
};

struct network_port {
    char *label;
    struct address host; /* of the host; none: all that it has */
    uint16_t host_port, port;
};

struct network_plan {
    enum network_kind kind;
    enum network_mode mode;
    struct address address, gateway; /* of NETWORK_MODE_FIXED; the gateway may be none */
    struct network_port *ports;      /* to be published by us */
    size_t n_ports;
    bool needs_address; /* the start waits for one */
    uint64_t timeout_usec;
};

/* `config` has passed task_options_check. -EINVAL: what can't be, in a sentence. On error `ret` is
 * empty. */
int network_plan_make(const struct task_options *config, const struct task_spec *spec,
                      struct network_plan *ret, struct fail *reterr);
void network_plan_done(struct network_plan *plan);

void network_ports_copy(const struct network_port *ports, size_t n, struct network_port **ret,
                        size_t *ret_n);
void network_ports_done(struct network_port *ports, size_t n);
