/* What /etc/hosts and /etc/resolv.conf are in a task whose network is Nomad's: hosts(5),
 * resolv.conf(5). Pure; results are heap. */
#pragma once

#include "tasks/kernel/address.h"
#include "tasks/spec/task_spec.h"

/* `addresses`: of the namespace; without any, the name is one of the loopback. */
char *name_files_hosts(const char *hostname, const struct address *addresses, size_t n);

/* What the job says; what it leaves out is taken from the host's file (NULL: there is none). */
char *name_files_resolv(const struct task_dns *dns, const char *host_text);
/* The host's own, but for servers on its loopback, which are not there in another network; so
 * `other`, where systemd-resolved keeps those it asks itself, goes before a file that names no
 * others. Both may be NULL, as the result then is. */
const char *name_files_resolv_of_host(const char *text, const char *other);
