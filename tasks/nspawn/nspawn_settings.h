/* The payload's environment as a systemd.nspawn(5) file: a way that neither argv nor nspawn's own
 * environment sees (a job's LD_PRELOAD there would act on a root process of the host). The file is
 * to be written by settings_file. Pure. */
#pragma once

#include "reactor/fail.h"
#include "reactor/strv.h"

/* The job's `environment` with Nomad's variables over it. `ret` must be empty. */
void nspawn_settings_merge(const struct pairs *job, const struct pairs *nomad, struct pairs *ret);

/* Whether execve(2) takes it. -EINVAL names the variable. */
int nspawn_settings_check(const struct pairs *environment, struct fail *reterr);

/* The text of the file; heap. -EINVAL names the variable that the file can't carry, without its
 * value: it may be a secret. Tried with systemd 252, which carries all of UTF-8 (every control
 * character too, quotes of both kinds, backslashes, '%', '$', blanks at either end, the empty
 * value) but for LF and CR, which end the line, and the code points that are no characters (U+FDD0
 * to U+FDEF, U+xxFFFE, U+xxFFFF), over one of which nspawn refuses the whole file. */
int nspawn_settings_format(const struct pairs *environment, char **ret_text, struct fail *reterr);

/* "NAME=value": execve(2) takes 128 KiB a string, with its final NUL. */
#define NSPAWN_SETTINGS_VARIABLE_BYTES_MAX ((size_t)128 * 1024 - 1)
/* execve(2) takes a quarter of the stack's limit (8 MiB) for everything; half of that leaves room
 * for the command and for what runs with larger strings behind it. */
#define NSPAWN_SETTINGS_BYTES_MAX ((size_t)1 << 20)
