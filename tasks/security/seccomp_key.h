/* What the seccomp programs follow from that nspawn makes for a container: as text, for a cache of
 * them (seccomp_cache). Where two keys are the same, so are the programs. */
#pragma once

#include <sys/types.h>

#include "reactor/strv.h"

/* nspawn itself (the first item), the kernel's release, and of the command line all that is not
 * known to make no difference; heap. Negative errno: there is no nspawn. */
int seccomp_key(const struct strv *argv, char **ret);

/* Which file it is, and when it was changed; heap. */
int seccomp_key_identity(const char *path, char **ret);

/* The files that a process has mapped for execution, one "identity\tpath" each: of a running nspawn
 * the libraries that make its programs. -ESTALE: one of them has been replaced since, or the
 * process runs another file than the one that is at `program` now. */
int seccomp_key_mapped(pid_t pid, const char *program, struct strv *ret);
/* Whether they are all as they were. */
bool seccomp_key_is_current(const char *text, size_t n);
