/* The whole plugin in a process of its own, with a host that is played here and without a system
 * bus: how it begins, and each way in which it ends. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "grpc_controller.pb-c.h"
#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "rpc/grpc/grpc_status.h"
#include "rpc/plugin.h"
#include "tests/support/fd_leak.h"
#include "tests/support/rpc/grpc/grpc_peer.h"
#include "tests/support/scratch_dir.h"

struct fixture {
    char *dir, *path; /* of its socket */
    pid_t pid;
    int out_fd, err_fd;
    sd_event *event;
};

static void set_environment(const struct fixture *f, const char *socket_dir)
{
    CLEANUP_FREE char *bus = alloc_printf("unix:path=%s/no-bus", f->dir);

    (void)setenv("DBUS_SYSTEM_BUS_ADDRESS", bus, 1);
    (void)setenv("PLUGIN_UNIX_SOCKET_DIR", socket_dir, 1);
    (void)unsetenv("PLUGIN_UNIX_SOCKET_GROUP");
    (void)unsetenv("PLUGIN_MULTIPLEX_GRPC");
}

/* Ends by exit(3), so that what it leaks is told. */
static _Noreturn void run_child(const struct fixture *f, const char *socket_dir, int out_fd,
                                int err_fd)
{
    set_environment(f, socket_dir);
    (void)close(f->out_fd);
    (void)close(f->err_fd);
    if (dup2(out_fd, STDOUT_FILENO) < 0 || dup2(err_fd, STDERR_FILENO) < 0)
        exit(99);
    (void)close(out_fd);
    (void)close(err_fd);
    exit(plugin_run());
}

static void start(struct fixture *f, const char *socket_dir)
{
    int out_fds[2], err_fds[2];

    *f = (struct fixture){ .dir = scratch_dir_new() };
    assert_int_equal(pipe2(out_fds, O_CLOEXEC), 0);
    assert_int_equal(pipe2(err_fds, O_CLOEXEC), 0);
    f->out_fd = out_fds[0];
    f->err_fd = err_fds[0];
    (void)fflush(NULL);
    f->pid = fork();
    assert_true(f->pid >= 0);
    if (f->pid == 0)
        run_child(f, socket_dir != NULL ? socket_dir : f->dir, out_fds[1], err_fds[1]);
    (void)close(out_fds[1]);
    (void)close(err_fds[1]);
    assert_true(sd_event_new(&f->event) >= 0);
}

/* Up to the end of what the plugin says there, or of its first line. */
static char *read_text(int fd, bool is_line)
{
    char *text = alloc_zero(8192, 1);

    for (size_t n = 0; n < 8191; n++)
        if (read(fd, text + n, 1) != 1 || (is_line && text[n] == '\n'))
            break;
    return text;
}

static void read_handshake(struct fixture *f)
{
    CLEANUP_FREE char *line = read_text(f->out_fd, true);
    CLEANUP_FREE char *begin = alloc_printf("1|2|unix|%s/plugin", f->dir);
    const char *path = line + strlen("1|2|unix|");

    if (strncmp(line, begin, strlen(begin)) != 0)
        fail_msg("'%s' does not begin with '%s'", line, begin);
    f->path = alloc_strndup(path, strcspn(path, "|"));
    assert_int_equal(access(f->path, F_OK), 0);
}

static int wait_status(const struct fixture *f)
{
    int status;

    assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
    if (!WIFEXITED(status))
        fail_msg("wait status %#x", (unsigned)status);
    return WEXITSTATUS(status);
}

static void done(struct fixture *f)
{
    f->out_fd = close_fd(f->out_fd);
    f->err_fd = close_fd(f->err_fd);
    sd_event_unref(f->event);
    free(f->path);
    scratch_dir_free(f->dir);
}

/* It has ended as asked, and its socket is gone. */
static void expect_good_end(struct fixture *f)
{
    int status = wait_status(f);

    if (status != EXIT_SUCCESS) {
        CLEANUP_FREE char *text = read_text(f->err_fd, false);
        fail_msg("status %d: %s", status, text);
    }
    assert_int_equal(access(f->path, F_OK), -1);
    assert_int_equal(errno, ENOENT);
    done(f);
}

/* --- tests ----------------------------------------------------------------------------------- */

