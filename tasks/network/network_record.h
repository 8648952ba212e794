/* What a task's network is while it runs, as kept in its runtime directory: so a plugin that takes
 * over knows which addresses are given and what is published, and can clear it away. Lines of
 * words. In memory of the caller; zero-filled is empty. */
#pragma once

#include <stddef.h>

#include "reactor/fail.h"
#include "tasks/kernel/address.h"
#include "tasks/network/network_plan.h"

struct network_record {
    char *machine; /* not in the text: the directory's name says it */
    char *link;    /* the interface inside, as of network_kind_link; NULL: not followed */
    char *share;   /* the zone's or bridge's interface on the host; NULL: a link of its own */
    bool is_zone;  /* `share` is a zone's, made by nspawn for us */
    bool is_owned; /* nobody else gives the zone's bridge addresses */
    struct address lease;    /* of the pool, with its block; none: not of the pool */
    struct address addresses[2]; /* which the container has now: IPv4, IPv6; may be none */
    struct network_port *ports;
    size_t n_ports;
};

/* In network_record.addresses. */
enum { NETWORK_RECORD_IPV4, NETWORK_RECORD_IPV6, NETWORK_RECORD_FAMILIES };

/* Heap. */
char *network_record_format(const struct network_record *record);
/* -EINVAL: damaged, or of a later version. On error `ret` is empty. */
int network_record_parse(const char *text, struct network_record *ret, struct fail *reterr);
/* `to` is empty before. */
void network_record_copy(const struct network_record *from, struct network_record *to);
void network_record_done(struct network_record *record);

/* More than that no plugin has written. */
#define NETWORK_RECORD_BYTES_MAX ((size_t)256 * 1024)
#define NETWORK_RECORD_PORTS_MAX 1024
