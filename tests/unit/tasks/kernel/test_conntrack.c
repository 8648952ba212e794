/* Clients of udp that go on to send from one port while what is published changes. Outside, a host
 * and two containers, all in namespaces:
 *
 *   outside 192.0.2.2 ──── 192.0.2.1  host  10.187.0.1 ──── 10.187.0.2   one
 *                                           10.187.0.5 ──── 10.187.0.6   two                     */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/kernel/conntrack.h"
#include "tasks/network/nft_rules.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/network/network.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

#define POOL6 "fd6e:7370:6177:6e00::"

#define PORT 8080
#define OTHER_PORT 8081

static const char network[] =
    "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding\n"
    "add() {\n" /* namespace, host's side, addresses of both with their prefix */
    "    ip netns add $1\n"
    "    ip link add $2 type veth peer name host0 netns $1\n"
    "    ip addr add $3/$4 dev $2; ip addr add $6/$7 dev $2 nodad\n"
    "    ip link set $2 up; ip -n $1 link set host0 up\n"
    "    ip -n $1 addr add $5/$4 dev host0; ip -n $1 addr add $8/$7 dev host0 nodad\n"
    "    ip -n $1 route add default via $3; ip -n $1 route add default via $6\n"
    "    echo 1 > /proc/sys/net/ipv4/conf/$2/route_localnet\n"
    "}\n"
    "ip link set lo up\n"
    "add outside out 192.0.2.1 24 192.0.2.2 2001:db8::1 64 2001:db8::2\n"
    "add one nn-one 10.187.0.1 30 10.187.0.2 " POOL6 "1 126 " POOL6 "2\n"
    "add two nn-two 10.187.0.5 30 10.187.0.6 " POOL6 "5 126 " POOL6 "6\n";

static struct network_server servers[] = {
    { .where = "", .address = "0.0.0.0", .port = PORT },
    { .where = "", .address = "::", .port = PORT },
    { .where = "", .address = "0.0.0.0", .port = OTHER_PORT },
    { .where = "one", .address = "0.0.0.0", .port = 80 },
    { .where = "one", .address = "::", .port = 80 },
    { .where = "two", .address = "0.0.0.0", .port = 80 },
    { .where = "two", .address = "::", .port = 80 },
    { .where = "outside", .address = "0.0.0.0", .port = PORT },
};

static bool is_there;

static int make_network(void **state)
{
    (void)state;
    is_there = network_enter();
    if (is_there) {
        network_run(network);
        network_serve(servers, N(servers));
    }
    return 0;
}

static int end_network(void **state)
{
    (void)state;
    if (is_there)
        network_close(servers, N(servers));
    return 0;
}

static void want_network(void)
{
    if (is_there)
        return;
    print_message("no namespaces of its own; run it as root\n");
    skip();
}

/* --- what is published ----------------------------------------------------------------------- */

static struct address parsed(const char *text)
{
    struct address address = {};

    assert_int_equal(address_parse(text, &address), 0);
    return address;
}

static const struct place {
    const char *name, *addresses[2];
} places[] = {
    { "one", { "10.187.0.2/30", POOL6 "2/126" } },
    { "two", { "10.187.0.6/30", POOL6 "6/126" } },
};

static const struct place *place_of(const char *name)
{
    for (size_t i = 0; i < N(places); i++)
        if (strcmp(places[i].name, name) == 0)
            return &places[i];
    fail_msg("no such place: '%s'", name);
    return NULL;
}

/* PORT is of the container with that name, or of the host: "". The kernel follows connections as
 * long as there is a table. */
static void publish(const char *name)
{
    struct address pools[] = { parsed("10.187.0.0/16"), parsed(POOL6 "/96") };
    struct nft_port ports[2] = {};
    size_t n = 0;

    for (; *name != '\0' && n < N(ports); n++)
        ports[n] = (struct nft_port){
            .host_port = PORT,
            .to = parsed(place_of(name)->addresses[n]),
            .to_port = 80,
        };
    CLEANUP_FREE char *rules = nft_rules_make(&(struct nft_rules){
        .ports = ports, .n_ports = n, .pools = pools, .n_pools = N(pools) });
    CLEANUP_FREE char *script = alloc_printf("nft -f - <<'END'\n%sEND\n", rules);
    network_run(script);
}

/* As told about PORT. */
static void forget(const char *name)
{
    struct conntrack_target targets[2];
    struct conntrack_ports ports = {};
    size_t n = 0;

    for (; *name != '\0' && n < N(targets); n++)
        targets[n] = (struct conntrack_target){ PORT, 80, parsed(place_of(name)->addresses[n]) };
    conntrack_ports_add(&ports, PORT);
    assert_int_equal(conntrack_forget_udp(&ports, targets, n), 0);
}

/* --- who is reached -------------------------------------------------------------------------- */

/* The host answers from the address that its route has: by no other one it is asked. */
static const struct client {
    const char *where, *address;
} clients[] = {
    { "outside", "192.0.2.1" },
    { "outside", "2001:db8::1" },
    { "", "192.0.2.1" },
    { "", "127.0.0.1" },
    { "", "2001:db8::1" },
    { "one", "10.187.0.1" },
    { "one", POOL6 "1" },
    { "two", "10.187.0.5" },
    { "two", POOL6 "5" },
};

static void open_clients(int fds[N(clients)])
{
    for (size_t i = 0; i < N(clients); i++)
        fds[i] = network_connect(clients[i].where, clients[i].address, PORT, SOCK_DGRAM);
}

