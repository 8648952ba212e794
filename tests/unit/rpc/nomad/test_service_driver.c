/* Nomad's BasePlugin and Driver over a real driver without a task, on a bus where nobody answers:
 * what does not need a task, and what is said about one that is not there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base.pb-c.h"
#include "driver.pb-c.h"
#include "rpc/grpc/grpc_status.h"
#include "rpc/nomad/service_base.h"
#include "rpc/nomad/service_driver.h"
#include "tasks/driver.h"
#include "tests/support/event.h"
#include "tests/support/fd_leak.h"
#include "tests/support/reactor/fake_bus.h"
#include "tests/support/rpc/grpc/rpc_fixture.h"
#include "tests/support/tasks/spec/pack.h"

#define BASE "/hashicorp.nomad.plugins.base.proto.BasePlugin/"

struct scene {
    struct rpc_fixture f;
    struct fake_bus *fake;
    struct bus *bus;
    struct driver *driver;
};

static void init(struct scene *s)
{
    static const struct rpc_method none[] = { {} };

    rpc_fixture_init(&s->f, none, NULL);
    s->fake = fake_bus_new(s->f.event);
    s->bus = bus_new(s->f.event, fake_bus_address(s->fake));
    s->driver = driver_new(s->bus);
    dispatch_add(s->f.dispatch, base_methods, s->driver);
    dispatch_add(s->f.dispatch, driver_info_methods, s->driver);
    dispatch_add(s->f.dispatch, driver_task_methods, s->driver);
    dispatch_add(s->f.dispatch, driver_stream_methods, s->driver);
}

/* As main does: the server first, whose calls are told. */
static void done(struct scene *s)
{
    assert_null(grpc_peer_error(s->f.peer));
    s->f.peer = grpc_peer_free(s->f.peer);
    s->f.server = server_free(s->f.server);
    s->driver = driver_free(s->driver);
    s->bus = bus_free(s->bus);
    s->fake = fake_bus_free(s->fake);
    rpc_fixture_done(&s->f);
}

static ProtobufCMessage *ask(struct scene *s, const char *path, const ProtobufCMessage *request,
                             const ProtobufCMessageDescriptor *answer)
{
    struct grpc_call *call = rpc_fixture_call(&s->f, path, request);

    grpc_call_expect(call, GRPC_OK, NULL);
    assert_int_equal(grpc_call_n_messages(call), 1);
    return grpc_call_message(call, 0, answer);
}

static void assert_refused(struct scene *s, const char *path, const ProtobufCMessage *request,
                           int code, const char *message)
{
    grpc_call_expect(rpc_fixture_call(&s->f, path, request), code, message);
}

/* Any empty message is as good as another. */
static const Nomad__InitRequest nothing = NOMAD__INIT_REQUEST__INIT;

/* --- BasePlugin ------------------------------------------------------------------------------ */

static void test_the_plugin_says_what_it_is(void **state)
{
    struct scene s;

    (void)state;
    init(&s);
    Nomad__PluginInfoResponse *info = (Nomad__PluginInfoResponse *)ask(
        &s, BASE "PluginInfo", &nothing.base, &nomad__plugin_info_response__descriptor);
    assert_int_equal(info->type, NOMAD__PLUGIN_TYPE__DRIVER);
    assert_int_equal(info->n_plugin_api_versions, 1);
    assert_string_equal(info->plugin_api_versions[0], "v0.1.0");
    assert_string_equal(info->plugin_version, PLUGIN_VERSION);
    assert_string_equal(info->name, "nspawn");
    nomad__plugin_info_response__free_unpacked(info, NULL);
    done(&s);
}

static void test_both_schemas_are_there(void **state)
{
    struct scene s;

    (void)state;
    init(&s);
    Nomad__ConfigSchemaResponse *plugin = (Nomad__ConfigSchemaResponse *)ask(
        &s, BASE "ConfigSchema", &nothing.base, &nomad__config_schema_response__descriptor);
    assert_int_equal(plugin->spec->block_case, HCL__SPEC__BLOCK_OBJECT);
    nomad__config_schema_response__free_unpacked(plugin, NULL);
    Nomad__TaskConfigSchemaResponse *task = (Nomad__TaskConfigSchemaResponse *)ask(
        &s, DRIVER_PATH "TaskConfigSchema", &nothing.base,
        &nomad__task_config_schema_response__descriptor);
    assert_int_equal(task->spec->block_case, HCL__SPEC__BLOCK_OBJECT);
    nomad__task_config_schema_response__free_unpacked(task, NULL);
    done(&s);
}

