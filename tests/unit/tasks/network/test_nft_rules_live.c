/* The rules as the kernel understands them. Outside, a host, containers with a veth each and two on
 * a bridge, all in namespaces; clients and servers are sockets in them.
 *
 *   outside 192.0.2.2 ──── 192.0.2.1, .11  host  10.187.0.1 ──── 10.187.0.2   one
 *                                                10.187.0.5 ──── 10.187.0.6   two
 *                                   (bridge)     10.187.1.1 ─┬── 10.187.1.2   left
 *                                                            └── 10.187.1.3   right            */
#include <arpa/inet.h>
#include <errno.h>
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
#include "reactor/program.h"
#include "tasks/network/nft_rules.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/tasks/network/network.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

#define POOL6 "fd6e:7370:6177:6e00::"

static const char network[] =
    "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding\n"
    "add() {\n" /* namespace, host's side, addresses of both with their prefix */
    "    ip netns add $1\n"
    "    ip link add $2 type veth peer name host0 netns $1\n"
    "    ip addr add $3 dev $2; ip addr add $5 dev $2 nodad\n"
    "    ip link set $2 up; ip -n $1 link set host0 up\n"
    "    ip -n $1 addr add $4 dev host0; ip -n $1 addr add $6 dev host0 nodad\n"
    "}\n"
    "leave() {\n"
    "    ip -n $1 route add default via $2; ip -n $1 route add default via $3\n"
    "}\n"
    "ip link set lo up\n"
    "add outside out 192.0.2.1/24 192.0.2.2/24 2001:db8::1/64 2001:db8::2/64\n"
    "ip addr add 192.0.2.11/24 dev out; ip addr add 2001:db8::11/64 dev out nodad preferred_lft 0\n"
    "ip addr add fe80::1/64 dev out nodad; ip -n outside addr add fe80::2/64 dev host0 nodad\n"
    "leave outside 192.0.2.1 2001:db8::1\n"
    "add one nn-one 10.187.0.1/30 10.187.0.2/30 " POOL6 "1/126 " POOL6 "2/126\n"
    "leave one 10.187.0.1 " POOL6 "1\n"
    "add two nn-two 10.187.0.5/30 10.187.0.6/30 " POOL6 "5/126 " POOL6 "6/126\n"
    "leave two 10.187.0.5 " POOL6 "5\n"
    "ip link add vz-zone type bridge; ip link set vz-zone up\n"
    "ip addr add 10.187.1.1/24 dev vz-zone; ip addr add " POOL6 "1:1/112 dev vz-zone nodad\n"
    /* Hairpin: a bridge that calls the packet filter (br_netfilter) sends what got the address of
     * another container on by itself; back to where it came from only so. */
    "join() {\n" /* namespace, addresses with their prefix */
    "    ip netns add $1\n"
    "    ip link add vb-$1 type veth peer name host0 netns $1\n"
    "    ip link set vb-$1 master vz-zone up; bridge link set dev vb-$1 hairpin on\n"
    "    ip -n $1 link set host0 up\n"
    "    ip -n $1 addr add $2 dev host0; ip -n $1 addr add $3 dev host0 nodad\n"
    "    leave $1 10.187.1.1 " POOL6 "1:1\n"
    "}\n"
    "join left 10.187.1.2/24 " POOL6 "1:2/112\n"
    "join right 10.187.1.3/24 " POOL6 "1:3/112\n";

/* What a container may not get anywhere with is only let in by this. */
static const char localnet[] =
    "for i in nn-one nn-two vz-zone; do echo 1 > /proc/sys/net/ipv4/conf/$i/route_localnet; done\n";

static struct network_server servers[] = {
    { .where = "outside", .address = "0.0.0.0", .port = 80 },
    { .where = "outside", .address = "::", .port = 80 },
    { .where = "one", .address = "0.0.0.0", .port = 80 },
    { .where = "one", .address = "::", .port = 80 },
    { .where = "two", .address = "0.0.0.0", .port = 80 },
    { .where = "two", .address = "::", .port = 80 },
    { .where = "left", .address = "0.0.0.0", .port = 80 },
    { .where = "left", .address = "::", .port = 80 },
    /* what the rules must let alone */
    { .where = "", .address = "::1", .port = 8080 },
    { .where = "", .address = "127.0.0.53", .port = 8080 },
    { .where = "", .address = "127.0.0.1", .port = 8084 },
};