static void close_clients(int fds[N(clients)])
{
    for (size_t i = 0; i < N(clients); i++)
        fds[i] = close_fd(fds[i]);
}

static struct network_answer ask(int fd, const char *expected)
{
    struct network_answer answer = network_ask_by(fd, SOCK_DGRAM, servers, N(servers));

    assert_non_null(answer.server);
    assert_string_equal(answer.server->where, expected);
    return answer;
}

static void ask_all(const int fds[N(clients)], const char *expected)
{
    for (size_t i = 0; i < N(clients); i++)
        (void)ask(fds[i], expected);
}

static void check_change(const char *before, const char *after)
{
    int fds[N(clients)];

    want_network();
    publish(before);
    open_clients(fds);
    ask_all(fds, before);
    publish(after);
    ask_all(fds, before); /* what all this is for */
    forget(after);
    ask_all(fds, after);
    close_clients(fds);
}

static void test_who_sends_on_gets_to_what_is_published_now(void **state)
{
    (void)state;
    check_change("", "one");
}

static void test_who_sends_on_gets_to_another_container(void **state)
{
    (void)state;
    check_change("one", "two");
}

static void test_who_sends_on_gets_to_the_host_again(void **state)
{
    (void)state;
    check_change("two", "");
}

/* --- what is let alone ----------------------------------------------------------------------- */

/* Once more from where the answer came, unasked: if the kernel has forgotten, it gets elsewhere. */
static void send_unasked(const struct network_server *server, int client, const char *address)
{
    struct sockaddr_in to = { .sin_family = AF_INET }, own = {};
    socklen_t n = sizeof(own);
    char byte = 0;

    assert_return_code(getsockname(client, (struct sockaddr *)&own, &n), errno);
    to.sin_port = own.sin_port;
    assert_int_equal(inet_pton(AF_INET, address, &to.sin_addr), 1);
    ssize_t sent = sendto(server->udp_fd, "u", 1, 0, (struct sockaddr *)&to, sizeof(to));
    assert_int_equal(sent, 1);
    assert_int_equal(recv(client, &byte, 1, 0), 1);
    assert_int_equal(byte, 'u');
}

static void test_what_is_right_is_not_forgotten(void **state)
{
    (void)state;
    want_network();
    publish("one");
    CLEANUP_CLOSE int client = network_connect("outside", "192.0.2.1", PORT, SOCK_DGRAM);
    struct network_answer answer = ask(client, "one");
    forget("one");
    send_unasked(answer.server, client, answer.client);
}

/* The container's own connection to such a port of somebody else. */
static void test_what_is_not_sent_to_the_host_is_not_forgotten(void **state)
{
    (void)state;
    want_network();
    publish("one");
    CLEANUP_CLOSE int client = network_connect("one", "192.0.2.2", PORT, SOCK_DGRAM);
    struct network_answer answer = ask(client, "outside");
    assert_string_equal(answer.client, "192.0.2.1");
    forget("");
    send_unasked(answer.server, client, answer.client);
}

static void test_other_ports_are_not_forgotten(void **state)
{
    struct conntrack_ports ports = {};

    (void)state;
    want_network();
    publish("one");
    CLEANUP_CLOSE int client = network_connect("outside", "192.0.2.1", PORT, SOCK_DGRAM);
    CLEANUP_CLOSE int other = network_connect("outside", "192.0.2.1", OTHER_PORT, SOCK_DGRAM);
    struct network_answer answer = ask(client, "one");
    (void)ask(other, "");
    conntrack_ports_add(&ports, OTHER_PORT);
    assert_int_equal(conntrack_forget_udp(&ports, NULL, 0), 0);
    send_unasked(answer.server, client, answer.client);
}

/* --- many ------------------------------------------------------------------------------------ */

#define N_MANY 2000

static unsigned n_remembered(void)
{
    CLEANUP_CLOSE int fd = open("/proc/sys/net/netfilter/nf_conntrack_count", O_RDONLY | O_CLOEXEC);
    char text[16] = "";

    assert_return_code(read(fd, text, sizeof(text) - 1), errno);
    return (unsigned)strtoul(text, NULL, 10);
}

static void test_any_number_is_forgotten(void **state)
{
    (void)state;
    want_network();
    publish("");
    unsigned n_before = n_remembered();
    for (unsigned i = 0; i < N_MANY; i++) {
        CLEANUP_CLOSE int client = network_connect("", "127.0.0.1", PORT, SOCK_DGRAM);
        (void)ask(client, "");
    }
    assert_in_range(n_remembered(), n_before + N_MANY / 2, UINT32_MAX);
    publish("one");
    forget("one");
    assert_in_range(n_remembered(), 0, n_before);
}

static void test_nothing_remembered_is_fine(void **state)
{
    (void)state;
    want_network();
    publish("");
    forget("");
    forget("");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_who_sends_on_gets_to_what_is_published_now),
        FD_LEAK_TEST(test_who_sends_on_gets_to_another_container),
        FD_LEAK_TEST(test_who_sends_on_gets_to_the_host_again),
        FD_LEAK_TEST(test_what_is_right_is_not_forgotten),
        FD_LEAK_TEST(test_what_is_not_sent_to_the_host_is_not_forgotten),
        FD_LEAK_TEST(test_other_ports_are_not_forgotten),
        FD_LEAK_TEST(test_any_number_is_forgotten),
        FD_LEAK_TEST(test_nothing_remembered_is_fine),
    };

    return cmocka_run_group_tests(tests, make_network, end_network);
}
