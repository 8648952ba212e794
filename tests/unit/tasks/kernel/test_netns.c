/* In namespaces of the test's own. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/cleanup.h"
#include "tasks/kernel/netns.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/network/network.h"

static bool is_there;

static int make_network(void **state)
{
    (void)state;
    is_there = network_enter();
    if (is_there)
        network_run("ip netns add other\n");
    return 0;
}

/* Another namespace than this process's. */
static int open_other(void)
{
    int fd = open("/run/netns/other", O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static ino_t inode_of(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return st.st_ino;
}

static ino_t own_namespace(void)
{
    return inode_of("/proc/self/ns/net");
}

struct visit {
    ino_t seen;
    int result;
};

static int visit(void *data)
{
    struct visit *v = data;

    v->seen = own_namespace();
    return v->result;
}

static void test_work_is_done_there_and_we_are_back(void **state)
{
    static const int results[] = { 0, 7, -ENODEV };

    (void)state;
    if (!is_there)
        skip();
    CLEANUP_CLOSE int fd = open_other();
    ino_t before = own_namespace(), there = inode_of("/run/netns/other");
    assert_true(before != there);
    for (size_t i = 0; i < 3; i++) {
        struct visit v = { .result = results[i] };
        assert_int_equal(netns_run(fd, visit, &v), results[i]);
        assert_int_equal(v.seen, there);
        assert_int_equal(own_namespace(), before);
    }
}

static void test_what_is_no_namespace_is_not_entered(void **state)
{
    CLEANUP_CLOSE int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct visit v = {};

    (void)state;
    if (!is_there)
        skip();
    assert_int_equal(netns_run(fd, visit, &v), -EINVAL);
    assert_int_equal(netns_run(-EBADF, visit, &v), -EBADF);
    assert_int_equal(v.seen, 0);
}

/* Goes to the other namespace, tells that it is there, and stays until its peer closes. */
static void stay_there(int other_fd, int socket_fd)
{
    char byte = 0;

    if (setns(other_fd, CLONE_NEWNET) < 0 || send(socket_fd, &byte, 1, MSG_NOSIGNAL) != 1)
        _exit(EXIT_FAILURE);
    _exit(recv(socket_fd, &byte, 1, 0) == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

static void test_a_process_leads_to_its_namespace(void **state)
{
    int pair[2], status;
    struct visit v = {};
    char byte;

    (void)state;
    if (!is_there)
        skip();
    CLEANUP_CLOSE int other_fd = open_other();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)close(pair[0]);
        stay_there(other_fd, pair[1]);
    }
    (void)close(pair[1]);
    assert_int_equal(recv(pair[0], &byte, 1, 0), 1);
    CLEANUP_CLOSE int fd = netns_open(pid);
    assert_true(fd >= 0);
    assert_int_equal(netns_run(fd, visit, &v), 0);
    assert_int_equal(v.seen, inode_of("/run/netns/other"));
    (void)close(pair[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(netns_open(pid), -ENOENT); /* it has gone */
}

static void test_settings_are_of_the_namespace(void **state)
{
    (void)state;
    if (!is_there)
        skip();
    CLEANUP_CLOSE int fd = open_other();
    assert_int_equal(netns_write_sysctl(fd, "net/ipv4/ip_unprivileged_port_start", "77"), 0);
    network_run("f=/proc/sys/net/ipv4/ip_unprivileged_port_start\n"
                "[ $(ip netns exec other cat $f) = 77 ]\n"
                "[ $(cat $f) = 1024 ]\n");
    assert_int_equal(netns_write_sysctl(fd, "net/ipv4/ip_unprivileged_port_start", "many"),
                     -EINVAL);
    assert_int_equal(netns_write_sysctl(fd, "net/ipv4/no_such", "0"), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_work_is_done_there_and_we_are_back),
        FD_LEAK_TEST(test_what_is_no_namespace_is_not_entered),
        FD_LEAK_TEST(test_a_process_leads_to_its_namespace),
        FD_LEAK_TEST(test_settings_are_of_the_namespace),
    };

    return cmocka_run_group_tests(tests, make_network, NULL);
}