static bool is_there;

static int make_network(void **state)
{
    (void)state;
    is_there = network_enter();
    if (is_there) {
        network_run(network);
        network_run(localnet);
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

/* --- rules ----------------------------------------------------------------------------------- */

static struct address parsed(const char *text)
{
    struct address address = {};

    if (text != NULL)
        assert_int_equal(address_parse(text, &address), 0);
    return address;
}

static const struct {
    const char *host;
    uint16_t host_port;
    const char *to;
    bool keeps_loopback;
} published[] = {
    { NULL, 8080, "10.187.0.2/30", false },        { NULL, 8080, POOL6 "2/126", false },
    { "192.0.2.1", 8081, "10.187.0.2/30", false }, { "2001:db8::1", 8081, POOL6 "2/126", false },
    { "127.0.0.1", 8081, "10.187.0.2/30", false }, { NULL, 8082, "10.187.1.2/24", false },
    { NULL, 8082, POOL6 "1:2/112", false },        { "192.0.2.1", 8083, "10.187.0.6/30", false },
    { "127.0.0.1", 8090, "10.187.0.2/30", false }, { "198.51.100.1", 8090, "10.187.0.2/30", false },
    { NULL, 8084, "10.187.0.6/30", true },
};

/* Of the first so many of `published`. */
static char *make_rules(char *(*make)(const struct nft_rules *rules), size_t n_ports)
{
    struct address pools[] = { parsed("10.187.0.0/16"), parsed(POOL6 "/96") };
    struct nft_port ports[N(published)];

    for (size_t i = 0; i < N(published); i++)
        ports[i] = (struct nft_port){
            .machine = "machine",
            .label = "label",
            .host = parsed(published[i].host),
            .host_port = published[i].host_port,
            .to = parsed(published[i].to),
            .to_port = published[i].host_port == 8090 ? 8090 : 80,
            .keeps_loopback = published[i].keeps_loopback,
        };
    return make(&(struct nft_rules){
        .ports = ports, .n_ports = n_ports, .pools = pools, .n_pools = N(pools) });
}

struct load {
    bool done;
    int result;
    char *said;
};

static void on_loaded(int result, const char *said, void *data)
{
    struct load *load = data;

    *load = (struct load){ .done = true, .result = result, .said = alloc_strdup(said) };
}

static void start_loading(sd_event *event, const char *script, struct load *load)
{
    char *argv[] = { (char[]){ "nft" }, (char[]){ "-f" }, (char[]){ "-" }, NULL };
    struct program *program;

    *load = (struct load){};
    int r = program_start(event, argv, script, EVENT_DEADLINE_USEC, on_loaded, load, &program);
    assert_int_equal(r, 0);
}

static void finish_loading(sd_event *event, struct load *load)
{
    assert_true(event_run_until_set(event, &load->done));
    assert_string_equal(load->said, "");
    assert_int_equal(load->result, 0);
    free(load->said);
}

static void load_rules(const char *script)
{
    sd_event *event = NULL;
    struct load load;

    assert_int_equal(sd_event_new(&event), 0);
    start_loading(event, script, &load);
    finish_loading(event, &load);
    sd_event_unref(event);
}

static void load_published(void)
{
    CLEANUP_FREE char *script = make_rules(nft_rules_make, N(published));

    load_rules(script);
}

/* --- who is reached by whom, and seen as whom ------------------------------------------------ */

struct row {
    const char *from, *address;
    uint16_t port;
    const char *server, *client; /* NULL: refused */
};

static void check(const struct row *row, int type)
{
    struct network_answer answer = network_ask(row->from, row->address, row->port, type, servers,
                                               N(servers));
    const char *server = answer.server != NULL ? answer.server->where : "nobody";
    const char *client = answer.server != NULL ? answer.client : "";

    if (strcmp(server, row->server != NULL ? row->server : "nobody") != 0 ||
        strcmp(client, row->client != NULL ? row->client : "") != 0)
        fail_msg("%s from '%s' to %s port %u: answered by '%s', which saw '%s'",
                 type == SOCK_STREAM ? "tcp" : "udp", row->from, row->address, row->port, server,
                 client);
}

static void check_all(const struct row *rows, size_t n_rows)
{
    want_network();
    load_published();
    for (size_t i = 0; i < n_rows; i++) {
        check(&rows[i], SOCK_STREAM);
        check(&rows[i], SOCK_DGRAM);
    }
}

static void test_outside_is_answered_and_seen_as_it_is(void **state)
{
    static const struct row rows[] = {
        { "outside", "192.0.2.1", 8080, "one", "192.0.2.2" },
        { "outside", "192.0.2.11", 8080, "one", "192.0.2.2" },
        { "outside", "2001:db8::1", 8080, "one", "2001:db8::2" },
        { "outside", "2001:db8::11", 8080, "one", "2001:db8::2" },
        { "outside", "192.0.2.1", 8082, "left", "192.0.2.2" },
        { "outside", "2001:db8::1", 8082, "left", "2001:db8::2" },
        { "outside", "192.0.2.1", 8084, "two", "192.0.2.2" },
        { "outside", "10.187.0.1", 8080, "one", "192.0.2.2" },
        /* without a published port: the answers are not given another source */
        { "outside", "10.187.0.2", 80, "one", "192.0.2.2" },
        { "outside", POOL6 "2", 80, "one", "2001:db8::2" },
    };

    (void)state;
    check_all(rows, N(rows));
}

static void test_an_address_that_is_given_is_the_only_one(void **state)
{
    static const struct row rows[] = {
        { "outside", "192.0.2.1", 8081, "one", "192.0.2.2" },
        { "outside", "192.0.2.11", 8081, NULL, NULL },
        { "outside", "2001:db8::1", 8081, "one", "2001:db8::2" },
        { "outside", "2001:db8::11", 8081, NULL, NULL },
        { "two", "10.187.0.5", 8081, NULL, NULL },
        { "two", "192.0.2.1", 8081, "one", "10.187.0.6" },
        { "", "127.0.0.1", 8083, NULL, NULL },
        { "", "192.0.2.11", 8083, NULL, NULL },
        { "", "192.0.2.1", 8083, "two", "192.0.2.1" },
    };

    (void)state;
    check_all(rows, N(rows));
}

static void test_other_containers_are_answered_and_seen_as_they_are(void **state)
{
    static const struct row rows[] = {
        { "two", "192.0.2.1", 8080, "one", "10.187.0.6" },
        { "two", "10.187.0.5", 8080, "one", "10.187.0.6" },
        { "two", "10.187.0.2", 80, "one", "10.187.0.6" },
        { "two", "2001:db8::1", 8080, "one", POOL6 "6" },
        { "two", POOL6 "5", 8080, "one", POOL6 "6" },
        { "left", "192.0.2.1", 8080, "one", "10.187.1.2" },
        { "one", "192.0.2.1", 8082, "left", "10.187.0.2" },
    };

    (void)state;
    check_all(rows, N(rows));
}

/* Their answers would not come back by the host: it hides who they are. */
static const struct row same_network[] = {
    { "right", "192.0.2.1", 8082, "left", "10.187.1.1" },
    { "right", "10.187.1.1", 8082, "left", "10.187.1.1" },
    { "right", "2001:db8::1", 8082, "left", POOL6 "1:1" },
    { "left", "192.0.2.1", 8082, "left", "10.187.1.1" },
    { "left", "2001:db8::1", 8082, "left", POOL6 "1:1" },
    { "one", "192.0.2.1", 8080, "one", "10.187.0.1" },
    { "one", "10.187.0.1", 8080, "one", "10.187.0.1" },
    { "one", "2001:db8::1", 8080, "one", POOL6 "1" },
    /* not by the host */
    { "right", "10.187.1.2", 80, "left", "10.187.1.3" },
};

static void test_the_same_network_and_the_container_itself_are_answered(void **state)
{
    (void)state;
    check_all(same_network, N(same_network));
}

/* The bridge then hands up what goes by the host, instead of sending it on by itself. */
static void test_so_they_are_where_bridges_do_not_call_the_packet_filter(void **state)
{
    (void)state;
    want_network();
    network_run("for i in /proc/sys/net/bridge/bridge-nf-call-ip*tables; do\n"
                "    [ ! -e $i ] || echo 0 > $i\n"
                "done\n"
                "bridge link set dev vb-left hairpin off\n");
    check_all(same_network, N(same_network));
    network_run("for i in /proc/sys/net/bridge/bridge-nf-call-ip*tables; do\n"
                "    [ ! -e $i ] || echo 1 > $i\n"
                "done\n"
                "bridge link set dev vb-left hairpin on\n");
}

static void test_the_host_is_answered_by_its_addresses_and_on_loopback(void **state)
{
    static const struct row rows[] = {
        { "", "127.0.0.1", 8080, "one", "10.187.0.1" },
        { "", "127.0.0.1", 8081, "one", "10.187.0.1" },
        { "", "127.0.0.1", 8082, "left", "10.187.1.1" },
        { "", "192.0.2.1", 8080, "one", "192.0.2.1" },
        { "", "192.0.2.11", 8080, "one", "192.0.2.1" },
        { "", "10.187.0.1", 8080, "one", "10.187.0.1" },
        { "", "2001:db8::1", 8080, "one", "2001:db8::1" },
        { "", POOL6 "1", 8080, "one", POOL6 "1" },
        { "", "10.187.0.2", 80, "one", "10.187.0.1" },
    };

    (void)state;
    check_all(rows, N(rows));
}

static void test_what_else_listens_on_loopback_is_let_alone(void **state)
{
    static const struct row rows[] = {
        { "", "::1", 8080, "", "::1" },
        { "", "127.0.0.53", 8080, "", "127.0.0.1" },
        { "", "127.0.0.1", 8084, "", "127.0.0.1" },
        { "", "192.0.2.1", 8084, "two", "192.0.2.1" },
        { "", "127.0.0.1", 8085, NULL, NULL },
        { "outside", "fe80::1", 8080, NULL, NULL },
    };

    (void)state;
    check_all(rows, N(rows));
}

static void test_what_leaves_the_pool_is_seen_as_the_host(void **state)
{
    static const struct row rows[] = {
        { "one", "192.0.2.2", 80, "outside", "192.0.2.1" },
        { "left", "192.0.2.2", 80, "outside", "192.0.2.1" },
        { "one", "2001:db8::2", 80, "outside", "2001:db8::1" },
        { "left", "2001:db8::2", 80, "outside", "2001:db8::1" },
    };

    (void)state;
    check_all(rows, N(rows));
}

/* --- what must not be ------------------------------------------------------------------------ */

/* From `source`, if not NULL, with the first byte of the text. */
static void say(const char *where, const char *source, const char *address, const char *what)
{
    CLEANUP_CLOSE int fd = network_socket(where, AF_INET, SOCK_DGRAM);
    struct sockaddr_in from = { .sin_family = AF_INET };
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(8090) };
    const struct in_addr by = { inet_addr("192.0.2.1") };

    if (source != NULL)
        assert_int_equal(inet_pton(AF_INET, source, &from.sin_addr), 1);
    assert_int_equal(inet_pton(AF_INET, address, &to.sin_addr), 1);
    assert_return_code(bind(fd, (struct sockaddr *)&from, sizeof(from)), errno);
    if (*where == '\0')
        assert_return_code(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &by, sizeof(by)), errno);
    ssize_t n = sendto(fd, what, 1, 0, (struct sockaddr *)&to, sizeof(to));
    assert_int_equal(n, 1);
}

