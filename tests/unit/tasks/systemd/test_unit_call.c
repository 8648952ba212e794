#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "reactor/cleanup.h"
#include "tasks/systemd/unit_call.h"
#include "tests/support/expect_fail.h"
#include "tests/support/fd_leak.h"
#include "tests/support/golden.h"
#include "tests/support/reactor/bus_text.h"

static struct unit_service service_of(const struct strv *argv)
{
    return (struct unit_service){
        .name = "nspawn-web.service",
        .description = "Nomad task web",
        .slice = "nspawn-0123456789abcdef.slice",
        .argv = argv,
        .stdout_fd = -EBADF,
        .stderr_fd = -EBADF,
    };
}

static char *text_of_call(struct unit_call *call)
{
    CLEANUP(sd_bus_close_unrefp) sd_bus *bus = bus_text_connection();
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *message = NULL;

    assert_non_null(call);
    assert_int_equal(unit_call_start(call, bus, &message), 0);
    char *text = bus_text(message);
    unit_call_free(call);
    return text;
}

static char *text_of_start(const struct unit_service *service)
{
    return text_of_call(unit_call_for_service(service, NULL));
}

/* Everything that has a meaning to systemd or a shell: none of it may act. */
static void push_hostile(struct strv *argv)
{
    strv_push(argv, "/usr/bin/systemd-nspawn");
    strv_push(argv, "--");
    strv_push(argv, "$HOME ${PATH} $$");
    strv_push(argv, "$FOO");
    strv_push(argv, "%n %%");
    strv_push(argv, ";");
    strv_push(argv, "");
    strv_push(argv, " two  blanks\tand\nlines ");
    strv_push(argv, "'single' \"double\" \\n");
    strv_push(argv, "-+!:@");
}

static void test_container_s_unit_is_described_whole(void **state)
{
    CLEANUP(strv_done) struct strv argv = {}, environment = {};
    struct unit_properties properties = {};
    CLEANUP_CLOSE int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    CLEANUP_CLOSE int zero_fd = open("/dev/zero", O_WRONLY | O_CLOEXEC);

    (void)state;
    push_hostile(&argv);
    strv_push(&environment, "A=$B");
    struct unit_service service = service_of(&argv);
    service.environment = &environment;
    service.stdout_fd = null_fd;
    service.stderr_fd = zero_fd;
    service.delegate = true;
    service.stop_usec = 30000000;
    unit_properties_add_u64(&properties, "MemoryMax", 1);
    unit_properties_add_u64(&properties, "MemoryHigh", 2);
    unit_properties_add_u64(&properties, "MemoryLow", 3);
    unit_properties_add_u64(&properties, "CPUWeight", 4);
    unit_properties_add_bytes(&properties, "AllowedCPUs", (const uint8_t[]){ 1, 2 }, 2);
    service.properties = &properties;
    CLEANUP_FREE char *text = text_of_start(&service);
    golden_compare("unit_call_container.txt", text);
    assert_int_equal(properties.n_items, 0); /* they are the unit's now */
}

static void test_plain_oneshot_sets_nothing_more_than_needed(void **state)
{
    CLEANUP(strv_done) struct strv argv = {};

    (void)state;
    strv_push(&argv, "/bin/true");
    struct unit_service service = service_of(&argv);
    service.oneshot = true;
    CLEANUP_FREE char *text = text_of_start(&service);
    golden_compare("unit_call_oneshot.txt", text);
}

static void test_sockets_come_with_their_service(void **state)
{
    CLEANUP(strv_done) struct strv listen = {}, argv = {};
    const struct unit_socket socket = {
        .name = "nspawn-web-port80.socket",
        .description = "port 80 of web",
        .slice = "nspawn-0123456789abcdef.slice",
        .listen = &listen,
        .argv = &argv,
    };

    (void)state;
    strv_push(&listen, "[::1]:80");
    strv_push(&listen, "127.0.0.1:80");
    strv_push(&argv, "/usr/lib/systemd/systemd-socket-proxyd");
    strv_push(&argv, "10.187.0.2:80");
    CLEANUP_FREE char *text = text_of_call(unit_call_for_socket(&socket));
    golden_compare("unit_call_socket.txt", text);
}

