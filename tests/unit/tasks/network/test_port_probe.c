#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "reactor/cleanup.h"
#include "tasks/network/port_probe.h"
#include "tests/support/fd_leak.h"

union name {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

/* A program with a port that the kernel chose; *ret_port is it. Negative: no such family here. */
static int take(int family, int type, const char *host, uint16_t *ret_port)
{
    union name name = { .any.sa_family = (sa_family_t)family };
    void *bytes = family == AF_INET ? (void *)&name.in.sin_addr : (void *)&name.in6.sin6_addr;
    int fd = socket(family, type | SOCK_CLOEXEC, 0);
    socklen_t size = family == AF_INET ? sizeof(name.in) : sizeof(name.in6);
    const int yes = 1;

    assert_int_equal(inet_pton(family, host, bytes), 1);
    if (type == SOCK_STREAM) /* as servers do */
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (fd < 0 || bind(fd, &name.any, size) < 0)
        return close_fd(fd);
    if (type == SOCK_STREAM)
        assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, &name.any, &size), 0);
    *ret_port = ntohs(family == AF_INET ? name.in.sin_port : name.in6.sin6_port);
    return fd;
}

static struct address parsed(const char *text)
{
    struct address address = {};

    if (text != NULL)
        assert_int_equal(address_parse(text, &address), 0);
    return address;
}

static void expect_free(const char *host, uint16_t port)
{
    const char *protocol = "untouched";
    struct address address = parsed(host);

    assert_int_equal(port_probe(&address, port, &protocol), 0);
    assert_string_equal(protocol, "untouched");
}

static void expect_taken(const char *host, uint16_t port, const char *expected)
{
    const char *protocol = "untouched";
    struct address address = parsed(host);

    assert_int_equal(port_probe(&address, port, &protocol), -EADDRINUSE);
    assert_string_equal(protocol, expected);
}

static void test_a_port_is_taken_as_long_as_a_program_has_it(void **state)
{
    static const struct {
        int family, type;
        const char *host, *protocol;
    } rows[] = {
        { AF_INET, SOCK_STREAM, "127.0.0.1", "tcp" },
        { AF_INET, SOCK_DGRAM, "127.0.0.1", "udp" },
        { AF_INET6, SOCK_STREAM, "::1", "tcp" },
        { AF_INET6, SOCK_DGRAM, "::1", "udp" },
    };
    unsigned n_tried = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint16_t port;
        CLEANUP_CLOSE int fd = take(rows[i].family, rows[i].type, rows[i].host, &port);
        if (fd < 0)
            continue; /* no IPv6 here */
        n_tried++;
        expect_taken(NULL, port, rows[i].protocol);
        expect_taken(rows[i].host, port, rows[i].protocol);
        expect_free(rows[i].family == AF_INET ? "::1" : "127.0.0.1", port);
        fd = close_fd(fd);
        expect_free(NULL, port);
    }
    assert_true(n_tried >= 2);
}

static void test_a_port_at_another_address_is_free(void **state)
{
    uint16_t port;

    (void)state;
    CLEANUP_CLOSE int fd = take(AF_INET, SOCK_STREAM, "127.0.0.1", &port);
    assert_true(fd >= 0);
    expect_free("127.0.0.2", port);
}

static void test_an_address_that_the_host_has_not_got_is_free(void **state)
{
    (void)state;
    expect_free("192.0.2.1", 80);
    expect_free("2001:db8::1", 80);
}

/* A program that was asked lately keeps its port from nobody when it has gone. */
static void test_what_lingers_of_connections_does_not_take_a_port(void **state)
{
    union name name = { .in = { .sin_family = AF_INET } };
    uint16_t port;

    (void)state;
    CLEANUP_CLOSE int fd = take(AF_INET, SOCK_STREAM, "127.0.0.1", &port);
    name.in.sin_port = htons(port);
    name.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CLEANUP_CLOSE int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client, &name.any, sizeof(name.in)), 0);
    CLEANUP_CLOSE int server = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(server >= 0);
    /* The server's end goes first: it is its port that then lingers. */
    server = close_fd(server);
    client = close_fd(client);
    fd = close_fd(fd);
    expect_free(NULL, port);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_a_port_is_taken_as_long_as_a_program_has_it),
        FD_LEAK_TEST(test_a_port_at_another_address_is_free),
        FD_LEAK_TEST(test_an_address_that_the_host_has_not_got_is_free),
        FD_LEAK_TEST(test_what_lingers_of_connections_does_not_take_a_port),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
