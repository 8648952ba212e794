/* go-plugin's services and gRPC health checking, by a client on libnghttp2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "google/protobuf/empty.pb-c.h"
#include "grpc_broker.pb-c.h"
#include "grpc_controller.pb-c.h"
#include "health.pb-c.h"
#include "rpc/grpc/grpc_status.h"
#include "rpc/nomad/service_health.h"
#include "rpc/nomad/service_plugin.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/rpc/grpc/rpc_fixture.h"

static struct {
    struct server *server;
    unsigned n_shutdowns;
    bool is_down;
} seen;

static void on_down(void *data)
{
    (void)data;
    seen.is_down = true;
}

/* As main does it. */
static void on_shutdown(void *data)
{
    assert_ptr_equal(data, &seen);
    seen.n_shutdowns++;
    server_shutdown(seen.server, on_down, NULL);
}

static struct service_plugin service = { .shutdown = on_shutdown, .data = &seen };

static void init(struct rpc_fixture *f)
{
    memset(&seen, 0, sizeof(seen));
    rpc_fixture_init(f, plugin_methods, &service);
    dispatch_add(f->dispatch, health_methods, NULL);
    seen.server = f->server;
}

static const Plugin__Empty nothing = PLUGIN__EMPTY__INIT;

static void test_shutdown_is_answered_and_then_done(void **state)
{
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_call *call = rpc_fixture_call(&f, "/plugin.GRPCController/Shutdown", &nothing.base);
    grpc_call_expect(call, GRPC_OK, NULL);
    assert_int_equal(grpc_call_n_messages(call), 1);
    assert_int_equal(seen.n_shutdowns, 1);
    assert_true(event_run_until_set(f.event, &seen.is_down));
    rpc_fixture_done(&f);
}

/* The streams that the host holds open do not hold up the end. */
static void test_shutdown_does_not_wait_for_the_host_s_streams(void **state)
{
    struct rpc_fixture f;
    const Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;

    (void)state;
    init(&f);
    struct grpc_call *broker = grpc_peer_call(
        f.peer, &(struct grpc_request){ .path = "/plugin.GRPCBroker/StartStream", .open = true });
    struct grpc_call *stdio = rpc_fixture_call(&f, "/plugin.GRPCStdio/StreamStdio", &empty.base);
    rpc_fixture_settle(&f);
    assert_string_equal(grpc_call_header(broker, ":status"), "200");
    assert_string_equal(grpc_call_header(stdio, ":status"), "200");
    (void)rpc_fixture_call(&f, "/plugin.GRPCController/Shutdown", &nothing.base);
    event_run_pending(f.event);
    assert_true(seen.is_down);
    assert_false(grpc_call_is_over(broker));
    assert_false(grpc_call_is_over(stdio));
    rpc_fixture_done(&f);
}

static void test_streams_of_the_host_are_held_and_silent(void **state)
{
    struct rpc_fixture f;
    const Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
    Plugin__ConnInfo info = PLUGIN__CONN_INFO__INIT;

    (void)state;
    init(&f);
    struct grpc_call *stdio = rpc_fixture_call(&f, "/plugin.GRPCStdio/StreamStdio", &empty.base);
    struct grpc_call *broker = grpc_peer_call(
        f.peer, &(struct grpc_request){ .path = "/plugin.GRPCBroker/StartStream", .open = true });
    info.address = "/tmp/plugin1";
    grpc_call_send_message(broker, &info.base, false);
    rpc_fixture_settle(&f);
    assert_false(grpc_call_is_over(stdio));
    assert_false(grpc_call_is_over(broker));
    grpc_call_send(broker, "", 0, true);
    grpc_call_expect(broker, GRPC_OK, NULL);
    grpc_call_cancel(stdio);
    rpc_fixture_settle(&f);
    assert_int_equal(grpc_call_n_bytes(stdio) + grpc_call_n_bytes(broker), 0);
    rpc_fixture_done(&f);
}

/* --- health ---------------------------------------------------------------------------------- */

static struct grpc_call *ask(struct rpc_fixture *f, const char *path, const char *name)
{
    Health__HealthCheckRequest request = HEALTH__HEALTH_CHECK_REQUEST__INIT;

    request.service = name;
    return rpc_fixture_call(f, path, &request.base);
}

static int status_of(const struct grpc_call *call)
{
    Health__HealthCheckResponse *answer = (Health__HealthCheckResponse *)grpc_call_message(
        call, 0, &health__health_check_response__descriptor);
    int status = (int)answer->status;

    health__health_check_response__free_unpacked(answer, NULL);
    return status;
}

static void test_health_is_serving_or_the_service_is_unknown(void **state)
{
    static const char *const names[] = { "", "plugin" };
    struct rpc_fixture f;

    (void)state;
    init(&f);
    for (size_t i = 0; i < 2; i++) {
        struct grpc_call *call = ask(&f, "/grpc.health.v1.Health/Check", names[i]);

        grpc_call_expect(call, GRPC_OK, NULL);
        assert_int_equal(status_of(call), HEALTH__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING);
    }
    grpc_call_expect(ask(&f, "/grpc.health.v1.Health/Check", "x"), GRPC_NOT_FOUND,
                     "service 'x' is not known; ask for 'plugin'");
    rpc_fixture_done(&f);
}

static void test_health_of_all_services_is_listed(void **state)
{
    const Health__HealthListRequest request = HEALTH__HEALTH_LIST_REQUEST__INIT;
    struct rpc_fixture f;

    (void)state;
    init(&f);
    struct grpc_call *call = rpc_fixture_call(&f, "/grpc.health.v1.Health/List", &request.base);
    grpc_call_expect(call, GRPC_OK, NULL);
    Health__HealthListResponse *answer = (Health__HealthListResponse *)grpc_call_message(
        call, 0, &health__health_list_response__descriptor);
    assert_int_equal(answer->n_statuses, 2);
    assert_string_equal(answer->statuses[0]->key, "");
    assert_string_equal(answer->statuses[1]->key, "plugin");
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(answer->statuses[i]->value->status,
                         HEALTH__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING);
    health__health_list_response__free_unpacked(answer, NULL);
    rpc_fixture_done(&f);
}

static void test_watched_health_is_told_once_and_the_stream_held(void **state)
{
    static const struct {
        const char *name;
        int status;
    } rows[] = {
        { "plugin", HEALTH__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING },
        { "x", HEALTH__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN },
    };
    struct rpc_fixture f;

    (void)state;
    init(&f);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct grpc_call *call = ask(&f, "/grpc.health.v1.Health/Watch", rows[i].name);

        grpc_call_wait_messages(call, 1);
        assert_int_equal(status_of(call), rows[i].status);
        rpc_fixture_settle(&f);
        assert_false(grpc_call_is_over(call));
        assert_int_equal(grpc_call_n_messages(call), 1);
        grpc_call_cancel(call);
    }
    rpc_fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_shutdown_is_answered_and_then_done),
        FD_LEAK_TEST(test_shutdown_does_not_wait_for_the_host_s_streams),
        FD_LEAK_TEST(test_streams_of_the_host_are_held_and_silent),
        FD_LEAK_TEST(test_health_is_serving_or_the_service_is_unknown),
        FD_LEAK_TEST(test_health_of_all_services_is_listed),
        FD_LEAK_TEST(test_watched_health_is_told_once_and_the_stream_held),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
