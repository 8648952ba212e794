/* The init of single processes (tasks/inside/init/) as a part of the plugin, and as a file that can
 * be bound into a container. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "reactor/fail.h"

void init_program_bytes(const uint8_t **ret_bytes, size_t *ret_n_bytes);

/* The path of a file with it, made anew when it is not there or is not the same; heap. The name
 * has a hash of the content: containers of an earlier version of the plugin keep theirs. */
int init_program_file(char **ret_path, struct fail *reterr);

/* The same in the first of `dirs` (NULL-terminated) where a program can be executed. */
int init_program_file_in(const char *const *dirs, char **ret_path, struct fail *reterr);
