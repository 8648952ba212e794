/* Lists of cpus as the kernel and Nomad write them ("0,2-3"), as systemd's AllowedCPUs= wants them:
 * a bit mask, little endian. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The kernel's own largest NR_CPUS (x86: 8192). */
#define CPU_LIST_CPUS_MAX 8192
#define CPU_LIST_BYTES    (CPU_LIST_CPUS_MAX / 8)

/* NULL and "" are the empty list: zero bytes. -EINVAL: not a list, or a cpu above the maximum. */
int cpu_list_parse(const char *text, uint8_t mask[CPU_LIST_BYTES], size_t *ret_n_bytes);
