/* The file by which a machine's environment reaches systemd-nspawn (nspawn_settings has its text):
 * for root alone, at SETTINGS_FILE_DIR/<machine>.nspawn, from before the start until nspawn has
 * read it. */
#pragma once

#include "reactor/fail.h"

#define SETTINGS_FILE_DIR "/run/systemd/nspawn"

/* Mode 0600. One that is there is replaced. */
int settings_file_write(const char *machine, const char *text, struct fail *reterr);
/* A missing one is fine; other failures are logged. */
void settings_file_remove(const char *machine);
