/* A directory for one test, removed with all that is in it. */
#pragma once

#include <stddef.h>

/* Heap; absolute. */
char *scratch_dir_new(void);
/* Takes NULL; returns NULL. */
char *scratch_dir_free(char *dir);
/* "<dir>/<name>"; heap. */
char *scratch_dir_path(const char *dir, const char *name);
/* How many entries a directory has. */
size_t scratch_dir_count(const char *dir);
/* Writes the file "<dir>/<name>" anew, in one piece and in place: who has it open or watches it
 * sees the same file. Text of the same length is never seen half. */
void scratch_dir_write(const char *dir, const char *name, const char *text);
