/* Signals as jobs name them: "SIGTERM", "TERM", "15", "SIGRTMIN+3", any case. Pure. */
#pragma once

#include "reactor/fail.h"

/* The number, or -EINVAL with a sentence that names what is accepted. */
int signal_name_parse(const char *name, struct fail *reterr);

/* "SIGTERM", "SIGRTMIN+3"; heap. */
char *signal_name_format(int signal);