static void test_it_serves_and_ends_by_sigterm(void **state)
{
    struct fixture f;

    (void)state;
    start(&f, NULL);
    read_handshake(&f);
    struct grpc_peer *peer = grpc_peer_new(f.event, f.path);
    const struct grpc_request check = { .path = "/grpc.health.v1.Health/Check",
                                        .n_body = 5,
                                        .body = "\0\0\0\0" };
    grpc_call_expect(grpc_peer_call(peer, &check), GRPC_OK, NULL);
    /* ^C in the agent's terminal is the agent's to handle */
    assert_int_equal(kill(f.pid, SIGINT), 0);
    grpc_call_expect(grpc_peer_call(peer, &check), GRPC_OK, NULL);
    assert_int_equal(kill(f.pid, SIGTERM), 0);
    assert_true(grpc_peer_wait_closed(peer));
    grpc_peer_free(peer);
    expect_good_end(&f);
}

static void test_a_host_that_asks_for_the_end_is_answered(void **state)
{
    struct fixture f;
    const Plugin__Empty request = PLUGIN__EMPTY__INIT;

    (void)state;
    start(&f, NULL);
    read_handshake(&f);
    struct grpc_peer *peer = grpc_peer_new(f.event, f.path);
    struct grpc_call *call = grpc_peer_call(peer, &(struct grpc_request){
                                                      .path = "/plugin.GRPCController/Shutdown",
                                                      .message = &request.base });
    grpc_call_expect(call, GRPC_OK, NULL);
    grpc_peer_free(peer);
    expect_good_end(&f);
}

static void test_each_service_is_there(void **state)
{
    static const char *const services[] = {
        "hashicorp.nomad.plugins.base.proto.BasePlugin",
        "hashicorp.nomad.plugins.drivers.proto.Driver",
        "plugin.GRPCController",
        "plugin.GRPCBroker",
        "plugin.GRPCStdio",
        "grpc.health.v1.Health",
    };
    struct fixture f;

    (void)state;
    start(&f, NULL);
    read_handshake(&f);
    struct grpc_peer *peer = grpc_peer_new(f.event, f.path);
    for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
        CLEANUP_FREE char *path = alloc_printf("/%s/None", services[i]);
        CLEANUP_FREE char *text = alloc_printf("unknown method None for service %s", services[i]);
        grpc_call_expect(grpc_peer_call(peer, &(struct grpc_request){ .path = path }),
                         GRPC_UNIMPLEMENTED, text);
    }
    grpc_peer_free(peer);
    assert_int_equal(kill(f.pid, SIGTERM), 0);
    expect_good_end(&f);
}

static void test_without_a_reader_of_its_log_the_agent_is_gone(void **state)
{
    struct fixture f;

    (void)state;
    start(&f, NULL);
    read_handshake(&f);
    f.err_fd = close_fd(f.err_fd);
    expect_good_end(&f);
}

/* Its log may have been taken from it for another reason. */
static void test_an_agent_that_is_connected_is_not_gone(void **state)
{
    struct fixture f;

    (void)state;
    start(&f, NULL);
    read_handshake(&f);
    struct grpc_peer *peer = grpc_peer_new(f.event, f.path);
    const struct grpc_request check = { .path = "/grpc.health.v1.Health/Check",
                                        .n_body = 5,
                                        .body = "\0\0\0\0" };
    grpc_call_expect(grpc_peer_call(peer, &check), GRPC_OK, NULL);
    f.err_fd = close_fd(f.err_fd);
    grpc_call_expect(grpc_peer_call(peer, &check), GRPC_OK, NULL);
    grpc_call_expect(grpc_peer_call(peer, &check), GRPC_OK, NULL);
    grpc_peer_free(peer);
    expect_good_end(&f);
}

static void test_it_says_why_it_can_not_begin(void **state)
{
    struct fixture f;

    (void)state;
    start(&f, "/no/such/directory");
    CLEANUP_FREE char *text = read_text(f.err_fd, false);
    assert_int_equal(wait_status(&f), EXIT_FAILURE);
    if (strstr(text, "/no/such/directory") == NULL)
        fail_msg("it said '%s'", text);
    CLEANUP_FREE char *line = read_text(f.out_fd, true);
    assert_string_equal(line, "");
    done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_it_serves_and_ends_by_sigterm),
        FD_LEAK_TEST(test_a_host_that_asks_for_the_end_is_answered),
        FD_LEAK_TEST(test_each_service_is_there),
        FD_LEAK_TEST(test_without_a_reader_of_its_log_the_agent_is_gone),
        FD_LEAK_TEST(test_an_agent_that_is_connected_is_not_gone),
        FD_LEAK_TEST(test_it_says_why_it_can_not_begin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
