#include "tests/support/tasks/network/network_group.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "reactor/alloc.h"
#include "reactor/cleanup.h"
#include "tasks/spec/task_options_check.h"
#include "tests/support/expect_fail.h"
#include "tests/support/tasks/spec/pack.h"

static struct task_port port_of(const char *label, uint16_t host_port, uint16_t to,
                                const char *host)
{
    struct task_port port = {
        .label = (char *)(uintptr_t)label,
        .host_port = host_port,
        .to = to,
    };

    assert_int_equal(address_parse(host, &port.host), 0);
    return port;
}

void network_group_init(struct network_group *group)
{
    *group = (struct network_group){
        .ports = { port_of("http", 20001, 80, "198.51.100.1"),
                   port_of("admin", 20002, 20002, "127.0.0.1"),
                   port_of("any", 20003, 9000, "0.0.0.0") },
    };
    group->spec.ports = group->ports;
    group->spec.n_ports = sizeof(group->ports) / sizeof(group->ports[0]);
}

void network_group_init_joined(struct network_group *group)
{
    network_group_init(group);
    group->spec.network = TASK_NETWORK_GROUP;
    group->spec.network_path = (char *)(uintptr_t) "/run/netns/1";
}

int network_group_plan(const struct network_group *group, const char *options,
                       struct network_plan *ret, struct task_options *ret_config, struct fail *fail)
{
    CLEANUP_FREE char *json = alloc_printf("{'image': 'x'%s%s}", *options != '\0' ? ", " : "",
                                           options);
    CLEANUP(packed_done) struct packed packed = pack(json);

    if (task_options_decode(ret_config, packed.bytes, packed.n_bytes, fail) < 0)
        fail_msg("%s: %s", json, fail_text(fail));
    int r = task_options_check(ret_config, NULL, fail);
    return r < 0 ? r : network_plan_make(ret_config, &group->spec, ret, fail);
}

struct network_plan network_group_expect(const struct network_group *group, const char *options)
{
    CLEANUP(task_options_done) struct task_options config = {};
    CLEANUP_FAIL struct fail fail = {};
    struct network_plan plan = {};

    if (network_group_plan(group, options, &plan, &config, &fail) < 0)
        fail_msg("%s: %s", options, fail_text(&fail));
    return plan;
}

void network_group_expect_refused(const struct network_group *group, const char *options, int error,
                                  const char *text)
{
    static const struct network_plan empty = {};
    CLEANUP(task_options_done) struct task_options config = {};
    CLEANUP_FAIL struct fail fail = {};
    struct network_plan plan = {};

    expect_fail(network_group_plan(group, options, &plan, &config, &fail), &fail, error, text);
    assert_memory_equal(&plan, &empty, sizeof(plan));
}
