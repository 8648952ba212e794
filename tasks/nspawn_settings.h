/* The payload's environment as a systemd.nspawn(5) file: a way that neither argv nor nspawn's own
 * environment sees (a job's LD_PRELOAD there would act on a root process of the host). The file is
 * to be written with mode 0600 to NSPAWN_SETTINGS_DIR/<machine>.nspawn. Pure. */
#pragma once

#include "reactor/fail.h"
#include "reactor/strv.h"

#define NSPAWN_SETTINGS_DIR "/run/systemd/nspawn"

/* The job's `environment` with Nomad's variables over it. `ret` must be empty. */
void nspawn_settings_merge(const struct pairs *job, const struct pairs *nomad, struct pairs *ret);

/* The text of the file; heap. -EINVAL names the variable that the file can't carry, without its
 * value: it may be a secret. */
int nspawn_settings_format(const struct pairs *environment, char **ret_text, struct fail *reterr);
