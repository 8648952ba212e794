/* What is to run in a container: the file by which the plugin tells it to the init of a single
 * process, and to itself for each exec, also after a restart. It holds secrets: mode 0600, in the
 * task's runtime directory.
 *
 * The files inside_*.c are part of both programs, the plugin and the init (tasks/inside/init/),
 * which is linked statically with another C library: they include nothing but libc, reactor/alloc,
 * reactor/cleanup and reactor/strv. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reactor/strv.h"

/* In memory of the caller; zero-filled is empty. */
struct inside_spec {
    bool is_pid1;            /* the init becomes the command instead of forking it */
    char *user;              /* name or number; NULL: root */
    char *directory;         /* absolute; NULL: "/" */
    struct strv argv;        /* of a single process; empty for a booted system */
    struct strv environment; /* "NAME=value", any bytes but NUL: the job's and Nomad's */
};

/* Heap. */
void inside_spec_encode(const struct inside_spec *spec, uint8_t **ret_bytes, size_t *ret_n_bytes);
/* -EBADMSG: not such a file, cut or damaged. On error `spec` is empty. */
int inside_spec_decode(struct inside_spec *spec, const uint8_t *bytes, size_t n_bytes);
/* The file from its beginning, wherever its offset is. -EFBIG: more than INSIDE_SPEC_BYTES_MAX. */
int inside_spec_read(struct inside_spec *spec, int fd);
void inside_spec_done(struct inside_spec *spec);

/* What execve(2) takes at most (a quarter of the default stack limit of 8 MiB), and more than
 * task_options_check and nspawn_settings let through. */
#define INSIDE_SPEC_BYTES_MAX ((size_t)2 << 20)
