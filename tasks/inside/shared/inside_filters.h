/* Seccomp programs (classic BPF, seccomp(2)) as a list of bytes: for each, oldest first, the number
 * of instructions (uint32_t) and the instructions, in the host's byte order. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Whether it is such a list: 0, or -EBADMSG. */
int inside_filters_check(const uint8_t *bytes, size_t n_bytes);
/* Installs them, oldest first, for this process and all it becomes. It needs CAP_SYS_ADMIN in its
 * user namespace, or no_new_privs. -EBADMSG as above, before any is installed. */
int inside_filters_install(const uint8_t *bytes, size_t n_bytes);

/* The kernel's own limit of one program's instructions (BPF_MAXINSNS), and a list many times as
 * long as that of nspawn (12 KiB). */
#define INSIDE_FILTERS_PROGRAM_MAX 4096
#define INSIDE_FILTERS_BYTES_MAX ((size_t)1 << 20)
