#include "tests/support/rpc/capture.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"

struct capture capture_start(int fd)
{
    struct capture capture = { .fd = fd };
    int pipe_fds[2];

    fflush(NULL);
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
    capture.saved_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    capture.read_fd = pipe_fds[0];
    assert_int_equal(dup2(pipe_fds[1], fd), fd);
    close(pipe_fds[1]);
    return capture;
}

char *capture_end(const struct capture *capture)
{
    char *text = alloc_zero(8192, 1);

    fflush(NULL);
    assert_int_equal(dup2(capture->saved_fd, capture->fd), capture->fd);
    close(capture->saved_fd);
    ssize_t n = read(capture->read_fd, text, 8191);
    assert_true(n >= 0);
    close(capture->read_fd);
    return text;
}
