/* A directory for one test, removed with all that is in it. */
#pragma once

/* Heap; absolute. */
char *scratch_dir_new(void);
/* Takes NULL; returns NULL. */
char *scratch_dir_free(char *dir);
/* "<dir>/<name>"; heap. */
char *scratch_dir_path(const char *dir, const char *name);