static const struct {
    const char *json; /* NULL: no bytes at all */
    const char *version;
    const char *message; /* NULL: taken; else how it begins */
} configs[] = {
    { NULL, "v0.1.0", NULL },
    { NULL, "", NULL },
    { "{'enabled': true, 'volumes': false}", "v0.1.0", NULL },
    { "{}", "v0.1.0", NULL },
    { "{}", "v0.2.0", "plugin API version 'v0.2.0': this plugin speaks v0.1.0" },
    { "{'enabled': 'maybe'}", "v0.1.0", "" },
    { "{'unknown': 1}", "v0.1.0", "" },
    { "[1]", "v0.1.0", "" },
};

/* Mistakes are told as such; the configuration before stays, and the next is taken. */
static void test_configurations_are_taken_or_refused(void **state)
{
    struct scene s;

    (void)state;
    init(&s);
    for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++) {
        Nomad__SetConfigRequest request = NOMAD__SET_CONFIG_REQUEST__INIT;
        struct packed packed = {};

        if (configs[i].json != NULL)
            packed = pack(configs[i].json);
        request.msgpack_config = (ProtobufCBinaryData){ packed.n_bytes, packed.bytes };
        request.plugin_api_version = configs[i].version;
        struct grpc_call *call = rpc_fixture_call(&s.f, BASE "SetConfig", &request.base);
        grpc_call_wait(call);
        const char *message = grpc_call_header(call, "grpc-message");
        const char *expected = configs[i].message != NULL ? configs[i].message : "";
        if (strncmp(message, expected, strlen(expected)) != 0)
            fail_msg("row %zu: '%s'", i, message);
        assert_int_equal(message[0] == '\0', configs[i].message == NULL);
        assert_string_equal(grpc_call_header(call, "grpc-status"),
                            configs[i].message == NULL ? "0" : "3");
        packed_done(&packed);
    }
    done(&s);
}

/* --- Driver: what it is ---------------------------------------------------------------------- */

static void test_capabilities_promise_only_what_is_there(void **state)
{
    struct scene s;

    (void)state;
    init(&s);
    Nomad__CapabilitiesResponse *answer = (Nomad__CapabilitiesResponse *)ask(
        &s, DRIVER_PATH "Capabilities", &nothing.base, &nomad__capabilities_response__descriptor);
    assert_true(answer->capabilities->send_signals);
    assert_true(answer->capabilities->exec);
    assert_false(answer->capabilities->must_create_network);
    assert_int_equal(answer->capabilities->n_network_isolation_modes, 2);
    assert_int_equal(answer->capabilities->network_isolation_modes[1],
                     NOMAD__NETWORK_ISOLATION_SPEC__NETWORK_ISOLATION_MODE__GROUP);
    assert_int_equal(answer->capabilities->fs_isolation,
                     NOMAD__DRIVER_CAPABILITIES__FSISOLATION__IMAGE);
    nomad__capabilities_response__free_unpacked(answer, NULL);
    done(&s);
}

static void test_what_is_not_there_says_so(void **state)
{
    static const char network[] =
        "the nspawn driver does not make networks of task groups; the Nomad client does";
    struct scene s;

    (void)state;
    init(&s);
    assert_refused(&s, DRIVER_PATH "CreateNetwork", &nothing.base, GRPC_UNIMPLEMENTED, network);
    assert_refused(&s, DRIVER_PATH "DestroyNetwork", &nothing.base, GRPC_UNIMPLEMENTED, network);
    done(&s);
}

static void test_init_and_shutdown_are_answered(void **state)
{
    struct scene s;

    (void)state;
    init(&s);
    grpc_call_expect(rpc_fixture_call(&s.f, DRIVER_PATH "Init", &nothing.base), GRPC_OK, NULL);
    grpc_call_expect(rpc_fixture_call(&s.f, DRIVER_PATH "Shutdown", &nothing.base), GRPC_OK, NULL);
    grpc_call_expect(rpc_fixture_call(&s.f, DRIVER_PATH "Init", &nothing.base), GRPC_OK, NULL);
    done(&s);
}

/* --- Driver: tasks --------------------------------------------------------------------------- */

/* The agent recognises the words. */
static void test_a_task_that_is_not_there_is_told_by_its_id(void **state)
{
    static const char *const paths[] = { "WaitTask", "InspectTask", "TaskStats", "SignalTask" };
    Nomad__WaitTaskRequest request = NOMAD__WAIT_TASK_REQUEST__INIT; /* the id is field 1 of all */
    struct scene s;

    (void)state;
    init(&s);
    request.task_id = "a/b/c";
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        char path[128];

        (void)snprintf(path, sizeof(path), DRIVER_PATH "%s", paths[i]);
        assert_refused(&s, path, &request.base, GRPC_NOT_FOUND,
                       "task not found for given id: 'a/b/c'");
    }
    done(&s);
}

