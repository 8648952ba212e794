/* The end of what a task wrote at its start, to tell a failure in a sentence. What is moved is
 * doubled into a small pipe of our own by tee(2), read from there and kept; after TAIL_OUTPUT_MAX
 * bytes the owner drops the tail, so that a steady stream costs nothing. Owner: transfer. Two
 * descriptors. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define TAIL_BYTES_MAX  4096  /* kept: some lines */
#define TAIL_OUTPUT_MAX 65536 /* followed: who fails at the start does not say more */
#define TAIL_LINE_MAX   300   /* of a sentence in `nomad alloc status` */

struct tail;

/* Negative errno when there are no descriptors. */
int tail_new(struct tail **ret);
struct tail *tail_free(struct tail *tail);

/* Doubles what is next in the pipe `fd`, at most `n_max` bytes, and answers how many bytes that is;
 * -EAGAIN: it is empty. The caller moves at most as many, then calls tail_keep with what it moved:
 * the rest is forgotten and will be doubled again. */
ssize_t tail_double(struct tail *tail, int fd, size_t n_max);
void tail_keep(struct tail *tail, size_t n_moved);
/* TAIL_OUTPUT_MAX is reached: of no use any more. */
bool tail_is_over(const struct tail *tail);

/* Says of a line that it tells nothing; NULL: every line tells something. */
typedef bool (*tail_skip_fn)(const char *line);

/* The last line, counting what is still unread in the pipe `fd`; see tail_last_line. */
char *tail_line(struct tail *tail, int fd, tail_skip_fn skip);

/* The last line of `bytes` that is not blank and not to be skipped: UTF-8, without control
 * characters and terminal sequences, cut at TAIL_LINE_MAX bytes; heap. NULL: there is none. */
char *tail_last_line(const char *bytes, size_t n_bytes, tail_skip_fn skip);