static int listen_for(const char *where)
{
    int fd = network_socket(where, AF_INET, SOCK_DGRAM);
    struct sockaddr_in all = { .sin_family = AF_INET, .sin_port = htons(8090) };

    assert_return_code(bind(fd, (struct sockaddr *)&all, sizeof(all)), errno);
    return fd;
}

/* Both are sent on one way, one after the other: what is heard first was not dropped. */
static char first_heard(const char *source, const char *address)
{
    CLEANUP_CLOSE int listener = listen_for("");
    char heard = 0;

    say("one", source, address, "bad");
    say("one", NULL, "10.187.0.1", "good");
    assert_int_equal(recv(listener, &heard, 1, 0), 1);
    return heard;
}

static void test_the_hosts_loopback_is_out_of_a_containers_reach(void **state)
{
    (void)state;
    want_network();
    CLEANUP_FREE char *none = nft_rules_make(&(struct nft_rules){});
    network_run("ip netns exec one sh -c 'echo 1 > /proc/sys/net/ipv4/conf/host0/route_localnet'\n"
                "ip -n one addr add 127.0.0.2/32 dev host0\n"
                "ip -n one route add 127.0.0.1 via 10.187.0.1\n"
                "echo 1 > /proc/sys/net/ipv4/conf/nn-one/accept_local\n");
    load_rules(none);
    assert_int_equal(first_heard("10.187.0.2", "127.0.0.1"), 'b');
    assert_int_equal(first_heard("127.0.0.2", "10.187.0.1"), 'b');
    load_published();
    assert_int_equal(first_heard("10.187.0.2", "127.0.0.1"), 'g');
    assert_int_equal(first_heard("127.0.0.2", "10.187.0.1"), 'g');
}

