/* Which networks there are: a row each, which says all that differs between them. Which of them a
 * task gets is decided by its options here, and by the group in network_plan. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "tasks/spec/task_options.h"

/* The first that is chosen counts; a veth is, unless the job says otherwise. */
enum network_kind {
    NETWORK_HOST,  /* the host's own */
    NETWORK_GROUP, /* the namespace that Nomad made for the group */
    NETWORK_ZONE,
    NETWORK_BRIDGE,
    NETWORK_MACVLAN,
    NETWORK_IPVLAN,
    NETWORK_INTERFACE,
    NETWORK_PRIVATE, /* only a loopback */
    NETWORK_VETH,
    NETWORK_KIND_MAX
};

/* Whose the link is that leads out. */
enum network_owner {
    NETWORK_OWNER_NONE,   /* there is none that is the task's own */
    NETWORK_OWNER_NOMAD,  /* Nomad's, which gives it an address and publishes ports */
    NETWORK_OWNER_DRIVER, /* a virtual Ethernet link to this host, over which ports are published */
    NETWORK_OWNER_LAN,    /* a station of the network that the host is in */
    NETWORK_OWNER_MAX
};

/* How others than this host reach what listens inside. */
enum network_reach {
    NETWORK_REACH_ELSEWHERE, /* not at all, or as the host and Nomad have it */
    NETWORK_REACH_PORTS,     /* by published ports */
    NETWORK_REACH_ADDRESS,   /* by the address, unless it is one of our pool */
    NETWORK_REACH_MAX
};

struct network_kind_row {
    const char *option;    /* that chooses it, whose row has nspawn's argument; NULL: none does */
    size_t name_bytes_max; /* of the option's value; 0: it is no name */
    /* As nspawn names it. "%s" is the option's value; the link inside may end with '*', where only
     * its beginning is known; the bridge is the one of the host that several containers share. */
    const char *link, *bridge;
    bool makes_bridge; /* for the first, and removes it with the last */
    bool is_pair;      /* between this container and the host, without a bridge */
    enum network_owner owner;
    enum network_reach reach;
};

extern const struct network_kind_row network_kinds[NETWORK_KIND_MAX];

bool network_kind_is_chosen(enum network_kind kind, const struct task_options *options);
/* What the options alone choose; never NETWORK_GROUP. */
enum network_kind network_kind_of(const struct task_options *options);

/* nspawn's argument, the name of the link inside and of the bridge; heap, NULL: there is none. */
char *network_kind_argument(enum network_kind kind, const struct task_options *options);
char *network_kind_link(enum network_kind kind, const struct task_options *options);
char *network_kind_bridge(enum network_kind kind, const struct task_options *options);

/* Whether an option chooses a network. */
bool network_kind_has_option(const struct option_row *option);

/* IFNAMSIZ, without its final NUL; nspawn puts "vz-" before the name of a zone. */
#define NETWORK_KIND_INTERFACE_BYTES_MAX 15
#define NETWORK_KIND_ZONE_BYTES_MAX      12
