/* The border for what Nomad says of a task's network: namespace, ports, resolver. */
#pragma once

#include "driver.pb-c.h"
#include "reactor/fail.h"
#include "tasks/spec/task_spec.h"

/* More than a host has to give away to one task; each is a few entries in the packet filter. */
#define CONVERT_NETWORK_PORTS_MAX 1024
#define CONVERT_NETWORK_LABEL_BYTES_MAX 255
/* resolv.conf(5) reads fewer; each becomes a word or a line of a file. */
#define CONVERT_NETWORK_DNS_MAX       64
#define CONVERT_NETWORK_DNS_BYTES_MAX 255

/* Fills the network's part of `spec`. -EINVAL, or -E2BIG beyond a limit. */
int convert_network(const Nomad__TaskConfig *config, struct task_spec *spec, struct fail *reterr);