/* By a link of a kind that the guard does not look at. */
static void test_outside_reaches_nothing_by_the_hosts_loopback(void **state)
{
    CLEANUP_CLOSE int listener = -EBADF;
    char heard = 0;

    (void)state;
    want_network();
    network_run(
        "ip link add link out name other type macvlan mode bridge; ip link set other up\n"
        "ip addr add 198.51.100.1/24 dev other\n"
        "echo 1 > /proc/sys/net/ipv4/conf/out/arp_ignore\n" /* it would answer for it too */
        "ip -n outside addr add 198.51.100.2/24 dev host0\n"
        "ip netns exec outside sh -c 'echo 1 > /proc/sys/net/ipv4/conf/host0/route_localnet'\n"
        "ip -n outside route add 127.0.0.1 via 198.51.100.1\n");
    load_published();
    listener = listen_for("one");
    say("outside", "198.51.100.2", "127.0.0.1", "bad");
    say("outside", "198.51.100.2", "198.51.100.1", "good");
    assert_int_equal(recv(listener, &heard, 1, 0), 1);
    assert_int_equal(heard, 'g');
}

/* What the host says to all on a network is its own, from whatever address. */
static void test_multicast_keeps_its_source(void **state)
{
    const struct ip_mreq group = { { inet_addr("224.0.0.251") }, { inet_addr("192.0.2.2") } };
    struct sockaddr_in from = {};
    socklen_t n_from = sizeof(from);
    char heard;

    (void)state;
    want_network();
    load_published();
    CLEANUP_CLOSE int listener = listen_for("outside");
    int r = setsockopt(listener, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof(group));
    assert_return_code(r, errno);
    say("", "10.187.0.1", "224.0.0.251", "m");
    ssize_t n = recvfrom(listener, &heard, 1, 0, (struct sockaddr *)&from, &n_from);
    assert_int_equal(n, 1);
    assert_string_equal(inet_ntoa(from.sin_addr), "10.187.0.1");
}

