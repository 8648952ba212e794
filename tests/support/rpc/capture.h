/* What a function says on standard output or standard error. */
#pragma once

/* A standard descriptor pointed into a pipe, and put back by capture_end. */
struct capture {
    int fd, saved_fd, read_fd;
};

struct capture capture_start(int fd);
/* Answers what was said, at most 8 KiB; to be freed. */
char *capture_end(const struct capture *capture);
