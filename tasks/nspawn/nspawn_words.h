/* What a start says that failed because systemd-nspawn ended. Pure. */
#pragma once

#include "reactor/fail.h"
#include "tasks/systemd/unit_watch.h"

/* In nspawn's own words, where it said any, with the remedy, where one is known. `line`: the last
 * that it said, or NULL; `unit` has ended. Answers -EIO. */
int nspawn_words_start_failure(const char *line, const struct unit_state *unit,
                               struct fail *reterr);