/* --- changes --------------------------------------------------------------------------------- */

#define N_CHANGES 20

/* The last port that is published comes and goes. */
static void test_no_request_is_lost_while_rules_change(void **state)
{
    static const struct row rows[] = {
        { "outside", "192.0.2.1", 8080, "one", "192.0.2.2" },
        { "outside", "2001:db8::1", 8080, "one", "2001:db8::2" },
        { "", "127.0.0.1", 8080, "one", "10.187.0.1" },
        { "right", "192.0.2.1", 8082, "left", "10.187.1.1" },
        { "one", "2001:db8::1", 8080, "one", POOL6 "1" },
        { "left", "192.0.2.2", 80, "outside", "192.0.2.1" },
    };
    static const struct row last[] = {
        { "outside", "192.0.2.1", 8084, NULL, NULL },
        { "outside", "192.0.2.1", 8084, "two", "192.0.2.2" },
    };
    sd_event *event = NULL;
    unsigned n_requests = 0;
    struct load load;

    (void)state;
    want_network();
    CLEANUP_FREE char *fewer = make_rules(nft_rules_update, N(published) - 1);
    CLEANUP_FREE char *all = make_rules(nft_rules_update, N(published));
    load_published();
    assert_int_equal(sd_event_new(&event), 0);
    for (unsigned i = 0; i < N_CHANGES; i++) {
        start_loading(event, i % 2 == 0 ? fewer : all, &load);
        while (!load.done) {
            check(&rows[n_requests % N(rows)],
                  n_requests / N(rows) % 2 == 0 ? SOCK_STREAM : SOCK_DGRAM);
            n_requests++;
            event_run_pending(event);
        }
        finish_loading(event, &load);
        check(&last[i % 2], SOCK_STREAM);
    }
    sd_event_unref(event);
    print_message("%u requests during %d changes\n", n_requests, N_CHANGES);
    assert_in_range(n_requests, N_CHANGES, UINT32_MAX);
}

