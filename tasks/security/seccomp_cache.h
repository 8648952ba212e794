/* The seccomp programs that nspawn made for earlier containers, one file for each key
 * (seccomp_key). nspawn takes most of a start to make them. A file is used only when it is root's
 * alone, whole, of this very key, and of the libraries that are there now. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "reactor/strv.h"

#define SECCOMP_CACHE_DIR "/var/cache/nomad-driver-nspawn/seccomp"

/* Each set of capabilities that jobs choose has a file of its own, of some 15 KiB: the oldest
 * go. */
#define SECCOMP_CACHE_FILES_MAX 64

/* A descriptor of the programs (tasks/inside/shared/inside_filters.h), which nobody can change any
 * more. -ENOENT: there are none; -EBADMSG, -EPERM, -ESTALE: there is a file that can't be used. */
int seccomp_cache_find(const char *dir, const char *key);
/* `libraries` as of seccomp_key_mapped. */
int seccomp_cache_store(const char *dir, const char *key, const struct strv *libraries,
                        const uint8_t *programs, size_t n_programs);
/* 0, too, when there is none. */
int seccomp_cache_remove(const char *dir, const char *key);
