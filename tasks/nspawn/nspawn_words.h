/* All that systemd-nspawn says, and all that is said to it beside its command line: the words that
 * may be others in another version. The places in systemd's source are those of 252. Pure. */
#pragma once

#include <stdbool.h>

#include "reactor/fail.h"
#include "reactor/strv.h"
#include "tasks/systemd/unit_watch.h"

/* --- what it says ---------------------------------------------------------------------------- */

/* Its exit code when what ran inside asked for a reboot: EXIT_FORCE_RESTART of nspawn.c, for the
 * RestartForceExitStatus= of systemd-nspawn@.service. Power-off is 0. */
#define NSPAWN_WORDS_EXIT_REBOOT 133

/* In the message at NOTIFY_SOCKET that says READY=1: run_container() of nspawn.c. */
#define NSPAWN_WORDS_LEADER_PID "X_NSPAWN_LEADER_PID="

/* What a start says that failed because nspawn ended: in its own words, where it said any, with the
 * remedy, where one is known. `line`: the last that it said, or NULL; `unit` has ended. Answers
 * -EIO. */
int nspawn_words_start_failure(const char *line, const struct unit_state *unit,
                               struct fail *reterr);

/* Whether a line says that the command could not be executed; then `ret_command` is heap, and
 * `ret_reason` the end of the line. nspawn has no exit code of its own for that. */
bool nspawn_words_exec_failure(const char *line, char **ret_command, const char **ret_reason);

/* Of a status at NOTIFY_SOCKET what PID 1 inside said, borrowed from it; NULL: it is nspawn's own,
 * or empty. */
const char *nspawn_words_inner_status(const char *status);

/* --- what is said to it ---------------------------------------------------------------------- */

/* To --private-users=: it chooses a range by itself. */
#define NSPAWN_WORDS_PICK "pick"

/* Appends its environment. `has_filters`: our init installs the seccomp filters, nspawn makes
 * none. */
void nspawn_words_environment(const char *notify_socket, bool has_filters, struct strv *ret);
