/* Values of the kernel below /proc/sys. `path` is what comes after that: "net/ipv4/ip_forward". */
#pragma once

#include <stddef.h>

/* Writes only what is not so already: a host whose /proc/sys is read-only and right will do.
 * Negative errno. */
int sysctl_write(const char *path, const char *text);
/* Without the final newline. */
int sysctl_read(const char *path, char *text, size_t size);