/* The op is sent again when the bus comes back, when the caller has long closed its own. */
static void test_call_owns_what_it_is_made_from(void **state)
{
    CLEANUP(sd_bus_close_unrefp) sd_bus *bus = bus_text_connection();
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *first = NULL, *second = NULL;
    CLEANUP(strv_done) struct strv argv = {};
    char name[] = "a.service";

    (void)state;
    strv_push(&argv, "/bin/true");
    struct unit_service service = service_of(&argv);
    service.name = name;
    service.stdout_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    struct unit_call *call = unit_call_for_service(&service, NULL);
    (void)close(service.stdout_fd);
    strv_done(&argv);
    memset(name, 'X', sizeof(name) - 1);
    assert_int_equal(unit_call_start(call, bus, &first), 0);
    assert_int_equal(unit_call_start(call, bus, &second), 0);
    CLEANUP_FREE char *text = bus_text(first), *again = bus_text(second);
    assert_string_equal(text, again);
    assert_non_null(strstr(text, "StartTransientUnit(\"a.service\""));
    assert_non_null(strstr(text, "\"/bin/true\""));
    assert_non_null(strstr(text, "(\"StandardOutputFileDescriptor\", h </dev/null>)"));
    unit_call_free(call);
}

static void test_descriptor_that_is_none_is_told(void **state)
{
    CLEANUP(strv_done) struct strv argv = {};
    CLEANUP_FAIL struct fail fail = {};
    struct unit_properties properties = {};

    (void)state;
    strv_push(&argv, "/bin/true");
    struct unit_service service = service_of(&argv);
    service.stdout_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    service.stderr_fd = 999;
    unit_properties_add_string(&properties, "NetworkNamespacePath", "/run/netns/a");
    service.properties = &properties;
    assert_null(unit_call_for_service(&service, &fail));
    assert_true(fail.recoverable);
    expect_fail(fail.error, &fail, -EBADF,
                "cannot hand descriptors to 'nspawn-web.service': Bad file descriptor");
    (void)close(service.stdout_fd);
}

static void test_kill_and_named_calls_say_what_they_mean(void **state)
{
    CLEANUP(sd_bus_close_unrefp) sd_bus *bus = bus_text_connection();
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *kill_call = NULL, *stop = NULL, *reset = NULL;
    struct unit_call *call = unit_call_for_kill("all", SIGKILL);

    (void)state;
    assert_int_equal(unit_call_kill(call, bus, "a.service", &kill_call), 0);
    assert_int_equal(unit_call_named(bus, "StopUnit", "a.service", "replace", &stop), 0);
    assert_int_equal(unit_call_named(bus, "ResetFailedUnit", "a.service", NULL, &reset), 0);
    CLEANUP_FREE char *a = bus_text(kill_call), *b = bus_text(stop), *c = bus_text(reset);
    assert_string_equal(a, "KillUnit(\"a.service\", \"all\", 9)\n");
    assert_string_equal(b, "StopUnit(\"a.service\", \"replace\")\n");
    assert_string_equal(c, "ResetFailedUnit(\"a.service\")\n");
    assert_string_equal(sd_bus_message_get_destination(stop), "org.freedesktop.systemd1");
    assert_string_equal(sd_bus_message_get_path(stop), "/org/freedesktop/systemd1");
    assert_string_equal(sd_bus_message_get_interface(stop), "org.freedesktop.systemd1.Manager");
    unit_call_free(call);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_container_s_unit_is_described_whole),
        FD_LEAK_TEST(test_plain_oneshot_sets_nothing_more_than_needed),
        FD_LEAK_TEST(test_sockets_come_with_their_service),
        FD_LEAK_TEST(test_call_owns_what_it_is_made_from),
        FD_LEAK_TEST(test_descriptor_that_is_none_is_told),
        FD_LEAK_TEST(test_kill_and_named_calls_say_what_they_mean),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