static void test_a_task_that_is_not_there_is_stopped_and_destroyed_already(void **state)
{
    Nomad__WaitTaskRequest request = NOMAD__WAIT_TASK_REQUEST__INIT;
    struct scene s;

    (void)state;
    init(&s);
    request.task_id = "a/b/c";
    grpc_call_expect(rpc_fixture_call(&s.f, DRIVER_PATH "StopTask", &request.base), GRPC_OK, NULL);
    grpc_call_expect(rpc_fixture_call(&s.f, DRIVER_PATH "DestroyTask", &request.base), GRPC_OK,
                     NULL);
    done(&s);
}

/* Fields that protobuf lets be absent. */
static void test_requests_without_a_task_are_refused(void **state)
{
    Nomad__StartTaskRequest start = NOMAD__START_TASK_REQUEST__INIT;
    Nomad__RecoverTaskRequest recover = NOMAD__RECOVER_TASK_REQUEST__INIT;
    Nomad__TaskConfig task = NOMAD__TASK_CONFIG__INIT;
    Nomad__TaskHandle handle = NOMAD__TASK_HANDLE__INIT;
    struct scene s;

    (void)state;
    init(&s);
    assert_refused(&s, DRIVER_PATH "StartTask", &start.base, GRPC_INVALID_ARGUMENT,
                   "the request holds no task");
    start.task = &task;
    assert_refused(&s, DRIVER_PATH "StartTask", &start.base, GRPC_INVALID_ARGUMENT,
                   "the request names no task: its id is empty");
    assert_refused(&s, DRIVER_PATH "RecoverTask", &recover.base, GRPC_INVALID_ARGUMENT,
                   "the request holds no task handle with a task in it");
    recover.handle = &handle;
    assert_refused(&s, DRIVER_PATH "RecoverTask", &recover.base, GRPC_INVALID_ARGUMENT,
                   "the request holds no task handle with a task in it");
    done(&s);
}

/* --- Driver: streams ------------------------------------------------------------------------- */

static void test_a_fingerprint_is_told_and_the_stream_held(void **state)
{
    struct scene s;

    (void)state;
    init(&s);
    struct grpc_call *call = rpc_fixture_call(&s.f, DRIVER_PATH "Fingerprint", &nothing.base);
    grpc_call_wait_messages(call, 1);
    Nomad__FingerprintResponse *answer = (Nomad__FingerprintResponse *)grpc_call_message(
        call, 0, &nomad__fingerprint_response__descriptor);
    assert_int_not_equal(answer->health, NOMAD__FINGERPRINT_RESPONSE__HEALTH_STATE__HEALTHY);
    assert_string_not_equal(answer->health_description, "");
    nomad__fingerprint_response__free_unpacked(answer, NULL);
    rpc_fixture_settle(&s.f);
    assert_false(grpc_call_is_over(call));
    grpc_call_cancel(call);
    rpc_fixture_settle(&s.f);
    done(&s);
}

/* Each ends with its connection, in any order, and leaves nothing. */
static void test_streams_that_are_held_end_with_the_connection(void **state)
{
    struct scene s;
    struct grpc_call *calls[6];

    (void)state;
    init(&s);
    for (size_t i = 0; i < 6; i++)
        calls[i] = rpc_fixture_call(
            &s.f, i % 2 == 0 ? DRIVER_PATH "TaskEvents" : DRIVER_PATH "Fingerprint", &nothing.base);
    rpc_fixture_settle(&s.f);
    for (size_t i = 0; i < 6; i++) {
        assert_string_equal(grpc_call_header(calls[i], ":status"), "200");
        assert_false(grpc_call_is_over(calls[i]));
    }
    grpc_call_cancel(calls[3]);
    grpc_call_cancel(calls[2]);
    rpc_fixture_settle(&s.f);
    done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FD_LEAK_TEST(test_the_plugin_says_what_it_is),
        FD_LEAK_TEST(test_both_schemas_are_there),
        FD_LEAK_TEST(test_configurations_are_taken_or_refused),
        FD_LEAK_TEST(test_capabilities_promise_only_what_is_there),
        FD_LEAK_TEST(test_what_is_not_there_says_so),
        FD_LEAK_TEST(test_init_and_shutdown_are_answered),
        FD_LEAK_TEST(test_a_task_that_is_not_there_is_told_by_its_id),
        FD_LEAK_TEST(test_a_task_that_is_not_there_is_stopped_and_destroyed_already),
        FD_LEAK_TEST(test_requests_without_a_task_are_refused),
        FD_LEAK_TEST(test_a_fingerprint_is_told_and_the_stream_held),
        FD_LEAK_TEST(test_streams_that_are_held_end_with_the_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
