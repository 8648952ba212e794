#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "reactor/cleanup.h"
#include "tasks/network/name_files.h"
#include "tests/support/fd_leak.h"

static const char host_file[] = "# made by hand\nnameserver 192.0.2.53\n nameserver\t2001:db8::53\n"
                                "domain old.example\nsearch a.example  b.example\noptions edns0\n"
                                "nameserverx 1.1.1.1\noptions ndots:2 trust-ad";
static const char stub[] = "nameserver 127.0.0.53\nnameserver ::1\nsearch lan\n";

static void test_hosts_names_the_namespace_s_addresses(void **state)
{
    const struct address addresses[] = { { AF_INET, 20, { 172, 26, 64, 5 } },
                                         { AF_INET6, 64, { 0xfd, 1, [15] = 5 } } };
    CLEANUP_FREE char *text = name_files_hosts("web-1", addresses, 2);
    CLEANUP_FREE char *none = name_files_hosts("web-1", NULL, 0);

    (void)state;
    assert_string_equal(text, "127.0.0.1 localhost\n"
                              "::1 localhost ip6-localhost ip6-loopback\n"
                              "172.26.64.5 web-1\n"
                              "fd01::5 web-1\n");
    assert_string_equal(none, "127.0.0.1 localhost\n"
                              "::1 localhost ip6-localhost ip6-loopback\n"
                              "127.0.1.1 web-1\n");
}

static void test_what_the_job_leaves_out_is_the_host_s(void **state)
{
    char server[] = "192.0.2.1", option[] = "ndots:1";
    char *servers[] = { server, NULL }, *options[] = { option, NULL };
    const struct task_dns none = {}, some = { .servers = { servers, 1 }, .options = { options, 1 } };
    CLEANUP_FREE char *all = name_files_resolv(&none, host_file);
    CLEANUP_FREE char *mixed = name_files_resolv(&some, host_file);
    CLEANUP_FREE char *own = name_files_resolv(&some, NULL);
    CLEANUP_FREE char *nothing = name_files_resolv(&none, NULL);

    (void)state;
    assert_string_equal(all, "nameserver 192.0.2.53\nnameserver 2001:db8::53\n"
                             "search a.example b.example\noptions edns0 ndots:2 trust-ad\n");
    assert_string_equal(mixed,
                        "nameserver 192.0.2.1\nsearch a.example b.example\noptions ndots:1\n");
    assert_string_equal(own, "nameserver 192.0.2.1\noptions ndots:1\n");
    assert_string_equal(nothing, "");
}

static void test_a_server_on_the_host_s_loopback_is_no_server_elsewhere(void **state)
{
    (void)state;
    assert_ptr_equal(name_files_resolv_of_host(stub, host_file), host_file);
    assert_ptr_equal(name_files_resolv_of_host(host_file, stub), host_file);
    assert_ptr_equal(name_files_resolv_of_host(stub, NULL), stub);
    assert_ptr_equal(name_files_resolv_of_host(NULL, stub), stub);
    assert_ptr_equal(name_files_resolv_of_host(NULL, NULL), NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_hosts_names_the_namespace_s_addresses),
        FD_LEAK_TEST(test_what_the_job_leaves_out_is_the_host_s),
        FD_LEAK_TEST(test_a_server_on_the_host_s_loopback_is_no_server_elsewhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
