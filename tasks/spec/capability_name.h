/* The names of Linux capabilities, without libcap. Pure. */
#pragma once

#include <stdbool.h>

/* A name as systemd-nspawn takes it, in any case: "CAP_NET_ADMIN". */
bool capability_name_is_valid(const char *name);