/* What a job's author, or a network's administrator, may come up with. */
static void test_nft_takes_any_text_and_any_networks(void **state)
{
    static const char *const texts[] = {
        "",
        "\"",
        "a\"; }\nflush ruleset",
        "\\",
        "\\\"",
        "#",
        "$x",
        "*",
        "@y",
        "\xff\xfe",
        "\xe2\x82\xac",
        "012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
        "0"
        "0123456789012345678901234567890123456789012345678901234567890123456789\xe2\x82\xac",
    };
    static const char *const networks[] = {
        "10.187.0.2/30", "10.187.0.3/32", "10.9.9.9/0",     "10.187.255.9/16", "255.255.255.255/31",
        POOL6 "2/126",   "::7/0",         POOL6 "ffff/128", "fe80::1/10",
    };
    struct nft_port ports[N(texts) * N(networks)];
    struct address pools[N(networks)];

    (void)state;
    want_network();
    for (size_t i = 0; i < N(ports); i++)
        ports[i] = (struct nft_port){
            .machine = texts[i % N(texts)],
            .label = texts[i / N(networks)],
            .host_port = (uint16_t)(i + 1),
            .to = parsed(networks[i % N(networks)]),
            .to_port = 80,
        };
    for (size_t n = 1; n <= N(networks); n++) {
        for (size_t i = 0; i < N(networks); i++)
            pools[i] = parsed(networks[(i + n) % N(networks)]);
        CLEANUP_FREE char *script = nft_rules_make(&(struct nft_rules){
            .ports = ports, .n_ports = N(ports), .pools = pools, .n_pools = n });
        load_rules(script);
    }
}

static void test_without_ports_and_pools_nothing_is_left(void **state)
{
    (void)state;
    want_network();
    CLEANUP_FREE char *none = nft_rules_make(&(struct nft_rules){});
    load_published();
    load_rules(none);
    load_rules(none);
    network_run("[ -z \"$(nft list ruleset)\" ]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_outside_is_answered_and_seen_as_it_is),
        FD_LEAK_TEST(test_an_address_that_is_given_is_the_only_one),
        FD_LEAK_TEST(test_other_containers_are_answered_and_seen_as_they_are),
        FD_LEAK_TEST(test_the_same_network_and_the_container_itself_are_answered),
        FD_LEAK_TEST(test_so_they_are_where_bridges_do_not_call_the_packet_filter),
        FD_LEAK_TEST(test_the_host_is_answered_by_its_addresses_and_on_loopback),
        FD_LEAK_TEST(test_what_else_listens_on_loopback_is_let_alone),
        FD_LEAK_TEST(test_what_leaves_the_pool_is_seen_as_the_host),
        FD_LEAK_TEST(test_the_hosts_loopback_is_out_of_a_containers_reach),
        FD_LEAK_TEST(test_outside_reaches_nothing_by_the_hosts_loopback),
        FD_LEAK_TEST(test_multicast_keeps_its_source),
        FD_LEAK_TEST(test_no_request_is_lost_while_rules_change),
        FD_LEAK_TEST(test_nft_takes_any_text_and_any_networks),
        FD_LEAK_TEST(test_without_ports_and_pools_nothing_is_left),
    };

    return cmocka_run_group_tests(tests, make_network, end_network);
}
