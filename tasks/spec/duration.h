/* Times as Nomad's jobs write them. Pure. */
#pragma once

#include <stdint.h>

/* "10s", "1m30s", "500ms": whole numbers of h, m, s and ms, in any order. -EINVAL: it is no such
 * text, or not between 1 ms and `max_usec`. */
int duration_parse(const char *text, uint64_t max_usec, uint64_t *ret_usec);
