/* A program of the host, run while the loop goes on: text in, and out what it has said on standard
 * error. Its standard output goes nowhere. */
#pragma once

#include <stdint.h>
#include <systemd/sd-event.h>

/* Of what it says the last so many bytes are kept: a program says last why it fails. */
#define PROGRAM_SAID_MAX 4096
/* So much it can say at all, for it is kept in memory until it ends; then it gets an error. */
#define PROGRAM_SPOKEN_MAX (64 * 1024)

struct program;

/* 0: it exited with 0, and `said` is what it said, "" most often. Else `said` is a sentence that
 * names the program:
 *   -ENOENT     there is none of that name; other errno values of execve(2) likewise
 *   -EIO        it exited with another status, and `said` has that and what it said
 *   -EINTR      it was ended by a signal
 *   -ETIMEDOUT  it was killed because its time was over
 * Valid UTF-8, without space at its end; gone when this returns. */
typedef void (*program_done_fn)(int result, const char *said, void *data);

/* `argv` ends with NULL; its first is looked for in PATH, and where the administrator's programs
 * are. It and `input` are used before this returns. The program has no descriptors of ours, and
 * ends with us; what it starts itself is its own affair. Exactly one of `done` and program_free
 * ends the op. Negative errno: there is no process for it. */
int program_start(sd_event *event, char *const argv[], const char *input, uint64_t timeout_usec,
                  program_done_fn done, void *data, struct program **ret);
/* Kills it and awaits its end. */
struct program *program_free(struct program *program);
